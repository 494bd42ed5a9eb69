/*
 * Orders the controllers and picks the one that the report is about: who was found to leak, else
 * who is farthest above the limit, else who holds the most.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/alert_kinds.h"
#include "heaptally/units.h"
#include "text.h"

const struct ht_report_format ht_report_formats[] = {
    {"text", "for people", ht_write_text, false, false},
    {"json", "for programs; schema heaptally-report/1", ht_write_json, false, false},
    {"html", "a page to look at, which fetches nothing", ht_write_html, true, true},
    {"pprof", "for 'go tool pprof' and its relatives", ht_write_pprof, true, false},
    {"folded", "stacks for flame graph tools", ht_write_folded, false, false},
    {"csv", "the recorded past, tick by tick", ht_write_csv, false, false},
    {"prometheus", "the last figures, as metrics", ht_write_prometheus, false, false},
    {NULL, NULL, NULL, false, false},
};

const struct ht_report_format *ht_report_format(const char *name)
{
    for (const struct ht_report_format *format = ht_report_formats; format->name; format++)
        if (strcmp(format->name, name) == 0)
            return format;
    return NULL;
}

bool ht_is_suspect(const struct ht_controller *c)
{
    return c->verdict.kind == HT_VERDICT_LEAK || c->times_limit > 1;
}

static int by_verdict(const void *a, const void *b)
{
    const struct ht_controller *x = a, *y = b;
    if (x->verdict.kind != y->verdict.kind)
        return x->verdict.kind < y->verdict.kind ? -1 : 1;
    if (x->tag->live_bytes != y->tag->live_bytes)
        return x->tag->live_bytes > y->tag->live_bytes ? -1 : 1;
    int order = strcmp(x->tag->name, y->tag->name);
    return order ? order : (x->tag->id > y->tag->id) - (x->tag->id < y->tag->id);
}

/* Whether `c` is more to be blamed than `other`, which stands before it in the order. */
static bool is_worse(const struct ht_controller *c, const struct ht_controller *other)
{
    if (other->verdict.kind == HT_VERDICT_LEAK)
        return false;
    return c->times_limit > 1 && !(other->times_limit >= c->times_limit);
}

double ht_recurring_bytes_each(const struct ht_controller *c)
{
    uint64_t n = c->tag->latest.instantiations;
    return n == 0 || n == HTL_UNKNOWN ? NAN
                                      : (double)(c->tag->live_bytes - c->one_off.bytes) / (double)n;
}

/* ---- what is shown --------------------------------------------------------------------------- */

static enum ht_view sorting_view; /* of qsort below, which hands nothing through */

static int by_amount(const void *a, const void *b)
{
    const struct ht_site *x = *(const struct ht_site *const *)a;
    const struct ht_site *y = *(const struct ht_site *const *)b;
    int64_t m = ht_site_amount(x, sorting_view).bytes, n = ht_site_amount(y, sorting_view).bytes;
    if (m != n)
        return m < n ? 1 : -1;
    uint64_t p = x->figures.allocated_bytes, q = y->figures.allocated_bytes;
    return p != q ? (p < q ? 1 : -1) : 0;
}

static void select_sites(struct ht_report *r, struct ht_controller *c)
{
    const struct ht_selection *s = &r->selection;
    c->sites = ht_reallocate(c->sites, c->tag->site_count, sizeof(struct ht_site *));
    c->site_count = c->sites_left_out = 0;
    for (size_t i = 0; i < c->tag->site_count; i++) {
        const struct ht_site *site = c->tag->sites[i];
        if (ht_selects_site(s, r->symbolizer, site))
            c->sites[c->site_count++] = site;
        else
            c->sites_left_out += ht_site_amount(site, s->view).bytes != 0;
    }
    sorting_view = s->view;
    if (c->site_count > 0)
        qsort(c->sites, c->site_count, sizeof(struct ht_site *), by_amount);
    while (s->top > 0 && c->site_count > s->top)
        c->sites_left_out += ht_site_amount(c->sites[--c->site_count], s->view).bytes != 0;
}

static void choose_worst(struct ht_report *r)
{
    r->worst = NULL;
    for (size_t i = 0; i < r->controller_count; i++)
        if (!r->worst || is_worse(&r->controllers[i], r->worst))
            r->worst = &r->controllers[i];
}

bool ht_report_look_back(struct ht_report *r)
{
    char *error = NULL;
    uint64_t baseline = r->selection.baseline_ns;
    if (r->looked_back)
        return true;
    if (baseline == HTL_UNKNOWN)
        baseline = ht_standard_baseline(r->profile);
    /* The profile is only added to: `then` of its tags and sites. */
    r->looked_back = ht_look_back((struct ht_profile *)r->profile, baseline, r->moments, &error);
    if (!r->looked_back)
        ht_complain("%s: %s", r->profile->file, error);
    free(error);
    return r->looked_back;
}

