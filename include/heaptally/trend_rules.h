/*
 * Two rules that tell growth that goes on from everything that looks like it for a while.
 *
 * Time is cut into windows of `unit` * 2^k, k = 0 .. 8, counted from the end of the warm-up. Each
 * window leaves its floor (trend_fit.h); pairs of windows merge upward, windows without a sample
 * leave nothing. A rule is looked at when a window closes, so that a tick costs next to nothing.
 *
 *   - The slope rule, for use that swings: a line through the last 5 .. 32 floors of one window
 *     length is steeper than chance can make it (Student's t at 1e-6 .. 1e-8, wider for dependent
 *     residuals), each quarter of it rises and no single step explains it (a step does not do, nor
 *     a fill that levels off), and no shorter recent stretch says otherwise.
 *   - The staircase rule, for use that hardly swings: the floors rise above their plateau by more
 *     than three times the deepest fall ever seen, at least three times, well apart, and go on
 *     doing so. A fall below the plateau begins a new episode.
 *
 * Both keep watching what they found and withdraw it when the growth ends.
 *
 * Two lengths govern everything. What comes before `warmup` is set aside. `evidence` is how long
 * growth must have been watched; a bounded program must have reached its bound, and any cycle in
 * it have come round once, within that time. The constants were chosen on simulated series of many
 * shapes (tests/detection), for no more than one false leak in 2,000 series of seven hours.
 *
 * One struct is one history; it belongs to one thread; nothing allocates or fails.
 */
#ifndef HEAPTALLY_TREND_RULES_H
#define HEAPTALLY_TREND_RULES_H

#include "heaptally/trend_fit.h"

#define HT_LEVELS      9u
#define HT_RISES       64u
#define HT_STAIR_LEVEL 1u  /* windows of 2 units */
#define HT_LEAST_RISE  7.0 /* bytes: less than the smallest block of any allocator */

/* The staircase rule's memory. All times in seconds since the first sample. */
struct ht_staircase {
    double start;       /* of the episode */
    double foot;        /* plateau at the start of the episode, bytes */
    double plateau;     /* now */
    double drawdown;    /* deepest fall of the floors below their highest before, bytes */
    double highest;     /* floor so far */
    double previous;    /* floor */
    double first_rise;  /* of the episode, when */
    double last_rise;   /* when */
    double longest_gap; /* between two rises of the episode */
    uint32_t rises;     /* of the episode */
    uint32_t kept;      /* entries of `rise` */
    uint32_t stride;    /* every stride-th rise is kept */
    uint8_t seen;       /* `highest` and `previous` are set */
    uint8_t begun;      /* the episode is */
    uint8_t ended;      /* a leak was found in it and withdrawn */
    uint8_t leak;
    struct ht_floor rise[HT_RISES]; /* when, and the plateau after it */
};

/* The slope rule's memory. */
struct ht_slope {
    double rate;     /* bytes per second as found */
    double since;    /* first floor of the line that was found first */
    uint32_t level;  /* window length on which it was found */
    uint32_t floors; /* number of them in the line */
    uint8_t leak;
};

/*
 * The growth that was last called a leak, kept in mind until it is taken back. If most of it is
 * freed again it was the rise of a cycle, longer than the evidence allowed for: from then on
 * evidence must cover such a cycle, so that a false alarm is not repeated at every turn of it.
 */
struct ht_trial {
    double start;     /* of the growth */
    double foot, top; /* floors: at the start, highest since */
    double top_at;    /* when it was highest */
    uint32_t level;   /* window length of these floors */
    uint32_t on;
};

struct ht_rules {
    double warmup, evidence, unit; /* seconds */
    uint32_t slope_level;          /* the slope rule uses this level and those above */
    uint8_t open;                  /* the base window `index` has seen a sample */
    uint8_t rising;                /* no leak, but see ht_rules_rising; as of the last window */
    int64_t index;                 /* of the open base window; 0 begins at the end of warm-up */
    uint64_t covered;              /* a bit for each base window, newest lowest: saw a sample */
    struct ht_floor low;           /* of the open base window */
    struct ht_floor_ring level[HT_LEVELS];
    struct ht_staircase stairs;
    struct ht_slope slope;
    struct ht_trial trial;
};

/* ---- staircase rule -------------------------------------------------------------------------- */

static inline void ht_stairs_begin(struct ht_staircase *s, double now, double floor)
{
    s->start = now;
    s->foot = s->plateau = floor;
    s->rises = s->kept = 0;
    s->stride = 1;
    s->longest_gap = 0;
    s->begun = 1;
    s->leak = s->ended = 0;
}

