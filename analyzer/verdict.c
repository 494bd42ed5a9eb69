/* See verdict.h. A subject's samples go through one detector, whose answer is put in our words. */
#include "verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evidence.h"
#include "heaptally/options.h"
#include "limit_room.h"
#include "text.h"

const char *ht_verdict_name(enum ht_verdict_kind kind)
{
    static const char *const names[] = {
        [HT_VERDICT_LEAK] = "leak",
        [HT_VERDICT_INCONCLUSIVE] = "inconclusive",
        [HT_VERDICT_INVALID] = "invalid",
        [HT_VERDICT_BOUNDED] = "bounded",
    };
    return names[kind];
}

const char *ht_limit_name(enum ht_limit_kind kind)
{
    static const char *const names[] = {
        [HT_LIMIT_TAG_THRESHOLD] = "the controller's threshold",
        [HT_LIMIT_THRESHOLD] = "the process's threshold",
        [HT_LIMIT_CGROUP] = "the cgroup's memory.max",
        [HT_LIMIT_ADDRESS_SPACE] = "RLIMIT_AS",
        [HT_LIMIT_MEMORY] = "the machine's available memory",
    };
    return names[kind];
}

static void verdict_begin(struct ht_verdict *v)
{
    *v = (struct ht_verdict){
        .kind = HT_VERDICT_INCONCLUSIVE,
        .mb_per_hour = NAN,
        .ci_low = NAN,
        .ci_high = NAN,
        .seconds_to_limit = NAN,
        .bytes_per_instantiation = NAN,
        .bytes_per_cycle = NAN,
        .span_s = NAN,
        .gain_bytes = NAN,
        .needs_seconds = NAN,
        .needs_ticks = NAN,
        .needs_instantiations = NAN,
    };
}

__attribute__((format(printf, 3, 4))) static void
say(struct ht_verdict *v, enum ht_verdict_kind kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(v->reason, sizeof v->reason, format, arguments);
    va_end(arguments);
    v->kind = kind;
}

static void say_more(struct ht_verdict *v, const char *words)
{
    size_t used = strlen(v->reason);
    snprintf(v->reason + used, sizeof v->reason - used, "%s", words);
}

/* A duration that the process recorded, in seconds; `standard` where it did not. */
static double setting_seconds(const struct ht_profile *p, enum ht_option_id id, double standard)
{
    const char *text = ht_profile_setting(p, ht_options[id].name);
    uint64_t ns = 0;
    return text && *text && !ht_option_check(id, text, &ns) ? (double)ns * 1e-9 : standard;
}

/* ---- the detector's answer ------------------------------------------------------------------- */

static enum ht_verdict_kind kind_of(enum ht_trend_call call)
{
    static const enum ht_verdict_kind kinds[HT_TREND_CALLS] = {
        [HT_TREND_INVALID] = HT_VERDICT_INVALID,
        [HT_TREND_INCONCLUSIVE] = HT_VERDICT_INCONCLUSIVE,
        [HT_TREND_BOUNDED] = HT_VERDICT_BOUNDED,
        [HT_TREND_LEAK] = HT_VERDICT_LEAK,
    };
    return kinds[call];
}

static void take_answer(const struct ht_trend_verdict *answer, struct ht_verdict *v)
{
    v->kind = kind_of(answer->call);
    ht_trend_reason(answer, v->reason, sizeof v->reason);
    v->mb_per_hour = answer->bytes_per_hour / (double)HT_MB;
    v->ci_low = answer->ci_low / (double)HT_MB;
    v->ci_high = answer->ci_high / (double)HT_MB;
    v->seconds_to_limit = answer->seconds_to_limit;
    v->bytes_per_instantiation = answer->bytes_per_instantiation;
    v->bytes_per_cycle = answer->bytes_per_cycle;
    v->span_s = answer->span;
    v->gain_bytes = answer->gain;
    v->needs_seconds = answer->needed_seconds;
    v->needs_ticks = answer->needed_ticks;
    v->needs_instantiations = answer->needed_instantiations;
}

/*
 * Seconds between two ticks: as was set, or as they came where that is far slower (a monitor that
 * may not take more than its share). What a verdict needs is counted in ticks that were taken.
 */
static double tick_seconds(const struct ht_evidence *e, double set)
{
    double seconds = (double)(e->samples[e->count - 1].time_ns - e->samples[0].time_ns) * 1e-9;
    double mean = e->ticks > 1 ? seconds / (double)(e->ticks - 1) : 0;
    return mean > 2 * set ? mean : set;
}

static struct ht_trend_settings settings_of(const struct ht_profile *p)
{
    return (struct ht_trend_settings){
        .interval = setting_seconds(p, HT_OPT_INTERVAL, 1),
        .warmup = setting_seconds(p, HT_OPT_WARMUP, 0),
    };
}

/* Judges samples, of which there is at least one. */
static void judge(const struct ht_profile *p, const struct ht_evidence *e, const struct ht_tag *tag,
                  struct ht_trend_verdict *answer, struct ht_verdict *v)
{
    struct ht_trend trend;
    struct ht_trend_settings settings = settings_of(p);
    settings.interval = tick_seconds(e, settings.interval);
    enum ht_limit_kind limit;
    double room = ht_limit_room(p, tag, &limit);
    ht_trend_init(&trend, &settings);
    for (size_t i = 0; i < e->count; i++)
        ht_trend_push(&trend, &e->samples[i]);
    ht_trend_judge(&trend, trend.last_ns, room, HT_TREND_FINAL, answer);
    take_answer(answer, v);
    v->limit = isnan(v->seconds_to_limit) ? HT_LIMIT_NONE : limit;
    v->given_back = e->given_back && v->kind == HT_VERDICT_LEAK;
    if (v->given_back)
        say_more(v, "; given back as the process ended");
}

