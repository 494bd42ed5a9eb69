#include "surface.h"

#include <math.h>
#include <string.h>

#include "aggregate.h"
#include "conditions.h"
#include "detect.h"
#include "heaptally/trend_text.h"
#include "heaptally/units.h"
#include "history.h"
#include "options.h"
#include "thresholds.h"

#define MB_BYTES       ((double)HT_MB)
#define CRITICAL_ABOVE 1.5 /* times the threshold */

/* ---- published figures --------------------------------------------------------------------------
 */

struct figures {
    uint64_t number; /* of the last event on resident memory */
    uint64_t realtime_ns;
    uint64_t rss_bytes, baseline_bytes, threshold_bytes;
};

/*
 * Two sets of figures that take turns: the monitor writes the one that is not shown, then shows it.
 * Who reads the one that is shown never waits for the monitor, not even if it stands in the middle
 * of its writing (a thread of higher priority on the same processor would wait for ever); it reads
 * again only if another turn has come meanwhile. Every word is atomic, so that a torn read is only
 * a wrong one that is not used.
 */
static const struct figures unknown = {.rss_bytes = HTL_UNKNOWN,
                                       .threshold_bytes = HT_NO_THRESHOLD};
static struct {
    uint32_t turn;
    struct figures sets[2];
} published = {.sets = {{.rss_bytes = HTL_UNKNOWN, .threshold_bytes = HT_NO_THRESHOLD}}};

static uint64_t last_number;

#define STORE(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELAXED)
#define LOAD(place)         __atomic_load_n(&(place), __ATOMIC_RELAXED)

void ht_surface_publish(void)
{
    const struct ht_moment *moment = ht_detect_last_tick();
    uint32_t turn = LOAD(published.turn);
    struct figures *set = &published.sets[(turn + 1) % 2];
    __atomic_thread_fence(__ATOMIC_RELEASE);
    STORE(set->number, last_number);
    STORE(set->realtime_ns, moment->realtime_ns);
    STORE(set->rss_bytes, moment->rss_bytes);
    STORE(set->baseline_bytes, ht_detect_baseline(HTL_HISTORY_PROCESS));
    STORE(set->threshold_bytes, ht_threshold(HTL_HISTORY_PROCESS));
    __atomic_store_n(&published.turn, turn + 1, __ATOMIC_RELEASE);
}

void ht_surface_forget(void)
{
    published.turn = 0;
    published.sets[0] = unknown;
    last_number = 0;
}

void ht_surface_heard(const struct ht_alert *alert)
{
    if (alert->kind == HEAPTALLY_ALERT_RSS_GROWTH)
        last_number = alert->number;
    ht_surface_publish();
}

static double mb_or_nan(uint64_t bytes)
{
    return bytes == HTL_UNKNOWN ? NAN : (double)bytes / MB_BYTES;
}

static void put_words(char *out, size_t size, const char *words)
{
    struct ht_text text = ht_text_begin(out, size);
    ht_text_put(&text, words);
}

/* What the reference says of growth above its threshold, to the letter. */
static void put_message(struct heaptally_alert *alert)
{
    struct ht_text text = ht_text_begin(alert->message, sizeof alert->message);
    ht_text_put(&text, "Memory threshold exceeded: ");
    ht_text_number(&text, alert->growth_mb, 1);
    ht_text_put(&text, " MB growth (threshold: ");
    ht_text_number(&text, alert->threshold_mb, 1);
    ht_text_put(&text, " MB)");
}

