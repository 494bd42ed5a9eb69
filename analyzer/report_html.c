/*
 * The report to look at: one page that holds everything and fetches nothing. The page itself
 * (style, scripts, d3) was bundled by the build; what is written here are the data, as JSON in a
 * script element that is never run. The page's scripts make text of them and nothing else.
 *
 * Columns (one array per property) instead of objects, tables for what repeats, series as fine as a
 * screen: a page of thousands of call sites and a day of ticks is a few MB.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose.h"
#include "heaptally/units.h"
#include "html/page.h"
#include "page_json.h"
#include "page_series.h"
#include "page_sites.h"
#include "text.h"

enum {
    MAX_SERIES = 40,        /* controllers whose past is drawn; the others are added up */
    MAX_CONTROLLERS = 5000, /* listed one by one */
    MAX_ALERTS = 2000,      /* the newest ones */
};

struct page {
    const struct ht_report *report;
    struct ht_page_json json;
    struct ht_moments moments;
    size_t controller_count; /* that are listed */
};

/* ---- the process ----------------------------------------------------------------------------- */

static const char *ending_of(const struct ht_profile *p)
{
    static const char *const endings[] = {
        [HTL_END_EXIT] = "exit",
        [HTL_END_EXEC] = "exec",
        [HTL_END_STOPPED] = "stopped",
        [HTL_END_DORMANT] = "dormant",
    };
    if (!p->has_end)
        return NULL;
    return p->end.reason >= HTL_END_EXIT && p->end.reason <= HTL_END_DORMANT
               ? endings[p->end.reason]
               : "ended";
}

static void write_process(struct page *page)
{
    const struct ht_profile *p = page->report->profile;
    struct ht_page_json *j = &page->json;
    ht_page_open(j, "process", '{');
    ht_page_text(j, "exe", p->exe);
    ht_page_text(j, "host", p->host);
    ht_page_text(j, "file", p->file);
    ht_page_number(j, "pid", p->start.pid);
    ht_page_number(j, "start", p->start.start_realtime_ns / HT_MILLISECOND);
    ht_page_real(j, "duration", p->duration_s);
    ht_page_text(j, "ending", ending_of(p));
    ht_page_number(j, "ticks", p->process.count);
    ht_page_close(j, '}');
}

static void write_memory(struct page *page)
{
    const struct ht_profile *p = page->report->profile;
    struct ht_page_json *j = &page->json;
    ht_page_open(j, "memory", '{');
    ht_page_number(j, "rss", p->rss_last);
    ht_page_number(j, "rssBaseline", p->rss_baseline);
    ht_page_number(j, "live", p->has_tick ? p->live_bytes : HTL_UNKNOWN);
    ht_page_number(j, "blocks", p->has_tick ? p->live_blocks : HTL_UNKNOWN);
    ht_page_number(j, "own", p->has_tick ? p->last.own_bytes : HTL_UNKNOWN);
    ht_page_number(j, "allocated", p->last.total.allocated_bytes);
    ht_page_number(j, "allocatedBlocks", p->last.total.allocated_blocks);
    char *diagnosis = ht_diagnosis_of(p);
    ht_page_text(j, "diagnosis", diagnosis);
    free(diagnosis);
    ht_page_close(j, '}');
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void write_verdict(struct ht_page_json *j, const char *key, const struct ht_verdict *v)
{
    ht_page_open(j, key, '{');
    ht_page_text(j, "kind", ht_verdict_name(v->kind));
    ht_page_text(j, "reason", v->reason);
    ht_page_real(j, "rate", v->mb_per_hour);
    ht_page_real(j, "low", v->ci_low);
    ht_page_real(j, "high", v->ci_high);
    ht_page_real(j, "secondsToLimit", v->seconds_to_limit);
    ht_page_text(j, "limit", ht_limit_name(v->limit));
    ht_page_real(j, "needsSeconds", v->needs_seconds);
    ht_page_real(j, "needsInstances", v->needs_instantiations);
    ht_page_close(j, '}');
}

static void write_trend(struct page *page)
{
    const struct ht_rss_trend *t = &page->report->trend;
    struct ht_page_json *j = &page->json;
    write_verdict(j, "verdict", &page->report->process);
    ht_page_open(j, "trend", '{');
    ht_page_real(j, "rate", t->mb_per_hour);
    ht_page_real(j, "low", t->ci_low);
    ht_page_real(j, "high", t->ci_high);
    ht_page_number(j, "samples", t->samples);
    ht_page_close(j, '}');
}

/* ---- controllers ----------------------------------------------------------------------------- */

static void write_figures(struct ht_page_json *j, const struct ht_controller *c)
{
    const struct ht_tag *tag = c->tag;
    ht_page_number(j, "live", tag->live_bytes);
    ht_page_number(j, "blocks", tag->live_blocks);
    ht_page_number(j, "peak", tag->peak_bytes);
    ht_page_number(j, "allocated", tag->latest.figures.allocated_bytes);
    ht_page_number(j, "allocatedBlocks", tag->latest.figures.allocated_blocks);
    ht_page_number(j, "made", tag->latest.instantiations);
    ht_page_number(j, "cycles", tag->latest.cycles);
    ht_page_real(j, "each", ht_recurring_bytes_each(c));
    ht_page_real(j, "per1000", c->mb_per_1000_recurring);
    ht_page_real(j, "timesLimit", c->times_limit);
    ht_page_number(j, "oneOffBytes", c->one_off.bytes);
    ht_page_number(j, "oneOffBlocks", c->one_off.blocks);
}

static void write_column(struct ht_page_json *j, const char *key, const uint64_t *values,
                         size_t count)
{
    ht_page_open(j, key, '[');
    for (size_t i = 0; i < count; i++)
        ht_page_number(j, NULL, values[i]);
    ht_page_close(j, ']');
}

/* Lowest and highest are left out where they say no more than the values. */
static void write_series(struct page *page, const char *key, const struct ht_series *s)
{
    struct ht_page_json *j = &page->json;
    size_t count = page->moments.count;
    ht_page_open(j, key, '{');
    write_column(j, "value", s->value, count);
    if (memcmp(s->low, s->value, count * sizeof *s->low) != 0)
        write_column(j, "low", s->low, count);
    if (memcmp(s->high, s->value, count * sizeof *s->high) != 0)
        write_column(j, "high", s->high, count);
    ht_page_close(j, '}');
}

static void add_series(struct ht_series *sum, const struct ht_series *more, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sum->value[i] += more->value[i];
        sum->low[i] += more->low[i];
        sum->high[i] += more->high[i];
    }
}

