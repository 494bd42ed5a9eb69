/*
 * Unit tests of the detector's pieces and edges: quantiles against integration, windows against a
 * direct computation, what is needed and when, damage, gaps, resets, moved bytes, words.
 */
#include "heaptally/reference_trend.h"
#include "heaptally/trend.h"
#include "random.h"
#include "../run_suite.h"

#include <check.h>
#include <stdlib.h>

#define SECOND UINT64_C(1000000000)
#define MB     (1024.0 * 1024.0)

static struct ht_trend trend;
static struct ht_trend_verdict verdict;
static char reason[160];

static void begin(double interval, double warmup)
{
    struct ht_trend_settings settings = {.interval = interval, .warmup = warmup};
    ht_trend_init(&trend, &settings);
}

/* A sample with nothing known but time and bytes. */
static struct ht_trend_sample plain(double seconds, double bytes)
{
    return (struct ht_trend_sample){
        .time_ns = (uint64_t)(seconds * 1e9 + 0.5) + 77 * SECOND, /* clocks do not start at 0 */
        .low_bytes = (uint64_t)bytes,
        .live_blocks = HT_TREND_UNKNOWN,
        .allocated_bytes = HT_TREND_UNKNOWN,
        .instantiations = HT_TREND_UNKNOWN,
        .cycles = HT_TREND_UNKNOWN,
    };
}

static void push(double seconds, double bytes)
{
    struct ht_trend_sample sample = plain(seconds, bytes);
    ht_trend_push(&trend, &sample);
}

