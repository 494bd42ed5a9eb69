/* See play.h. */
#include "play.h"

#include <string.h>

#define LONGEST 25201
#define LOOKS   5 /* at most, in a tick; at least one less */

static double sample[LONGEST]; /* at the moment of each tick, for the rivals */

/*
 * The lowest of the looks within the tick that ends at `end`. The moment of the tick itself is not
 * among them: it is regular, and would see a regular sawtooth's valley drift. It is what the rivals
 * see, of the whole process, in `*sampled`.
 */
static double look(struct zoo_series *s, double end, double *sampled)
{
    int looks = LOOKS - (int)(rnd_next(&s->rnd) & 1);
    double low = INFINITY;
    for (int i = 0; i < looks; i++)
        low = fmin(low, zoo_value(s, end - 1 + (i + rnd_unit(&s->rnd)) / looks));
    *sampled = zoo_process_value(s, end);
    return low;
}

static uint64_t whole_bytes(double bytes)
{
    return bytes > 0 ? (uint64_t)(bytes + 0.5) : 0;
}

/* Plays tick number `tick` into the detector; false if it is missing. */
static bool play_tick(struct zoo_series *s, struct ht_trend *trend, int tick)
{
    double low = look(s, tick + 1, &sample[tick]);
    if (tick > 0 && s->missing > 0 && rnd_unit(&s->rnd) < s->missing)
        return false;
    /* Ticks are not to the point either: a scheduler delays them by some milliseconds. */
    double late = 0.005 * rnd_unit(&s->rnd);
    struct ht_trend_sample push = {
        .time_ns = (uint64_t)((tick + late) * 1e9),
        .low_bytes = whole_bytes(low),
        .live_blocks = HT_TREND_UNKNOWN,
        .allocated_bytes = HT_TREND_UNKNOWN,
        .instantiations = HT_TREND_UNKNOWN,
        .cycles = HT_TREND_UNKNOWN,
    };
    ht_trend_push(trend, &push);
    return true;
}

#define ASK_EVERY 30 /* ticks; to ask for figures is dear */

/* Books whether the figures of a `leak` agree with it. */
static void book_figures(const struct ht_trend_verdict *v, struct play_result *out)
{
    if (v->call != HT_TREND_LEAK)
        return;
    bool within = v->ci_low < v->bytes_per_hour && v->bytes_per_hour < v->ci_high;
    bool exact = v->ci_low == v->bytes_per_hour && v->bytes_per_hour == v->ci_high;
    bool unknown = isnan(v->ci_low) && isnan(v->ci_high);
    out->vague |= unknown;
    out->at_odds |=
        !(v->bytes_per_hour > 0) || (!unknown && !(v->ci_low > 0)) || !(within || exact || unknown);
}

static void judge_end(const struct zoo_series *s, const struct ht_trend *trend,
                      struct play_result *out)
{
    struct ht_trend_verdict v;
    ht_trend_judge(trend, trend->last_ns, -1, HT_TREND_FINAL, &v);
    out->call = (unsigned char)v.call;
    book_figures(&v, out);
    double truth = 3600 * s->bytes_per_second;
    if (v.call == HT_TREND_LEAK && truth > 0) {
        out->rate_error = (float)(v.bytes_per_hour / truth - 1);
        /* A rounding in the last place is no miss: whole bytes over a long time. */
        double slack = 1e-6 * truth + 2;
        out->ci_known = 1;
        out->ci_holds = truth >= v.ci_low - slack && truth <= v.ci_high + slack;
    }
}

static void play_begin(const struct zoo_series *s, struct ht_trend *trend, struct play_result *out)
{
    memset(out, 0, sizeof *out);
    out->first = out->early = out->late = out->withdrawn = -1;
    out->rate_error = NAN;
    out->start = (float)s->growth_start;
    struct ht_trend_settings settings = {.interval = 1, .warmup = s->warmup};
    ht_trend_init(trend, &settings);
}

/* Books what the watch says at `tick`. */
static void book(const struct zoo_series *s, int tick, bool leak, bool before,
                 struct play_result *out)
{
    out->flips += before && !leak;
    if (!leak)
        return;
    if (tick < s->growth_start) {
        if (out->early < 0)
            out->early = (float)tick;
        return;
    }
    if (out->first < 0)
        out->first = (float)tick;
    if (tick > s->growth_end) {
        out->withdrawn = (float)(tick - s->growth_end);
        if (tick > s->growth_end + 1.5 * (s->growth_end - s->growth_start))
            out->late = (float)tick;
    }
}

void play_long(const struct zoo_family *family, const struct zoo_run *run, uint64_t seed,
               bool with_rivals, struct play_result *out)
{
    static struct zoo_series s;
    static struct ht_trend trend;
    zoo_build(family, run, seed, &s);
    play_begin(&s, &trend, out);
    bool before = false;
    int ticks = (int)run->ticks;
    for (int tick = 0; tick < ticks; tick++) {
        play_tick(&s, &trend, tick);
        bool leak = ht_trend_is_leak(&trend);
        book(&s, tick, leak, before, out);
        if (leak && tick % ASK_EVERY == 0) {
            struct ht_trend_verdict v;
            ht_trend_judge(&trend, trend.last_ns, -1, HT_TREND_WATCH, &v);
            book_figures(&v, out);
        }
        before = leak;
    }
    judge_end(&s, &trend, out);
    if (with_rivals)
        rivals_play(sample, ticks, 600, out->rival);
}

void play_short(const struct zoo_family *family, const struct zoo_run *run, uint64_t seed,
                struct play_result *out)
{
    static struct zoo_series s;
    static struct ht_trend trend;
    zoo_build(family, run, seed, &s);
    play_begin(&s, &trend, out);
    for (int tick = 0; tick < (int)run->ticks; tick++)
        play_tick(&s, &trend, tick);
    judge_end(&s, &trend, out);
}
