/*
 * Walks the ticks of the process, and beside them the points of the one that is asked about. Tags
 * are few and get every tick. Sites are many: of the ticks between two points, in which nothing
 * changed, they get those that open a window of the detector, and the last one; what it keeps of a
 * window is its lowest bytes, so the others would tell it the same again.
 *
 *   tick     . . . . . . . . . . . . . . . .
 *   point    P               P                    listed: something changed
 *   window   |         |         |         |
 *   sample   P         s   s P   s         s
 */
#include "evidence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static void add(struct ht_evidence *e, uint64_t t_ns, uint64_t bytes,
                const struct htl_history_point *point)
{
    uint64_t allocated = point->allocated_blocks, freed = point->freed_blocks;
    bool known = allocated != HTL_UNKNOWN && freed != HTL_UNKNOWN && freed <= allocated;
    e->ticks++;
    e->samples = ht_room_for_one(e->samples, e->count, sizeof *e->samples);
    e->samples[e->count++] = (struct ht_trend_sample){
        .time_ns = t_ns,
        .low_bytes = bytes,
        .live_blocks = known ? allocated - freed : HT_TREND_UNKNOWN,
        .allocated_bytes = point->allocated_bytes,
        .instantiations = point->instantiations,
        .cycles = point->cycles,
    };
}

/* The windows of the detector; times in nanoseconds since the start of counting. */
struct windows {
    double first, warm, unit; /* the first sample, the end of the warm-up, the length of one */
    double from;              /* only windows from here on can tell it anything */
};

enum { FLAT_WINDOWS = 64 }; /* as far back as the detector looks where nothing ever changed */