static enum ht_trend_call judge(enum ht_trend_question question)
{
    ht_trend_judge(&trend, trend.last_ns, -1, question, &verdict);
    ht_trend_reason(&verdict, reason, sizeof reason);
    return verdict.call;
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

/* One-sided tail of Student's t beyond `t`, by the midpoint rule over t / u, u in (0, 1). */
static double student_tail(double t, double freedom)
{
    const int steps = 20000;
    double scale = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(freedom * M_PI);
    double sum = 0;
    for (int i = 0; i < steps; i++) {
        double u = (i + 0.5) / steps, x = t / u;
        sum += exp(-(freedom + 1) / 2 * log1p(x * x / freedom)) * t / u / u;
    }
    return scale * sum / steps;
}

START_TEST(quantiles_are_students)
{
    for (uint32_t i = 0; i < HT_QUANTILES; i++) {
        const struct ht_quantile *row = &ht_quantiles[i];
        double leak = row->count <= 7 ? 1e-6 : 1e-8;
        ck_assert_double_eq_tol(student_tail(row->leak, row->count - 2) / leak, 1, 1e-4);
        ck_assert_double_eq_tol(student_tail(row->rising, row->count - 2) / 1e-3, 1, 1e-4);
    }
    for (uint32_t freedom = 1; freedom <= 30; freedom++)
        ck_assert_double_eq_tol(student_tail(ht_student_975(freedom), freedom), 0.025, 1e-4);
}
END_TEST

START_TEST(power_of_e_is_that)
{
    for (double x = 0; x < 100; x += 0.37)
        ck_assert_double_eq_tol(ht_power_of_e(x) / exp(x), 1, 1e-7);
    ck_assert(ht_power_of_e(0) == 1);
}
END_TEST

START_TEST(quantile_row_is_the_nearest_below)
{
    ck_assert_uint_eq(ht_quantile_row(5)->count, 5);
    ck_assert_uint_eq(ht_quantile_row(9)->count, 8);
    ck_assert_uint_eq(ht_quantile_row(32)->count, 32);
    ck_assert_uint_eq(ht_quantile_row(99)->count, 32);
    ck_assert_uint_eq(ht_quantile_row(3)->count, 5);
}
END_TEST

START_TEST(root_is_the_square_root)
{
    ck_assert(ht_root(0) == 0);
    ck_assert(ht_root(-1) == 0);
    for (double x = 1e-30; x < 1e40; x *= 1.7)
        ck_assert_double_eq_tol(ht_root(x) / sqrt(x), 1, 1e-15);
    ck_assert_int_eq(ht_whole(-0.5), -1);
    ck_assert_int_eq(ht_whole(-2), -2);
    ck_assert_int_eq(ht_whole(2.9), 2);
}
END_TEST

START_TEST(fit_of_a_line_and_of_noise)
{
    struct ht_floor_ring ring = {0};
    for (int i = 0; i < 40; i++) {
        ht_ring_merge(&ring, (struct ht_floor){.at = 10 * i, .bytes = 1e12 + 3 * i});
        ht_ring_close(&ring);
    }
    struct ht_fit fit = ht_fit_last(&ring, 32);
    ck_assert_double_eq_tol(fit.slope, 0.3, 1e-12);
    ck_assert(fit.error == 0);
    ck_assert(ht_ring_get(&ring, 32, 0).at == 80);
    ck_assert(ht_ring_get(&ring, 1, 0).at == 390);

    /* y = 2 x + (1, -1, 1, -1, ...): slope, scatter and error by hand for 8 points. */
    struct ht_floor_ring zigzag = {0};
    for (int i = 0; i < 8; i++) {
        ht_ring_merge(&zigzag, (struct ht_floor){.at = i, .bytes = 2 * i + (i % 2 ? -1 : 1)});
        ht_ring_close(&zigzag);
    }
    fit = ht_fit_last(&zigzag, 8);
    ck_assert_double_eq_tol(fit.slope, 2 - 4.0 / 42, 1e-12);
    ck_assert_double_eq_tol(fit.scatter, sqrt((8 - 16.0 / 42) / 6), 1e-12);
    ck_assert_double_eq_tol(fit.error, fit.scatter / sqrt(42), 1e-12);
    ck_assert(fit.rho == 0); /* neighbours differ more than chance: not counted in our favour */
    ck_assert(ht_fit_cautious_rho(0.99, 32) == 0.9);
    ck_assert(ht_fit_cautious_rho(0, 5) == 0.3);
}
END_TEST

static void ring_push(struct ht_floor_ring *ring, double at, double bytes)
{
    ht_ring_merge(ring, (struct ht_floor){.at = at, .bytes = bytes});
    ht_ring_close(ring);
}

/* Growth in random portions: a line's own error is far too small, the interval's is not. */
START_TEST(interval_of_random_portions_holds_the_rate)
{
    struct rnd rnd;
    rnd_seed(&rnd, 9);
    int holds = 0, narrow = 0;
    for (int trial = 0; trial < 400; trial++) {
        struct ht_floor_ring ring = {0};
        double bytes = 0;
        for (int i = 0; i < 32; i++) {
            ring_push(&ring, i, bytes);
            bytes += rnd_exponential(&rnd, 100);
        }
        struct ht_fit fit = ht_fit_last(&ring, 32);
        double t = ht_student_975(30), off = fabs(fit.slope - 100);
        holds += off <= t * ht_fit_interval_error(&fit);
        narrow += off <= t * fit.error;
    }
    ck_assert_int_ge(holds, 340); /* 85 % */
    ck_assert_int_lt(narrow, 200);
}
END_TEST

START_TEST(a_step_is_no_slope)
{
    struct rnd rnd;
    rnd_seed(&rnd, 8);
    for (uint32_t count = 8; count <= 32; count += 4) {
        for (uint32_t at = count / 4; at <= 3 * count / 4; at++) {
            struct ht_floor_ring step = {0}, line = {0}, fill = {0};
            for (uint32_t i = 0; i < count; i++) {
                double noise = rnd_normal(&rnd);
                ring_push(&step, i, noise + (i >= at ? 8 : 0));
                ring_push(&line, i, noise + 1000.0 * i / count);
                ring_push(&fill, i, 1000 * (1 - exp(-6.0 * i / count)));
            }
            struct ht_fit fit = ht_fit_last(&step, count);
            ck_assert(ht_slope_is_step(&step, count, &fit));
            fit = ht_fit_last(&line, count);
            ck_assert(!ht_slope_is_step(&line, count, &fit));
            ck_assert(ht_slope_quarters_rise(&line, count));
            ck_assert(!ht_slope_quarters_rise(&fill, count));
        }
    }
}
END_TEST

/* Six floors in line by luck, after ones that stray: no slope until it has risen past their falls.
 */
START_TEST(a_lucky_line_is_no_slope)
{
    struct ht_rules *rules = &trend.watch;
    struct ht_floor_ring ring = {0};
    begin(1, 0);
    for (int i = 0; i < 12; i++)
        ring_push(&ring, i, i % 2 ? 100 : 0);
    for (int i = 12; i < 18; i++)
        ring_push(&ring, i, 10 * (i - 11));
    ck_assert(ht_slope_fell_more(rules, &ring, 6, 60));
    ck_assert(!ht_slope_fell_more(rules, &ring, 6, 201));
    ck_assert(!ht_slope_fell_more(rules, &ring, 8, 60));
}
END_TEST

/* ---- windows --------------------------------------------------------------------------------- */

#define LONG_TICKS 20000

/* The lowest of the samples in [from, to); false if there is none. */
static bool lowest(const double *at, const double *bytes, int count, double from, double to,
                   double *low)
{
    bool any = false;
    for (int i = 0; i < count; i++) {
        if (at[i] < from || at[i] >= to)
            continue;
        if (!any || bytes[i] < *low)
            *low = bytes[i];
        any = true;
    }
    return any;
}

/* Every ring holds what a direct look at the samples gives, gaps and all. */
START_TEST(windows_merge_as_if_counted_directly)
{
    static double at[LONG_TICKS], bytes[LONG_TICKS];
    struct rnd rnd;
    rnd_seed(&rnd, (uint64_t)_i);
    begin(1, 0);
    int count = 0;
    double now = 0;
    while (count < LONG_TICKS) {
        now += rnd_unit(&rnd) < 0.0005 ? rnd_between(&rnd, 10, 2000) : 1;
        at[count] = now;
        bytes[count] = floor(rnd_between(&rnd, 1e6, 2e6));
        push(now, bytes[count]);
        count++;
    }
    double first = at[0], last = at[count - 1] - first;
    for (uint32_t level = 0; level < HT_LEVELS; level++) {
        const struct ht_floor_ring *ring = &trend.watch.level[level];
        double length = 75 * pow(2, level);
        uint32_t found = 0;
        int whole = (int)floor((floor((last - 600) / 75)) * 75 / length);
        for (int window = whole - 1; window >= 0 && found < HT_FLOORS; window--) {
            double low, from = first + 600 + window * length;
            if (!lowest(at, bytes, count, from, from + length, &low))
                continue;
            found++;
            ck_assert_uint_le(found, ring->count);
            struct ht_floor floor = ht_ring_get(ring, found, 0);
            ck_assert_double_eq_tol(floor.bytes, low - bytes[0], 1e-6);
            ck_assert(floor.at >= 600 + window * length - 1e-6);
            ck_assert(floor.at < 600 + (window + 1) * length);
        }
        ck_assert_uint_eq(found, ring->count);
    }
}
END_TEST

START_TEST(state_is_small)
{
    ck_assert_uint_le(sizeof(struct ht_trend), 9500);
}
END_TEST

START_TEST(a_copy_goes_on_as_the_original)
{
    begin(1, 0);
    for (int i = 0; i < 4000; i++)
        push(i, 1e6 + i);
    struct ht_trend copy = trend;
    for (int i = 4000; i < 9000; i++)
        push(i, 1e6 + (i < 6000 ? i : 6000));
    judge(HT_TREND_WATCH);
    struct ht_trend_verdict once = verdict;
    trend = copy;
    for (int i = 4000; i < 9000; i++)
        push(i, 1e6 + (i < 6000 ? i : 6000));
    judge(HT_TREND_WATCH);
    ck_assert(memcmp(&once, &verdict, sizeof once) == 0);
}
END_TEST

/* ---- when ------------------------------------------------------------------------------------ */

START_TEST(no_sample_at_all)
{
    begin(1, 0);
    for (int q = HT_TREND_WATCH; q <= HT_TREND_FINAL; q++) {
        ht_trend_judge(&trend, 5 * SECOND, 1e9, (enum ht_trend_question)q, &verdict);
        ck_assert_int_eq(verdict.call, HT_TREND_INCONCLUSIVE);
        ck_assert(isnan(verdict.bytes_per_hour));
        ck_assert(isnan(verdict.needed_instantiations));
    }
    ht_trend_reason(&verdict, reason, sizeof reason);
    ck_assert_str_eq(reason, "needs 92 more ticks");
    push(0, 100);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_INCONCLUSIVE);
    ck_assert_str_eq(reason, "needs 50 more minutes");
}
END_TEST