bool ht_surface_check(struct heaptally_alert *alert)
{
    uint32_t turn;
    memset(alert, 0, sizeof *alert);
    alert->size = sizeof *alert;
    uint64_t realtime, rss, baseline, threshold;
    do {
        turn = __atomic_load_n(&published.turn, __ATOMIC_ACQUIRE);
        const struct figures *set = &published.sets[turn % 2];
        alert->number = LOAD(set->number);
        realtime = LOAD(set->realtime_ns);
        rss = LOAD(set->rss_bytes);
        baseline = LOAD(set->baseline_bytes);
        threshold = LOAD(set->threshold_bytes);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (turn != LOAD(published.turn));
    alert->timestamp = (double)realtime * 1e-9;
    alert->rss_mb = mb_or_nan(rss);
    alert->growth_mb = alert->rss_mb - mb_or_nan(baseline);
    alert->threshold_mb = mb_or_nan(threshold);
    alert->value_mb = alert->growth_mb;
    if (!(alert->growth_mb > alert->threshold_mb))
        return false;
    bool critical = alert->growth_mb > CRITICAL_ABOVE * alert->threshold_mb;
    put_words(alert->severity, sizeof alert->severity, critical ? "critical" : "warning");
    put_words(alert->kind, sizeof alert->kind, "rss_growth");
    put_words(alert->state, sizeof alert->state, critical ? "escalate" : "enter");
    put_message(alert);
    return true;
}

/* ---- trends -------------------------------------------------------------------------------------
 */

/* The plain trend of a tag: of the last points of its history, which stand for one tick each until
 * the run is long. */
static void reference_of_tag(uint32_t tag, struct ht_reference_trend *out)
{
    static struct ht_reference_sample at[HT_HISTORY_POINTS];
    const struct ht_history *history = ht_history(tag);
    uint64_t window = ht_settings.value[HT_OPT_TREND_WINDOW];
    uint32_t count = history ? history->count : 0, kept = count < window ? count : (uint32_t)window;
    struct ht_reference_samples samples = {.at = at, .capacity = HT_HISTORY_POINTS, .count = kept};
    for (uint32_t i = 0; i < kept; i++) {
        const struct htl_history_point *point = &history->points[count - kept + i];
        at[i] = (struct ht_reference_sample){point->t_ns, point->low_bytes};
    }
    *out = (struct ht_reference_trend){.insufficient_data = true};
    if (kept)
        ht_reference_trend(&samples, ht_detect_baseline(tag), out);
}

void ht_surface_trend(uint32_t subject, struct heaptally_trend *trend)
{
    static struct ht_judgement judgement;
    struct ht_reference_trend plain;
    if (subject == HTL_HISTORY_PROCESS)
        ht_detect_reference(&plain);
    else
        reference_of_tag(subject, &plain);
    ht_detect_judge(subject, &judgement);
    memset(trend, 0, sizeof *trend);
    trend->size = sizeof *trend;
    trend->insufficient_data = plain.insufficient_data;
    trend->samples = plain.samples;
    bool known = !plain.insufficient_data;
    trend->monotonic_growth = known && plain.monotonic_growth;
    trend->current_mb = known ? plain.current_mb : NAN;
    trend->baseline_mb = known ? plain.baseline_mb : NAN;
    trend->growth_mb = known ? plain.growth_mb : NAN;
    trend->growth_rate_mb_per_hour = known ? plain.growth_rate_mb_per_hour : NAN;
    trend->time_span_hours = known ? plain.time_span_hours : NAN;
    put_words(trend->shape, sizeof trend->shape, known ? ht_shape_name(plain.shape) : "");
    put_words(trend->verdict, sizeof trend->verdict, ht_trend_name(judgement.verdict.call));
    trend->leak_rate_mb_per_hour = judgement.verdict.bytes_per_hour / MB_BYTES;
    trend->ci_low = judgement.verdict.ci_low / MB_BYTES;
    trend->ci_high = judgement.verdict.ci_high / MB_BYTES;
    trend->seconds_to_limit = judgement.verdict.seconds_to_limit;
    put_words(trend->reason, sizeof trend->reason, judgement.reason);
}

void ht_surface_put_trend(const struct heaptally_trend *trend, struct ht_out *out)
{
    const struct {
        const char *key;
        double value;
        unsigned decimals;
    } numbers[] = {
        {"current_mb", trend->current_mb, 3},
        {"baseline_mb", trend->baseline_mb, 3},
        {"growth_mb", trend->growth_mb, 3},
        {"growth_rate_mb_per_hour", trend->growth_rate_mb_per_hour, 3},
        {"time_span_hours", trend->time_span_hours, 3},
        {"leak_rate_mb_per_hour", trend->leak_rate_mb_per_hour, 6},
        {"ci_low", trend->ci_low, 6},
        {"ci_high", trend->ci_high, 6},
        {"seconds_to_limit", trend->seconds_to_limit, 0},
    };
    ht_out_format(out, "{\"insufficient_data\": %s, \"samples\": %llu",
                  trend->insufficient_data ? "true" : "false", (unsigned long long)trend->samples);
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        ht_out_key(out, numbers[i].key);
        ht_out_json_number(out, numbers[i].value, numbers[i].decimals);
    }
    ht_out_key(out, "monotonic_growth");
    ht_out_text(out, trend->insufficient_data  ? "null"
                     : trend->monotonic_growth ? "true"
                                               : "false");
    ht_out_key(out, "shape");
    if (trend->insufficient_data)
        ht_out_text(out, "null");
    else
        ht_out_json_string(out, trend->shape, strlen(trend->shape));
    ht_out_key(out, "verdict");
    ht_out_json_string(out, trend->verdict, strlen(trend->verdict));
    ht_out_key(out, "reason");
    ht_out_json_string(out, trend->reason, strlen(trend->reason));
    ht_out_text(out, "}");
}

