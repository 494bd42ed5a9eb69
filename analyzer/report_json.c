/*
 * The report for programs. Keys are stable; what is not known is null, never 0. The document is
 * streamed, one line for each block, controller and site.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>

#include "diagnose.h"
#include "heaptally/units.h"
#include "json_parts.h"

/* ---- blocks ---------------------------------------------------------------------------------- */

static json_t *memory_block(const struct ht_profile *p)
{
    double growth = NAN, unaccounted = NAN;
    char *diagnosis = ht_diagnosis_of(p);
    json_t *why = ht_json_text(diagnosis);
    free(diagnosis);
    if (p->rss_last != HTL_UNKNOWN) {
        growth = ((double)p->rss_last - (double)p->rss_baseline) / (double)HT_MB;
        unaccounted = ((double)p->rss_last - (double)p->live_bytes - (double)p->last.own_bytes) /
                      (double)HT_MB;
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rss_mb",
                     ht_json_megabytes(p->rss_last), "baseline_mb",
                     ht_json_megabytes(p->rss_baseline), "growth_mb", ht_json_real(growth),
                     "live_bytes", ht_json_number_if(p->has_tick, p->live_bytes), "live_blocks",
                     ht_json_number_if(p->has_tick, p->live_blocks), "unaccounted_mb",
                     ht_json_real(unaccounted), "diagnosis", why);
}

static json_t *trend_block(const struct ht_report *r)
{
    const struct ht_rss_trend *t = &r->trend;
    json_t *monotonic =
        t->samples < HT_TREND_LEAST_SAMPLES ? json_null() : json_boolean(t->monotonic);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "growth_rate_mb_per_hour",
                     ht_json_real(t->mb_per_hour), "ci_low", ht_json_real(t->ci_low), "ci_high",
                     ht_json_real(t->ci_high), "samples", ht_json_number(t->samples),
                     "time_span_hours", t->samples > 0 ? ht_json_real(t->hours) : json_null(),
                     "monotonic_growth", monotonic, "verdict", ht_verdict_name(r->process.kind));
}

/* ---- controllers ----------------------------------------------------------------------------- */

/* The figures of a view, where it is another than live. */
static void put_amount(FILE *out, enum ht_view view, struct ht_amount amount)
{
    if (view != HT_VIEW_LIVE)
        fprintf(out, ",\"view_bytes\":%lld,\"view_blocks\":%lld", (long long)amount.bytes,
                (long long)amount.blocks);
}

static void put_site(FILE *out, const struct ht_report *r, struct ht_json_places *places,
                     const struct ht_site *site)
{
    struct ht_verdict verdict;
    ht_verdict_of_site(r->profile, site, &verdict);
    fputs("{", out);
    ht_json_put_inner(out,
                      json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:b, s:b}", "live_bytes",
                                ht_json_number(site->live_bytes), "live_blocks",
                                ht_json_number(site->live_blocks), "allocated_bytes",
                                ht_json_number(site->figures.allocated_bytes), "allocated_blocks",
                                ht_json_number(site->figures.allocated_blocks), "verdict",
                                ht_verdict_name(verdict.kind), "growth_rate_mb_per_hour",
                                ht_json_real(verdict.mb_per_hour), "cut",
                                (site->stack->flags & HTL_STACK_CUT) != 0, "fallback",
                                (site->stack->flags & HTL_STACK_FALLBACK) != 0));
    put_amount(out, r->selection.view, ht_site_amount(site, r->selection.view));
    fputs(",\"stack\":", out);
    ht_json_put_stack(out, places, site->stack);
    fputs("}", out);
}

/* The figures of a controller, without its sites. */
static json_t *controller_head(const struct ht_controller *c)
{
    const struct ht_tag *tag = c->tag;
    const struct ht_verdict *v = &c->verdict;
    uint64_t made = tag->latest.instantiations, cycles = tag->latest.cycles;
    double per_cycle =
        cycles == 0 || cycles == HTL_UNKNOWN ? NAN : (double)tag->live_bytes / (double)cycles;
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "tag", tag->name, "verdict", ht_verdict_name(v->kind), "reason", v->reason, "live_bytes",
        ht_json_number(tag->live_bytes), "live_blocks", ht_json_number(tag->live_blocks),
        "peak_bytes", ht_json_number(tag->peak_bytes), "allocated_bytes",
        ht_json_number(tag->latest.figures.allocated_bytes), "allocated_blocks",
        ht_json_number(tag->latest.figures.allocated_blocks), "instantiations",
        ht_json_number(made), "mb_per_1000", ht_json_real(c->mb_per_1000), "mb_per_1000_recurring",
        ht_json_real(c->mb_per_1000_recurring), "cycles", ht_json_number(cycles), "bytes_per_cycle",
        ht_json_real(per_cycle), "growth_rate_mb_per_hour", ht_json_real(v->mb_per_hour), "ci_low",
        ht_json_real(v->ci_low), "ci_high", ht_json_real(v->ci_high), "seconds_to_limit",
        ht_json_real(v->seconds_to_limit));
}