/* 8 bytes a minute: called at the first moment that the evidence allows, with its figures. */
START_TEST(slow_clean_leak_at_the_first_moment)
{
    begin(1, 0);
    int first = -1;
    for (int i = 0; i < 7200; i++) {
        struct ht_trend_sample sample = plain(i, 1e6 + floor(i / 60.0) * 8);
        sample.live_blocks = 100 + (uint64_t)i / 60;
        sample.allocated_bytes = 1000000 + (uint64_t)i * 100;
        sample.instantiations = (uint64_t)i / 30;
        sample.cycles = (uint64_t)i * 100;
        ht_trend_push(&trend, &sample);
        if (first < 0 && ht_trend_is_leak(&trend))
            first = i;
        ck_assert(first < 0 || ht_trend_is_leak(&trend));
    }
    ck_assert_int_eq(first, 3000);
    ht_trend_judge(&trend, trend.last_ns, 4800, HT_TREND_WATCH, &verdict);
    ck_assert_int_eq(verdict.call, HT_TREND_LEAK);
    ck_assert_int_eq(verdict.cause, HT_CAUSE_STAIRS);
    ck_assert_double_eq_tol(verdict.bytes_per_hour, 480, 5);
    ck_assert(verdict.ci_low <= 480 + 1e-6 && verdict.ci_high >= 480 - 1e-6);
    ck_assert(verdict.ci_high - verdict.ci_low < 20);
    ck_assert_double_eq_tol(verdict.seconds_to_limit, 36000, 400);
    ck_assert_double_eq_tol(verdict.blocks_per_hour, 60, 1);
    ck_assert_double_eq_tol(verdict.bytes_per_instantiation, 4, 0.05);
    ck_assert_double_eq_tol(verdict.bytes_per_cycle, 480 / 360000.0, 1e-4);
    ck_assert_double_eq_tol(verdict.kept_share, 8 / 6000.0, 1e-4);
    ck_assert_double_le(verdict.since, 660);
    ht_trend_judge(&trend, trend.last_ns, -1, HT_TREND_WATCH, &verdict);
    ck_assert(isnan(verdict.seconds_to_limit));
}
END_TEST