/* Number of the first tick at or after `t_ns`, from `tick` on; it is most often near. */
static size_t tick_at(const struct ht_past *ticks, size_t tick, double t_ns)
{
    size_t step = 1, low = tick, high;
    while (low + step < ticks->count && (double)ticks->points[low + step].t_ns < t_ns) {
        low += step;
        step *= 2;
    }
    high = low + step < ticks->count ? low + step : ticks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((double)ticks->points[middle].t_ns < t_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The tick that is to follow number `tick`; `until` is when the owner changes next. */
static size_t next_tick(const struct ht_past *ticks, size_t tick, double until,
                        const struct windows *w)
{
    if (!w)
        return tick + 1;
    double t = (double)ticks->points[tick].t_ns, opens = w->first;
    if (t >= w->first)
        opens = w->warm + (floor((t - w->warm) / w->unit) + 1) * w->unit;
    size_t next = tick_at(ticks, tick + 1, fmax(opens, w->from));
    size_t last = tick_at(ticks, tick + 1, until) - 1;
    return last > tick && last < next ? last : next;
}

/*
 * One sample for each point, and one for each tick between and after them: all, or with `windows`
 * those that count. What was held in such a tick is what the point before it said at its end, which
 * is its higher figure; of a point that may stand for a longer span (`thinned`) only the lower one
 * is safe to say.
 */
static void fill(const struct ht_profile *p, const struct ht_past *past, bool thinned,
                 const struct windows *windows, struct ht_evidence *e)
{
    const struct ht_past *ticks = &p->process;
    size_t next = 0, tick = 0;
    while (next < past->count || tick < ticks->count) {
        const struct htl_history_point *point = next < past->count ? &past->points[next] : NULL;
        uint64_t t = tick < ticks->count ? ticks->points[tick].t_ns : UINT64_MAX;
        if (point && point->t_ns <= t) {
            add(e, point->t_ns, point->low_bytes, point);
            next++;
            tick += point->t_ns == t;
            continue;
        }
        size_t after = tick + 1;
        if (next > 0 && t > p->first_tick_ns) {
            const struct htl_history_point *before = &past->points[next - 1];
            add(e, t, thinned ? before->low_bytes : before->high_bytes, before);
            after = next_tick(ticks, tick, point ? (double)point->t_ns : INFINITY, windows);
            e->ticks += after - tick - 1;
        }
        tick = after;
    }
}

/* Number of the oldest sample of the last twentieth of the ticks. */
static size_t last_twentieth(const struct ht_profile *p, const struct ht_evidence *e)
{
    const struct ht_past *ticks = &p->process;
    size_t some = e->ticks / 20, oldest = e->count - 1;
    if (e->ticks == e->count)
        return oldest - some;
    if (some >= ticks->count)
        return 0;
    while (oldest > 0 &&
           e->samples[oldest - 1].time_ns >= ticks->points[ticks->count - 1 - some].t_ns)
        oldest--;
    return oldest;
}

/*
 * Leaves out what the end of the process did: its last figures; and where they are less than half
 * of the highest of the last twentieth of the ticks, all that came after that.
 */
static void trim_end(const struct ht_profile *p, struct ht_evidence *e)
{
    if (!(p->last.flags & HTL_TICK_FINAL) || e->count < 3)
        return;
    e->ticks--;
    uint64_t at_last = e->samples[--e->count].low_bytes;
    size_t highest = e->count - 1, oldest = last_twentieth(p, e);
    for (size_t i = highest; i-- > oldest;)
        if (e->samples[i].low_bytes > e->samples[highest].low_bytes)
            highest = i;
    e->given_back = at_last < e->samples[highest].low_bytes / 2;
    if (e->given_back) {
        e->ticks -= e->count - (highest + 1);
        e->count = highest + 1;
    }
}

/* What was before a pause of counting is another story: blocks of the pause are in no figure. */
static void trim_start(const struct ht_profile *p, struct ht_evidence *e)
{
    size_t before = 0;
    while (before < e->count && e->samples[before].time_ns < p->resumed_ns)
        before++;
    if (before == 0)
        return;
    e->count -= before;
    e->ticks -= before;
    memmove(e->samples, e->samples + before, e->count * sizeof *e->samples);
}

static void trim(const struct ht_profile *p, struct ht_evidence *e)
{
    trim_start(p, e);
    trim_end(p, e);
}

struct ht_evidence ht_evidence_of_tag(const struct ht_profile *p, const struct ht_tag *tag)
{
    struct ht_evidence e = {0};
    fill(p, &tag->past, false, NULL, &e);
    trim(p, &e);
    return e;
}

/* Whether it held the same number of bytes at `t_ns` and ever since. */
static bool is_flat_since(const struct ht_past *past, double t_ns)
{
    size_t i = past->count - 1;
    while (i > 0 && (double)past->points[i].t_ns > t_ns &&
           past->points[i - 1].low_bytes == past->points[i].low_bytes)
        i--;
    return (double)past->points[i].t_ns <= t_ns;
}

/* When its first sample is that no pause follows. */
static double first_sample(const struct ht_profile *p, const struct ht_past *past)
{
    double resumed = (double)p->resumed_ns;
    if ((double)past->points[0].t_ns >= resumed)
        return (double)past->points[0].t_ns;
    size_t point = tick_at(past, 0, resumed), tick = tick_at(&p->process, 0, resumed);
    return fmin(point < past->count ? (double)past->points[point].t_ns : INFINITY,
                tick < p->process.count ? (double)p->process.points[tick].t_ns : INFINITY);
}

/* False where the run is too short for windows of a fixed length. */
static bool windows_of(const struct ht_profile *p, const struct ht_past *past,
                       const struct ht_trend_settings *settings, struct windows *w)
{
    if (past->count == 0 || p->process.count == 0)
        return false;
    struct ht_trend trend;
    double first = first_sample(p, past), last;
    last = (double)p->process.points[p->process.count - 1].t_ns;
    ht_trend_init(&trend, settings);
    *w = (struct windows){
        .first = first,
        .warm = first + 1e9 * trend.watch.warmup,
        .unit = 1e9 * trend.watch.unit,
        .from = -INFINITY,
    };
    if (is_flat_since(past, first + 5e8 * trend.watch.warmup))
        w->from = last - FLAT_WINDOWS * w->unit;
    return last - first > 1e9 * trend.needed + w->unit;
}

struct ht_evidence ht_evidence_of_site(const struct ht_profile *p, const struct ht_site *site,
                                       const struct ht_trend_settings *settings)
{
    struct ht_evidence e = {0};
    struct windows windows;
    bool windowed = windows_of(p, &site->past, settings, &windows);
    fill(p, &site->past, true, windowed ? &windows : NULL, &e);
    trim(p, &e);
    return e;
}

struct ht_evidence ht_evidence_of_process(const struct ht_profile *p)
{
    struct ht_evidence e = {0};
    for (size_t i = 0; i < p->process.count; i++) {
        struct htl_history_point point = p->process.points[i];
        /* How much of what is allocated stays resident is no question of bytes. */
        point.allocated_bytes = point.allocated_blocks = point.freed_blocks = HTL_UNKNOWN;
        if (point.low_bytes != HTL_UNKNOWN)
            add(&e, point.t_ns, point.low_bytes, &point);
    }
    trim(p, &e);
    return e;
}

void ht_evidence_clear(struct ht_evidence *e)
{
    free(e->samples);
    *e = (struct ht_evidence){0};
}