static int by_peak(const void *a, const void *b)
{
    const struct ht_controller *x = *(const struct ht_controller *const *)a;
    const struct ht_controller *y = *(const struct ht_controller *const *)b;
    if (x->tag->peak_bytes != y->tag->peak_bytes)
        return x->tag->peak_bytes < y->tag->peak_bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

/* A new array: whether each listed controller is among those whose past is drawn by itself. */
static bool *choose_drawn(const struct page *page)
{
    const struct ht_report *r = page->report;
    size_t count = page->controller_count;
    bool *drawn = ht_allocate_zeroed(count + 1, sizeof *drawn);
    const struct ht_controller **order = ht_allocate_zeroed(count + 1, sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = &r->controllers[i];
    qsort(order, count, sizeof *order, by_peak);
    for (size_t i = 0; i < count; i++)
        drawn[order[i] - r->controllers] =
            i < MAX_SERIES || ht_is_suspect(order[i]) || order[i] == r->worst;
    free(order);
    return drawn;
}

static void write_controllers(struct page *page)
{
    const struct ht_report *r = page->report;
    struct ht_page_json *j = &page->json;
    struct ht_series *series = ht_allocate_zeroed(3, sizeof *series), *rest = series + 1,
                     *rss = series + 2;
    bool *drawn = choose_drawn(page);
    size_t suspects_drawn = 0;
    ht_page_open(j, "controllers", '[');
    for (size_t i = 0; i < r->controller_count; i++) {
        const struct ht_controller *c = &r->controllers[i];
        ht_series_of(&c->tag->past, &page->moments, 0, series);
        bool listed = i < page->controller_count;
        bool own = listed && drawn[i] && suspects_drawn++ < 2 * MAX_SERIES;
        if (!own)
            add_series(rest, series, page->moments.count);
        if (!listed)
            continue;
        ht_page_open(j, NULL, '{');
        ht_page_text(j, "name", c->tag->name);
        ht_page_bool(j, "suspect", ht_is_suspect(c));
        ht_page_bool(j, "byDefault", c->tag->kind == HTL_TAG_DEFAULT);
        write_figures(j, c);
        write_verdict(j, "verdict", &c->verdict);
        if (own)
            write_series(page, "past", series);
        ht_page_close(j, '}');
    }
    ht_page_close(j, ']');
    write_series(page, "rest", rest);
    ht_series_of(&r->profile->process, &page->moments, HTL_UNKNOWN, rss);
    write_series(page, "rss", rss);
    free(drawn);
    free(series);
}

static void write_moments(struct page *page)
{
    struct ht_page_json *j = &page->json;
    ht_page_open(j, "times", '[');
    for (size_t i = 0; i < page->moments.count; i++)
        ht_page_real(j, NULL, (double)page->moments.t_ns[i] / (double)HT_SECOND);
    ht_page_close(j, ']');
    static const char *const names[HT_MOMENTS] = {
        [HT_AT_PEAK] = "peak", [HT_AT_BASELINE] = "baseline"};
    for (size_t m = 0; m < HT_MOMENTS; m++) {
        const struct ht_look_back *moment = &page->report->moments[m];
        bool known = page->report->looked_back && moment->known;
        ht_page_open(j, names[m], '{');
        ht_page_real(j, "time", known ? (double)moment->t_ns / (double)HT_SECOND : NAN);
        ht_page_number(j, "live", known ? moment->live_bytes : HTL_UNKNOWN);
        ht_page_number(j, "leftOut", known ? moment->left_out_bytes : HTL_UNKNOWN);
        ht_page_close(j, '}');
    }
}

/* ---- regions and processes ------------------------------------------------------------------- */

static void write_regions(struct page *page)
{
    const struct ht_profile *p = page->report->profile;
    struct ht_page_json *j = &page->json;
    ht_page_number(j, "regionsLeftOut",
                   p->region_count > HT_PAGE_REGIONS ? p->region_count - HT_PAGE_REGIONS : 0);
    ht_page_open(j, "regions", '[');
    for (size_t i = 0; i < p->region_count && i < HT_PAGE_REGIONS; i++) {
        ht_page_open(j, NULL, '{');
        ht_page_text(j, "name", p->regions[i]->name);
        ht_page_number(j, "allocations", p->regions[i]->allocations);
        ht_page_number(j, "bytes", p->regions[i]->bytes);
        ht_page_close(j, '}');
    }
    ht_page_close(j, ']');
}

/* Of several processes in one report: what each holds, and who holds most in it. */
static void write_processes(struct page *page)
{
    const struct ht_report *r = page->report;
    struct ht_page_json *j = &page->json;
    ht_page_open(j, "processes", '[');
    for (size_t i = 0; i < r->part_count; i++) {
        const struct ht_report *part = &r->parts[i];
        const struct ht_profile *p = part->profile;
        ht_page_open(j, NULL, '{');
        ht_page_text(j, "exe", p->exe);
        ht_page_text(j, "host", p->host);
        ht_page_number(j, "pid", p->start.pid);
        ht_page_real(j, "duration", p->duration_s);
        ht_page_number(j, "live", p->has_tick ? p->live_bytes : HTL_UNKNOWN);
        ht_page_number(j, "rss", p->rss_last);
        ht_page_text(j, "ending", ending_of(p));
        ht_page_text(j, "worst", part->worst ? part->worst->tag->name : NULL);
        ht_page_text(j, "verdict", part->worst ? ht_verdict_name(part->worst->verdict.kind) : NULL);
        ht_page_close(j, '}');
    }
    ht_page_close(j, ']');
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* A controller's place in the list; HTL_UNKNOWN for the process and what is not listed. */
static uint64_t place_of(const struct page *page, uint32_t tag)
{
    for (size_t i = 0; i < page->controller_count; i++)
        if (page->report->controllers[i].tag->id == tag)
            return i;
    return HTL_UNKNOWN;
}

static void write_alerts(struct page *page)
{
    static const char *const states[] = {"enter", "escalate", "clear"};
    static const char *const severities[] = {"info", "warning", "critical"};
    const struct ht_profile *p = page->report->profile;
    struct ht_page_json *j = &page->json;
    size_t first = p->alert_count > MAX_ALERTS ? p->alert_count - MAX_ALERTS : 0;
    ht_page_number(j, "alertsLeftOut", first);
    ht_page_open(j, "alerts", '[');
    for (size_t i = first; i < p->alert_count; i++) {
        const struct htl_alert *a = &p->alerts[i].head;
        uint64_t start = p->start.start_monotonic_ns;
        double t = a->monotonic_ns > start ? (double)(a->monotonic_ns - start) : 0;
        ht_page_open(j, NULL, '{');
        ht_page_real(j, "time", t / (double)HT_SECOND);
        ht_page_text(j, "kind", ht_alert_kind_name(a->kind));
        ht_page_text(j, "state", a->state < 3 ? states[a->state] : NULL);
        ht_page_text(j, "severity", a->severity < 3 ? severities[a->severity] : NULL);
        ht_page_number(j, "controller", place_of(page, a->tag));
        ht_page_real(j, "value", a->value_mb);
        ht_page_real(j, "threshold", a->threshold_mb);
        ht_page_text(j, "message", p->alerts[i].message);
        ht_page_close(j, '}');
    }
    ht_page_close(j, ']');
}

static void write_settings(struct page *page)
{
    const struct ht_profile *p = page->report->profile;
    struct ht_page_json *j = &page->json;
    ht_page_open(j, "settings", '[');
    for (size_t i = 0; i < p->setting_count; i++) {
        ht_page_open(j, NULL, '[');
        ht_page_text(j, NULL, p->settings[i].key);
        ht_page_text(j, NULL, p->settings[i].value);
        ht_page_close(j, ']');
    }
    ht_page_close(j, ']');
}

/* After the sites: only then it is known which modules were asked for symbols. */
static void write_quality(struct page *page)
{
    const struct ht_report *r = page->report;
    const struct ht_profile *p = r->profile;
    const struct htl_tick *last = &p->last;
    const struct htl_figures *fallback = &last->fallback;
    struct ht_page_json *j = &page->json;
    ht_page_open(j, "quality", '{');
    ht_page_text(j, "torn", p->reading.torn);
    ht_page_number(j, "fileSize", p->reading.file_size);
    ht_page_number(j, "unread", p->reading.file_size - p->reading.offset);
    ht_page_bool(j, "hasTick", p->has_tick);
    ht_page_bool(j, "sitesAreExact", p->quality.sites_are_exact);
    ht_page_bool(j, "listingIsCut", p->quality.listing_is_cut);
    ht_page_number(j, "leftOut", p->quality.left_out_bytes);
    ht_page_number(j, "strange",
                   p->reading.malformed + p->quality.contradictions + p->quality.unknown_names);
    ht_page_number(j, "newer", p->reading.unknown);
    ht_page_number(j, "fallback", fallback->allocated_bytes);
    ht_page_number(j, "fallbackLive",
                   fallback->allocated_bytes > fallback->freed_bytes
                       ? fallback->allocated_bytes - fallback->freed_bytes
                       : 0);
    ht_page_number(j, "foreign", last->foreign_frees);
    ht_page_number(j, "foreignBytes", last->foreign_bytes);
    ht_page_bool(j, "stopped", ht_report_was_stopped(r));
    ht_page_number(j, "overruns", last->suspected_overruns);
    ht_page_number(j, "dropped", last->dropped_ticks);
    ht_page_number(j, "truncated", last->truncated);
    ht_page_signed(j, "staticAllocator", ht_report_static_allocator(p));
    ht_page_open(j, "modules", '[');
    const struct ht_module *module;
    const char *why;
    for (size_t i = 0; (module = ht_symbolizer_problem(r->symbolizer, i, &why)); i++) {
        ht_page_open(j, NULL, '[');
        ht_page_text(j, NULL, module->label);
        ht_page_text(j, NULL, why);
        ht_page_close(j, ']');
    }
    ht_page_close(j, ']');
    ht_page_close(j, '}');
}

void ht_write_html(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    (void)style;
    struct page page = {.report = r, .json = {.out = out}};
    struct ht_page_json *j = &page.json;
    page.controller_count =
        r->controller_count < MAX_CONTROLLERS ? r->controller_count : MAX_CONTROLLERS;
    ht_moments_of(r->profile, &page.moments);
    fwrite(ht_page_before, 1, ht_page_before_size, out);
    ht_page_open(j, NULL, '{');
    ht_page_text(j, "version", HEAPTALLY_VERSION);
    write_process(&page);
    write_memory(&page);
    write_trend(&page);
    ht_page_real(j, "limit", r->limit_mb);
    ht_page_number(j, "worst", r->worst ? (uint64_t)(r->worst - r->controllers) : HTL_UNKNOWN);
    ht_page_number(j, "controllersLeftOut",
                   r->controllers_left_out + r->controller_count - page.controller_count);
    write_controllers(&page);
    write_moments(&page);
    ht_page_sites_write(r, page.controller_count, j);
    write_regions(&page);
    write_processes(&page);
    write_alerts(&page);
    write_settings(&page);
    write_quality(&page);
    ht_page_close(j, '}');
    fwrite(ht_page_after, 1, ht_page_after_size, out);
}