/* Everything scales: the same run at 10 ms ticks with its warm-up given. */
/* ---- verdict and interval -------------------------------------------------------------------- */

/* An array that doubles each time it is full. */
static double doubling(int i)
{
    return 4096 * (double)(UINT64_C(1) << (i / 1200));
}

/* A slow leak; after three hours a large table comes to stay. */
static double leak_and_table(int i)
{
    return floor(i / 10.0) * 64 + (i >= 10800 ? 1e6 : 0);
}

/* Portions that differ a thousandfold, at moments that do, too; never a fall. */
static double uneven_portions(int i)
{
    static double bytes;
    static struct rnd rnd;
    if (i == 0) {
        bytes = 1e6;
        rnd_seed(&rnd, 4);
    }
    if (rnd_unit(&rnd) < 1 / 400.0)
        bytes += 1000 * pow(10, 3 * rnd_unit(&rnd));
    return bytes;
}

/* 0.5 MB/h below a sawtooth of 20 MB and 25 minutes; at the end all is freed at once. */
static double saw_and_end(int i)
{
    return i >= 21000 ? 1000 : i * 146.0 + 20e6 * fmod(i / 1500.0, 1);
}

static double (*const uneven[])(int) = {doubling, leak_and_table, uneven_portions, saw_and_end};

/* The evidence that a leak is real is not a line's: its figures say so all the same. */
START_TEST(the_interval_of_a_leak_is_above_0)
{
    begin(1, 0);
    int leaks = 0, known = 0;
    for (int i = 0; i < 25200; i++) {
        push(i, uneven[_i](i));
        if (i % 30 || judge(HT_TREND_WATCH) != HT_TREND_LEAK)
            continue;
        leaks++;
        known += !isnan(verdict.ci_low);
        ck_assert_msg(verdict.bytes_per_hour > 0, "tick %d: %g bytes/h", i, verdict.bytes_per_hour);
        ck_assert_msg(verdict.gain > 0, "tick %d: gain %g", i, verdict.gain);
        ck_assert_msg(isnan(verdict.ci_low) == isnan(verdict.ci_high), "tick %d", i);
        ck_assert_msg(!(verdict.ci_low <= 0) && !(verdict.ci_low > verdict.bytes_per_hour) &&
                          !(verdict.ci_high < verdict.bytes_per_hour),
                      "tick %d: %g [%g, %g]", i, verdict.bytes_per_hour, verdict.ci_low,
                      verdict.ci_high);
    }
    ck_assert_int_gt(leaks, 100);
    ck_assert_int_ge(known, leaks * 9 / 10);
}
END_TEST

START_TEST(warmup_scales_all_of_it)
{
    begin(0.01, 6);
    int first = -1;
    for (int i = 0; i < 3000; i++) {
        push(i * 0.01, 1e6 + 8 * i);
        if (first < 0 && ht_trend_is_leak(&trend))
            first = i;
        if (i == 1649) {
            ck_assert_int_eq(judge(HT_TREND_FINAL), HT_TREND_INCONCLUSIVE);
            ck_assert_str_eq(reason, "needs 1 more second");
        }
    }
    ck_assert_int_eq(first, 1650); /* 2.75 warm-ups */
    ck_assert_int_eq(judge(HT_TREND_FINAL), HT_TREND_LEAK);
    ck_assert_double_eq_tol(verdict.bytes_per_hour, 8 * 100 * 3600.0, 10);
}
END_TEST

