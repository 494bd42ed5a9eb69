/*
 * The leak detector: from the history of one owner of memory (a tag, a site, a process) to a
 * verdict. The preload feeds it at every tick; the analyzer feeds it the recorded ticks of a file;
 * both get the same answer, since this is the same code and it keeps all it needs in itself.
 *
 *   leak          keeps growing after its warm-up
 *   bounded       does not
 *   inconclusive  cannot be told yet, or the growth seen may still be chance
 *   invalid       the samples are damaged, or too many are missing
 *
 * Terms. A sample is one tick: the lowest live bytes of several moments within it (one moment a
 * tick would turn a regular sawtooth into a slow ramp), and what else was counted. The warm-up is
 * set aside; the evidence is the time of watching after it that a verdict needs. Seconds count from
 * the first sample: feed an owner from the tick at which it first appears.
 *
 * Two questions can be asked at any time:
 *
 *   HT_TREND_WATCH   is this worth waking somebody up for? Warm-up is what the settings say, else
 *                    10 minutes; evidence 40 minutes (with a warm-up given: 1.34 times that, and
 *                    the first answer after 2.75 times). May be asked at every tick for years.
 *   HT_TREND_FINAL   the run ended here: what was it? The same once a run is that long. A shorter
 *                    one, unless a warm-up was given, is stretched to fit: warm-up 20 % of it, at
 *                    least 60 ticks, at most 10 minutes. Asked again and again of a growing run it
 *                    would cry wolf sooner or later, since it takes every run for the whole story.
 *
 * The rules are in trend_rules.h. State is one struct of fixed size without pointers (copy it
 * freely), owned by one thread at a time. A push costs a few nanoseconds, now and then (when a
 * window closes) some microseconds. Nothing allocates, locks, or can fail.
 */
#ifndef HEAPTALLY_TREND_H
#define HEAPTALLY_TREND_H

#include "heaptally/trend_rules.h"
#include "heaptally/trend_text.h"

#define HT_TREND_UNKNOWN UINT64_MAX

#define HT_TREND_WARMUP         600.0 /* seconds, where none is given */
#define HT_TREND_EVIDENCE       4.0   /* times the warm-up, where none is given */
#define HT_TREND_EVIDENCE_GIVEN 1.34  /* times the warm-up that is given */
#define HT_TREND_NEEDED_GIVEN   1.75 /* times it: three rises a third of the evidence apart, seen */
#define HT_TREND_LEAST_WARMUP   60u  /* ticks of a short run that are set aside */
#define HT_TREND_LEAST_TICKS    32u  /* ticks of a short run after those */
#define HT_TREND_VAGUE          1000.0 /* a rate known to within no better a factor is not known */
#define HT_TREND_CELLS          128u
#define HT_TREND_MARKS          16u

#define HT_TREND_VERDICTS(X)                                                                       \
    X(INVALID, "invalid")                                                                          \
    X(INCONCLUSIVE, "inconclusive")                                                                \
    X(BOUNDED, "bounded")                                                                          \
    X(LEAK, "leak")

#define HT_TREND_ENUM(id, name) HT_TREND_##id,
enum ht_trend_call { HT_TREND_VERDICTS(HT_TREND_ENUM) HT_TREND_CALLS };
#undef HT_TREND_ENUM

enum ht_trend_question { HT_TREND_WATCH, HT_TREND_FINAL };

struct ht_trend_settings {
    double interval; /* seconds between two ticks; 0 means 1 */
    double warmup;   /* seconds; 0 where none was given */
};

/* What is not known is HT_TREND_UNKNOWN, except the first two. */
struct ht_trend_sample {
    uint64_t time_ns;         /* monotonic clock */
    uint64_t low_bytes;       /* lowest live bytes within the tick */
    uint64_t live_blocks;     /* at its end */
    uint64_t allocated_bytes; /* since the start of counting; so are the next two */
    uint64_t instantiations;
    uint64_t cycles;
};

/* Counts at one moment, to tell a rate per construction or cycle from a rate per second. */
struct ht_trend_mark {
    double at;
    double bytes; /* as in struct ht_floor */
    uint64_t live_blocks, allocated_bytes, instantiations, cycles;
};

enum ht_trend_fault { HT_TREND_SOUND, HT_TREND_CLOCK_BACK, HT_TREND_COUNT_BACK };

