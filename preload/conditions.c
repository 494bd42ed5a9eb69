#include "conditions.h"

#include <math.h>
#include <string.h>

#include "aggregate.h"
#include "alert_words.h"
#include "detect.h"
#include "heaptally/units.h"
#include "internal_heap.h"
#include "recurring.h"
#include "site_words.h"
#include "tag_rows.h"
#include "thresholds.h"
#include "top_sites.h"

#define CRITICAL_TIMES     1.5   /* the threshold */
#define CLEAR_TIMES        0.9   /* the threshold */
#define CLEAR_TICKS        5u    /* at or below that */
#define CLEAR_TICKS_FLAPS  3600u /* the same for one that comes back within as many of its clear */
#define NO_ALLOC_QUIET     HT_HOUR
#define NO_ALLOC_TIMES     10u /* as many as when last told is news */
#define HINT_EVERY         HT_HOUR
#define HINT_LEAST         HT_MB
#define LEAK_CRITICAL_LEFT 86400.0 /* seconds to the limit */
#define LEAST_INSTANTIATED 10u     /* fewer are no rate to wake anybody up for */
#define PER_1000_EVERY     10u     /* ticks between two searches for what is one-off */

/* One condition of one subject: whether it holds, and how bad it is. */
struct edge {
    uint8_t active;
    uint8_t severity; /* enum ht_alert_severity, the worst since it was entered */
    uint8_t flaps;    /* it came back soon after it was cleared */
    uint16_t quiet;   /* ticks at or below where it is cleared */
    uint32_t cleared; /* the tick in which it was cleared last, 0: never */
};

static struct edge of_rss, of_heap;

/* What is kept of a tag. */
struct subject {
    struct edge growth, rate, leak, region;
    /* Of a no-allocation region. */
    uint64_t before;  /* allocations that are none of ours to tell: before the last start */
    uint64_t seen;    /* since then */
    uint64_t told;    /* of these, with the last alert; 0: none */
    uint64_t last_ns; /* when one was last seen */
    /* Of MB per 1000. */
    uint64_t once;     /* bytes found to be one-off, by the last search */
    uint64_t live;     /* and live bytes then */
    uint64_t searched; /* in which tick, 0: never */
};
static struct ht_tag_rows subjects = {.row_bytes = sizeof(struct subject)};
static uint64_t next_hint_ns;
static uint64_t ticks;

void ht_conditions_restart(const struct ht_moment *moment)
{
    memset(&of_rss, 0, sizeof of_rss);
    memset(&of_heap, 0, sizeof of_heap);
    for (uint32_t i = 0; i < ht_sums.tag_count; i++) {
        uint32_t tag = ht_sums.tags[i];
        struct subject *subject = ht_tag_row_lay(&subjects, tag);
        if (subject)
            *subject = (struct subject){.before = ht_tag_view(tag)->forbidden_blocks};
    }
    next_hint_ns = moment->monotonic_ns + HINT_EVERY;
    ticks = 0;
}

/* ---- edges --------------------------------------------------------------------------------------
 */

enum change { NONE, ENTERED, ESCALATED, CLEARED };

static enum change raise(struct edge *edge, enum ht_alert_severity severity)
{
    edge->quiet = 0;
    if (!edge->active) {
        bool soon = edge->cleared && (uint32_t)ticks - edge->cleared <= CLEAR_TICKS_FLAPS;
        *edge = (struct edge){.active = 1, .severity = (uint8_t)severity, .flaps = soon};
        return ENTERED;
    }
    if (severity <= edge->severity)
        return NONE;
    edge->severity = (uint8_t)severity;
    return ESCALATED;
}

static enum change lower(struct edge *edge)
{
    if (!edge->active || ++edge->quiet < (edge->flaps ? CLEAR_TICKS_FLAPS : CLEAR_TICKS))
        return NONE;
    edge->active = 0;
    edge->cleared = (uint32_t)ticks;
    return CLEARED;
}

/* `passes`: a tick has passed, so that a low value is one more of those that clear it. */
static enum change compare(struct edge *edge, double value, double threshold, bool passes)
{
    if (value > threshold)
        return raise(edge,
                     value > CRITICAL_TIMES * threshold ? HT_ALERT_CRITICAL : HT_ALERT_WARNING);
    if (value <= CLEAR_TIMES * threshold)
        return passes ? lower(edge) : NONE;
    edge->quiet = 0;
    return NONE;
}

/* ---- events -------------------------------------------------------------------------------------
 */

static double in_mb(double bytes)
{
    return bytes / (double)HT_MB;
}

static double resident_mb(const struct ht_moment *moment)
{
    return moment->rss_bytes == HTL_UNKNOWN ? NAN : in_mb((double)moment->rss_bytes);
}