/* The final verdict of short runs, on any length of tick. */
START_TEST(short_runs)
{
    static const double intervals[] = {0.01, 1, 60};
    double interval = intervals[_i];
    for (int kind = 0; kind < 3; kind++) {
        begin(interval, 0);
        int called = -1;
        /* up to 49 minutes: there a run stops being short */
        for (int i = 0; i <= 3000 && i * interval < 2900; i++) {
            double ring = 4800.0 * (i % 10), leak = 64.0 * i;
            push(i * interval, 1e6 + (kind == 0 ? ring : kind == 1 ? leak : ring + 100 * leak));
            enum ht_trend_call call =
                i % 16 == 0 || i == 91 ? judge(HT_TREND_FINAL) : HT_TREND_INCONCLUSIVE;
            if (i < 92) {
                ck_assert_int_eq(call, HT_TREND_INCONCLUSIVE);
            } else if (call != HT_TREND_INCONCLUSIVE) {
                ck_assert_int_eq(call, kind ? HT_TREND_LEAK : HT_TREND_BOUNDED);
                called = called < 0 ? i : called;
            }
            ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_INCONCLUSIVE);
        }
        if (interval < 60) {
            ck_assert_int_ge(called, 92);
            ck_assert_int_le(called, 256);
        }
    }
}
END_TEST

START_TEST(needs_are_said)
{
    begin(1, 0);
    for (int i = 0; i <= 80; i++) {
        struct ht_trend_sample sample = plain(i, 1e6);
        sample.instantiations = (uint64_t)i * 5;
        ht_trend_push(&trend, &sample);
    }
    judge(HT_TREND_FINAL);
    ck_assert_str_eq(reason, "needs 12 more ticks, or about 60 more constructions");
    judge(HT_TREND_WATCH);
    ck_assert_str_eq(reason, "needs 49 more minutes, or about 14600 more constructions");
    ck_assert_double_eq_tol(verdict.needed_seconds, 2920, 1e-6);
}
END_TEST

/* ---- growth that ends ------------------------------------------------------------------------ */

START_TEST(a_leak_that_stops_is_withdrawn)
{
    begin(1, 0);
    struct rnd rnd;
    rnd_seed(&rnd, (uint64_t)_i);
    const double start = 1800, end = 1800 + 5400;
    bool found = false;
    for (int i = 0; i < 25200; i++) {
        double grown = fmin(fmax(i, start), end) - start;
        push(i, 1e6 + 100 * grown + (_i ? rnd_between(&rnd, 0, 20000) : 0));
        found |= ht_trend_is_leak(&trend);
        if (i > end + 1.5 * (end - start))
            ck_assert_msg(!ht_trend_is_leak(&trend), "still a leak at %d", i);
    }
    ck_assert(found);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_BOUNDED);
}
END_TEST

/* A cycle of 90 minutes is flagged on its first rise, and never again once it was taken back. */
START_TEST(a_cycle_is_learnt)
{
    begin(1, 0);
    int alarms = 0;
    bool before = false;
    for (int i = 0; i < 12 * 5400; i++) {
        push(i, 1e6 + 1000 * (i % 5400));
        alarms += ht_trend_is_leak(&trend) && !before;
        before = ht_trend_is_leak(&trend);
        if (before)
            ck_assert_int_lt(i, 5400 + 300);
    }
    ck_assert_int_eq(alarms, 1);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_BOUNDED);
}
END_TEST

/* A year at one tick a minute: still right, in the same memory. */
START_TEST(a_year)
{
    const int minutes = 365 * 24 * 60;
    struct rnd rnd;
    rnd_seed(&rnd, 4);
    begin(60, 0);
    for (int i = 0; i < minutes; i++) {
        push(60.0 * i, 1e6 + (_i == 0 ? floor(rnd_between(&rnd, 0, 1e5)) : 8.0 * i));
        if (_i == 0)
            ck_assert(!ht_trend_is_leak(&trend));
        else if (60 * i > 3600)
            ck_assert(ht_trend_is_leak(&trend));
    }
    ck_assert_int_eq(judge(HT_TREND_WATCH), _i ? HT_TREND_LEAK : HT_TREND_BOUNDED);
    if (_i)
        ck_assert_double_eq_tol(verdict.bytes_per_hour, 480, 1);
}
END_TEST

/* ---- damage, gaps, resets -------------------------------------------------------------------- */