struct ht_trend {
    struct ht_trend_settings settings;
    uint64_t first_ns, last_ns;
    uint64_t samples;
    double needed;             /* seconds of run before the watch can say anything */
    double origin;             /* live bytes that count as 0 */
    enum ht_trend_fault fault; /* the first one seen */
    uint32_t cell_count;
    double cell_width;
    double cell_end;
    uint32_t mark_count;
    double mark_spacing;
    struct ht_trend_mark last;
    struct ht_trend_mark mark[HT_TREND_MARKS]; /* evenly thinned, oldest first */
    struct ht_floor cell[HT_TREND_CELLS];      /* the run so far, until the watch has evidence */
    struct ht_rules watch;
};

/* Why the verdict is what it is. */
enum ht_trend_cause {
    HT_CAUSE_STAIRS,      /* leak: rose again and again, and did not fall */
    HT_CAUSE_SLOPE,       /* leak: rises in a line through its swings */
    HT_CAUSE_STEADY,      /* bounded */
    HT_CAUSE_NEEDS_TIME,  /* inconclusive: `needed_seconds` */
    HT_CAUSE_NEEDS_TICKS, /* inconclusive: `needed_ticks` */
    HT_CAUSE_RISING,      /* inconclusive: rises, but that may be chance */
    HT_CAUSE_CLOCK,       /* invalid: time went backwards */
    HT_CAUSE_COUNT,       /* invalid: a count that only rises went backwards */
    HT_CAUSE_GAPS,        /* invalid: fewer than half the windows saw a tick */
};

/*
 * Figures that are not known are NaN. Verdict and interval never contradict each other: that of a
 * leak lies above 0.
 */
struct ht_trend_verdict {
    enum ht_trend_call call;
    enum ht_trend_cause cause;
    double bytes_per_hour;   /* growth of the floor; of a leak since `since`, else since warm-up */
    double ci_low, ci_high;  /* its 95 % confidence interval */
    double seconds_to_limit; /* of a leak, at this rate; NaN without limit */
    double since;            /* seconds since the first sample: when the growth began */
    double span;             /* seconds: how long it has been watched */
    double gain;             /* bytes grown in that time */
    double scatter;          /* how far the floors stray from the line, bytes */
    double blocks_per_hour;  /* growth of live blocks in that time */
    double bytes_per_instantiation; /* growth in that time per construction */
    double bytes_per_cycle;         /* and per cycle */
    double kept_share;              /* 0 .. 1 of the bytes allocated in that time */
    double rises;                   /* HT_CAUSE_STAIRS: how many */
    double drawdown;                /* HT_CAUSE_STAIRS: the deepest fall */
    double needed_seconds, needed_ticks;
    double needed_instantiations; /* about as many constructions, at the pace so far */
    double covered, windows;      /* HT_CAUSE_GAPS: so many of so many windows saw a tick */
};

/* ---- feeding --------------------------------------------------------------------------------- */

static inline const char *ht_trend_name(enum ht_trend_call call)
{
#define HT_TREND_NAME(id, name) [HT_TREND_##id] = name,
    static const char *const names[HT_TREND_CALLS] = {HT_TREND_VERDICTS(HT_TREND_NAME)};
#undef HT_TREND_NAME
    return names[call];
}

/* Forgets everything. A restarted count begins with this. */
static inline void ht_trend_init(struct ht_trend *t, const struct ht_trend_settings *settings)
{
    memset(t, 0, sizeof *t);
    t->settings = *settings;
    if (!(t->settings.interval > 0))
        t->settings.interval = 1;
    bool given = t->settings.warmup > 0;
    double warmup = given ? t->settings.warmup : HT_TREND_WARMUP;
    double evidence = warmup * (given ? HT_TREND_EVIDENCE_GIVEN : HT_TREND_EVIDENCE);
    t->needed = warmup + (given ? HT_TREND_NEEDED_GIVEN * warmup : evidence);
    ht_rules_init(&t->watch, warmup, evidence, warmup / 8, 2);
    t->cell_width = t->mark_spacing = t->settings.interval;
}

/* Seconds from the first sample to the last. */
static inline double ht_trend_elapsed(const struct ht_trend *t)
{
    return (double)(t->last_ns - t->first_ns) * 1e-9;
}

/* Has the watch seen warm-up and evidence? */
static inline bool ht_trend_watched(const struct ht_trend *t)
{
    return ht_trend_elapsed(t) >= t->needed;
}