void ht_report_select(struct ht_report *r, const struct ht_selection *selection)
{
    size_t kept = 0;
    bool by_site = selection->functions.count || selection->modules.count || selection->least_bytes;
    r->selection = *selection;
    if (ht_view_looks_back(selection->view) && !ht_report_look_back(r))
        r->selection.view = HT_VIEW_LIVE;
    for (size_t i = 0; i < r->controller_count; i++) {
        struct ht_controller *c = &r->controllers[i];
        select_sites(r, c);
        if (ht_selects_tag(selection, c->tag) && (c->site_count > 0 || !by_site))
            r->controllers[kept++] = *c;
        else
            free(c->sites);
    }
    r->controllers_left_out += r->controller_count - kept;
    r->controller_count = kept;
    choose_worst(r);
}

/*
 * The line and the verdict go by different samples and rules. Beside a leak stands the rate that
 * was found to be one, so that its interval never says that there may be none.
 */
static void judge_process(struct ht_report *r)
{
    ht_rss_trend(r->profile, &r->trend);
    ht_verdict_of_process(r->profile, &r->process);
    if (r->process.kind != HT_VERDICT_LEAK)
        return;
    r->trend.mb_per_hour = r->process.mb_per_hour;
    r->trend.ci_low = r->process.ci_low;
    r->trend.ci_high = r->process.ci_high;
}

void ht_report_make(const struct ht_profile *p, struct ht_symbolizer *symbolizer,
                    struct ht_report *r)
{
    *r = (struct ht_report){
        .profile = p,
        .symbolizer = symbolizer,
        .controllers = ht_allocate_zeroed(p->tag_count, sizeof *r->controllers),
        .controller_count = p->tag_count,
        .limit_mb = ht_profile_leak_threshold(p) / (double)HT_MB,
    };
    for (size_t i = 0; i < p->tag_count; i++) {
        struct ht_controller *c = &r->controllers[i];
        c->tag = p->tags[i];
        c->mb_per_1000 = ht_tag_bytes_per_instantiation(c->tag) * 1000 / (double)HT_MB;
        c->one_off = ht_one_off_of_tag(p, c->tag);
        c->mb_per_1000_recurring = ht_recurring_bytes_each(c) * 1000 / (double)HT_MB;
        c->times_limit = c->mb_per_1000_recurring / r->limit_mb;
        ht_verdict_of_tag(p, c->tag, &c->verdict);
    }
    if (p->tag_count > 0)
        qsort(r->controllers, p->tag_count, sizeof *r->controllers, by_verdict);
    judge_process(r);
    ht_report_select(r, &HT_SELECT_ALL);
}

/* The moments of several processes, each of which has its own. */
static void add_up_moments(struct ht_report *r)
{
    for (int m = 0; m < HT_MOMENTS; m++) {
        r->moments[m] = r->parts[0].moments[m];
        for (size_t i = 1; i < r->part_count; i++) {
            const struct ht_look_back *part = &r->parts[i].moments[m];
            r->moments[m].known |= part->known;
            r->moments[m].live_bytes += part->live_bytes;
            r->moments[m].left_out_bytes += part->left_out_bytes;
            r->moments[m].before_the_file |= part->before_the_file;
        }
    }
}

void ht_report_make_merged(const struct ht_profile *merged, const struct ht_report *parts,
                           size_t part_count, struct ht_symbolizer *symbolizer, struct ht_report *r)
{
    ht_report_make(merged, symbolizer, r);
    r->parts = parts;
    r->part_count = part_count;
    r->looked_back = true;
    for (size_t i = 0; i < part_count; i++)
        r->looked_back &= parts[i].looked_back;
    add_up_moments(r);
}

void ht_report_clear(struct ht_report *r)
{
    for (size_t i = 0; i < r->controller_count; i++)
        free(r->controllers[i].sites);
    free(r->controllers);
    *r = (struct ht_report){0};
}

bool ht_report_truncated(const struct ht_profile *p)
{
    return p->reading.torn || p->quality.listing_is_cut || p->last.truncated > 0;
}

bool ht_report_was_stopped(const struct ht_report *r)
{
    bool stopped = r->profile->resumed_ns > 0;
    for (size_t i = 0; i < r->part_count; i++)
        stopped |= ht_report_was_stopped(&r->parts[i]);
    return stopped;
}

int ht_report_static_allocator(const struct ht_profile *p)
{
    static const struct {
        const char *value;
        int meaning;
    } words[] = {{"1", 1}, {"0", 0}, {"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0}};
    const char *value = ht_profile_setting(p, "static-allocator");
    for (size_t i = 0; value && i < sizeof words / sizeof *words; i++)
        if (strcmp(value, words[i].value) == 0)
            return words[i].meaning;
    return -1;
}

const char *ht_alert_kind_name(unsigned kind)
{
#define ALERT_NAME(id, value, name) [value] = name,
    static const char *const names[] = {HEAPTALLY_ALERT_KINDS(ALERT_NAME)};
#undef ALERT_NAME
    return kind < sizeof names / sizeof *names ? names[kind] : NULL;
}