/* Keeps every stride-th rise; when there is no place left, every second one goes. */
static inline void ht_stairs_keep(struct ht_staircase *s, double now)
{
    if (s->rises++ % s->stride)
        return;
    if (s->kept == HT_RISES) {
        for (uint32_t i = 0; i < HT_RISES / 2; i++)
            s->rise[i] = s->rise[2 * i];
        s->kept = HT_RISES / 2;
        s->stride *= 2;
        if ((s->rises - 1) % s->stride)
            return;
    }
    s->rise[s->kept++] = (struct ht_floor){.at = now, .bytes = s->plateau};
}

/* The floors have risen to `plateau` since `when`. */
static inline void ht_stairs_climb(struct ht_staircase *s, double when, double plateau)
{
    if (s->rises)
        s->longest_gap = ht_greater(s->longest_gap, when - s->last_rise);
    else
        s->first_rise = when;
    s->last_rise = when;
    s->plateau = plateau;
    ht_stairs_keep(s, when);
}

/* The plateau as it was at `when`. */
static inline double ht_stairs_plateau_at(const struct ht_staircase *s, double when)
{
    double plateau = s->foot;
    for (uint32_t i = 0; i < s->kept && s->rise[i].at <= when; i++)
        plateau = s->rise[i].bytes;
    return plateau;
}

/* How many of the rises kept lie at least `apart` seconds from the one counted before; up to 3. */
static inline uint32_t ht_stairs_confirmations(const struct ht_staircase *s, double apart)
{
    uint32_t count = 0;
    double last = 0;
    for (uint32_t i = 0; i < s->kept && count < 3; i++) {
        if (count && s->rise[i].at - last < apart)
            continue;
        last = s->rise[i].at;
        count++;
    }
    return count;
}

static inline bool ht_stairs_found(const struct ht_staircase *s, double now, double evidence,
                                   double window)
{
    if (now - s->start < evidence * (1 - 1e-9) || ht_stairs_confirmations(s, evidence / 3) < 3)
        return false;
    if (now - s->last_rise > ht_greater(1.5 * s->longest_gap, 6 * window))
        return false;
    double middle = ht_stairs_plateau_at(s, (s->start + now) / 2);
    return s->plateau - middle >= 0.35 * (middle - s->foot);
}

/*
 * Has it been quiet for longer than half the evidence, longer than rises ever were apart, and for
 * nearly 1.5 times the growth? Or has nearly all of the growth been in the episode's first third?
 */
static inline bool ht_stairs_ended(const struct ht_staircase *s, double now, double evidence,
                                   double window)
{
    double growth = 1.5 * (s->last_rise - s->first_rise) - 3.5 * window;
    double quiet = ht_lesser(2.5 * s->longest_gap, growth);
    if (now - s->last_rise > ht_greater(evidence / 2, quiet))
        return true;
    double early = ht_stairs_plateau_at(s, s->start + (now - s->start) / 3);
    return s->plateau - early < 0.15 * (s->plateau - s->foot);
}

/* Takes the floor of a window that closed at `now`; `warm` once the warm-up is over. */
static inline void ht_stairs_push(struct ht_staircase *s, double now, double floor, bool warm,
                                  double evidence, double window)
{
    if (!s->seen)
        s->highest = s->previous = floor;
    if (warm && !s->begun) {
        ht_stairs_begin(s, now - window, floor);
    } else if (warm && floor < s->plateau - 2 * s->drawdown) {
        ht_stairs_begin(s, now, floor);
    } else if (warm) {
        /* Two windows must agree, so that one that happened to miss every valley is no rise. */
        double lower = ht_lesser(floor, s->previous);
        if (lower >= s->plateau + ht_greater(3 * s->drawdown, HT_LEAST_RISE))
            ht_stairs_climb(s, now - 2 * window, lower);
        if (!s->leak)
            s->leak = ht_stairs_found(s, now, evidence, window);
        else if (ht_stairs_ended(s, now, evidence, window))
            s->leak = 0, s->ended = 1;
        /* Noise about a level that lies a little above the last rise is not to look like one. */
        if (!s->leak && s->ended)
            s->plateau = ht_greater(s->plateau, lower);
    }
    s->drawdown = ht_greater(s->drawdown, s->highest - floor);
    s->highest = ht_greater(s->highest, floor);
    s->previous = floor;
    s->seen = 1;
}

/* ---- slope rule ------------------------------------------------------------------------------ */