/* Keeps the floor of an evenly cut past; when there is no place left, cells merge in pairs. */
static inline void ht_trend_push_cell(struct ht_trend *t, struct ht_floor floor)
{
    if (t->cell_count && floor.at < t->cell_end) {
        ht_floor_lower(&t->cell[t->cell_count - 1], floor);
        return;
    }
    if (t->cell_count == HT_TREND_CELLS) {
        for (uint32_t i = 0; i < HT_TREND_CELLS / 2; i++) {
            t->cell[i] = t->cell[2 * i];
            ht_floor_lower(&t->cell[i], t->cell[2 * i + 1]);
        }
        t->cell_count = HT_TREND_CELLS / 2;
        t->cell_width *= 2;
    }
    t->cell[t->cell_count++] = floor;
    /* Half an interval early: a tick that comes a little soon still opens its own cell. */
    t->cell_end = ((double)ht_whole(floor.at / t->cell_width + 0.5) + 1) * t->cell_width -
                  t->settings.interval / 2;
}

static inline void ht_trend_push_mark(struct ht_trend *t, const struct ht_trend_mark *mark)
{
    t->last = *mark;
    if (t->mark_count && mark->at < t->mark[t->mark_count - 1].at + t->mark_spacing)
        return;
    if (t->mark_count == HT_TREND_MARKS) {
        for (uint32_t i = 0; i < HT_TREND_MARKS / 2; i++)
            t->mark[i] = t->mark[2 * i];
        t->mark_count = HT_TREND_MARKS / 2;
        t->mark_spacing *= 2;
        if (mark->at < t->mark[t->mark_count - 1].at + t->mark_spacing)
            return;
    }
    t->mark[t->mark_count++] = *mark;
}

/* Did a count that only rises fall? Unknown is neither. */
static inline bool ht_trend_fell(uint64_t before, uint64_t now)
{
    return before != HT_TREND_UNKNOWN && now < before;
}

/*
 * Takes one tick. Ticks may be missing; their times must not go backwards, nor must what is counted
 * since the start: such a sample is not used, and makes every later verdict `invalid`.
 */
static inline void ht_trend_push(struct ht_trend *t, const struct ht_trend_sample *sample)
{
    if (t->samples == 0) {
        t->first_ns = t->last_ns = sample->time_ns;
        t->origin += (double)sample->low_bytes;
    } else if (sample->time_ns < t->last_ns) {
        t->fault = t->fault ? t->fault : HT_TREND_CLOCK_BACK;
    } else if (ht_trend_fell(t->last.allocated_bytes, sample->allocated_bytes) ||
               ht_trend_fell(t->last.instantiations, sample->instantiations) ||
               ht_trend_fell(t->last.cycles, sample->cycles)) {
        t->fault = t->fault ? t->fault : HT_TREND_COUNT_BACK;
    }
    if (t->fault)
        return;
    t->samples++;
    t->last_ns = sample->time_ns;
    struct ht_floor floor = {.at = ht_trend_elapsed(t),
                             .bytes = (double)sample->low_bytes - t->origin};
    struct ht_trend_mark mark = {floor.at,
                                 floor.bytes,
                                 sample->live_blocks,
                                 sample->allocated_bytes,
                                 sample->instantiations,
                                 sample->cycles};
    ht_trend_push_mark(t, &mark);
    ht_rules_push(&t->watch, floor.at, floor.bytes);
    if (!ht_trend_watched(t))
        ht_trend_push_cell(t, floor);
}

/* ---- judging --------------------------------------------------------------------------------- */

/* The cheap question of every tick: would the watch say `leak`? */
static inline bool ht_trend_is_leak(const struct ht_trend *t)
{
    return !t->fault && ht_rules_leak(&t->watch);
}

/* The rules as they would stand had the run been planned to end here; 128 pushes. */
static inline void ht_trend_stretch(const struct ht_trend *t, double warmup, struct ht_rules *r)
{
    double after = ht_trend_elapsed(t) - warmup;
    double unit = after / 32 * (1 + 1e-9); /* so that the last sample is within the last window */
    ht_rules_init(r, warmup, 0.8 * after, unit, 0);
    for (uint32_t i = 0; i < t->cell_count; i++)
        ht_rules_push(r, t->cell[i].at, t->cell[i].bytes);
    if (r->open)
        ht_rules_close(r, 32);
}

/* What a short run sets aside, in seconds. */
static inline double ht_trend_short_warmup(const struct ht_trend *t)
{
    double warmup = ht_trend_elapsed(t) / 5;
    warmup = ht_greater(warmup, HT_TREND_LEAST_WARMUP * t->settings.interval);
    return ht_lesser(warmup, HT_TREND_WARMUP);
}