/* True, with a verdict, where there is nothing to judge. */
static bool nothing_known(const struct ht_profile *p, struct ht_verdict *v)
{
    if (!p->has_tick)
        say(v, HT_VERDICT_INVALID, "the file ends before its first tick");
    return !p->has_tick;
}

/* ---- a tag, the process ---------------------------------------------------------------------- */

void ht_verdict_of_tag(const struct ht_profile *p, const struct ht_tag *tag, struct ht_verdict *v)
{
    if (tag->verdict) {
        *v = *tag->verdict;
        return;
    }
    verdict_begin(v);
    if (nothing_known(p, v))
        return;
    struct ht_evidence e = ht_evidence_of_tag(p, tag);
    struct ht_trend_verdict answer;
    if (e.count > 0)
        judge(p, &e, tag, &answer, v);
    else
        say(v, HT_VERDICT_INCONCLUSIVE, "it has allocated nothing so far");
    ht_evidence_clear(&e);
}

void ht_verdict_of_process(const struct ht_profile *p, struct ht_verdict *v)
{
    verdict_begin(v);
    if (nothing_known(p, v))
        return;
    struct ht_evidence e = ht_evidence_of_process(p);
    struct ht_trend_verdict answer;
    if (e.count > 0)
        judge(p, &e, NULL, &answer, v);
    else
        say(v, HT_VERDICT_INVALID, "resident memory could not be read");
    ht_evidence_clear(&e);
}

/* ---- a site ---------------------------------------------------------------------------------- */

/* The verdict on the site's tag, made once. */
static const struct ht_verdict *verdict_of_owner(const struct ht_profile *p, struct ht_tag *tag)
{
    if (!tag->verdict) {
        struct ht_verdict v;
        ht_verdict_of_tag(p, tag, &v);
        tag->verdict = ht_allocate(sizeof v);
        *tag->verdict = v;
    }
    return tag->verdict;
}

/*
 * A site of which only the figures at the end are known. All other sites together hold no more now
 * than the rest of the tag's live bytes, so of the tag's growth at least what exceeds that rest was
 * this site's.
 */
static void judge_without_past(const struct ht_site *site, const struct ht_verdict *owner,
                               struct ht_verdict *v)
{
    double rest = (double)site->tag->live_bytes - (double)site->live_bytes;
    double share = (owner->gain_bytes - rest) / owner->gain_bytes;
    if (owner->kind == HT_VERDICT_INVALID) {
        *v = *owner;
    } else if (site->live_bytes == 0 && !owner->given_back) {
        say(v, owner->kind == HT_VERDICT_LEAK ? HT_VERDICT_BOUNDED : owner->kind,
            "all that was allocated here was freed");
    } else if (owner->kind == HT_VERDICT_LEAK && !owner->given_back && share >= 0.95) {
        say(v, HT_VERDICT_LEAK,
            "all other sites of its controller hold too little: %.*f %% of the "
            "growth is from here",
            share < 0.9995 ? 1 : 0, 100 * share);
        v->mb_per_hour = share * owner->mb_per_hour;
        v->ci_low = share * owner->ci_low;
        v->ci_high = owner->ci_high;
        v->seconds_to_limit = owner->seconds_to_limit / share;
        v->limit = owner->limit;
        v->span_s = owner->span_s;
        v->gain_bytes = share * owner->gain_bytes;
    } else {
        say(v, HT_VERDICT_INCONCLUSIVE,
            "its own past was not recorded; the controller is judged as a whole");
    }
}

/*
 * Looked at once a tick, a regular rise and fall shows as a slow ramp. Such a ramp is no higher
 * than one rise, and with two looks or more in each rise it climbs by less than a look's part of
 * it. So what a few ticks allocate bounds it, and what grew more has really grown.
 */
#define RAMP_TICKS 4

static bool may_be_ramp(const struct ht_evidence *e, const struct ht_trend_verdict *answer)
{
    const struct ht_trend_sample *first = e->samples, *last = first + e->count - 1;
    double seconds = (double)(last->time_ns - first->time_ns) * 1e-9;
    double allocated = (double)last->allocated_bytes - (double)first->allocated_bytes;
    return first->allocated_bytes == HT_TREND_UNKNOWN || !(seconds > 0) ||
           answer->gain <= RAMP_TICKS * allocated / (double)(e->ticks - 1);
}

void ht_verdict_of_site(const struct ht_profile *p, const struct ht_site *site,
                        struct ht_verdict *v)
{
    verdict_begin(v);
    if (nothing_known(p, v))
        return;
    const struct ht_verdict *owner = verdict_of_owner(p, site->tag);
    struct ht_trend_settings settings = settings_of(p);
    struct ht_evidence e = ht_evidence_of_site(p, site, &settings);
    struct ht_trend_verdict answer;
    if (e.count < 2)
        judge_without_past(site, owner, v);
    else
        judge(p, &e, site->tag, &answer, v);
    if (e.count >= 2 && v->kind == HT_VERDICT_LEAK && owner->kind != HT_VERDICT_LEAK &&
        may_be_ramp(&e, &answer))
        say(v, HT_VERDICT_INCONCLUSIVE,
            "rises from tick to tick, but less than a few ticks allocate: may be chance");
    ht_evidence_clear(&e);
}
