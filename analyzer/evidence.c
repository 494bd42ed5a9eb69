/* Walks the ticks of the process, and beside them the points of the one that is asked about. */
#include "evidence.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

static void add(struct ht_evidence *e, uint64_t t_ns, uint64_t bytes,
                const struct htl_history_point *point)
{
    uint64_t allocated = point->allocated_blocks, freed = point->freed_blocks;
    bool known = allocated != HTL_UNKNOWN && freed != HTL_UNKNOWN && freed <= allocated;
    e->samples[e->count++] = (struct ht_trend_sample){
        .time_ns = t_ns,
        .low_bytes = bytes,
        .live_blocks = known ? allocated - freed : HT_TREND_UNKNOWN,
        .allocated_bytes = point->allocated_bytes,
        .instantiations = point->instantiations,
        .cycles = point->cycles,
    };
}

/*
 * One sample for each point, and one for each tick between and after them. What was held in such a
 * tick is what the point before it said at its end, which is its higher figure; of a point that may
 * stand for a longer span (`thinned`) only the lower one is safe to say.
 */
static void fill(const struct ht_profile *p, const struct ht_past *past, bool thinned,
                 struct ht_evidence *e)
{
    const struct ht_past *ticks = &p->process;
    size_t next = 0, tick = 0;
    e->samples = ht_allocate((past->count + ticks->count + 1) * sizeof *e->samples);
    while (next < past->count || tick < ticks->count) {
        const struct htl_history_point *point = next < past->count ? &past->points[next] : NULL;
        uint64_t t = tick < ticks->count ? ticks->points[tick].t_ns : UINT64_MAX;
        if (point && point->t_ns <= t) {
            add(e, point->t_ns, point->low_bytes, point);
            next++;
            tick += point->t_ns == t;
            continue;
        }
        if (next > 0 && t > p->first_tick_ns) {
            const struct htl_history_point *before = &past->points[next - 1];
            add(e, t, thinned ? before->low_bytes : before->high_bytes, before);
        }
        tick++;
    }
}

/*
 * Leaves out what the end of the process did: its last figures; and where they are less than half
 * of the highest of the last twentieth of the ticks, all that came after that.
 */
static void trim_end(const struct ht_profile *p, struct ht_evidence *e)
{
    if (!(p->last.flags & HTL_TICK_FINAL) || e->count < 3)
        return;
    uint64_t at_last = e->samples[--e->count].low_bytes;
    size_t highest = e->count - 1, oldest = e->count - 1 - e->count / 20;
    for (size_t i = highest; i-- > oldest;)
        if (e->samples[i].low_bytes > e->samples[highest].low_bytes)
            highest = i;
    e->given_back = at_last < e->samples[highest].low_bytes / 2;
    if (e->given_back)
        e->count = highest + 1;
}

/* What was before a pause of counting is another story: blocks of the pause are in no figure. */
static void trim_start(const struct ht_profile *p, struct ht_evidence *e)
{
    size_t before = 0;
    while (before < e->count && e->samples[before].time_ns < p->resumed_ns)
        before++;
    e->count -= before;
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
    fill(p, &tag->past, false, &e);
    trim(p, &e);
    return e;
}

struct ht_evidence ht_evidence_of_site(const struct ht_profile *p, const struct ht_site *site)
{
    struct ht_evidence e = {0};
    fill(p, &site->past, true, &e);
    trim(p, &e);
    return e;
}

struct ht_evidence ht_evidence_of_process(const struct ht_profile *p)
{
    struct ht_evidence e = {0};
    e.samples = ht_allocate((p->process.count + 1) * sizeof *e.samples);
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
