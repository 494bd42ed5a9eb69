/*
 * The report for programs. Keys are stable; what is not known is null, never 0.
 *
 * Frames are many and alike: the objects of one place (module, offset) are made once and shared by
 * all stacks that pass through it, so that memory follows the number of places, not of frames.
 */
#include "report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <uthash.h>

#include "heaptally/units.h"
#include "text.h"

/* The frames of one place, innermost function first. */
struct shared_place {
    struct ht_frame frame; /* key */
    json_t *frames;        /* array of objects */
    UT_hash_handle hh;
};

/* ---- values ---------------------------------------------------------------------------------- */

static json_t *number(uint64_t value)
{
    return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

static json_t *number_if(bool known, uint64_t value)
{
    return known ? number(value) : json_null();
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *megabytes(uint64_t bytes)
{
    return bytes == HTL_UNKNOWN ? json_null() : json_real((double)bytes / (double)HT_MB);
}

static json_t *text(const char *value)
{
    return value && *value ? json_string(value) : json_null();
}

/* 2025-01-31T23:59:59.123Z; null for 0, which no clock shows. */
static json_t *moment(uint64_t realtime_ns)
{
    time_t seconds = (time_t)(realtime_ns / HT_SECOND);
    struct tm parts;
    char day[48];
    if (realtime_ns == 0 || !gmtime_r(&seconds, &parts))
        return json_null();
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    return json_sprintf("%s.%03uZ", day, (unsigned)(realtime_ns % HT_SECOND / HT_MILLISECOND));
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static json_t *process_block(const struct ht_profile *p)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:b}", "exe", text(p->exe), "pid",
                     (json_int_t)p->start.pid, "host", text(p->host), "start",
                     moment(p->start.start_realtime_ns), "duration_s", real(p->duration_s),
                     "complete", p->has_end);
}

static json_t *memory_block(const struct ht_profile *p)
{
    double growth = NAN, unaccounted = NAN;
    if (p->rss_last != HTL_UNKNOWN) {
        growth = ((double)p->rss_last - (double)p->rss_baseline) / (double)HT_MB;
        unaccounted = ((double)p->rss_last - (double)p->live_bytes - (double)p->last.own_bytes) /
                      (double)HT_MB;
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:n}", "rss_mb", megabytes(p->rss_last),
                     "baseline_mb", megabytes(p->rss_baseline), "growth_mb", real(growth),
                     "live_bytes", number_if(p->has_tick, p->live_bytes), "live_blocks",
                     number_if(p->has_tick, p->live_blocks), "unaccounted_mb", real(unaccounted),
                     "diagnosis");
}

static json_t *trend_block(const struct ht_report *r)
{
    const struct ht_rss_trend *t = &r->trend;
    struct ht_verdict verdict;
    ht_verdict_of_process(r->profile, &verdict);
    json_t *monotonic =
        t->samples < HT_TREND_LEAST_SAMPLES ? json_null() : json_boolean(t->monotonic);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "growth_rate_mb_per_hour",
                     real(t->mb_per_hour), "ci_low", real(t->ci_low), "ci_high", real(t->ci_high),
                     "samples", number(t->samples), "time_span_hours",
                     t->samples > 0 ? real(t->hours) : json_null(), "monotonic_growth", monotonic,
                     "verdict", ht_verdict_name(verdict.kind));
}

static json_t *frame_object(const struct ht_frame *frame, const struct ht_function *function)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b}", "function", text(function->name), "file",
                     text(function->file), "line",
                     number_if(function->line > 0, (uint64_t)function->line), "module",
                     text(frame->module ? frame->module->label : NULL), "offset",
                     number(frame->offset), "inlined", function->inlined);
}

static const json_t *frames_of(const struct ht_report *r, struct shared_place **places,
                               const struct ht_frame *frame)
{
    struct shared_place *place;
    HASH_FIND(hh, *places, frame, sizeof *frame, place);
    if (place)
        return place->frames;
    const struct ht_place *known = ht_symbolize(r->symbolizer, frame);
    place = ht_allocate_zeroed(1, sizeof *place);
    place->frame = *frame;
    place->frames = json_array();
    for (size_t i = 0; i < known->count; i++)
        json_array_append_new(place->frames, frame_object(frame, &known->functions[i]));
    HASH_ADD(hh, *places, frame, sizeof *frame, place);
    return place->frames;
}

static json_t *stack_array(const struct ht_report *r, struct shared_place **places,
                           const struct ht_stack *stack)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < stack->frame_count; i++)
        json_array_extend(array, (json_t *)frames_of(r, places, &stack->frames[i]));
    return array;
}