/* One line for each controller and each site, so that two documents can be compared by line. */
static void put_controllers(FILE *out, const struct ht_report *r)
{
    struct ht_json_places *places = ht_json_places_new(r->symbolizer);
    fputs("[", out);
    for (size_t i = 0; i < r->controller_count; i++) {
        const struct ht_controller *c = &r->controllers[i];
        fputs(i > 0 ? ",\n{" : "\n{", out);
        ht_json_put_inner(out, controller_head(c));
        put_amount(out, r->selection.view, ht_tag_amount(c->tag, r->selection.view));
        fputs(",\"sites\":[", out);
        for (size_t k = 0; k < c->site_count; k++) {
            fputs(k > 0 ? ",\n" : "\n", out);
            put_site(out, r, places, c->sites[k]);
        }
        fputs("]}", out);
    }
    fputs("]", out);
    ht_json_places_free(places);
}

/* ---- regions without allocations ------------------------------------------------------------- */

static json_t *violation_head(const struct ht_site *site)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:b, s:b}", "tag", site->tag->name, "allocations",
                     ht_json_number(site->figures.allocated_blocks), "bytes",
                     ht_json_number(site->figures.allocated_bytes), "live_bytes",
                     ht_json_number(site->live_bytes), "cut",
                     (site->stack->flags & HTL_STACK_CUT) != 0, "fallback",
                     (site->stack->flags & HTL_STACK_FALLBACK) != 0);
}

/* Only regions in which something was allocated; an empty array says that all promises were kept,
 * or that none was made. */
static void put_regions(FILE *out, const struct ht_report *r)
{
    struct ht_json_places *places = ht_json_places_new(r->symbolizer);
    fputs("[", out);
    for (size_t i = 0; i < r->profile->region_count; i++) {
        const struct ht_region *region = r->profile->regions[i];
        fputs(i > 0 ? ",\n{" : "\n{", out);
        ht_json_put_inner(out, json_pack("{s:s, s:o, s:o}", "region", region->name, "allocations",
                                         ht_json_number(region->allocations), "bytes",
                                         ht_json_number(region->bytes)));
        fputs(",\"sites\":[", out);
        for (size_t k = 0; k < region->site_count; k++) {
            fputs(k > 0 ? ",\n{" : "\n{", out);
            ht_json_put_inner(out, violation_head(region->sites[k]));
            fputs(",\"stack\":", out);
            ht_json_put_stack(out, places, region->sites[k]->stack);
            fputs("}", out);
        }
        fputs("]}", out);
    }
    fputs("]", out);
    ht_json_places_free(places);
}

/* ---- processes ------------------------------------------------------------------------------- */

/* Of one process among several: who holds how much in it. */
static json_t *part_object(const struct ht_report *part)
{
    json_t *controllers = json_array();
    for (size_t i = 0; i < part->controller_count; i++)
        json_array_append_new(controllers, controller_head(&part->controllers[i]));
    return json_pack("{s:o, s:o, s:o, s:o}", "process", ht_json_process(part->profile), "memory",
                     memory_block(part->profile), "trend", trend_block(part), "controllers",
                     controllers);
}