static inline double ht_rules_length(const struct ht_rules *r, uint32_t level)
{
    return r->unit * (double)(UINT32_C(1) << level);
}

/*
 * Does each quarter of the last `count` floors rise over the one before, by at least a quarter of
 * the mean rise? A step does not, nor does a fill that levels off.
 */
static inline bool ht_slope_quarters_rise(const struct ht_floor_ring *ring, uint32_t count)
{
    double low[4];
    for (uint32_t q = 0; q < 4; q++) {
        low[q] = INFINITY;
        for (uint32_t i = q * count / 4; i < (q + 1) * count / 4; i++)
            low[q] = ht_lesser(low[q], ht_ring_get(ring, count, i).bytes);
    }
    double mean = (low[3] - low[0]) / 3;
    for (uint32_t q = 1; q < 4; q++)
        if (low[q] - low[q - 1] < 0.25 * mean)
            return false;
    return 3 * mean >= HT_LEAST_RISE;
}

/*
 * Is a slope of `rate` over `span` seconds contradicted by a recent stretch of at least half the
 * evidence and a quarter of the span, but no longer than 100 units?
 */
static inline bool ht_slope_contradicted(const struct ht_rules *r, double rate, double span)
{
    double stretch = ht_greater(r->evidence / 2, span / 4);
    for (uint32_t k = r->slope_level; k < HT_LEVELS; k++) {
        int64_t count = -ht_whole(1e-9 - stretch / ht_rules_length(r, k));
        count = count < 8 ? 8 : count;
        if (count << k > 100 || count > r->level[k].count)
            continue;
        struct ht_fit fit = ht_fit_last(&r->level[k], (uint32_t)count);
        if (fit.slope + 6 * fit.error < 0.5 * rate)
            return true;
    }
    return false;
}

/*
 * Does one step, wherever it fits best, explain the last `count` floors nearly as well as the line
 * does? With luck and noise a step alone looks like a slope that rises in every quarter.
 */
static inline bool ht_slope_is_step(const struct ht_floor_ring *ring, uint32_t count,
                                    const struct ht_fit *fit)
{
    double origin = ht_ring_get(ring, count, 0).bytes, sum = 0, squares = 0, left = 0;
    double best = INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        double bytes = ht_ring_get(ring, count, i).bytes - origin;
        sum += bytes;
        squares += bytes * bytes;
    }
    for (uint32_t i = 0; i + 1 < count; i++) {
        left += ht_ring_get(ring, count, i).bytes - origin;
        double right = sum - left;
        double rest = squares - left * left / (i + 1) - right * right / (count - i - 1);
        best = ht_lesser(best, rest);
    }
    return fit->scatter * fit->scatter * (count - 2) > 0.75 * best;
}

/*
 * Is a rise of `gain` over the last `count` floors too little for what is known of falls? Few
 * floors lie on a line by luck now and then, among floors that usually stray far more: they must
 * have risen by twice the deepest fall of the last 3 * count. And while the evidence is not longer
 * than the longest cycle that the warm-up allows for, a rise may be just one turn of it.
 */
static inline bool ht_slope_fell_more(const struct ht_rules *r, const struct ht_floor_ring *ring,
                                      uint32_t count, double gain)
{
    if (r->evidence < 1.3 * r->warmup && gain < 1.34 * r->stairs.drawdown)
        return true;
    if (count > 7)
        return false;
    uint32_t all = ring->count < 3 * count ? ring->count : 3 * count;
    double highest = -INFINITY, fall = 0;
    for (uint32_t i = 0; i < all; i++) {
        double bytes = ht_ring_get(ring, all, i).bytes;
        highest = ht_greater(highest, bytes);
        fall = ht_greater(fall, highest - bytes);
    }
    return gain < 2 * fall;
}

/* Looks for a slope among the floors of `level`, shortest line first. */
static inline bool ht_slope_find(struct ht_rules *r, uint32_t level)
{
    const struct ht_floor_ring *ring = &r->level[level];
    double length = ht_rules_length(r, level);
    for (uint32_t i = 0; i < HT_QUANTILES; i++) {
        uint32_t count = ht_quantiles[i].count;
        if (count > ring->count)
            return false;
        if (count * length < r->evidence * (1 - 1e-9))
            continue;
        struct ht_fit fit = ht_fit_last(ring, count);
        if (fit.slope <= 0 || fit.slope < ht_quantiles[i].leak * ht_fit_wide_error(&fit) ||
            !ht_slope_quarters_rise(ring, count) || ht_slope_is_step(ring, count, &fit) ||
            ht_slope_fell_more(r, ring, count, fit.slope * count * length) ||
            ht_slope_contradicted(r, fit.slope, count * length))
            continue;
        if (!r->slope.leak)
            r->slope.since = ht_ring_get(ring, count, 0).at;
        if (!r->slope.leak || level <= r->slope.level) {
            r->slope.rate = fit.slope;
            r->slope.level = level;
            r->slope.floors = count;
        }
        r->slope.leak = 1;
        return true;
    }
    return false;
}

