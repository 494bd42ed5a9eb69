#include "detect.h"

#include <string.h>

#include "aggregate.h"
#include "heaptally/units.h"
#include "internal_heap.h"
#include "options.h"
#include "raw_io.h"
#include "thresholds.h"

#define LIMITS_EVERY (10 * HT_SECOND)

/* Subjects in one array: tags by their ids (0: the heap), then the process. */
#define SUBJECTS (HT_TAGS + 1)

static struct ht_trend *trends[SUBJECTS];
static uint64_t baselines[SUBJECTS]; /* HTL_UNKNOWN: resident memory could not be read */
static struct ht_moment last;

static struct ht_limit system_limit;
static uint64_t system_limit_read; /* when; 0: never */

/* Resident memory at the last ticks, for the plain trend. */
static struct ht_reference_sample *window;
static struct ht_reference_samples samples;

static uint32_t place(uint32_t subject)
{
    return subject < HT_TAGS ? subject : HT_TAGS;
}

/* ---- settings -----------------------------------------------------------------------------------
 */

struct ht_trend_settings ht_detect_settings(void)
{
    uint64_t interval = ht_settings.value[HT_OPT_INTERVAL], warmup = 0;
    if (ht_settings.given[HT_OPT_WARMUP]) {
        warmup = ht_settings.value[HT_OPT_WARMUP];
        if (warmup < HT_LEAST_WARMUP_TICKS * interval)
            warmup = HT_LEAST_WARMUP_TICKS * interval;
    }
    return (struct ht_trend_settings){(double)interval * 1e-9, (double)warmup * 1e-9};
}

static void say_if_warmup_is_short(void)
{
    static bool said;
    if (!said && ht_settings.given[HT_OPT_WARMUP] &&
        ht_settings.value[HT_OPT_WARMUP] <
            HT_LEAST_WARMUP_TICKS * ht_settings.value[HT_OPT_INTERVAL])
        ht_say("HEAPTALLY_WARMUP: is shorter than %u ticks; going on with %u ticks",
               HT_LEAST_WARMUP_TICKS, HT_LEAST_WARMUP_TICKS);
    said = true;
}

/* ---- what is fed --------------------------------------------------------------------------------
 */

/* Live bytes of a tag or of the heap, or resident memory, as of the last look. */
static uint64_t bytes_now(uint32_t subject, const struct ht_moment *moment)
{
    if (subject >= HT_TAGS)
        return moment->rss_bytes;
    return ht_live_bytes(subject ? &ht_tag_view(subject)->now : &ht_sums.total);
}

static void set_baselines(const struct ht_moment *moment)
{
    for (uint32_t tag = 0; tag < HT_TAGS; tag++)
        baselines[tag] = bytes_now(tag, moment);
    baselines[HT_TAGS] = moment->rss_bytes;
}

/* The trend of a subject, made and begun where there is none; NULL without memory. */
static struct ht_trend *trend_of(uint32_t subject)
{
    struct ht_trend **at = &trends[place(subject)];
    if (!*at) {
        *at = ht_heap_alloc(sizeof **at, 16);
        if (!*at)
            return NULL;
        struct ht_trend_settings settings = ht_detect_settings();
        ht_trend_init(*at, &settings);
    }
    return *at;
}

/* These counts only rise. Should one seem to fall, the trend is not to be lost for that. */
static void keep_from_falling(uint64_t *count, uint64_t before)
{
    if (before != HT_TREND_UNKNOWN && *count < before)
        *count = before;
}

void ht_detect_push(struct ht_trend *trend, struct ht_trend_sample *sample)
{
    if (trend->samples) {
        keep_from_falling(&sample->allocated_bytes, trend->last.allocated_bytes);
        keep_from_falling(&sample->instantiations, trend->last.instantiations);
    }
    ht_trend_push(trend, sample);
}

static void feed(uint32_t subject, struct ht_trend_sample *sample)
{
    struct ht_trend *trend = trend_of(subject);
    if (trend)
        ht_detect_push(trend, sample);
}

static void feed_process(const struct ht_moment *moment)
{
    struct ht_trend_sample sample = {
        .time_ns = moment->monotonic_ns,
        .low_bytes = ht_lowest(ht_sums.low_bytes, &ht_sums.total),
        .live_blocks = ht_live_blocks(&ht_sums.total),
        .allocated_bytes = ht_sums.total.allocated_bytes,
        .instantiations = HT_TREND_UNKNOWN,
        .cycles = HT_TREND_UNKNOWN,
    };
    feed(HT_SUBJECT_HEAP, &sample);
    if (moment->rss_bytes == HTL_UNKNOWN)
        return;
    sample.low_bytes = moment->rss_bytes;
    sample.live_blocks = HT_TREND_UNKNOWN;
    feed(HTL_HISTORY_PROCESS, &sample);
}

static void feed_tag(uint32_t tag, const struct ht_moment *moment)
{
    const struct ht_tag_view *view = ht_tag_view(tag);
    struct ht_trend_sample sample = {
        .time_ns = moment->monotonic_ns,
        .low_bytes = ht_lowest(view->low_bytes, &view->now),
        .live_blocks = ht_live_blocks(&view->now),
        .allocated_bytes = view->now.allocated_bytes,
        .instantiations = ht_tag_instantiations(tag),
        .cycles = ht_tag_cycles(tag),
    };
    feed(tag, &sample);
}