/* How many whole intervals the run lasted. */
static inline double ht_trend_ticks(const struct ht_trend *t)
{
    return (double)ht_whole(ht_trend_elapsed(t) / t->settings.interval + 0.5);
}

/* The mark nearest before `since`, else the oldest. */
static inline const struct ht_trend_mark *ht_trend_mark_at(const struct ht_trend *t, double since)
{
    uint32_t i = 0;
    while (i + 1 < t->mark_count && t->mark[i + 1].at <= since)
        i++;
    return &t->mark[i];
}

/* Growth of a count; a count that became known in between began at 0. NaN where it is unknown. */
static inline double ht_trend_grown(uint64_t before, uint64_t now)
{
    if (now == HT_TREND_UNKNOWN)
        return NAN;
    return (double)now - (before == HT_TREND_UNKNOWN ? 0 : (double)before);
}

static inline double ht_trend_per(double amount, double count)
{
    return count > 0 ? amount / count : NAN;
}

/*
 * The interval of a slope, in bytes per hour. That of a leak is taken in ratios (rate / k .. rate *
 * k): that the rate is above 0 is what the rules have shown, by evidence that a line through few
 * and uneven rises does not see. For a margin far below the rate it is the same as rate - margin ..
 * rate + margin. A factor above HT_TREND_VAGUE says nothing, and the interval is unknown.
 */
static inline void ht_trend_interval(const struct ht_fit *fit, bool leak,
                                     struct ht_trend_verdict *out)
{
    double margin = ht_student_975(fit->count - 2) * ht_fit_interval_error(fit);
    if (!leak) {
        out->ci_low = 3600 * (fit->slope - margin);
        out->ci_high = 3600 * (fit->slope + margin);
        return;
    }
    double ratio = margin / fit->slope, factor = ratio < 100 ? ht_power_of_e(ratio) : INFINITY;
    if (factor > HT_TREND_VAGUE)
        return;
    out->ci_low = 3600 * fit->slope / factor;
    out->ci_high = 3600 * fit->slope * factor;
}

/*
 * Fills rate and interval of growth since `since`; false where there is no rate yet. What the rules
 * still call a leak may have sunk as a whole since they last looked: then the rate is theirs, and
 * how sure it is, unknown.
 */
static inline bool ht_trend_fit(const struct ht_rules *r, double since,
                                struct ht_trend_verdict *out)
{
    struct ht_fit fit;
    bool leak = ht_rules_leak(r);
    bool fits = ht_rules_fit_since(r, since, &fit);
    if (fits && (!leak || fit.slope > 0)) {
        out->bytes_per_hour = 3600 * fit.slope;
        out->scatter = fit.scatter;
        ht_trend_interval(&fit, leak, out);
    } else if (leak) {
        out->bytes_per_hour = 3600 * ht_rules_found_rate(r);
    }
    return fits || leak;
}

/* Fills the figures of growth since `since`; `room` as in ht_trend_judge. */
static inline void ht_trend_measure(const struct ht_trend *t, const struct ht_rules *r,
                                    double since, double room, struct ht_trend_verdict *out)
{
    out->since = since;
    out->span = ht_trend_elapsed(t) - since;
    if (!ht_trend_fit(r, since, out))
        return;
    double slope = out->bytes_per_hour / 3600;
    out->gain = slope * out->span;
    if (room >= 0 && slope > 0 && ht_rules_leak(r))
        out->seconds_to_limit = room / slope;
    const struct ht_trend_mark *from = ht_trend_mark_at(t, since), *to = &t->last;
    double seconds = to->at - from->at, gain = slope * seconds;
    if (from->live_blocks != HT_TREND_UNKNOWN)
        out->blocks_per_hour =
            ht_trend_per(3600 * ht_trend_grown(from->live_blocks, to->live_blocks), seconds);
    out->bytes_per_instantiation =
        ht_trend_per(gain, ht_trend_grown(from->instantiations, to->instantiations));
    out->bytes_per_cycle = ht_trend_per(gain, ht_trend_grown(from->cycles, to->cycles));
    out->kept_share =
        ht_trend_per(gain, ht_trend_grown(from->allocated_bytes, to->allocated_bytes));
}

static inline void ht_trend_call(struct ht_trend_verdict *out, enum ht_trend_call call,
                                 enum ht_trend_cause cause)
{
    out->call = call;
    out->cause = cause;
}