/* ---- what instantiations cost -------------------------------------------------------------------
 */

/* Puts a leak into its place among those that are kept: the worst first. */
static void keep_leak(struct heaptally_leaks *leaks, const struct heaptally_leak *leak)
{
    enum { ROOM = sizeof leaks->leaks / sizeof *leaks->leaks };
    uint32_t kept = leaks->leak_count < ROOM ? leaks->leak_count : ROOM, at = kept;
    leaks->leak_count++;
    while (at > 0 && leaks->leaks[at - 1].exceeded_by_mb < leak->exceeded_by_mb)
        at--;
    if (at == ROOM)
        return;
    uint32_t moved = (kept < ROOM ? kept : ROOM - 1) - at;
    memmove(&leaks->leaks[at + 1], &leaks->leaks[at], moved * sizeof *leak);
    leaks->leaks[at] = *leak;
}

void ht_surface_leaks(double mb_per_1000, struct heaptally_leaks *leaks)
{
    double limit =
        mb_per_1000 > 0 ? mb_per_1000 : (double)ht_settings.value[HT_OPT_LEAK_THRESHOLD] / MB_BYTES;
    memset(leaks, 0, sizeof *leaks);
    leaks->size = sizeof *leaks;
    leaks->total_growth_mb = ht_detect_growth(HTL_HISTORY_PROCESS) / MB_BYTES;
    for (uint32_t i = 0; i < ht_sums.tag_count; i++) {
        uint32_t tag = ht_sums.tags[i];
        if (!ht_tag_view(tag)->used)
            continue;
        double each = ht_conditions_mb_per_1000(tag);
        uint64_t made = ht_tag_instantiations(tag);
        leaks->total_instantiations += made == HTL_UNKNOWN ? 0 : made;
        if (!(each > limit))
            continue;
        struct heaptally_leak leak = {
            .instantiations = made,
            .live_bytes = ht_live_bytes(&ht_tag_view(tag)->now),
            .memory_per_1000_mb = each,
            .threshold_mb = limit,
            .exceeded_by_mb = each - limit,
        };
        memcpy(leak.tag, ht_tag(tag)->name, ht_tag(tag)->length);
        keep_leak(leaks, &leak);
    }
    leaks->has_leaks = leaks->leak_count > 0;
}

void ht_surface_put_leaks(const struct heaptally_leaks *leaks, struct ht_out *out)
{
    enum { ROOM = sizeof leaks->leaks / sizeof *leaks->leaks };
    ht_out_format(out, "{\"has_leaks\": %s, \"leak_count\": %u, \"leaks\": {",
                  leaks->has_leaks ? "true" : "false", (unsigned)leaks->leak_count);
    for (uint32_t i = 0; i < leaks->leak_count && i < ROOM; i++) {
        const struct heaptally_leak *leak = &leaks->leaks[i];
        ht_out_comma(out);
        ht_out_json_string(out, leak->tag, strlen(leak->tag));
        ht_out_text(out, ": {\"memory_per_1000_mb\": ");
        ht_out_json_number(out, leak->memory_per_1000_mb, 3);
        ht_out_key(out, "threshold_mb");
        ht_out_json_number(out, leak->threshold_mb, 3);
        ht_out_key(out, "exceeded_by_mb");
        ht_out_json_number(out, leak->exceeded_by_mb, 3);
        ht_out_key(out, "instantiations");
        ht_out_json_count(out, leak->instantiations);
        ht_out_key(out, "live_bytes");
        ht_out_json_count(out, leak->live_bytes);
        ht_out_text(out, "}");
    }
    ht_out_format(out, "}, \"total_instantiations\": %llu, \"total_growth_mb\": ",
                  (unsigned long long)leaks->total_instantiations);
    ht_out_json_number(out, leaks->total_growth_mb, 3);
    ht_out_text(out, "}");
}