START_TEST(time_that_goes_back_is_invalid)
{
    begin(1, 0);
    for (int i = 0; i < 4000; i++)
        push(i, 1e6);
    push(3999, 1e6); /* the same moment twice is no damage */
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_BOUNDED);
    push(3998, 1e6);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_INVALID);
    ck_assert_str_eq(reason, "the clock of the ticks went backwards");
    ck_assert_int_eq(judge(HT_TREND_FINAL), HT_TREND_INVALID);
    push(4100, 1e6);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_INVALID);
    begin(1, 0);
    push(0, 1e6);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_INCONCLUSIVE);
}
END_TEST

START_TEST(counts_that_go_back_are_invalid)
{
    for (int which = 0; which < 4; which++) {
        begin(1, 0);
        for (int i = 0; i < 4000; i++) {
            struct ht_trend_sample sample = plain(i, 1e6);
            uint64_t count = i == 3900 ? 99 : 100 + (uint64_t)i;
            *(which == 0   ? &sample.allocated_bytes
              : which == 1 ? &sample.instantiations
              : which == 2 ? &sample.cycles
                           : &sample.live_blocks) = count;
            ht_trend_push(&trend, &sample);
        }
        /* live blocks may fall, the others only rise */
        ck_assert_int_eq(judge(HT_TREND_WATCH), which == 3 ? HT_TREND_BOUNDED : HT_TREND_INVALID);
        if (which < 3)
            ck_assert_str_eq(reason, "a count that can only rise went backwards");
    }
}
END_TEST

/* Live bytes that fall to nothing, a restarted component, are no damage. */
START_TEST(live_bytes_may_fall_to_nothing)
{
    begin(1, 0);
    for (int i = 0; i < 9000; i++) {
        push(i, i % 3000 < 20 ? 0 : 1e6);
        ck_assert(!ht_trend_is_leak(&trend));
    }
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_BOUNDED);
}
END_TEST

START_TEST(a_gap_is_invalid_until_it_is_past)
{
    begin(1, 0);
    for (int i = 0; i < 4000; i++)
        push(i, 1e6);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_BOUNDED);
    /* asked now, while nothing comes */
    ht_trend_judge(&trend, trend.last_ns + 3000 * SECOND, -1, HT_TREND_WATCH, &verdict);
    ck_assert_int_eq(verdict.call, HT_TREND_INVALID);
    ck_assert_int_eq(verdict.cause, HT_CAUSE_GAPS);
    push(4000 + 7200, 1e6);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_INVALID);
    ck_assert_str_eq(reason, "too many ticks are missing: only 0 of the last 32 windows saw one");
    for (int i = 11201; i < 13000; i++)
        push(i, 1e6);
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_BOUNDED);
}
END_TEST

/* Nine ticks in ten are missing: each window still has its floor. */
START_TEST(missing_ticks_do_not_hide_a_leak)
{
    struct rnd rnd;
    rnd_seed(&rnd, 5);
    begin(1, 0);
    for (int i = 0; i < 7200; i++)
        if (rnd_unit(&rnd) < 0.1)
            push(i, 1e6 + 2 * i + 500 * (i % 7));
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_LEAK);
    ck_assert_double_eq_tol(verdict.bytes_per_hour, 7200, 100);
}
END_TEST

START_TEST(init_forgets)
{
    begin(1, 0);
    for (int i = 0; i < 7200; i++)
        push(i, 1e6 + 10 * i);
    ck_assert(ht_trend_is_leak(&trend));
    begin(1, 0);
    struct ht_trend fresh = trend;
    ck_assert(!ht_trend_is_leak(&trend));
    memset(&trend, 0xaa, sizeof trend);
    begin(1, 0);
    ck_assert(memcmp(&fresh, &trend, sizeof fresh) == 0);
}
END_TEST

/* ---- words ----------------------------------------------------------------------------------- */

static const char *said(void (*say)(struct ht_text *, double), double value)
{
    static char buffer[64];
    struct ht_text text = ht_text_begin(buffer, sizeof buffer);
    say(&text, value);
    return buffer;
}