static inline void ht_trend_call_leak(const struct ht_trend *t, const struct ht_rules *r,
                                      double room, struct ht_trend_verdict *out)
{
    const struct ht_staircase *stairs = &r->stairs;
    double since = INFINITY;
    ht_trend_call(out, HT_TREND_LEAK, stairs->leak ? HT_CAUSE_STAIRS : HT_CAUSE_SLOPE);
    if (stairs->leak) {
        double window = ht_rules_length(r, HT_STAIR_LEVEL);
        since = ht_greater(stairs->start, stairs->first_rise - window);
        out->rises = stairs->rises;
        out->drawdown = stairs->drawdown;
    }
    if (r->slope.leak)
        since = ht_lesser(since, r->slope.since);
    ht_trend_measure(t, r, since, room, out);
}

static inline void ht_trend_call_short(const struct ht_trend *t, double needed,
                                       struct ht_trend_verdict *out)
{
    ht_trend_call(out, HT_TREND_INCONCLUSIVE, HT_CAUSE_NEEDS_TIME);
    out->needed_seconds = needed;
    if (t->samples && t->last.instantiations != HT_TREND_UNKNOWN && t->last.at > 0) {
        double made = ht_trend_grown(t->mark[0].instantiations, t->last.instantiations);
        if (made > 0)
            out->needed_instantiations = made / t->last.at * needed;
    }
}

/* Judges by rules that have seen all the evidence they need. */
static inline void ht_trend_call_full(const struct ht_trend *t, const struct ht_rules *r,
                                      double now, double room, struct ht_trend_verdict *out)
{
    uint32_t windows = (uint32_t)(r->evidence / r->unit + 0.5);
    windows = windows > 32 ? 32 : windows;
    int64_t silent = ht_whole((now - r->warmup) / r->unit) - r->index;
    silent = silent < 0 ? 0 : silent > 32 ? 32 : silent;
    uint32_t covered = silent < windows ? ht_rules_coverage(r, windows - (uint32_t)silent) : 0;
    if (2 * covered < windows) {
        ht_trend_call(out, HT_TREND_INVALID, HT_CAUSE_GAPS);
        out->covered = covered;
        out->windows = windows;
        return;
    }
    if (ht_rules_leak(r)) {
        ht_trend_call_leak(t, r, room, out);
        return;
    }
    if (r->rising)
        ht_trend_call(out, HT_TREND_INCONCLUSIVE, HT_CAUSE_RISING);
    else
        ht_trend_call(out, HT_TREND_BOUNDED, HT_CAUSE_STEADY);
    ht_trend_measure(t, r, r->warmup, room, out);
}

/*
 * Judges the history as it stands at `now_ns` (monotonic, not before the last sample;
 * HT_TREND_FINAL asks as of the last sample). `room` is how many bytes are left below the nearest
 * limit, negative where there is none. Fills all of `*out`. Costs about half a microsecond;
 * HT_TREND_FINAL of a short run replays it, which takes some 30, and 8 KB of stack.
 */
static inline void ht_trend_judge(const struct ht_trend *t, uint64_t now_ns, double room,
                                  enum ht_trend_question question, struct ht_trend_verdict *out)
{
    *out = (struct ht_trend_verdict){
        .bytes_per_hour = NAN,
        .ci_low = NAN,
        .ci_high = NAN,
        .since = NAN,
        .seconds_to_limit = NAN,
        .span = NAN,
        .gain = NAN,
        .scatter = NAN,
        .blocks_per_hour = NAN,
        .kept_share = NAN,
        .bytes_per_cycle = NAN,
        .bytes_per_instantiation = NAN,
        .rises = NAN,
        .drawdown = NAN,
        .needed_instantiations = NAN,
        .needed_ticks = NAN,
        .needed_seconds = NAN,
        .covered = NAN,
        .windows = NAN,
    };
    double elapsed = ht_trend_elapsed(t), ticks = ht_trend_ticks(t);
    const uint32_t least = HT_TREND_LEAST_WARMUP + HT_TREND_LEAST_TICKS;
    if (t->fault) {
        ht_trend_call(out, HT_TREND_INVALID,
                      t->fault == HT_TREND_CLOCK_BACK ? HT_CAUSE_CLOCK : HT_CAUSE_COUNT);
    } else if (ht_trend_watched(t)) {
        double now = question == HT_TREND_FINAL || now_ns < t->first_ns
                         ? elapsed
                         : (double)(now_ns - t->first_ns) * 1e-9;
        ht_trend_call_full(t, &t->watch, now, room, out);
    } else if (question == HT_TREND_WATCH || t->settings.warmup > 0) {
        ht_trend_call_short(t, t->needed - elapsed, out);
    } else if (ticks < least) {
        ht_trend_call_short(t, (least - ticks) * t->settings.interval, out);
        out->cause = HT_CAUSE_NEEDS_TICKS;
        out->needed_ticks = least - ticks;
    } else {
        struct ht_rules rules;
        ht_trend_stretch(t, ht_trend_short_warmup(t), &rules);
        ht_trend_call_full(t, &rules, elapsed, room, out);
    }
}

