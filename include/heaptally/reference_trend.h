/*
 * The plain trend of the last samples of resident memory: what a reader of dashboards expects to
 * see beside a verdict, and no verdict itself (that is trend.h). Least squares over the samples
 * that the caller kept (100 where nobody says otherwise), a monotonic flag, and the curve's shape.
 *
 * Pure: no allocation, no clock, no locale. MB is 1024 * 1024 bytes.
 */
#ifndef HEAPTALLY_REFERENCE_TREND_H
#define HEAPTALLY_REFERENCE_TREND_H

#include <stdbool.h>
#include <stdint.h>

#define HT_REFERENCE_LEAST 10u /* samples; fewer are insufficient data */

#define HT_SHAPES(X)                                                                               \
    X(FLAT, "flat")         /* neither of the others; what only falls is flat too */               \
    X(GROWING, "growing")   /* rises most of the way, with no fall to speak of */                  \
    X(SAWTOOTH, "sawtooth") /* rises and falls again, by most of its range */                      \
    X(STEP, "step")         /* one jump makes most of it, flat before and after */

#define HT_SHAPE_ENUM(id, name) HT_SHAPE_##id,
enum ht_shape { HT_SHAPES(HT_SHAPE_ENUM) HT_SHAPE_COUNT };
#undef HT_SHAPE_ENUM

struct ht_reference_sample {
    uint64_t time_ns; /* monotonic clock */
    uint64_t bytes;
};

/* The samples of a ring: entry i of `count`, oldest first, is at[(first + i) % capacity]. */
struct ht_reference_samples {
    const struct ht_reference_sample *at;
    uint32_t capacity, first, count;
};

struct ht_reference_trend {
    bool insufficient_data; /* then nothing below is set but `samples` */
    double current_mb, baseline_mb, growth_mb, growth_rate_mb_per_hour;
    uint32_t samples;
    double time_span_hours;
    bool monotonic_growth; /* no fall, and at least one rise */
    enum ht_shape shape;
};

static inline const char *ht_shape_name(enum ht_shape shape)
{
#define HT_SHAPE_NAME(id, name) [HT_SHAPE_##id] = name,
    static const char *const names[HT_SHAPE_COUNT] = {HT_SHAPES(HT_SHAPE_NAME)};
#undef HT_SHAPE_NAME
    return names[shape];
}

static inline struct ht_reference_sample ht_reference_get(const struct ht_reference_samples *s,
                                                          uint32_t i)
{
    return s->at[(s->first + i) % s->capacity];
}

/* Bytes per second by least squares; 0 where no time passed. */
static inline double ht_reference_slope(const struct ht_reference_samples *s)
{
    struct ht_reference_sample origin = ht_reference_get(s, 0);
    double n = s->count, mean_x = 0, mean_y = 0, sxx = 0, sxy = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        struct ht_reference_sample sample = ht_reference_get(s, i);
        mean_x += (double)(sample.time_ns - origin.time_ns) * 1e-9 / n;
        mean_y += ((double)sample.bytes - (double)origin.bytes) / n;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct ht_reference_sample sample = ht_reference_get(s, i);
        double x = (double)(sample.time_ns - origin.time_ns) * 1e-9 - mean_x;
        sxx += x * x;
        sxy += x * ((double)sample.bytes - (double)origin.bytes - mean_y);
    }
    return sxx > 0 ? sxy / sxx : 0;
}

/* What the eye looks for: how far the samples range, rise and fall. All in bytes. */
struct ht_swing {
    double range, net;    /* highest minus lowest; last minus first */
    double risen, fallen; /* sums over neighbours */
    double jump;          /* the largest rise between neighbours */
    uint32_t jump_at;     /* the sample that it leads to */
    double deepest;       /* largest fall below what was highest before */
    double mean;
};

static inline struct ht_swing ht_swing_of(const struct ht_reference_samples *s)
{
    struct ht_swing swing = {0};
    double first = (double)ht_reference_get(s, 0).bytes, before = first, low = first, high = first;
    for (uint32_t i = 0; i < s->count; i++) {
        double now = (double)ht_reference_get(s, i).bytes, rise = now - before;
        swing.risen += rise > 0 ? rise : 0;
        swing.fallen -= rise < 0 ? rise : 0;
        if (rise > swing.jump) {
            swing.jump = rise;
            swing.jump_at = i;
        }
        low = now < low ? now : low;
        high = now > high ? now : high;
        swing.deepest = high - now > swing.deepest ? high - now : swing.deepest;
        swing.mean += now / s->count;
        before = now;
    }
    swing.range = high - low;
    swing.net = before - first;
    return swing;
}

/* Do samples `from` to `to` (exclusive) stay within `width` bytes? */
static inline bool ht_swing_within(const struct ht_reference_samples *s, uint32_t from, uint32_t to,
                                   double width)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t i = from; i < to; i++) {
        uint64_t bytes = ht_reference_get(s, i).bytes;
        low = bytes < low ? bytes : low;
        high = bytes > high ? bytes : high;
    }
    return from >= to || (double)(high - low) <= width;
}

/* The shape of `count` >= 2 samples. A range of less than half a percent of the level is flat. */
static inline enum ht_shape ht_shape_of(const struct ht_reference_samples *s)
{
    struct ht_swing swing = ht_swing_of(s);
    if (swing.range <= 0)
        return HT_SHAPE_FLAT;
    if (swing.jump >= 0.75 * swing.range && swing.net >= 0.5 * swing.range &&
        ht_swing_within(s, 0, swing.jump_at, 0.25 * swing.range) &&
        ht_swing_within(s, swing.jump_at, s->count, 0.25 * swing.range))
        return HT_SHAPE_STEP;
    if (swing.net >= 0.75 * swing.range && swing.deepest <= 0.25 * swing.range)
        return HT_SHAPE_GROWING;
    if (swing.range < 0.005 * swing.mean)
        return HT_SHAPE_FLAT;
    if (swing.deepest >= 0.5 * swing.range && swing.risen >= 0.75 * swing.range &&
        swing.fallen >= 0.75 * swing.range)
        return HT_SHAPE_SAWTOOTH;
    return HT_SHAPE_FLAT;
}

/* The trend of `samples` against a baseline in bytes. */
static inline void ht_reference_trend(const struct ht_reference_samples *samples,
                                      uint64_t baseline_bytes, struct ht_reference_trend *out)
{
    const double mb = 1024.0 * 1024.0;
    *out = (struct ht_reference_trend){.samples = samples->count};
    out->insufficient_data = samples->count < HT_REFERENCE_LEAST;
    if (out->insufficient_data)
        return;
    struct ht_reference_sample first = ht_reference_get(samples, 0);
    struct ht_reference_sample last = ht_reference_get(samples, samples->count - 1);
    struct ht_swing swing = ht_swing_of(samples);
    out->current_mb = (double)last.bytes / mb;
    out->baseline_mb = (double)baseline_bytes / mb;
    out->growth_mb = out->current_mb - out->baseline_mb;
    out->growth_rate_mb_per_hour = ht_reference_slope(samples) * 3600 / mb;
    out->time_span_hours = (double)(last.time_ns - first.time_ns) / 3.6e12;
    out->monotonic_growth = swing.fallen <= 0 && swing.risen > 0;
    out->shape = ht_shape_of(samples);
}

#endif