static json_t *parts_array(const struct ht_report *r)
{
    json_t *array = json_array();
    for (size_t i = 0; i < r->part_count; i++)
        json_array_append_new(array, part_object(&r->parts[i]));
    return array;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static const char *name_in(const char *const *names, size_t count, size_t i)
{
    return i < count ? names[i] : NULL;
}

static json_t *alert_object(const struct ht_profile *p, const struct ht_alert *alert)
{
    static const char *const states[] = {"enter", "escalate", "clear"};
    static const char *const severities[] = {"info", "warning", "critical"};
    const struct htl_alert *a = &alert->head;
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "time",
        ht_json_moment(a->realtime_ns), "kind", ht_json_text(ht_alert_kind_name(a->kind)), "state",
        ht_json_text(name_in(states, 3, a->state)), "severity",
        ht_json_text(name_in(severities, 3, a->severity)), "tag",
        ht_json_text(ht_profile_alert_subject(p, alert)), "value_mb", ht_json_real(a->value_mb),
        "threshold_mb", ht_json_real(a->threshold_mb), "rss_mb", ht_json_real(a->rss_mb),
        "growth_mb", ht_json_real(a->growth_mb), "message", ht_json_text(alert->message));
}

static json_t *alerts_array(const struct ht_profile *p)
{
    json_t *array = json_array();
    for (size_t i = 0; i < p->alert_count; i++)
        json_array_append_new(array, alert_object(p, &p->alerts[i]));
    return array;
}

/* Made after the stacks: only then it is known which modules were asked for symbols. */
static json_t *modules_array(const struct ht_report *r)
{
    const struct ht_module *module;
    const char *why;
    json_t *array = json_array();
    for (size_t i = 0; (module = ht_symbolizer_problem(r->symbolizer, i, &why)); i++)
        json_array_append_new(array,
                              json_pack("{s:s, s:s}", "module", module->label, "problem", why));
    return array;
}

static json_t *quality_block(const struct ht_report *r)
{
    const struct ht_profile *p = r->profile;
    const struct htl_tick *last = &p->last;
    uint64_t allocated = last->fallback.allocated_bytes, freed = last->fallback.freed_bytes;
    int linked_in = ht_report_static_allocator(p);
    bool known = p->has_tick;
    return json_pack("{s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:b, s:o, s:o, s:o, s:o}",
                     "fallback_bytes", ht_json_number_if(known, allocated), "fallback_live_bytes",
                     ht_json_number_if(known, allocated > freed ? allocated - freed : 0),
                     "foreign_frees", ht_json_number_if(known, last->foreign_frees),
                     "foreign_bytes", ht_json_number_if(known, last->foreign_bytes),
                     "counting_was_stopped", ht_report_was_stopped(r), "suspected_overruns",
                     ht_json_number_if(known, last->suspected_overruns), "static_allocator",
                     linked_in < 0 ? json_null() : json_boolean(linked_in), "truncated",
                     ht_report_truncated(p), "torn", ht_json_text(p->reading.torn), "dropped_ticks",
                     ht_json_number_if(known, last->dropped_ticks), "own_bytes",
                     ht_json_number_if(known, last->own_bytes), "modules_without_symbols",
                     modules_array(r));
}

/* One more member of the document; gives the value back. */
static void put_block(FILE *out, const char *name, json_t *value)
{
    fprintf(out, ",\n\"%s\":", name);
    ht_json_put(out, value);
}

/* What "view_bytes" and "view_blocks" are; only where they are not the live ones. */
static json_t *view_block(const struct ht_report *r)
{
    enum ht_view view = r->selection.view;
    const struct ht_look_back *then =
        &r->moments[view == HT_VIEW_PEAK ? HT_AT_PEAK : HT_AT_BASELINE];
    bool known = ht_view_looks_back(view) && then->known;
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", ht_view_name(view), "then_s",
                     known ? ht_json_real((double)then->t_ns / 1e9) : json_null(),
                     "then_live_bytes", ht_json_number_if(known, then->live_bytes),
                     "then_unlisted_bytes", ht_json_number_if(known, then->left_out_bytes),
                     "then_is_first_tick",
                     known ? json_boolean(then->before_the_file) : json_null());
}

void ht_write_json(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    (void)style;
    fputs("{\"schema\":\"heaptally-report/1\"", out);
    put_block(out, "process", ht_json_process(r->profile));
    put_block(out, "memory", memory_block(r->profile));
    put_block(out, "trend", trend_block(r));
    if (r->selection.view != HT_VIEW_LIVE)
        put_block(out, "view", view_block(r));
    fputs(",\n\"controllers\":", out);
    put_controllers(out, r);
    fputs(",\n\"no_alloc\":", out);
    put_regions(out, r);
    put_block(out, "alerts", alerts_array(r->profile));
    if (r->part_count > 0)
        put_block(out, "processes", parts_array(r));
    put_block(out, "quality", quality_block(r));
    fputs("}\n", out);
}