/* Gives the window as many places as are asked for; the newest samples stay. */
static void fit_window(uint32_t capacity)
{
    struct ht_reference_sample *fitting = ht_heap_alloc(capacity * sizeof *fitting, 16);
    if (!fitting)
        return;
    uint32_t kept = samples.count < capacity ? samples.count : capacity;
    for (uint32_t i = 0; i < kept; i++)
        fitting[i] = ht_reference_get(&samples, samples.count - kept + i);
    if (window)
        ht_heap_free(window);
    window = fitting;
    samples = (struct ht_reference_samples){.at = window, .capacity = capacity, .count = kept};
}

static void feed_window(const struct ht_moment *moment)
{
    uint32_t capacity = (uint32_t)ht_settings.value[HT_OPT_TREND_WINDOW];
    if (samples.capacity != capacity)
        fit_window(capacity);
    if (!window || moment->rss_bytes == HTL_UNKNOWN)
        return;
    window[(samples.first + samples.count) % samples.capacity] =
        (struct ht_reference_sample){moment->monotonic_ns, moment->rss_bytes};
    if (samples.count < samples.capacity)
        samples.count++;
    else
        samples.first = (samples.first + 1) % samples.capacity;
}

/* ---- beginning and feeding ----------------------------------------------------------------------
 */

void ht_detect_restart_trends(void)
{
    struct ht_trend_settings settings = ht_detect_settings();
    for (uint32_t i = 0; i < SUBJECTS; i++)
        if (trends[i])
            ht_trend_init(trends[i], &settings);
}

void ht_detect_restart(const struct ht_moment *moment)
{
    say_if_warmup_is_short();
    ht_detect_restart_trends();
    samples.first = samples.count = 0;
    system_limit_read = 0;
    last = *moment;
    set_baselines(moment);
}

void ht_detect_reset_baseline(const struct ht_moment *moment)
{
    set_baselines(moment);
}

void ht_detect_tick(const struct ht_moment *moment)
{
    last = *moment;
    feed_window(moment);
    feed_process(moment);
    for (uint32_t i = 0; i < ht_sums.tag_count; i++)
        if (ht_tag_view(ht_sums.tags[i])->used)
            feed_tag(ht_sums.tags[i], moment);
}

void ht_detect_note_resident(const struct ht_moment *moment)
{
    last.rss_bytes = moment->rss_bytes;
}

const struct ht_moment *ht_detect_last_tick(void)
{
    return &last;
}

void ht_detect_forget(void)
{
    ht_detect_restart_trends();
    samples.first = samples.count = 0;
    system_limit_read = 0;
}

/* ---- judging ------------------------------------------------------------------------------------
 */

bool ht_detect_is_leak(uint32_t subject)
{
    const struct ht_trend *trend = trends[place(subject)];
    return trend && ht_trend_is_leak(trend);
}

uint64_t ht_detect_baseline(uint32_t subject)
{
    return baselines[place(subject)];
}

double ht_detect_growth(uint32_t subject)
{
    uint64_t now = bytes_now(subject, &last), before = baselines[place(subject)];
    return now == HTL_UNKNOWN || before == HTL_UNKNOWN ? NAN : (double)now - (double)before;
}

/* What is left of a threshold that is not passed yet; one that is passed limits no more. */
static struct ht_limit room_below(uint64_t threshold, uint32_t subject)
{
    double growth = ht_detect_growth(subject);
    if (threshold == HT_NO_THRESHOLD || !(growth < (double)threshold))
        return (struct ht_limit){0};
    double room = (double)threshold - growth;
    return (struct ht_limit){HT_LIMIT_THRESHOLD, room < 1e18 ? (uint64_t)room : UINT64_MAX};
}

static struct ht_limit nearest_limit(uint32_t subject)
{
    if (system_limit_read == 0 || last.monotonic_ns - system_limit_read >= LIMITS_EVERY) {
        system_limit = ht_limit_of_system("");
        system_limit_read = last.monotonic_ns;
    }
    uint64_t of_process = ht_threshold(HTL_HISTORY_PROCESS);
    struct ht_limit nearest = system_limit;
    nearest = ht_limit_nearer(nearest, room_below(of_process, HTL_HISTORY_PROCESS));
    nearest = ht_limit_nearer(nearest, room_below(of_process, HT_SUBJECT_HEAP));
    if (subject != HT_SUBJECT_HEAP && subject < HT_TAGS)
        nearest = ht_limit_nearer(nearest, room_below(ht_threshold(subject), subject));
    return nearest;
}

void ht_detect_judge(uint32_t subject, struct ht_judgement *out)
{
    static struct ht_trend never_fed;
    const struct ht_trend *trend = trends[place(subject)];
    if (!trend) {
        struct ht_trend_settings settings = ht_detect_settings();
        ht_trend_init(&never_fed, &settings);
        trend = &never_fed;
    }
    memset(out, 0, sizeof *out);
    out->limit = nearest_limit(subject);
    double room = out->limit.kind == HT_LIMIT_NONE ? -1 : (double)out->limit.room;
    ht_trend_judge(trend, last.monotonic_ns, room, HT_TREND_WATCH, &out->verdict);
    ht_trend_reason(&out->verdict, out->reason, sizeof out->reason);
    out->now_bytes = bytes_now(subject, &last);
    out->baseline_bytes = baselines[place(subject)];
    out->growth_bytes = ht_detect_growth(subject);
}

void ht_detect_reference(struct ht_reference_trend *out)
{
    *out = (struct ht_reference_trend){.insufficient_data = true};
    if (samples.count)
        ht_reference_trend(&samples, baselines[HT_TAGS], out);
}
