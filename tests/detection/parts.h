/*
 * What memory use is made of: parts that are functions of time, each with its own state and random
 * numbers, summed to a series.
 *
 * A part is asked for its value at ever later times, at any spacing: the player asks at several
 * jittered moments in each tick, as the monitor does. Times in seconds, values in bytes, never
 * below 0.
 */
#ifndef TEST_DETECTION_PARTS_H
#define TEST_DETECTION_PARTS_H

#include "random.h"

#define PART_SLOTS 64

struct part {
    double (*value)(struct part *, double t);
    struct rnd rnd;
    double a, b, c, d, e; /* parameters */
    double x, y, z;       /* state */
    int shape, count;
    double slot[PART_SLOTS]; /* times or sizes */
    double size[PART_SLOTS];
};

enum wave_shape {
    WAVE_SAW,
    WAVE_REVERSE,
    WAVE_TRIANGLE,
    WAVE_SINE,
    WAVE_SQUARE,
    WAVE_SPIKE,
    WAVE_VALLEY,
    WAVE_STAIRS,
    WAVE_CONVEX,
    WAVE_CONCAVE,
    WAVE_SHAPES
};

/* `bytes` all the time. */
void part_level(struct part *p, double bytes);
/* Rises by `rate` bytes a second from `from` to `to`, in blocks of `grain` bytes. */
void part_linear(struct part *p, double rate, double from, double to, double grain);
/* Accelerates: rate * (t + t^2 / tau). */
void part_quadratic(struct part *p, double rate, double tau);
/* Independent normal values, sd `sd`, around 4.5 sd. */
void part_normal(struct part *p, double sd);
/* Independent, evenly within `range`. */
void part_uniform(struct part *p, double range);
/* AR(1) in continuous time: correlation exp(-dt / tau), stationary from the start. */
void part_ar(struct part *p, double tau, double sd);
/*
 * Cycles of `period` (each varied by the share `jitter`) and `height`; falls back to a floor drawn
 * anew each time within the share `floor` of the height.
 */
void part_wave(struct part *p, enum wave_shape shape, double period, double height, double jitter,
               double floor);
/* height * (1 - exp(-t / tau)). */
void part_exponential(struct part *p, double tau, double height);
/* height * log(1 + min(t, until) / tau). */
void part_logarithm(struct part *p, double tau, double height, double until);
/* Steps: add with part_add_step in order of time. */
void part_steps(struct part *p);
void part_add_step(struct part *p, double when, double bytes);
/* A cache: fills evenly to `cap` at `full`, then churns within the share `churn` below the cap. */
void part_cache(struct part *p, double cap, double full, double churn);
/* Capacity that doubles as `rate` bytes a second come in, until `until`. */
void part_doubling(struct part *p, double rate, double until);
/* Poisson arrivals every `gap` on average, each holds `bytes` (0.5 .. 1.5 of it) for about `hold`.
 */
void part_jobs(struct part *p, double gap, double hold, double bytes);
/* The same, on or off for exponential times: sessions. */
void part_sessions(struct part *p, int sessions, double on, double off, double bytes);
/* A pool that keeps what it once needed: the highest so far of jobs, at most `cap` of them. */
void part_pool(struct part *p, double gap, double hold, double bytes, double cap);
/* A component that is restarted every `every` (varied), and is full again after `refill`. */
void part_restarts(struct part *p, double every, double refill, double bytes);
/* A history trimmed to half when it is full: `cap` entries of `entry` bytes, one each `gap`. */
void part_trim(struct part *p, double gap, double cap, double entry);
/* One block of `bytes` is lost at random moments, every `gap` on average, from `from` on. */
void part_lost(struct part *p, double gap, double bytes, double from);
/* Batches of `bytes` build up over `period` and are freed but for the share `kept`. */
void part_partly_freed(struct part *p, double period, double bytes, double kept);

#endif