/* What every event of a subject has; the heap's are the process's. */
static struct ht_alert event_of(uint32_t kind, uint32_t subject, const struct ht_moment *moment)
{
    struct ht_alert alert = {
        .monotonic_ns = moment->monotonic_ns,
        .realtime_ns = moment->realtime_ns,
        .kind = kind,
        .severity = HT_ALERT_INFO,
        .tag = subject == HT_SUBJECT_HEAP ? HTL_HISTORY_PROCESS : subject,
        .value_mb = NAN,
        .threshold_mb = NAN,
        .rss_mb = resident_mb(moment),
        .growth_mb = in_mb(ht_detect_growth(subject)),
    };
    const struct ht_tag_entry *entry = subject < HT_TAGS ? ht_tag(subject) : NULL;
    if (entry)
        memcpy(alert.tag_name, entry->name, entry->length);
    return alert;
}

static void emit(struct ht_alert *alert, const struct edge *edge, enum change change)
{
    alert->state = change == ENTERED     ? HT_ALERT_ENTER
                   : change == ESCALATED ? HT_ALERT_ESCALATE
                                         : HT_ALERT_CLEAR;
    alert->severity = edge->severity;
    ht_alert_emit(alert);
}

/* ---- growth -------------------------------------------------------------------------------------
 */

/* One threshold on growth; whether the subject is above it. `passes` as above. */
static bool check_growth(uint32_t kind, uint32_t subject, struct edge *edge, uint64_t threshold,
                         bool passes, const struct ht_moment *moment, struct ht_alert *out)
{
    double growth = ht_detect_growth(subject);
    bool above = threshold != HT_NO_THRESHOLD && growth > (double)threshold;
    enum change change = NONE;
    if (isnan(growth))
        return false;
    if (threshold != HT_NO_THRESHOLD)
        change = compare(edge, growth, (double)threshold, passes);
    else if (passes)
        change = lower(edge); /* the threshold was taken away */
    if (change == NONE && !out)
        return above;
    struct ht_alert alert = event_of(kind, subject, moment);
    alert.value_mb = alert.growth_mb;
    alert.threshold_mb = threshold == HT_NO_THRESHOLD ? NAN : in_mb((double)threshold);
    alert.severity =
        growth > CRITICAL_TIMES * (double)threshold ? HT_ALERT_CRITICAL : HT_ALERT_WARNING;
    ht_say_growth(&alert, change == CLEARED, edge->active);
    if (change != NONE)
        emit(&alert, edge, change);
    if (out)
        *out = alert;
    return above;
}

bool ht_conditions_check(const struct ht_moment *moment, struct ht_alert *out)
{
    ht_detect_note_resident(moment);
    return check_growth(HEAPTALLY_ALERT_RSS_GROWTH, HTL_HISTORY_PROCESS, &of_rss,
                        ht_threshold(HTL_HISTORY_PROCESS), false, moment, out);
}

/* ---- MB per 1000 --------------------------------------------------------------------------------
 */

double ht_conditions_mb_per_1000(uint32_t tag)
{
    uint64_t made = ht_tag_instantiations(tag);
    if (made == HTL_UNKNOWN || made == 0)
        return NAN;
    return in_mb((double)ht_recurring_bytes(tag) * 1000 / (double)made);
}

/*
 * Live bytes of a tag that are taken for recurring. What is one-off is searched for where it
 * decides anything: in the tick that would raise an alert, otherwise in every tenth, and not where
 * `enough` are live at most. In between, what was freed since is taken for one-off.
 */
static double recurring_bytes(uint32_t tag, struct subject *subject, double enough)
{
    const struct edge *edge = &subject->rate;
    uint64_t live = ht_live_bytes(&ht_tag_view(tag)->now);
    uint64_t once = subject->once, freed = subject->live - live;
    if ((double)live <= enough)
        return (double)live;
    if (live < subject->live)
        once = once > freed ? once - freed : 0;
    double bytes = (double)(live - (once < live ? once : live));
    bool raises = bytes > enough && !edge->active;
    raises |= bytes > CRITICAL_TIMES * enough && edge->severity < HT_ALERT_CRITICAL;
    if (!raises && subject->searched && ticks < subject->searched + PER_1000_EVERY)
        return bytes;
    uint64_t recurring = ht_recurring_bytes(tag);
    subject->once = live - recurring;
    subject->live = live;
    subject->searched = ticks;
    return (double)recurring;
}

static void check_rate(uint32_t tag, struct subject *subject, const struct ht_moment *moment)
{
    struct edge *edge = &subject->rate;
    double limit = (double)ht_settings.value[HT_OPT_LEAK_THRESHOLD];
    uint64_t made = ht_tag_instantiations(tag);
    if (made == HTL_UNKNOWN || made < LEAST_INSTANTIATED)
        return;
    double each = (double)made / 1000, rate = recurring_bytes(tag, subject, limit * each) / each;
    enum change change = compare(edge, rate, limit, true);
    if (change == NONE)
        return;
    struct ht_alert alert = event_of(HEAPTALLY_ALERT_PER_1000, tag, moment);
    alert.value_mb = in_mb(rate);
    alert.threshold_mb = in_mb(limit);
    ht_say_rate(&alert, made, change == CLEARED);
    emit(&alert, edge, change);
}

