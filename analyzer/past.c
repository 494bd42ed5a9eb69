/* Everything works on sorted points: each function keeps times strictly rising. */
#include "past.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

void ht_past_add(struct ht_past *past, const struct htl_history_point *point)
{
    if (past->count > 0 && past->points[past->count - 1].t_ns >= point->t_ns) {
        if (past->points[past->count - 1].t_ns == point->t_ns)
            past->points[past->count - 1] = *point;
        return;
    }
    past->points = ht_room_for_one(past->points, past->count, sizeof *point);
    past->points[past->count++] = *point;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void ht_past_thin(struct ht_past *past)
{
    if (past->count < HT_SITE_POINTS)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < past->count; i += 2) {
        const struct htl_history_point *first = &past->points[i];
        struct htl_history_point merged = i + 1 < past->count ? first[1] : first[0];
        merged.low_bytes = least(merged.low_bytes, first->low_bytes);
        merged.high_bytes = most(merged.high_bytes, first->high_bytes);
        past->points[kept++] = merged;
    }
    past->count = kept;
    /* Capacities follow counts (see ht_room_for_one): the array must not stay larger than that. */
    past->points = ht_reallocate(past->points, kept, sizeof *past->points);
}

void ht_past_join_older(struct ht_past *past, struct ht_past *older)
{
    size_t before = 0;
    while (before < older->count &&
           (past->count == 0 || older->points[before].t_ns < past->points[0].t_ns))
        before++;
    if (before > 0) {
        struct htl_history_point *all =
            ht_reallocate(older->points, before + past->count, sizeof *all);
        if (past->count > 0)
            memcpy(all + before, past->points, past->count * sizeof *all);
        free(past->points);
        *past = (struct ht_past){all, before + past->count};
        *older = (struct ht_past){NULL, 0};
    }
    ht_past_clear(older);
}

void ht_past_join_newer(struct ht_past *past, struct ht_past *newer)
{
    size_t from = 0;
    while (past->count > 0 && from < newer->count &&
           newer->points[from].t_ns <= past->points[past->count - 1].t_ns)
        from++;
    size_t added = newer->count - from;
    if (added > 0) {
        past->points = ht_reallocate(past->points, past->count + added, sizeof *past->points);
        memcpy(past->points + past->count, newer->points + from, added * sizeof *past->points);
        past->count += added;
    }
    ht_past_clear(newer);
}

/* Unknown stays unknown; a sum that does not fit stays at the end of the range. */
static uint64_t sum_of(uint64_t a, uint64_t b)
{
    return a == HTL_UNKNOWN || b == HTL_UNKNOWN || a > HTL_UNKNOWN - b ? HTL_UNKNOWN : a + b;
}

static struct htl_history_point point_sum(const struct htl_history_point *a,
                                          const struct htl_history_point *b)
{
    return (struct htl_history_point){
        .t_ns = most(a->t_ns, b->t_ns),
        .low_bytes = sum_of(a->low_bytes, b->low_bytes),
        .high_bytes = sum_of(a->high_bytes, b->high_bytes),
        .allocated_bytes = sum_of(a->allocated_bytes, b->allocated_bytes),
        .allocated_blocks = sum_of(a->allocated_blocks, b->allocated_blocks),
        .freed_blocks = sum_of(a->freed_blocks, b->freed_blocks),
        .instantiations = sum_of(a->instantiations, b->instantiations),
        .cycles = sum_of(a->cycles, b->cycles),
    };
}

/* What a past says at the time `t`: point number `*next` is taken if it has come. */
static void advance(const struct ht_past *past, size_t *next, uint64_t t,
                    struct htl_history_point *now)
{
    if (*next < past->count && past->points[*next].t_ns == t)
        *now = past->points[(*next)++];
}

void ht_past_add_up(struct ht_past *sum, struct ht_past *more)
{
    if (sum->count == 0 || more->count == 0) {
        struct ht_past *whole = sum->count == 0 ? more : sum, *empty = whole == sum ? more : sum;
        struct ht_past kept = *whole;
        free(empty->points);
        *more = (struct ht_past){NULL, 0};
        *sum = kept;
        return;
    }
    struct ht_past both = {ht_allocate_zeroed(sum->count + more->count, sizeof *both.points), 0};
    struct htl_history_point a = {0}, b = {0};
    for (size_t i = 0, j = 0; i < sum->count || j < more->count;) {
        uint64_t t = i < sum->count ? sum->points[i].t_ns : UINT64_MAX;
        if (j < more->count)
            t = least(t, more->points[j].t_ns);
        advance(sum, &i, t, &a);
        advance(more, &j, t, &b);
        both.points[both.count++] = point_sum(&a, &b);
    }
    ht_past_clear(sum);
    ht_past_clear(more);
    *sum = both;
}

void ht_past_clear(struct ht_past *past)
{
    free(past->points);
    *past = (struct ht_past){NULL, 0};
}
