/*
 * What of a profile a report shows: by which figures, and which controllers and call sites.
 *
 * A view says what a call site is measured by. A filter shortens lists; it changes no figure: a
 * controller's own figures are those of all its call sites, shown or not.
 */
#ifndef HEAPTALLY_ANALYZER_SELECT_H
#define HEAPTALLY_ANALYZER_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "look_back.h"
#include "profile.h"
#include "symbolize.h"

enum ht_view {
    HT_VIEW_LIVE,       /* allocated and not freed, at the end of the file */
    HT_VIEW_PEAK,       /* the same, when the process had most */
    HT_VIEW_CUMULATIVE, /* all that was ever allocated */
    HT_VIEW_GROWTH,     /* live at the end of the file minus live at the baseline */
    HT_VIEWS,
};

/* What something is measured by in a view; growth may be negative. */
struct ht_amount {
    int64_t bytes, blocks;
};

/* Globs, one after the other; something passes that matches one of them, or all where none is. */
struct ht_globs {
    const char **globs;
    size_t count;
};

struct ht_selection {
    enum ht_view view;
    uint64_t baseline_ns; /* after the start of counting; HTL_UNKNOWN for the standard one */
    struct ht_globs tags, functions, modules;
    uint64_t least_bytes; /* of a call site, in the view; falls as well as growth */
    size_t top;           /* call sites of each controller; 0 for all */
};

/* Everything, live. */
#define HT_SELECT_ALL ((struct ht_selection){.baseline_ns = HTL_UNKNOWN})

/* "live", "peak", "cumulative", "growth"; and the view of that name, HT_VIEWS where none is. */
const char *ht_view_name(enum ht_view view);
enum ht_view ht_view_named(const char *name);

/* Whether a view needs ht_look_back. */
bool ht_view_looks_back(enum ht_view view);

struct ht_amount ht_site_amount(const struct ht_site *site, enum ht_view view);
struct ht_amount ht_tag_amount(const struct ht_tag *tag, enum ht_view view);

/* Whether controllers or call sites may be left out. */
bool ht_selection_filters(const struct ht_selection *selection);

bool ht_selects_tag(const struct ht_selection *selection, const struct ht_tag *tag);

/* By functions, modules and least bytes; the `top` ones are the caller's to count. */
bool ht_selects_site(const struct ht_selection *selection, struct ht_symbolizer *symbolizer,
                     const struct ht_site *site);

/* Adds a glob; the text must outlive the globs. */
void ht_globs_add(struct ht_globs *globs, const char *glob);
void ht_selection_clear(struct ht_selection *selection);

#endif