/* ---- in words -------------------------------------------------------------------------------- */

/* "4 more minutes", "1 h 10 min more", "7 more seconds" */
static inline void ht_trend_say_more(struct ht_text *text, double seconds)
{
    if (seconds > 5400) {
        ht_text_span(text, seconds);
        ht_text_put(text, " more");
    } else if (seconds > 90) {
        ht_text_counted(text, seconds / 60 + 0.499, "more minute", "more minutes");
    } else {
        ht_text_counted(text, seconds < 1 ? 1 : seconds + 0.499, "more second", "more seconds");
    }
}

static inline void ht_trend_say_leak(struct ht_text *text, const struct ht_trend_verdict *v)
{
    if (v->cause == HT_CAUSE_STAIRS) {
        ht_text_put(text, "rose ");
        ht_text_counted(text, v->rises, "time", "times");
        ht_text_put(text, " in ");
        ht_text_span(text, v->span);
        ht_text_put(text, v->drawdown > 0 ? ", never fell by more than " : " and never fell");
        if (v->drawdown > 0)
            ht_text_bytes(text, v->drawdown);
    } else {
        ht_text_put(text, "its floor rose in a line for ");
        ht_text_span(text, v->span);
        if (!isnan(v->scatter)) {
            ht_text_put(text, ", straying ");
            ht_text_bytes(text, v->scatter);
        }
    }
    ht_text_put(text, v->gain >= 0 ? ": +" : ": ");
    ht_text_bytes(text, v->gain);
    if (v->kept_share > 0 && v->kept_share < 0.995) {
        ht_text_put(text, "; keeps ");
        ht_text_number(text, 100 * v->kept_share, v->kept_share < 0.0995 ? 1 : 0);
        ht_text_put(text, " % of what it allocates");
    }
}

static inline void ht_trend_say_needs(struct ht_text *text, const struct ht_trend_verdict *v)
{
    ht_text_put(text, "needs ");
    if (v->cause == HT_CAUSE_NEEDS_TICKS)
        ht_text_counted(text, v->needed_ticks, "more tick", "more ticks");
    else
        ht_trend_say_more(text, v->needed_seconds);
    if (v->needed_instantiations > 0) {
        ht_text_put(text, ", or about ");
        ht_text_counted(text, v->needed_instantiations + 0.499, "more construction",
                        "more constructions");
    }
}

/*
 * Says in one line of plain words why: into `size` bytes at `buffer` (160 hold every reason whole),
 * NUL-terminated.
 */
static inline void ht_trend_reason(const struct ht_trend_verdict *v, char *buffer, size_t size)
{
    struct ht_text text = ht_text_begin(buffer, size);
    switch (v->cause) {
    case HT_CAUSE_STAIRS:
    case HT_CAUSE_SLOPE:
        ht_trend_say_leak(&text, v);
        break;
    case HT_CAUSE_STEADY:
        ht_text_put(&text, "no lasting growth in the ");
        ht_text_span(&text, v->span);
        ht_text_put(&text, " after warm-up");
        break;
    case HT_CAUSE_NEEDS_TIME:
    case HT_CAUSE_NEEDS_TICKS:
        ht_trend_say_needs(&text, v);
        break;
    case HT_CAUSE_RISING:
        ht_text_put(&text, "rising, but not surely for good yet: needs a longer run");
        break;
    case HT_CAUSE_CLOCK:
        ht_text_put(&text, "the clock of the ticks went backwards");
        break;
    case HT_CAUSE_COUNT:
        ht_text_put(&text, "a count that can only rise went backwards");
        break;
    case HT_CAUSE_GAPS:
        ht_text_put(&text, "too many ticks are missing: only ");
        ht_text_number(&text, v->covered, 0);
        ht_text_put(&text, " of the last ");
        ht_text_number(&text, v->windows, 0);
        ht_text_put(&text, " windows saw one");
        break;
    }
}

#endif
