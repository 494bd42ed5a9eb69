/*
 * What a report says, apart from how it is written: the controllers in their order, with verdicts
 * and rates. One report_*.c per format; `ht_report_formats` is the table that the command, its help
 * and its error messages derive from.
 */
#ifndef HEAPTALLY_ANALYZER_REPORT_H
#define HEAPTALLY_ANALYZER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "one_off.h"
#include "profile.h"
#include "rss_trend.h"
#include "select.h"
#include "symbolize.h"
#include "verdict.h"

/* A tag in a report. */
struct ht_controller {
    const struct ht_tag *tag;
    struct ht_verdict verdict;
    double mb_per_1000; /* NaN where instantiations were not counted or none was made */
    struct ht_one_off one_off;
    double mb_per_1000_recurring; /* the same without what is one-off; NaN where that is */
    double times_limit; /* mb_per_1000_recurring against the limit; NaN where there is no rate */
    const struct ht_site **sites; /* those to show, by their amount in the view, falling */
    size_t site_count;
    size_t sites_left_out; /* by filters; of those with an amount in the view */
};

struct ht_report {
    const struct ht_profile *profile;
    struct ht_symbolizer *symbolizer;
    struct ht_controller *controllers; /* by verdict, then by live bytes, falling, then by name */
    size_t controller_count;
    const struct ht_controller *worst; /* who the report is about first; NULL without any tag */
    double limit_mb;                   /* per 1000 instantiations */
    struct ht_verdict process;         /* on resident memory */
    struct ht_rss_trend trend; /* of it; where that leaks, with the rate that the verdict goes by */
    struct ht_selection selection; /* what it was narrowed to */
    size_t controllers_left_out;   /* by filters */
    const struct ht_report *parts; /* of each process, where the profile is of several; else NULL */
    size_t part_count;
    bool looked_back; /* `moments` and `then` of tags and sites are there */
    struct ht_look_back moments[HT_MOMENTS];
};

/* How text is laid out; other formats do not look at it. */
struct ht_report_style {
    size_t width; /* columns, at least HT_REPORT_LEAST_WIDTH */
    bool colour;
    bool all_frames; /* those of runtimes and wrappers too */
};

enum { HT_REPORT_LEAST_WIDTH = 60 };

struct ht_report_format {
    const char *name;
    const char *help;
    void (*write)(const struct ht_report *report, const struct ht_report_style *style, FILE *out);
    bool binary;    /* not for a terminal; one file gives one report */
    bool all_views; /* wants the figures of all views, see ht_report_look_back */
};

/* Ends with an entry whose name is NULL. */
extern const struct ht_report_format ht_report_formats[];

/* The format of that name, or NULL. */
const struct ht_report_format *ht_report_format(const char *name);

/* Looks at a profile; both arguments must outlive the report. */
void ht_report_make(const struct ht_profile *profile, struct ht_symbolizer *symbolizer,
                    struct ht_report *report);

/*
 * Narrows a report to `selection` (its globs must outlive the report) and sorts by its view.
 * A view that looks back reads the file again; where it cannot be read, says so on stderr, and the
 * view is live.
 */
void ht_report_select(struct ht_report *report, const struct ht_selection *selection);

/* Makes the figures of all views known, not only those of the one that was asked for; false after
 * a message. */
bool ht_report_look_back(struct ht_report *report);

/*
 * Makes a report on the processes of `parts`, whose merged profile is `merged` (see merge.h), both
 * of which must outlive the report. Views that look back are those of the parts: look back in them
 * before they are merged.
 */
void ht_report_make_merged(const struct ht_profile *merged, const struct ht_report *parts,
                           size_t part_count, struct ht_symbolizer *symbolizer,
                           struct ht_report *report);

/* Frees what ht_report_make made, not what it was given. */
void ht_report_clear(struct ht_report *report);

/* Live bytes per instantiation without what is one-off; NaN where instantiations were not counted
 * or none was made. */
double ht_recurring_bytes_each(const struct ht_controller *controller);

/* Above the limit, or found to leak. */
bool ht_is_suspect(const struct ht_controller *controller);

/* Whether the tables of allocations lost detail, the file lost its tail, or its last listing of all
 * call sites had no room for all. */
bool ht_report_truncated(const struct ht_profile *profile);

/* Whether counting was stopped for a time, or begun late: frees of what was allocated then are
 * foreign. */
bool ht_report_was_stopped(const struct ht_report *report);

/* 1, 0, or -1 where the process did not say: whether its allocator is linked in. */
int ht_report_static_allocator(const struct ht_profile *profile);

/* The name of an enum heaptally_alert_kind; NULL for one from the future. */
const char *ht_alert_kind_name(unsigned kind);

void ht_write_text(const struct ht_report *report, const struct ht_report_style *style, FILE *out);
void ht_write_json(const struct ht_report *report, const struct ht_report_style *style, FILE *out);
void ht_write_html(const struct ht_report *report, const struct ht_report_style *style, FILE *out);
void ht_write_pprof(const struct ht_report *report, const struct ht_report_style *style, FILE *out);
void ht_write_folded(const struct ht_report *report, const struct ht_report_style *style,
                     FILE *out);
void ht_write_csv(const struct ht_report *report, const struct ht_report_style *style, FILE *out);
void ht_write_prometheus(const struct ht_report *report, const struct ht_report_style *style,
                         FILE *out);

#endif