/* Has the growth that was found ended, now that the windows of the levels in `closed` have? */
static inline bool ht_slope_ended(const struct ht_rules *r, uint32_t closed)
{
    const struct ht_slope *found = &r->slope;
    if (closed >> found->level & 1) {
        uint32_t half = found->floors / 2 < 3 ? 3 : found->floors / 2;
        if (ht_fit_last(&r->level[found->level], half).slope < 0.3 * found->rate)
            return true;
    }
    return ht_slope_contradicted(r, found->rate, found->floors * ht_rules_length(r, found->level));
}

/* Do the last floors of `level`, as many as `row` says, rise by less than a chance in a thousand?
 */
static inline bool ht_slope_maybe(const struct ht_rules *r, uint32_t level,
                                  const struct ht_quantile *row)
{
    const struct ht_floor_ring *ring = &r->level[level];
    if (row->count > ring->count)
        return false;
    double span = row->count * ht_rules_length(r, level);
    struct ht_fit fit = ht_fit_last(ring, row->count);
    return fit.slope * span >= HT_LEAST_RISE &&
           fit.slope >= row->rising * ht_fit_wide_error(&fit) &&
           !ht_slope_contradicted(r, fit.slope, span);
}

/*
 * Growth that looks real and is not yet sure: the floors of the last stretch of evidence, or all
 * that a ring holds, rise by more than chance, and the recent past does not contradict it.
 */
static inline bool ht_rules_rising(const struct ht_rules *r)
{
    for (uint32_t k = r->slope_level; k < HT_LEVELS; k++) {
        uint32_t recent = (uint32_t)(r->evidence / ht_rules_length(r, k));
        if (ht_slope_maybe(r, k, ht_quantile_row(recent < 8 ? 8 : recent)) ||
            ht_slope_maybe(r, k, ht_quantile_row(r->level[k].count)))
            return true;
    }
    return false;
}

/* ---- both ------------------------------------------------------------------------------------ */

static inline void ht_rules_init(struct ht_rules *r, double warmup, double evidence, double unit,
                                 uint32_t slope_level)
{
    *r = (struct ht_rules){
        .warmup = warmup, .evidence = evidence, .unit = unit, .slope_level = slope_level};
}

static inline bool ht_rules_leak(const struct ht_rules *r)
{
    return r->stairs.leak || r->slope.leak;
}

/* Puts the growth that was just called a leak on trial, unless an older one still is. */
static inline void ht_trial_begin(struct ht_rules *r)
{
    struct ht_trial *trial = &r->trial;
    if (trial->on)
        return;
    trial->on = 1;
    if (r->stairs.leak) {
        trial->level = HT_STAIR_LEVEL;
        trial->start = r->stairs.start;
        trial->foot = r->stairs.foot;
        trial->top = r->stairs.plateau;
    } else {
        const struct ht_floor_ring *ring = &r->level[r->slope.level];
        trial->level = r->slope.level;
        trial->start = r->slope.since;
        trial->foot = ht_ring_get(ring, r->slope.floors, 0).bytes;
        trial->top = ht_ring_get(ring, 1, 0).bytes;
    }
    trial->top_at = r->low.at;
    if (trial->start <= r->warmup + ht_rules_length(r, trial->level))
        trial->start = 0; /* most likely it did not begin with the end of the warm-up */
}

/* Weighs the floor of a closed window of the trial's level. */
static inline void ht_trial_weigh(struct ht_rules *r)
{
    struct ht_trial *trial = &r->trial;
    struct ht_floor floor = ht_ring_get(&r->level[trial->level], 1, 0);
    if (floor.bytes > trial->top) {
        trial->top = floor.bytes;
        trial->top_at = floor.at;
    } else if (floor.bytes <= trial->foot + 0.25 * (trial->top - trial->foot)) {
        r->evidence = ht_greater(r->evidence, 1.34 * (trial->top_at - trial->start));
        r->slope.leak = r->stairs.leak = trial->on = 0;
        ht_stairs_begin(&r->stairs, floor.at, floor.bytes);
    }
}

