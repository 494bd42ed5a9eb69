/* Histories: thinning keeps the start, every low and every high, in fixed memory. */
#include "../../preload/history.h"

#include <stdio.h>
#include <string.h>

#include "support.h"

#define TICKS 1000000u

static struct htl_history_point point_of(uint64_t tick)
{
    struct htl_history_point point = {
        .t_ns = tick,
        .low_bytes = 1000 + tick % 1000,
        .high_bytes = 5000 + tick % 1000,
        .allocated_bytes = tick * 10,
        .instantiations = tick,
    };
    return point;
}

/* The points stand for `ticks` ticks, each once, in order. */
static void check(const struct ht_history *history, uint64_t ticks)
{
    uint64_t next = 0;
    ck_assert_uint_le(history->count, HT_HISTORY_POINTS);
    for (uint32_t i = 0; i < history->count; i++) {
        const struct htl_history_point *point = &history->points[i];
        uint64_t low = UINT64_MAX, high = 0;
        for (; next <= point->t_ns; next++) {
            struct htl_history_point one = point_of(next);
            low = one.low_bytes < low ? one.low_bytes : low;
            high = one.high_bytes > high ? one.high_bytes : high;
        }
        ck_assert_uint_eq(point->low_bytes, low);
        ck_assert_uint_eq(point->high_bytes, high);
        ck_assert_uint_eq(point->allocated_bytes, point->t_ns * 10);
        ck_assert_uint_eq(point->instantiations, point->t_ns);
        if (i + 1 < history->count) /* all but the last are full */
            ck_assert_uint_eq(next % history->stride, 0);
    }
    ck_assert_uint_eq(next, ticks);
}

START_TEST(a_million_points)
{
    ck_assert_ptr_null(ht_history(7));
    for (uint64_t tick = 0; tick < TICKS; tick++) {
        struct htl_history_point point = point_of(tick);
        ht_history_add(7, &point);
        if ((tick < 3000 && tick % 37 < 2) || tick == 65535 || tick == 65536 || tick == 300001)
            check(ht_history(7), tick + 1);
    }
    const struct ht_history *history = ht_history(7);
    check(history, TICKS);
    printf("%u points of %u ticks\n", history->count, history->stride);
    ck_assert_uint_ge(history->count, HT_HISTORY_POINTS / 2 - 1);
    ck_assert_uint_lt(history->points[0].t_ns, history->stride);
}
END_TEST

START_TEST(subjects_are_apart)
{
    struct htl_history_point point = point_of(3);
    ht_history_add(1, &point);
    ht_history_add(HTL_HISTORY_PROCESS, &point);
    ht_history_add(HTL_HISTORY_PROCESS, &point);
    ck_assert_uint_eq(ht_history(1)->count, 1);
    ck_assert_uint_eq(ht_history(HTL_HISTORY_PROCESS)->count, 2);
    ck_assert_ptr_null(ht_history(2));
}
END_TEST

START_TEST(thinned_copies)
{
    static struct htl_history_point out[HT_HISTORY_POINTS];
    for (uint64_t tick = 0; tick < 509; tick++) {
        struct htl_history_point point = point_of(tick);
        ht_history_add(1, &point);
    }
    const struct ht_history *history = ht_history(1);
    ck_assert_uint_eq(ht_history_thinned(history, 1, out), 509);
    ck_assert_int_eq(memcmp(out, history->points, 509 * sizeof *out), 0);
    for (uint32_t step = 2; step <= 512; step *= 2) {
        uint32_t count = ht_history_thinned(history, step, out);
        ck_assert_uint_eq(count, (509 + step - 1) / step);
        ck_assert_uint_eq(out[0].low_bytes, 1000);
        ck_assert_uint_eq(out[count - 1].t_ns, 508);
        uint64_t high = 0;
        for (uint32_t i = 0; i < count; i++)
            high = out[i].high_bytes > high ? out[i].high_bytes : high;
        ck_assert_uint_eq(high, 5508);
    }
}
END_TEST

SUPPORT_MAIN("history", a_million_points, subjects_are_apart, thinned_copies)