static json_t *site_object(const struct ht_report *r, struct shared_place **places,
                           const struct ht_site *site)
{
    struct ht_verdict verdict;
    ht_verdict_of_site(r->profile, site, &verdict);
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:b, s:b, s:o}", "live_bytes",
                     number(site->live_bytes), "live_blocks", number(site->live_blocks),
                     "allocated_bytes", number(site->figures.allocated_bytes), "allocated_blocks",
                     number(site->figures.allocated_blocks), "verdict",
                     ht_verdict_name(verdict.kind), "growth_rate_mb_per_hour",
                     real(verdict.mb_per_hour), "cut", (site->stack->flags & HTL_STACK_CUT) != 0,
                     "fallback", (site->stack->flags & HTL_STACK_FALLBACK) != 0, "stack",
                     stack_array(r, places, site->stack));
}

static json_t *controller_object(const struct ht_report *r, struct shared_place **places,
                                 const struct ht_controller *c)
{
    const struct ht_tag *tag = c->tag;
    const struct ht_verdict *v = &c->verdict;
    uint64_t made = tag->latest.instantiations, cycles = tag->latest.cycles;
    double per_cycle =
        cycles == 0 || cycles == HTL_UNKNOWN ? NAN : (double)tag->live_bytes / (double)cycles;
    json_t *sites = json_array();
    for (size_t i = 0; i < tag->site_count; i++)
        json_array_append_new(sites, site_object(r, places, tag->sites[i]));
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o}",
        "tag", tag->name, "verdict", ht_verdict_name(v->kind), "reason", v->reason, "live_bytes",
        number(tag->live_bytes), "live_blocks", number(tag->live_blocks), "peak_bytes",
        number(tag->peak_bytes), "allocated_bytes", number(tag->latest.figures.allocated_bytes),
        "allocated_blocks", number(tag->latest.figures.allocated_blocks), "instantiations",
        number(made), "mb_per_1000", real(c->mb_per_1000), "mb_per_1000_recurring",
        real(c->mb_per_1000_recurring), "cycles", number(cycles), "bytes_per_cycle",
        real(per_cycle), "growth_rate_mb_per_hour", real(v->mb_per_hour), "ci_low", real(v->ci_low),
        "ci_high", real(v->ci_high), "seconds_to_limit", real(v->seconds_to_limit), "sites", sites);
}

static json_t *controllers_array(const struct ht_report *r)
{
    struct shared_place *places = NULL, *place, *next;
    json_t *array = json_array();
    for (size_t i = 0; i < r->controller_count; i++)
        json_array_append_new(array, controller_object(r, &places, &r->controllers[i]));
    HASH_ITER(hh, places, place, next)
    {
        HASH_DEL(places, place);
        json_decref(place->frames);
        free(place);
    }
    return array;
}

static const char *name_in(const char *const *names, size_t count, size_t i)
{
    return i < count ? names[i] : NULL;
}

static json_t *alert_object(const struct ht_profile *p, const struct ht_alert *alert)
{
    static const char *const states[] = {"enter", "escalate", "clear"};
    static const char *const severities[] = {"info", "warning", "critical"};
    const struct htl_alert *a = &alert->head;
    const struct ht_tag *tag;
    HASH_FIND(by_id, p->tags_by_id, &a->tag, sizeof a->tag, tag);
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "time", moment(a->realtime_ns),
        "kind", text(ht_alert_kind_name(a->kind)), "state", text(name_in(states, 3, a->state)),
        "severity", text(name_in(severities, 3, a->severity)), "tag", text(tag ? tag->name : NULL),
        "value_mb", real(a->value_mb), "threshold_mb", real(a->threshold_mb), "rss_mb",
        real(a->rss_mb), "growth_mb", real(a->growth_mb), "message", text(alert->message));
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
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "fallback_bytes",
                     number_if(known, allocated), "fallback_live_bytes",
                     number_if(known, allocated > freed ? allocated - freed : 0), "foreign_frees",
                     number_if(known, last->foreign_frees), "foreign_bytes",
                     number_if(known, last->foreign_bytes), "suspected_overruns",
                     number_if(known, last->suspected_overruns), "static_allocator",
                     linked_in < 0 ? json_null() : json_boolean(linked_in), "truncated",
                     ht_report_truncated(p), "torn", text(p->reading.torn), "dropped_ticks",
                     number_if(known, last->dropped_ticks), "own_bytes",
                     number_if(known, last->own_bytes), "modules_without_symbols",
                     modules_array(r));
}

void ht_write_json(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    (void)style;
    json_t *report = json_object();
    json_object_set_new(report, "schema", json_string("heaptally-report/1"));
    json_object_set_new(report, "process", process_block(r->profile));
    json_object_set_new(report, "memory", memory_block(r->profile));
    json_object_set_new(report, "trend", trend_block(r));
    json_object_set_new(report, "controllers", controllers_array(r));
    json_object_set_new(report, "alerts", alerts_array(r->profile));
    json_object_set_new(report, "quality", quality_block(r));
    json_dumpf(report, out, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    putc('\n', out);
    json_decref(report);
}