void ht_surface_put_tracker(struct ht_out *out)
{
    uint64_t made = 0;
    for (uint32_t tag = 1; tag < HT_TAGS; tag++)
        if (ht_tag_view(tag)->used && ht_tag_instantiations(tag) != HTL_UNKNOWN)
            made += ht_tag_instantiations(tag);
    ht_out_text(out, "{\"initial_memory_mb\": ");
    ht_out_json_number(out, mb_or_nan(ht_detect_baseline(HTL_HISTORY_PROCESS)), 3);
    ht_out_key(out, "current_memory_mb");
    ht_out_json_number(out, mb_or_nan(ht_detect_last_tick()->rss_bytes), 3);
    ht_out_key(out, "total_growth_mb");
    ht_out_json_number(out, ht_detect_growth(HTL_HISTORY_PROCESS) / MB_BYTES, 3);
    ht_out_format(out, ", \"total_instantiations\": %llu, \"by_controller\": {",
                  (unsigned long long)made);
    bool first = true;
    for (uint32_t tag = 1; tag < HT_TAGS; tag++) {
        if (!ht_tag_view(tag)->used || ht_tag_instantiations(tag) == HTL_UNKNOWN)
            continue;
        ht_out_text(out, first ? "" : ", ");
        first = false;
        ht_out_json_string(out, ht_tag(tag)->name, ht_tag(tag)->length);
        ht_out_text(out, ": {\"count\": ");
        ht_out_json_count(out, ht_tag_instantiations(tag));
        ht_out_format(out, ", \"live_bytes\": %llu, \"memory_per_1000_instantiations_mb\": ",
                      (unsigned long long)ht_live_bytes(&ht_tag_view(tag)->now));
        ht_out_json_number(out, ht_conditions_mb_per_1000(tag), 3);
        ht_out_text(out, "}");
    }
    ht_out_text(out, "}}");
}

/* ---- the memory report --------------------------------------------------------------------------
 */

static void put_line(struct ht_out *out, const char *label, double value, unsigned decimals,
                     const char *unit)
{
    ht_out_text(out, label);
    ht_out_number(out, value, decimals);
    ht_out_text(out, unit);
}

static void put_controller(uint32_t tag, struct ht_out *out)
{
    static struct ht_judgement judgement;
    const struct ht_tag_view *view = ht_tag_view(tag);
    double each = ht_conditions_mb_per_1000(tag);
    ht_detect_judge(tag, &judgement);
    ht_out_text(out, "\n");
    ht_out_bytes(out, ht_tag(tag)->name, ht_tag(tag)->length);
    put_line(out, ": ", (double)ht_live_bytes(&view->now) / MB_BYTES, 2, " MB live in ");
    ht_out_format(out, "%llu blocks", (unsigned long long)ht_live_blocks(&view->now));
    if (!isnan(each))
        put_line(out, ", ", each, 2, " MB per 1000 instantiations");
    ht_out_format(out, ", %s: %s", ht_trend_name(judgement.verdict.call), judgement.reason);
}

void ht_surface_put_report(struct ht_out *out)
{
    struct ht_reference_trend trend;
    ht_detect_reference(&trend);
    if (trend.insufficient_data) {
        ht_out_text(out, "Insufficient data for memory report");
        return;
    }
    ht_out_text(out, "=== Memory Monitor Report ===\n");
    put_line(out, "Current RSS: ", trend.current_mb, 1, " MB\n");
    put_line(out, "Baseline: ", trend.baseline_mb, 1, " MB\n");
    put_line(out, "Growth: ", trend.growth_mb, 1, " MB\n");
    put_line(out, "Growth Rate: ", trend.growth_rate_mb_per_hour, 2, " MB/hour\n");
    put_line(out, "Time Span: ", trend.time_span_hours, 2, " hours\n");
    ht_out_format(out, "Samples: %u\n", (unsigned)trend.samples);
    ht_out_format(out, "Monotonic Growth: %s\n", trend.monotonic_growth ? "Yes" : "No");
    put_line(out, "Threshold: ", mb_or_nan(ht_threshold(HTL_HISTORY_PROCESS)), 1, " MB\n");
    ht_out_text(out, "==============================");
    for (uint32_t tag = 1; tag < HT_TAGS; tag++)
        if (ht_tag_view(tag)->used)
            put_controller(tag, out);
}
