/*
 * Ordinary least squares on (hours, MB). Samples of a process are not independent: a residual
 * resembles the one before it. With lag-1 correlation r the n samples are worth n (1 - r) / (1 + r)
 * independent ones, and the interval is widened by that.
 */
#include "rss_trend.h"

#include <math.h>
#include <stdlib.h>

#include "heaptally/units.h"
#include "text.h"

struct sample {
    double hours, mb;
};

/* 97.5 % quantile of Student's t; Cornish-Fisher expansion, off by less than 1 % from 4 degrees on.
 */
static double student_quantile(double degrees)
{
    double z = 1.959963984540054, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
    return z + (z3 + z) / (4 * degrees) + (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees * degrees) +
           (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * degrees * degrees * degrees);
}

/* Samples count from the first one, so that what does not change is exactly 0. */
static size_t take_samples(const struct ht_profile *p, struct sample *samples)
{
    size_t n = 0;
    for (size_t i = 0; i < p->process.count; i++) {
        const struct htl_history_point *point = &p->process.points[i];
        if (point->high_bytes != HTL_UNKNOWN)
            samples[n++] = (struct sample){(double)point->t_ns / (double)HT_HOUR,
                                           (double)point->high_bytes / (double)HT_MB};
    }
    for (size_t i = n; i-- > 0;) {
        samples[i].hours -= samples[0].hours;
        samples[i].mb -= samples[0].mb;
    }
    return n;
}

static void fit(const struct sample *samples, size_t n, struct ht_rss_trend *trend)
{
    double mean_x = 0, mean_y = 0, sxx = 0, sxy = 0, squares = 0, products = 0, before = 0;
    for (size_t i = 0; i < n; i++) {
        mean_x += samples[i].hours / (double)n;
        mean_y += samples[i].mb / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        sxx += (samples[i].hours - mean_x) * (samples[i].hours - mean_x);
        sxy += (samples[i].hours - mean_x) * (samples[i].mb - mean_y);
    }
    if (!(sxx > 0))
        return;
    double slope = sxy / sxx;
    for (size_t i = 0; i < n; i++) {
        double residual = samples[i].mb - mean_y - slope * (samples[i].hours - mean_x);
        squares += residual * residual;
        if (i > 0)
            products += residual * before;
        before = residual;
    }
    double alike = squares > 0 ? fmin(fmax(products / squares, 0), 0.95) : 0;
    double error = sqrt(squares / (double)(n - 2) / sxx * (1 + alike) / (1 - alike));
    double half = error * student_quantile(fmax((double)n * (1 - alike) / (1 + alike) - 2, 4));
    trend->mb_per_hour = slope;
    trend->ci_low = slope - half;
    trend->ci_high = slope + half;
}

void ht_rss_trend(const struct ht_profile *p, struct ht_rss_trend *trend)
{
    struct sample *samples = ht_allocate(p->process.count * sizeof *samples);
    size_t n = take_samples(p, samples);
    bool fell = false, rose = false;
    *trend = (struct ht_rss_trend){.mb_per_hour = NAN, .ci_low = NAN, .ci_high = NAN, .samples = n};
    for (size_t i = 1; i < n; i++) {
        fell |= samples[i].mb < samples[i - 1].mb;
        rose |= samples[i].mb > samples[i - 1].mb;
    }
    trend->monotonic = rose && !fell;
    if (n > 0)
        trend->hours = samples[n - 1].hours;
    if (n >= HT_TREND_LEAST_SAMPLES)
        fit(samples, n, trend);
    free(samples);
}