START_TEST(numbers_in_words)
{
    ck_assert_str_eq(said(ht_text_bytes, 0), "0 bytes");
    ck_assert_str_eq(said(ht_text_bytes, 1), "1 byte");
    ck_assert_str_eq(said(ht_text_bytes, 999), "999 bytes");
    ck_assert_str_eq(said(ht_text_bytes, 1024), "1.0 KB");
    ck_assert_str_eq(said(ht_text_bytes, -2.5 * MB), "-2.5 MB");
    ck_assert_str_eq(said(ht_text_bytes, 41 * MB), "41 MB");
    ck_assert_str_eq(said(ht_text_bytes, 3000 * MB), "2.9 GB");
    ck_assert_str_eq(said(ht_text_bytes, 5e15), "4547 TB");
    ck_assert_str_eq(said(ht_text_bytes, NAN), "very many bytes");
    ck_assert_str_eq(said(ht_text_span, 0.04), "0.0 s");
    ck_assert_str_eq(said(ht_text_span, 42), "42 s");
    ck_assert_str_eq(said(ht_text_span, 240), "4 min");
    ck_assert_str_eq(said(ht_text_span, 3599), "1 h");
    ck_assert_str_eq(said(ht_text_span, 11400), "3 h 10 min");
    ck_assert_str_eq(said(ht_text_span, 86400 * 9 + 4 * 3600), "9 d 4 h");
    ck_assert_str_eq(said(ht_text_span, 86399), "1 d");
    char small[8];
    struct ht_text text = ht_text_begin(small, sizeof small);
    ht_text_put(&text, "cut here, please");
    ck_assert_str_eq(small, "cut her");
    ht_text_number(&text, 5, 0);
    ck_assert_str_eq(small, "cut her");
}
END_TEST

START_TEST(reasons_of_leaks)
{
    begin(1, 0);
    for (int i = 0; i < 12000; i++)
        push(i, 1e6 + 4096 * floor(i / 600.0));
    judge(HT_TREND_WATCH);
    ck_assert_msg(strstr(reason, "rose 1") == reason && strstr(reason, "never fell: +7"), "%s",
                  reason);
    struct rnd rnd;
    rnd_seed(&rnd, 6);
    begin(1, 0);
    for (int i = 0; i < 12000; i++) {
        struct ht_trend_sample sample = plain(i, 1e6 + 10.0 * i + rnd_between(&rnd, 0, 1e5));
        sample.allocated_bytes = 1000 * (uint64_t)i;
        ht_trend_push(&trend, &sample);
    }
    /* deep falls early on blind the staircase rule; the slope rule sees through them */
    ck_assert_int_eq(judge(HT_TREND_WATCH), HT_TREND_LEAK);
    ck_assert_msg(strstr(reason, "; keeps 1.0 % of what it allocates"), "%s", reason);
    ck_assert_uint_lt(strlen(reason), sizeof reason - 1);
}
END_TEST

START_TEST(every_verdict_has_its_name)
{
    ck_assert_str_eq(ht_trend_name(HT_TREND_LEAK), "leak");
    ck_assert_str_eq(ht_trend_name(HT_TREND_BOUNDED), "bounded");
    ck_assert_str_eq(ht_trend_name(HT_TREND_INCONCLUSIVE), "inconclusive");
    ck_assert_str_eq(ht_trend_name(HT_TREND_INVALID), "invalid");
}
END_TEST

/* Growth that is likely but not yet sure is neither called a leak nor bounded. */
START_TEST(rising_is_inconclusive)
{
    struct rnd rnd;
    rnd_seed(&rnd, 7);
    begin(1, 0);
    int rising = 0;
    for (int i = 0; i < 12000 && !ht_trend_is_leak(&trend); i++) {
        push(i, 1e8 + 100.0 * i + 3e5 * rnd_normal(&rnd));
        rising +=
            judge(HT_TREND_WATCH) == HT_TREND_INCONCLUSIVE && verdict.cause == HT_CAUSE_RISING;
    }
    ck_assert_int_gt(rising, 0);
    ck_assert(ht_trend_is_leak(&trend));
}
END_TEST

/* ---- the reference's trend ------------------------------------------------------------------- */

#define RING 128
static struct ht_reference_sample ring_of_samples[RING];

/* `count` samples at `interval` seconds of value(i), in a ring that wraps. */
static struct ht_reference_samples reference(uint32_t count, double interval, double (*value)(int))
{
    struct ht_reference_samples samples = {ring_of_samples, RING, 100, count};
    for (uint32_t i = 0; i < count; i++)
        ring_of_samples[(100 + i) % RING] =
            (struct ht_reference_sample){.time_ns = 5 * SECOND + (uint64_t)(i * interval * 1e9),
                                         .bytes = (uint64_t)value((int)i)};
    return samples;
}

static double flat(int i)
{
    (void)i;
    return 50 * MB;
}

static double growing(int i)
{
    return 50 * MB + 0.125 * MB * i;
}

static double sawtooth(int i)
{
    return 50 * MB + 2 * MB * (i % 10);
}

static double one_step(int i)
{
    return 50 * MB + (i >= 30 ? 24 * MB : 0);
}

static double falling(int i)
{
    return 50 * MB - 0.125 * MB * i;
}

