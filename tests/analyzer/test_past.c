/* Pasts: added, thinned, joined and added up. */
#include <check.h>
#include <stdlib.h>

#include "past.h"
#include "../run_suite.h"

static struct htl_history_point point(uint64_t t, uint64_t low, uint64_t high)
{
    return (struct htl_history_point){.t_ns = t,
                                      .low_bytes = low,
                                      .high_bytes = high,
                                      .allocated_bytes = high,
                                      .instantiations = HTL_UNKNOWN};
}

static void add(struct ht_past *past, uint64_t t, uint64_t low, uint64_t high)
{
    struct htl_history_point p = point(t, low, high);
    ht_past_add(past, &p);
}

START_TEST(times_rise)
{
    struct ht_past past = {NULL, 0};
    add(&past, 10, 1, 1);
    add(&past, 20, 2, 2);
    add(&past, 20, 3, 3);
    add(&past, 15, 9, 9);
    ck_assert_uint_eq(past.count, 2);
    ck_assert_uint_eq(past.points[1].low_bytes, 3);
    ht_past_clear(&past);
    ck_assert_ptr_null(past.points);
}
END_TEST

/* However many points come: never more than the cap, the extremes and the last figures are kept. */
START_TEST(thinned)
{
    struct ht_past past = {NULL, 0};
    for (uint64_t t = 1; t <= 10000; t++) {
        ht_past_thin(&past);
        add(&past, t, t == 777 ? 1 : 50, t == 4321 ? 999 : 100);
        ck_assert_uint_le(past.count, HT_SITE_POINTS);
    }
    uint64_t low = UINT64_MAX, high = 0;
    for (size_t i = 0; i < past.count; i++) {
        low = past.points[i].low_bytes < low ? past.points[i].low_bytes : low;
        high = past.points[i].high_bytes > high ? past.points[i].high_bytes : high;
        ck_assert(i == 0 || past.points[i - 1].t_ns < past.points[i].t_ns);
    }
    ck_assert_uint_eq(low, 1);
    ck_assert_uint_eq(high, 999);
    ck_assert_uint_eq(past.points[past.count - 1].t_ns, 10000);
    ck_assert_uint_ge(past.count, HT_SITE_POINTS / 2);
    ht_past_clear(&past);
}
END_TEST

START_TEST(joined)
{
    struct ht_past past = {NULL, 0}, other = {NULL, 0};
    for (uint64_t t = 10; t < 15; t++)
        add(&past, t, t, t);
    for (uint64_t t = 7; t < 13; t++)
        add(&other, t, 100, 100);
    ht_past_join_older(&past, &other);
    ck_assert_uint_eq(past.count, 8);
    ck_assert_uint_eq(past.points[2].low_bytes, 100);
    ck_assert_uint_eq(past.points[3].low_bytes, 10);
    ck_assert_ptr_null(other.points);
    for (uint64_t t = 13; t < 17; t++)
        add(&other, t, 200, 200);
    ht_past_join_newer(&past, &other);
    ck_assert_uint_eq(past.count, 10);
    ck_assert_uint_eq(past.points[7].low_bytes, 14);
    ck_assert_uint_eq(past.points[9].t_ns, 16);
    ht_past_join_newer(&other, &past);
    ck_assert_uint_eq(other.count, 10);
    ck_assert_uint_eq(past.count, 0);
    ht_past_clear(&other);
}
END_TEST

START_TEST(added_up)
{
    struct ht_past sum = {NULL, 0}, more = {NULL, 0};
    add(&sum, 1, 5, 6);
    add(&sum, 3, 7, 8);
    ht_past_add_up(&sum, &more);
    ck_assert_uint_eq(sum.count, 2);
    ht_past_add_up(&more, &sum);
    ck_assert_uint_eq(more.count, 2);
    add(&sum, 2, 10, 20);
    add(&sum, 3, 30, 40);
    add(&sum, 9, UINT64_MAX - 1, 1);
    ht_past_add_up(&sum, &more);
    static const uint64_t expected[][3] = {{1, 5, 6}, {2, 15, 26}, {3, 37, 48}, {9, UINT64_MAX, 9}};
    ck_assert_uint_eq(sum.count, 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(sum.points[i].t_ns, expected[i][0]);
        ck_assert_uint_eq(sum.points[i].low_bytes, expected[i][1]);
        ck_assert_uint_eq(sum.points[i].high_bytes, expected[i][2]);
    }
    ht_past_clear(&sum);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("past");
    TCase *tests = tcase_create("past");
    tcase_add_test(tests, times_rise);
    tcase_add_test(tests, thinned);
    tcase_add_test(tests, joined);
    tcase_add_test(tests, added_up);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
