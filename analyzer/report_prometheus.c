/*
 * The figures at the end of the file in the text format of Prometheus, under the names that a
 * running process uses too. A figure that is not known is absent: 0 would be a statement. Labels
 * hold names only, never an address.
 */
#include "report.h"

#include <inttypes.h>
#include <math.h>

#include "heaptally/units.h"

/* Of several processes each has its own samples, under one heading for each metric. */
struct page {
    FILE *out;
    const struct ht_report *reports;
    size_t count;
    const struct ht_selection *selection;
};

/* Escapes what the format gives a meaning. */
static void put_label(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            putc('\\', out);
        putc(*value, out);
    }
    putc('"', out);
}

/* Up to the opening brace of labels and the process's own; what follows closes it. */
static void begin_sample(const struct page *page, const struct ht_profile *p, const char *metric)
{
    fprintf(page->out, "heaptally_%s{", metric);
    put_label(page->out, "exe", p->exe);
    putc(',', page->out);
    put_label(page->out, "host", p->host);
    fprintf(page->out, ",pid=\"%u\"", p->start.pid);
}

static void put_help(const struct page *page, const char *metric, const char *type,
                     const char *help)
{
    fprintf(page->out, "# HELP heaptally_%s %s\n# TYPE heaptally_%s %s\n", metric, help, metric,
            type);
}

/* ---- of the process -------------------------------------------------------------------------- */

static double known(uint64_t value)
{
    return value == HTL_UNKNOWN ? NAN : (double)value;
}

static double resident_bytes(const struct ht_profile *p)
{
    return known(p->rss_last);
}

static double own_bytes(const struct ht_profile *p)
{
    return p->has_tick ? (double)p->last.own_bytes : NAN;
}

static double last_tick(const struct ht_profile *p)
{
    return p->has_tick ? (double)p->last.realtime_ns / 1e9 : NAN;
}

static const struct {
    const char *name, *help;
    double (*value)(const struct ht_profile *); /* NaN where unknown */
} process_metrics[] = {
    {"resident_bytes", "Resident memory of the process.", resident_bytes},
    {"own_bytes", "Memory of heaptally itself.", own_bytes},
    {"last_tick_timestamp_seconds", "When these figures were taken.", last_tick},
};

static void put_processes(const struct page *page)
{
    for (size_t m = 0; m < sizeof process_metrics / sizeof *process_metrics; m++) {
        put_help(page, process_metrics[m].name, "gauge", process_metrics[m].help);
        for (size_t k = 0; k < page->count; k++) {
            const struct ht_profile *p = page->reports[k].profile;
            double value = process_metrics[m].value(p);
            if (isnan(value))
                continue;
            begin_sample(page, p, process_metrics[m].name);
            fprintf(page->out, "} %.17g\n", value);
        }
    }
}

/* ---- of tags --------------------------------------------------------------------------------- */

static double live_bytes(const struct ht_controller *c)
{
    return (double)c->tag->live_bytes;
}

static double live_blocks(const struct ht_controller *c)
{
    return (double)c->tag->live_blocks;
}

static double allocated_bytes(const struct ht_controller *c)
{
    return (double)c->tag->latest.figures.allocated_bytes;
}

static double instantiations(const struct ht_controller *c)
{
    return known(c->tag->latest.instantiations);
}

static double growth(const struct ht_controller *c)
{
    return c->verdict.mb_per_hour * (double)HT_MB / 3600;
}

static double seconds_to_limit(const struct ht_controller *c)
{
    return c->verdict.seconds_to_limit;
}

static const struct {
    const char *name, *type, *help;
    double (*value)(const struct ht_controller *); /* NaN where unknown */
} tag_metrics[] = {
    {"live_bytes", "gauge", "Bytes allocated and not freed.", live_bytes},
    {"live_blocks", "gauge", "Blocks allocated and not freed.", live_blocks},
    {"allocated_bytes_total", "counter", "Bytes allocated since the start.", allocated_bytes},
    {"instantiations_total", "counter", "Controllers built since the start.", instantiations},
    {"growth_bytes_per_second", "gauge", "Growth of the live bytes.", growth},
    {"seconds_to_limit", "gauge", "Time until memory ends at this growth.", seconds_to_limit},
};

/* Up to the closing brace: the labels of a controller of report `k`. */
static void begin_tag_sample(const struct page *page, size_t k, const struct ht_controller *c,
                             const char *metric)
{
    begin_sample(page, page->reports[k].profile, metric);
    putc(',', page->out);
    put_label(page->out, "tag", c->tag->name);
}

static void put_verdicts(const struct page *page, size_t k, const struct ht_controller *c)
{
    for (int kind = HT_VERDICT_LEAK; kind <= HT_VERDICT_BOUNDED; kind++) {
        begin_tag_sample(page, k, c, "leak_verdict");
        putc(',', page->out);
        put_label(page->out, "verdict", ht_verdict_name((enum ht_verdict_kind)kind));
        fprintf(page->out, "} %d\n", (int)c->verdict.kind == kind);
    }
}

static void put_tag_metric(const struct page *page, size_t m)
{
    put_help(page, tag_metrics[m].name, tag_metrics[m].type, tag_metrics[m].help);
    for (size_t k = 0; k < page->count; k++)
        for (size_t i = 0; i < page->reports[k].controller_count; i++) {
            const struct ht_controller *c = &page->reports[k].controllers[i];
            double value = tag_metrics[m].value(c);
            if (isnan(value) || !ht_selects_tag(page->selection, c->tag))
                continue;
            begin_tag_sample(page, k, c, tag_metrics[m].name);
            fprintf(page->out, "} %.17g\n", value);
        }
}

static void put_tags(const struct page *page)
{
    for (size_t m = 0; m < sizeof tag_metrics / sizeof *tag_metrics; m++)
        put_tag_metric(page, m);
    put_help(page, "leak_verdict", "gauge", "1 for the verdict that holds.");
    for (size_t k = 0; k < page->count; k++)
        for (size_t i = 0; i < page->reports[k].controller_count; i++) {
            const struct ht_controller *c = &page->reports[k].controllers[i];
            if (ht_selects_tag(page->selection, c->tag))
                put_verdicts(page, k, c);
        }
}

void ht_write_prometheus(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    (void)style;
    const struct page page = {out, r->parts ? r->parts : r, r->parts ? r->part_count : 1,
                              &r->selection};
    put_tags(&page);
    put_processes(&page);
}