/*
 * Closes the open base window; `next` is the index of the one to be opened. Every longer window
 * that ends with it closes too. What was seen before the end of the warm-up shows the staircase
 * rule how deep falls go, and is then dropped.
 */
static inline void ht_rules_close(struct ht_rules *r, int64_t next)
{
    uint32_t closed = 0;
    double stair = 0;
    for (uint32_t k = 0; k < HT_LEVELS; k++) {
        struct ht_floor_ring *ring = &r->level[k];
        ht_ring_merge(ring, r->low);
        if (next >> k == r->index >> k)
            continue;
        closed |= UINT32_C(1) << k;
        if (k == HT_STAIR_LEVEL)
            stair = ring->open.bytes;
        if (r->index >= 0)
            ht_ring_close(ring);
        else
            ring->filled = 0;
    }
    r->covered = next - r->index < 64 ? (r->covered << 1 | 1) << (next - r->index - 1) : 0;
    r->open = 0;
    if (r->trial.on && closed >> r->trial.level & 1)
        ht_trial_weigh(r);
    if (closed >> HT_STAIR_LEVEL & 1) {
        double window = ht_rules_length(r, HT_STAIR_LEVEL);
        double end = r->warmup + (double)((r->index >> HT_STAIR_LEVEL) + 1) * window;
        ht_stairs_push(&r->stairs, end, stair, r->index >= 0, r->evidence, window);
    }
    bool found = false;
    for (uint32_t k = r->slope_level; k < HT_LEVELS; k++)
        if (closed >> k & 1)
            found |= ht_slope_find(r, k);
    if (r->slope.leak && !found && closed >> r->slope_level)
        r->slope.leak = !ht_slope_ended(r, closed);
    if (closed >> r->slope_level)
        r->rising = !r->slope.leak && ht_rules_rising(r);
    if (ht_rules_leak(r))
        ht_trial_begin(r);
}

/*
 * Takes the lowest live bytes of the tick at `at` seconds, which must not lie before the last one.
 * The staircase rule looks back half a warm-up; what is older is not kept at all.
 */
static inline void ht_rules_push(struct ht_rules *r, double at, double bytes)
{
    if (at < r->warmup / 2)
        return;
    int64_t index = ht_whole((at - r->warmup) / r->unit);
    if (r->open && index != r->index)
        ht_rules_close(r, index);
    struct ht_floor floor = {.at = at, .bytes = bytes};
    if (r->open)
        ht_floor_lower(&r->low, floor);
    else
        r->low = floor;
    r->open = 1;
    r->index = index;
}

/* How many of the last `windows` (at most 64) base windows saw a sample. */
static inline uint32_t ht_rules_coverage(const struct ht_rules *r, uint32_t windows)
{
    uint64_t mask = windows < 64 ? (UINT64_C(1) << windows) - 1 : UINT64_MAX;
    return (uint32_t)__builtin_popcountll(r->covered & mask);
}

/*
 * The shortest windows that a line for the figures may go by. Of what was found they are those that
 * the rule went by: on shorter ones lies the very noise that the rule looked past.
 */
static inline uint32_t ht_rules_fit_level(const struct ht_rules *r)
{
    if (r->stairs.leak)
        return r->slope_level < HT_STAIR_LEVEL ? r->slope_level : HT_STAIR_LEVEL;
    return r->slope.leak ? r->slope.level : r->slope_level;
}

/*
 * The line through everything since `since` seconds, on the shortest windows that reach back that
 * far. False, with `*fit` untouched, while there are fewer than three floors.
 */
static inline bool ht_rules_fit_since(const struct ht_rules *r, double since, struct ht_fit *fit)
{
    for (uint32_t k = ht_rules_fit_level(r); k < HT_LEVELS; k++) {
        const struct ht_floor_ring *ring = &r->level[k];
        uint32_t count = 0;
        while (count < ring->count &&
               ht_ring_get(ring, count + 1, 0).at >= since - ht_rules_length(r, k))
            count++;
        if (count == HT_FLOORS && k + 1 < HT_LEVELS)
            continue; /* may reach back further than the ring */
        if (count < 3)
            return false;
        *fit = ht_fit_last(ring, count);
        return true;
    }
    return false;
}

/* Bytes per second, above 0, of a leak as the rule that found it saw it. */
static inline double ht_rules_found_rate(const struct ht_rules *r)
{
    if (r->slope.leak)
        return r->slope.rate;
    return (r->stairs.plateau - r->stairs.foot) / (r->low.at - r->stairs.start);
}

#endif