/* ---- leaks --------------------------------------------------------------------------------------
 */

static void check_leak(uint32_t tag, struct edge *edge, const struct ht_moment *moment)
{
    struct ht_judgement judgement;
    bool leak = ht_detect_is_leak(tag);
    if (!leak && !edge->active)
        return;
    ht_detect_judge(tag, &judgement);
    leak = judgement.verdict.call == HT_TREND_LEAK;
    enum change change = leak ? raise(edge, judgement.verdict.seconds_to_limit < LEAK_CRITICAL_LEFT
                                                ? HT_ALERT_CRITICAL
                                                : HT_ALERT_WARNING)
                              : lower(edge);
    if (change == NONE)
        return;
    struct ht_alert alert = event_of(HEAPTALLY_ALERT_LEAK, tag, moment);
    char site[256] = "";
    alert.value_mb = in_mb(judgement.verdict.bytes_per_hour);
    if (change != CLEARED)
        ht_site_words(ht_top_site_of_tag(tag), site, sizeof site);
    ht_say_leak(&alert, &judgement, site, change == CLEARED);
    emit(&alert, edge, change);
}

/* ---- promises of no allocation ------------------------------------------------------------------
 */

void ht_conditions_no_alloc(uint32_t region, uint64_t allocations, uint64_t bytes, uint32_t site,
                            const struct ht_moment *moment)
{
    struct subject *subject = ht_tag_row_lay(&subjects, region);
    if (!subject)
        return; /* without memory; the next tick tries again */
    struct edge *edge = &subject->region;
    enum change change = NONE;
    uint64_t count = allocations - subject->before, told = subject->told;
    if (count > subject->seen) {
        subject->seen = count;
        subject->last_ns = moment->monotonic_ns;
        if (told == 0 || count / NO_ALLOC_TIMES >= told) {
            change = edge->active ? ESCALATED : ENTERED;
            edge->active = 1;
            edge->severity = told ? HT_ALERT_CRITICAL : HT_ALERT_WARNING;
            subject->told = count;
        }
    } else if (edge->active && moment->monotonic_ns - subject->last_ns >= NO_ALLOC_QUIET) {
        edge->active = 0;
        change = CLEARED;
    }
    if (change == NONE)
        return;
    struct ht_alert alert = event_of(HEAPTALLY_ALERT_NO_ALLOC, region, moment);
    char words[256] = "";
    alert.value_mb = in_mb((double)bytes);
    alert.growth_mb = NAN;
    if (change != CLEARED && site)
        ht_site_words(site, words, sizeof words);
    ht_say_no_alloc(&alert, allocations, bytes, words, change == CLEARED);
    emit(&alert, edge, change);
}

/* ---- the hint, and all of them ------------------------------------------------------------------
 */

/* Not hindered by any other condition; memory that was never live is no part of it. */
static void check_hint(const struct ht_moment *moment)
{
    if (moment->monotonic_ns < next_hint_ns || moment->rss_bytes == HTL_UNKNOWN)
        return;
    next_hint_ns = moment->monotonic_ns + HINT_EVERY;
    uint64_t live = ht_live_bytes(&ht_sums.total), own = ht_heap_mapped();
    if (moment->rss_bytes < live + own + HINT_LEAST)
        return;
    struct ht_alert alert = event_of(HEAPTALLY_ALERT_TRIM_HINT, HTL_HISTORY_PROCESS, moment);
    alert.value_mb = in_mb((double)(moment->rss_bytes - live - own));
    ht_say_hint(&alert, live);
    ht_alert_emit(&alert);
}

void ht_conditions_tick(const struct ht_moment *moment)
{
    uint64_t of_process = ht_threshold(HTL_HISTORY_PROCESS);
    ticks++;
    check_growth(HEAPTALLY_ALERT_RSS_GROWTH, HTL_HISTORY_PROCESS, &of_rss, of_process, true, moment,
                 NULL);
    check_growth(HEAPTALLY_ALERT_HEAP_GROWTH, HT_SUBJECT_HEAP, &of_heap, of_process, true, moment,
                 NULL);
    for (uint32_t i = 0; i < ht_sums.tag_count; i++) {
        uint32_t tag = ht_sums.tags[i];
        if (!ht_tag_view(tag)->used)
            continue;
        struct subject *subject = ht_tag_row_lay(&subjects, tag);
        if (!subject)
            continue; /* without memory; the next tick tries again */
        check_growth(HEAPTALLY_ALERT_TAG_GROWTH, tag, &subject->growth, ht_threshold(tag), true,
                     moment, NULL);
        check_rate(tag, subject, moment);
        check_leak(tag, &subject->leak, moment);
    }
    check_hint(moment);
}