static double hum(int i)
{
    return 500 * MB + 4096 * (i * 7 % 5);
}

START_TEST(reference_keys)
{
    struct ht_reference_trend out;
    struct ht_reference_samples samples = reference(9, 1, growing);
    ht_reference_trend(&samples, 0, &out);
    ck_assert(out.insufficient_data);
    ck_assert_uint_eq(out.samples, 9);
    samples = reference(100, 36, growing);
    ht_reference_trend(&samples, (uint64_t)(49 * MB), &out);
    ck_assert(!out.insufficient_data);
    ck_assert_uint_eq(out.samples, 100);
    ck_assert_double_eq_tol(out.current_mb, 50 + 99 * 0.125, 1e-9);
    ck_assert_double_eq_tol(out.baseline_mb, 49, 1e-9);
    ck_assert_double_eq_tol(out.growth_mb, 1 + 99 * 0.125, 1e-9);
    ck_assert_double_eq_tol(out.growth_rate_mb_per_hour, 12.5, 1e-6);
    ck_assert_double_eq_tol(out.time_span_hours, 0.99, 1e-9);
    ck_assert(out.monotonic_growth);
    samples = reference(10, 0, growing); /* no time passes */
    ht_reference_trend(&samples, 0, &out);
    ck_assert(out.growth_rate_mb_per_hour == 0);
}
END_TEST

static const struct {
    double (*value)(int);
    enum ht_shape shape;
    bool monotonic;
} shapes[] = {
    {flat, HT_SHAPE_FLAT, false},         {growing, HT_SHAPE_GROWING, true},
    {sawtooth, HT_SHAPE_SAWTOOTH, false}, {one_step, HT_SHAPE_STEP, true},
    {falling, HT_SHAPE_FLAT, false},      {hum, HT_SHAPE_FLAT, false},
};

START_TEST(reference_shapes)
{
    static const uint32_t counts[] = {40, 64, 100};
    for (int c = 0; c < 3; c++) {
        struct ht_reference_trend out;
        struct ht_reference_samples samples = reference(counts[c], 1, shapes[_i].value);
        ht_reference_trend(&samples, 0, &out);
        ck_assert_str_eq(ht_shape_name(out.shape), ht_shape_name(shapes[_i].shape));
        ck_assert_int_eq(out.monotonic_growth, shapes[_i].monotonic);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trend");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, quantiles_are_students);
    tcase_add_test(tests, power_of_e_is_that);
    tcase_add_test(tests, quantile_row_is_the_nearest_below);
    tcase_add_test(tests, root_is_the_square_root);
    tcase_add_test(tests, fit_of_a_line_and_of_noise);
    tcase_add_test(tests, interval_of_random_portions_holds_the_rate);
    tcase_add_test(tests, a_step_is_no_slope);
    tcase_add_test(tests, a_lucky_line_is_no_slope);
    tcase_add_loop_test(tests, windows_merge_as_if_counted_directly, 0, 4);
    tcase_add_test(tests, state_is_small);
    tcase_add_test(tests, a_copy_goes_on_as_the_original);
    tcase_add_test(tests, no_sample_at_all);
    tcase_add_test(tests, slow_clean_leak_at_the_first_moment);
    tcase_add_loop_test(tests, the_interval_of_a_leak_is_above_0, 0,
                        sizeof uneven / sizeof uneven[0]);
    tcase_add_test(tests, warmup_scales_all_of_it);
    tcase_add_loop_test(tests, short_runs, 0, 3);
    tcase_add_test(tests, needs_are_said);
    tcase_add_loop_test(tests, a_leak_that_stops_is_withdrawn, 0, 4);
    tcase_add_test(tests, a_cycle_is_learnt);
    tcase_add_loop_test(tests, a_year, 0, 2);
    tcase_add_test(tests, time_that_goes_back_is_invalid);
    tcase_add_test(tests, counts_that_go_back_are_invalid);
    tcase_add_test(tests, live_bytes_may_fall_to_nothing);
    tcase_add_test(tests, a_gap_is_invalid_until_it_is_past);
    tcase_add_test(tests, missing_ticks_do_not_hide_a_leak);
    tcase_add_test(tests, init_forgets);
    tcase_add_test(tests, numbers_in_words);
    tcase_add_test(tests, reasons_of_leaks);
    tcase_add_test(tests, every_verdict_has_its_name);
    tcase_add_test(tests, rising_is_inconclusive);
    tcase_add_test(tests, reference_keys);
    tcase_add_loop_test(tests, reference_shapes, 0, sizeof shapes / sizeof shapes[0]);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
