/*
 * See zoo.h. First the noises, each a kind of bounded use; then what else is bounded; then leaks,
 * each noise with growth under it and some of their own kind; then what cannot be decided.
 *
 * All times are drawn for a warm-up of 10 minutes and stretched by the run's scale.
 */
#include "zoo.h"

#include <string.h>

#define MINUTE 60.0
#define HOUR   3600.0
#define KB     1024.0
#define MB     (1024 * KB)

static struct part *zoo_add(struct zoo_series *s)
{
    struct part *p = &s->part[s->parts++];
    rnd_seed(&p->rnd, rnd_next(&s->rnd));
    return p;
}

static double zoo_between(struct zoo_series *s, double low, double high)
{
    return rnd_between(&s->rnd, low, high);
}

static double zoo_scale(struct zoo_series *s, double low, double high)
{
    return rnd_scale(&s->rnd, low, high);
}

/* A size of no particular order of magnitude. */
static double zoo_bytes(struct zoo_series *s)
{
    return zoo_scale(s, 4 * KB, 1024 * MB);
}

static double zoo_sum(struct zoo_series *s, int parts, double t)
{
    double sum = 0;
    for (int i = 0; i < parts; i++)
        sum += s->part[i].value(&s->part[i], t);
    return sum;
}

double zoo_value(struct zoo_series *s, double t)
{
    return zoo_sum(s, s->own ? s->own : s->parts, t);
}

double zoo_process_value(struct zoo_series *s, double t)
{
    return zoo_sum(s, s->parts, t);
}

/* ---- noises ---------------------------------------------------------------------------------- */

enum noise {
    NOISE_NONE,
    NOISE_NORMAL,
    NOISE_UNIFORM,
    NOISE_AR50,
    NOISE_AR90,
    NOISE_AR99,
    NOISE_SAW_SECONDS,
    NOISE_SAW_MINUTES,
    NOISE_SAW_10,
    NOISE_SAW_30,
    NOISE_SAW_JITTER,
    NOISE_SAW_FLOOR,
    NOISE_REVERSE,
    NOISE_TRIANGLE,
    NOISE_SINE,
    NOISE_SQUARE,
    NOISE_SPIKE,
    NOISE_VALLEY,
    NOISE_SHAPES,
    NOISE_TWO_SAWS,
    NOISE_SAW_AR,
    NOISE_JOBS,
    NOISE_BATCHES,
    NOISE_TRANSIENTS,
    NOISE_SESSIONS,
    NOISE_TRIM,
    NOISE_DIURNAL_LOAD,
    NOISE_MISSING_NORMAL,
    NOISE_MISSING_SAW,
    NOISES
};

static void noise_wave(struct zoo_series *s, double scale, enum wave_shape shape, double low,
                       double high, double jitter, double floor)
{
    double period = zoo_scale(s, low, high) * scale;
    part_wave(zoo_add(s), shape, period, zoo_bytes(s), jitter, floor);
}

static void noise_shapes(struct zoo_series *s, double scale)
{
    enum wave_shape shape = (enum wave_shape)(rnd_next(&s->rnd) % WAVE_SHAPES);
    double jitter = zoo_between(s, 0, 0.4), floor = zoo_between(s, 0, 0.5);
    noise_wave(s, scale, shape, 2, 30 * MINUTE, jitter, floor);
}

static void noise_two_saws(struct zoo_series *s, double scale)
{
    double period = zoo_scale(s, 2, 4 * MINUTE) * scale, height = zoo_bytes(s);
    part_wave(zoo_add(s), WAVE_SAW, period, height, 0.1, 0);
    part_wave(zoo_add(s), WAVE_SAW, period * zoo_between(s, 1.3, 7),
              height * zoo_between(s, 0.2, 1), 0.1, 0);
}

/* Load that follows the hour of the day: only what is held for a moment grows with it. */
static void noise_diurnal_load(struct zoo_series *s, double scale)
{
    double bytes = zoo_bytes(s);
    part_jobs(zoo_add(s), 4 * scale, zoo_between(s, 0.3, 1) * scale, bytes);
    part_wave(zoo_add(s), WAVE_SQUARE, zoo_between(s, 1, 20) * scale, bytes, 0.3, 0);
    part_level(zoo_add(s), bytes);
}

/* Noise that is one wave: its shape, the range of its period, how far that strays, and its floor.
 */
static const struct {
    enum wave_shape shape;
    double low, high, jitter, floor;
} waves[NOISES + 1] = {
    [NOISE_SAW_SECONDS] = {WAVE_SAW, 1.5, 60, 0, 0},
    [NOISE_SAW_MINUTES] = {WAVE_SAW, 1 * MINUTE, 5 * MINUTE, 0, 0},
    [NOISE_MISSING_SAW] = {WAVE_SAW, 1 * MINUTE, 5 * MINUTE, 0, 0},
    [NOISE_SAW_10] = {WAVE_SAW, 5 * MINUTE, 10 * MINUTE, 0, 0},
    [NOISE_SAW_30] = {WAVE_SAW, 10 * MINUTE, 30 * MINUTE, 0, 0},
    [NOISE_SAW_JITTER] = {WAVE_SAW, 2, 6.5 * MINUTE, 0.5, 0},
    [NOISE_SAW_FLOOR] = {WAVE_SAW, 2, 8 * MINUTE, 0.2, 0.6},
    [NOISE_REVERSE] = {WAVE_REVERSE, 2, 30 * MINUTE, 0, 0},
    [NOISE_TRIANGLE] = {WAVE_TRIANGLE, 2, 30 * MINUTE, 0, 0},
    [NOISE_SINE] = {WAVE_SINE, 2, 30 * MINUTE, 0, 0},
    [NOISE_SQUARE] = {WAVE_SQUARE, 2, 30 * MINUTE, 0.3, 0},
    [NOISE_SPIKE] = {WAVE_SPIKE, 2, 30 * MINUTE, 0.3, 0},
    [NOISE_VALLEY] = {WAVE_VALLEY, 2, 10 * MINUTE, 0.3, 0},
};

static void zoo_noise(struct zoo_series *s, enum noise noise, double scale)
{
    if (waves[noise].high > 0)
        noise_wave(s, scale, waves[noise].shape, waves[noise].low, waves[noise].high,
                   waves[noise].jitter, waves[noise].floor);
    switch (noise) {
    case NOISE_NORMAL:
    case NOISE_MISSING_NORMAL:
        part_normal(zoo_add(s), zoo_bytes(s) / 8);
        break;
    case NOISE_UNIFORM:
        part_uniform(zoo_add(s), zoo_bytes(s));
        break;
    case NOISE_AR50:
        part_ar(zoo_add(s), 1.44 * scale, zoo_bytes(s) / 8);
        break;
    case NOISE_AR90:
        part_ar(zoo_add(s), 9.5 * scale, zoo_bytes(s) / 8);
        break;
    case NOISE_AR99:
        part_ar(zoo_add(s), 99.5 * scale, zoo_bytes(s) / 8);
        break;
    case NOISE_SHAPES:
        noise_shapes(s, scale);
        break;
    case NOISE_TWO_SAWS:
        noise_two_saws(s, scale);
        break;
    case NOISE_SAW_AR:
        noise_wave(s, scale, WAVE_SAW, 2, 5 * MINUTE, 0, 0);
        part_ar(zoo_add(s), 9.5 * scale, s->part[0].b / 8 * zoo_between(s, 0.1, 1));
        break;
    case NOISE_JOBS:
        part_jobs(zoo_add(s), zoo_scale(s, 2, 20) * scale, zoo_scale(s, 2, 60) * scale,
                  zoo_bytes(s) / 8);
        break;
    case NOISE_BATCHES:
        part_jobs(zoo_add(s), zoo_scale(s, 3, 10) * MINUTE * scale,
                  zoo_scale(s, 1, 5) * MINUTE * scale, zoo_bytes(s));
        break;
    case NOISE_TRANSIENTS:
        part_jobs(zoo_add(s), zoo_scale(s, 20, 90) * MINUTE * scale, zoo_scale(s, 2, 200) * scale,
                  zoo_bytes(s));
        part_level(zoo_add(s), zoo_bytes(s));
        break;
    case NOISE_SESSIONS:
        part_sessions(zoo_add(s), 2 + (int)(rnd_next(&s->rnd) % 30), zoo_scale(s, 2, 60) * scale,
                      zoo_scale(s, 2, 60) * scale, zoo_bytes(s) / 16);
        break;
    case NOISE_TRIM:
        part_trim(zoo_add(s), zoo_scale(s, 0.01, 0.5) * scale, 1000, 48);
        break;
    case NOISE_DIURNAL_LOAD:
        noise_diurnal_load(s, scale);
        break;
    default: /* none, or a wave */
        break;
    }
    if (noise == NOISE_MISSING_NORMAL || noise == NOISE_MISSING_SAW)
        s->missing = zoo_between(s, 0.05, 0.5);
}

/* ---- bounded --------------------------------------------------------------------------------- */

static void bounded_noise(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    part_level(zoo_add(s), zoo_bytes(s));
}

/* Four in five of a warm-up: what is bounded has come to rest by then. */
#define SETTLED (8 * MINUTE)

static void bounded_exponential(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    /* A short run must have come to rest; a long one is given time to see it do so. */
    double slowest = run->is_short ? 50 : 150;
    part_exponential(zoo_add(s), zoo_scale(s, 5, slowest) * run->scale, zoo_bytes(s));
    zoo_noise(s, (enum noise)noise, run->scale);
}

static void bounded_logarithm(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    part_logarithm(zoo_add(s), zoo_scale(s, 1, 100) * run->scale, zoo_bytes(s),
                   zoo_between(s, 0.3, 1) * SETTLED * run->scale);
    zoo_noise(s, (enum noise)noise, run->scale);
}

/* `steps` steps at any time; of a short run, within the warm-up. */
static void bounded_steps(struct zoo_series *s, const struct zoo_run *run, int steps)
{
    double latest = run->is_short ? SETTLED * run->scale : run->ticks;
    double first = zoo_between(s, 0, latest), second = zoo_between(s, 0, latest);
    part_level(zoo_add(s), zoo_bytes(s));
    struct part *p = zoo_add(s);
    part_steps(p);
    if (steps == 1)
        part_add_step(p, first, zoo_bytes(s));
    if (steps == 2) {
        part_add_step(p, fmin(first, second), zoo_bytes(s));
        part_add_step(p, fmax(first, second), zoo_bytes(s));
    }
}

static void bounded_step_noise(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    bounded_steps(s, run, 1);
    zoo_noise(s, (enum noise)noise, run->scale);
}

static void bounded_early_steps(struct zoo_series *s, const struct zoo_run *run, int count)
{
    struct part *p = zoo_add(s);
    part_steps(p);
    for (int i = 0; i < count; i++)
        part_add_step(p, SETTLED * run->scale * (i + rnd_unit(&s->rnd)) / count, zoo_bytes(s));
}

/* A reload: the new configuration is loaded before the old one is freed. */
static void bounded_reloads(struct zoo_series *s, const struct zoo_run *run, int count)
{
    double bytes = zoo_bytes(s);
    struct part *p = zoo_add(s);
    part_steps(p);
    part_add_step(p, 0, bytes);
    for (int i = 0; i < count; i++) {
        double when = run->ticks * (i + zoo_between(s, 0.1, 0.9)) / count;
        double next = bytes * zoo_between(s, 0.8, 1.2);
        part_add_step(p, when, next);
        part_add_step(p, when + zoo_between(s, 1, 60) * run->scale, -bytes);
        bytes = next;
    }
}

static void bounded_cache(struct zoo_series *s, const struct zoo_run *run, int churns)
{
    part_cache(zoo_add(s), zoo_bytes(s), zoo_between(s, 0.1, 1) * SETTLED * run->scale,
               churns ? zoo_scale(s, 0.001, 0.3) : 0);
}

static void bounded_doubling(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    part_doubling(zoo_add(s), zoo_bytes(s) / (600 * run->scale), SETTLED * run->scale);
}

static void bounded_pool(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    double hold = zoo_between(s, 10, 60) * run->scale;
    part_pool(zoo_add(s), hold / 30, hold, zoo_bytes(s) / 8, 4 + (double)(rnd_next(&s->rnd) % 9));
}

static void bounded_restarts(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    part_restarts(zoo_add(s), zoo_scale(s, 20, 150) * MINUTE * run->scale,
                  zoo_scale(s, 1, 400) * run->scale, zoo_bytes(s));
    part_level(zoo_add(s), zoo_bytes(s));
}

/* Use that only ever falls. */
static void bounded_release(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    double bytes = zoo_bytes(s);
    part_wave(zoo_add(s), WAVE_REVERSE, 3 * run->ticks, bytes, 0, 0);
    s->part[s->parts - 1].x = 0;
    zoo_noise(s, (enum noise)noise, run->scale);
}

/* Cycles longer than the default can tell, with a warm-up that covers them. */
static void bounded_given(struct zoo_series *s, const struct zoo_run *run, int shape)
{
    (void)run;
    double period = zoo_scale(s, 30, 100) * MINUTE;
    part_wave(zoo_add(s), (enum wave_shape)shape, period, zoo_bytes(s), 0.1, 0.1);
    s->warmup = 1.15 * period;
}

static void bounded_given_fill(struct zoo_series *s, const struct zoo_run *run, int churns)
{
    (void)run;
    double full = zoo_scale(s, 10, 100) * MINUTE;
    part_cache(zoo_add(s), zoo_bytes(s), full, churns ? 0.05 : 0);
    s->warmup = 1.05 * full;
}

/* ---- leaks ----------------------------------------------------------------------------------- */

/* Highest minus lowest of what has been added so far, over the run: played on a copy. */
static double zoo_range(const struct zoo_series *s, const struct zoo_run *run)
{
    struct zoo_series copy = *s;
    double low = INFINITY, high = -INFINITY;
    for (double t = 0; t <= run->ticks; t++) {
        double value = zoo_value(&copy, t);
        low = fmin(low, value);
        high = fmax(high, value);
    }
    return high - low;
}

/* Growth from `from` to the end of the run, by `times` the range of what is there already. */
static void leak_add(struct zoo_series *s, const struct zoo_run *run, double from, double times)
{
    double growth = fmax(zoo_range(s, run), 480) * times;
    s->growth_start = from;
    s->growth_end = run->ticks;
    s->bytes_per_second = growth / (run->ticks - from);
    double grain = fmin(growth / 100, zoo_scale(s, 8, 4096));
    part_linear(zoo_add(s), s->bytes_per_second, from, run->ticks, grain);
}

/* Long runs: from 1 times the noise's range; short ones are watched less and must grow more. */
static double leak_times(struct zoo_series *s, const struct zoo_run *run)
{
    return run->is_short ? zoo_scale(s, 3, 30) : zoo_scale(s, 1, 30);
}

static void leak_noise(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    leak_add(s, run, 0, leak_times(s, run));
}

static void leak_late_noise(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    leak_add(s, run, zoo_between(s, 0.15, 0.5) * run->ticks, leak_times(s, run));
}

/* Without noise: a rate between `low` and `high` bytes a second, in small blocks. */
static void leak_clean(struct zoo_series *s, const struct zoo_run *run, double low, double high)
{
    s->growth_end = run->ticks;
    s->bytes_per_second = zoo_scale(s, low, high);
    part_linear(zoo_add(s), s->bytes_per_second, 0, run->ticks, zoo_between(s, 1, 8));
    part_level(zoo_add(s), zoo_bytes(s));
}

static void leak_clean_slow(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    leak_clean(s, run, 8.0 / 60, 20);
}

static void leak_clean_fast(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    leak_clean(s, run, 20, 5 * MB);
}

static void leak_late(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    leak_clean(s, run, 8.0 / 60, 1 * MB);
    s->growth_start = zoo_between(s, 0.15, 0.5) * run->ticks;
    part_linear(&s->part[0], s->bytes_per_second, s->growth_start, run->ticks,
                zoo_between(s, 1, 8));
}

static void leak_rare(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    double gap = zoo_scale(s, 10, 600) * run->scale, bytes = zoo_scale(s, 8, 64 * KB);
    zoo_noise(s, (enum noise)noise, run->scale);
    part_lost(zoo_add(s), gap, bytes, 0);
    s->growth_end = run->ticks;
    s->bytes_per_second = bytes / gap;
}

/* A cycle in a thousand, of a loop at 10 Hz to 1 kHz (scaled). */
static void leak_cycle(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    double gap = 1000 / zoo_scale(s, 10, 1000) * run->scale, bytes = zoo_scale(s, 16, 4096);
    part_trim(zoo_add(s), gap / 1000, 1000, bytes / 1000);
    part_lost(zoo_add(s), gap, bytes, 0);
    s->growth_end = run->ticks;
    s->bytes_per_second = bytes / gap;
}

static void leak_partly_freed(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    double period = zoo_scale(s, 2, 5 * MINUTE) * run->scale, bytes = zoo_bytes(s);
    part_partly_freed(zoo_add(s), period, bytes, 0.05);
    s->growth_end = run->ticks;
    s->bytes_per_second = 0.05 * bytes / period;
}

static void leak_doubling(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)variant;
    part_doubling(zoo_add(s), zoo_scale(s, 100, 100 * KB), run->ticks);
    s->growth_end = run->ticks;
    s->bytes_per_second = NAN;
}

static void leak_after_warmup(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    leak_add(s, run, 0, leak_times(s, run));
    part_exponential(zoo_add(s), zoo_scale(s, 5, 120) * run->scale,
                     s->bytes_per_second * run->ticks * zoo_scale(s, 0.1, 10));
}

/* Another part of the program takes a step, which must not hide the leak. */
static void leak_and_step(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    leak_add(s, run, 0, leak_times(s, run));
    struct part *p = zoo_add(s);
    part_steps(p);
    part_add_step(p, zoo_between(s, 0, 0.4) * run->ticks,
                  s->bytes_per_second * run->ticks * zoo_scale(s, 0.05, 1));
}

static void leak_accelerating(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    double growth = fmax(zoo_range(s, run), 4800) * leak_times(s, run);
    part_quadratic(zoo_add(s), growth / (2 * run->ticks), run->ticks);
    s->growth_end = run->ticks;
    s->bytes_per_second = NAN;
}

/* One of two controllers leaks; the other's use swings by up to 200 times what leaks in all. */
static void leak_one_of_two(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    leak_add(s, run, 0, leak_times(s, run));
    s->own = s->parts;
    double height = s->bytes_per_second * run->ticks * zoo_scale(s, 0.5, 200);
    part_wave(zoo_add(s), WAVE_SAW, zoo_scale(s, 2, 5 * MINUTE) * run->scale, height, 0.3, 0.3);
    part_level(zoo_add(s), zoo_bytes(s));
}

/* The two that the targets name: rates in MB/hour under a 20 MB sawtooth. */
static void leak_named(struct zoo_series *s, double rate, double low, double high, bool small)
{
    part_wave(zoo_add(s), WAVE_SAW, zoo_scale(s, low, high), 20 * MB, small ? 0 : 0.1, 0);
    part_linear(zoo_add(s), rate * MB / HOUR, 0, INFINITY, 64);
    s->growth_end = INFINITY;
    s->bytes_per_second = rate * MB / HOUR;
}

static void leak_2mb(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    leak_named(s, 2, 5, 5 * MINUTE, variant == 0);
}

static void leak_half_mb(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    leak_named(s, 0.5, variant ? 10 * MINUTE : 5, 30 * MINUTE, true);
}

static void leak_2mb_ar(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    (void)variant;
    part_ar(zoo_add(s), 99.5, 1 * MB);
    part_linear(zoo_add(s), 2 * MB / HOUR, 0, INFINITY, 64);
    s->growth_end = INFINITY;
    s->bytes_per_second = 2 * MB / HOUR;
}

/* A warm-up was given: growth must be found that much sooner. */
static void leak_given(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    s->warmup = zoo_scale(s, 2, 60) * MINUTE;
    zoo_noise(s, (enum noise)noise, s->warmup / 600);
    leak_add(s, run, 0, zoo_scale(s, 1, 30));
}

/* ---- what cannot be decided ------------------------------------------------------------------ */

static void hard_grows(struct zoo_series *s, double start, double end)
{
    s->growth_start = start;
    s->growth_end = end;
}

static void hard_stops(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    double start = zoo_between(s, 0, 0.5) * HOUR, length = zoo_between(s, 0.7, 2.3) * HOUR;
    struct zoo_run growing = {.ticks = start + length};
    zoo_noise(s, (enum noise)noise, 1);
    leak_add(s, &growing, start, zoo_scale(s, 3, 30));
    hard_grows(s, start, start + length);
    (void)run;
}

static void hard_exponential(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    (void)variant;
    double tau = zoo_scale(s, 10, 40) * MINUTE;
    part_exponential(zoo_add(s), tau, zoo_bytes(s));
    hard_grows(s, 0, 4 * tau);
}

static void hard_logarithm(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    (void)variant;
    part_logarithm(zoo_add(s), zoo_scale(s, 1, 600), zoo_bytes(s), INFINITY);
    hard_grows(s, 0, INFINITY);
}

static void hard_steps(struct zoo_series *s, const struct zoo_run *run, int count)
{
    double when[8];
    for (int i = 0; i < count; i++) {
        double t = zoo_between(s, 10 * MINUTE, run->ticks / 2);
        int at = i;
        for (; at > 0 && when[at - 1] > t; at--)
            when[at] = when[at - 1];
        when[at] = t;
    }
    struct part *p = zoo_add(s);
    part_steps(p);
    for (int i = 0; i < count; i++)
        part_add_step(p, when[i], zoo_bytes(s));
    hard_grows(s, when[0], when[count - 1]);
}

/* The first ramp may be flagged; once one period was seen, no more. */
static void hard_cycle(struct zoo_series *s, const struct zoo_run *run, int shape)
{
    (void)run;
    double period = zoo_scale(s, 40, 120) * MINUTE;
    part_wave(zoo_add(s), (enum wave_shape)shape, period, zoo_bytes(s), 0, 0);
    s->part[0].x = 0;
    hard_grows(s, 0, period);
}

/* Two exact periods beat against each other, over hours where their ratio is nearly simple. */
static void hard_beats(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    (void)variant;
    double period = zoo_scale(s, 2, 4 * MINUTE), height = zoo_bytes(s);
    part_wave(zoo_add(s), WAVE_SAW, period, height, 0, 0);
    part_wave(zoo_add(s), WAVE_SAW, period * zoo_between(s, 1.3, 7),
              height * zoo_between(s, 0.2, 1), 0, 0);
    hard_grows(s, 0, INFINITY);
}

static void hard_owner_restarts(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    (void)variant;
    double every = zoo_between(s, 0.8, 2) * HOUR;
    part_wave(zoo_add(s), WAVE_SAW, every, zoo_bytes(s), 0.1, 0);
    s->part[0].x = 0;
    hard_grows(s, 0, s->part[0].y);
}

static void hard_pool(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    (void)variant;
    part_pool(zoo_add(s), zoo_between(s, 1, 5), zoo_between(s, 10, 60), zoo_bytes(s) / 8, INFINITY);
    hard_grows(s, 0, INFINITY);
}

static void hard_day(struct zoo_series *s, const struct zoo_run *run, int variant)
{
    (void)run;
    (void)variant;
    part_wave(zoo_add(s), WAVE_SINE, 24 * HOUR, zoo_bytes(s), 0, 0);
    part_normal(zoo_add(s), s->part[0].b * zoo_scale(s, 0.001, 0.1));
    hard_grows(s, 0, INFINITY);
}

/* Growth of less than its noise's range. */
static void hard_faint(struct zoo_series *s, const struct zoo_run *run, int noise)
{
    zoo_noise(s, (enum noise)noise, run->scale);
    leak_add(s, run, 0, zoo_between(s, 0.3, 1));
    s->growth_end = INFINITY;
}

/* ---- the list -------------------------------------------------------------------------------- */

#define BOTH true, true
#define LONG true, false

#define NOISE_FAMILIES(X)                                                                          \
    X("normal noise", NOISE_NORMAL)                                                                \
    X("uniform noise", NOISE_UNIFORM)                                                              \
    X("AR(1) 0.5", NOISE_AR50)                                                                     \
    X("AR(1) 0.9", NOISE_AR90)                                                                     \
    X("AR(1) 0.99", NOISE_AR99)                                                                    \
    X("sawtooth 1.5-60 s", NOISE_SAW_SECONDS)                                                      \
    X("sawtooth 1-5 min", NOISE_SAW_MINUTES)                                                       \
    X("sawtooth 5-10 min", NOISE_SAW_10)                                                           \
    X("sawtooth, varying period", NOISE_SAW_JITTER)                                                \
    X("sawtooth, varying floor", NOISE_SAW_FLOOR)                                                  \
    X("two sawtooths", NOISE_TWO_SAWS)                                                             \
    X("sawtooth with AR(1)", NOISE_SAW_AR)                                                         \
    X("valleys", NOISE_VALLEY)                                                                     \
    X("jobs", NOISE_JOBS)                                                                          \
    X("batches", NOISE_BATCHES)                                                                    \
    X("rare large transients", NOISE_TRANSIENTS)                                                   \
    X("sessions", NOISE_SESSIONS)                                                                  \
    X("ring trimmed to half", NOISE_TRIM)                                                          \
    X("load by the hour", NOISE_DIURNAL_LOAD)                                                      \
    X("missing ticks, normal", NOISE_MISSING_NORMAL)                                               \
    X("missing ticks, sawtooth", NOISE_MISSING_SAW)

/* Cycles up to half an hour: longer than a short run's warm-up, so of long runs only. */
#define LONG_NOISE_FAMILIES(X)                                                                     \
    X("sawtooth 10-30 min", NOISE_SAW_30)                                                          \
    X("reverse sawtooth", NOISE_REVERSE)                                                           \
    X("triangle", NOISE_TRIANGLE)                                                                  \
    X("sine", NOISE_SINE)                                                                          \
    X("square", NOISE_SQUARE)                                                                      \
    X("spikes", NOISE_SPIKE)                                                                       \
    X("any wave", NOISE_SHAPES)

#define BOUNDED_BOTH(name, noise) {name, ZOO_BOUNDED, BOTH, bounded_noise, noise},
#define BOUNDED_LONG(name, noise) {name, ZOO_BOUNDED, LONG, bounded_noise, noise},
#define LEAK_BOTH(name, noise)    {"leak, " name, ZOO_LEAK, BOTH, leak_noise, noise},
#define LEAK_LONG(name, noise)    {"leak, " name, ZOO_LEAK, LONG, leak_noise, noise},

const struct zoo_family zoo[] = {
    {"constant", ZOO_BOUNDED, BOTH, bounded_noise, NOISE_NONE},
    NOISE_FAMILIES(BOUNDED_BOTH) LONG_NOISE_FAMILIES(BOUNDED_LONG){
        "exponential warm-up", ZOO_BOUNDED, BOTH, bounded_exponential, NOISE_NONE},
    {"exponential warm-up, noise", ZOO_BOUNDED, BOTH, bounded_exponential, NOISE_NORMAL},
    {"exponential warm-up, saw", ZOO_BOUNDED, BOTH, bounded_exponential, NOISE_SAW_MINUTES},
    {"logarithmic warm-up", ZOO_BOUNDED, BOTH, bounded_logarithm, NOISE_NONE},
    {"logarithmic warm-up, saw", ZOO_BOUNDED, BOTH, bounded_logarithm, NOISE_SAW_SECONDS},
    {"one step", ZOO_BOUNDED, BOTH, bounded_steps, 1},
    {"two steps", ZOO_BOUNDED, LONG, bounded_steps, 2},
    {"one step, noise", ZOO_BOUNDED, BOTH, bounded_step_noise, NOISE_NORMAL},
    {"one step, AR(1)", ZOO_BOUNDED, BOTH, bounded_step_noise, NOISE_AR90},
    {"one step, sawtooth", ZOO_BOUNDED, BOTH, bounded_step_noise, NOISE_SAW_MINUTES},
    {"many early steps", ZOO_BOUNDED, BOTH, bounded_early_steps, 12},
    {"reloads", ZOO_BOUNDED, LONG, bounded_reloads, 2},
    {"cache fills and stays", ZOO_BOUNDED, BOTH, bounded_cache, 0},
    {"cache fills and churns", ZOO_BOUNDED, BOTH, bounded_cache, 1},
    {"doubling table settles", ZOO_BOUNDED, BOTH, bounded_doubling, 0},
    {"pool fills to its cap", ZOO_BOUNDED, BOTH, bounded_pool, 0},
    {"component restarts", ZOO_BOUNDED, LONG, bounded_restarts, 0},
    {"only falls", ZOO_BOUNDED, BOTH, bounded_release, NOISE_NONE},
    {"only falls, noise", ZOO_BOUNDED, BOTH, bounded_release, NOISE_AR90},
    {"--warmup, sawtooth 30-100 min", ZOO_BOUNDED, LONG, bounded_given, WAVE_SAW},
    {"--warmup, sine 30-100 min", ZOO_BOUNDED, LONG, bounded_given, WAVE_SINE},
    {"--warmup, fill 10-100 min", ZOO_BOUNDED, LONG, bounded_given_fill, 0},
    {"--warmup, fill and churn", ZOO_BOUNDED, LONG, bounded_given_fill, 1},

    {"leak, clean, 8 B/min-1 KB/min", ZOO_LEAK, BOTH, leak_clean_slow, 0},
    {"leak, clean, 1 KB/min-5 MB/s", ZOO_LEAK, BOTH, leak_clean_fast, 0},
    NOISE_FAMILIES(LEAK_BOTH)
        LONG_NOISE_FAMILIES(LEAK_LONG){"leak, late, clean", ZOO_LEAK, LONG, leak_late, 0},
    {"leak, late, noise", ZOO_LEAK, LONG, leak_late_noise, NOISE_NORMAL},
    {"leak, late, sawtooth", ZOO_LEAK, LONG, leak_late_noise, NOISE_SAW_MINUTES},
    {"leak, late, AR(1) 0.9", ZOO_LEAK, LONG, leak_late_noise, NOISE_AR90},
    {"leak, one cycle in 1,000", ZOO_LEAK, BOTH, leak_cycle, 0},
    {"leak, rare, clean", ZOO_LEAK, LONG, leak_rare, NOISE_NONE},
    {"leak, 95 % freed", ZOO_LEAK, BOTH, leak_partly_freed, 0},
    {"leak, doubling array", ZOO_LEAK, LONG, leak_doubling, 0},
    {"leak after warm-up", ZOO_LEAK, BOTH, leak_after_warmup, NOISE_NONE},
    {"leak after warm-up, noise", ZOO_LEAK, BOTH, leak_after_warmup, NOISE_NORMAL},
    {"leak and step", ZOO_LEAK, LONG, leak_and_step, NOISE_NONE},
    {"leak and step, sawtooth", ZOO_LEAK, LONG, leak_and_step, NOISE_SAW_MINUTES},
    {"leak, accelerating", ZOO_LEAK, BOTH, leak_accelerating, NOISE_NONE},
    {"leak, accelerating, noise", ZOO_LEAK, BOTH, leak_accelerating, NOISE_NORMAL},
    {"leak, 2 MB/h, 20 MB saw <= 5 min", ZOO_LEAK, LONG, leak_2mb, 0},
    {"leak, 2 MB/h, the same, varying", ZOO_LEAK, LONG, leak_2mb, 1},
    {"leak, .5 MB/h, 20 MB saw <= 30 min", ZOO_LEAK, LONG, leak_half_mb, 0},
    {"leak, .5 MB/h, saw 10-30 min", ZOO_LEAK, LONG, leak_half_mb, 1},
    {"leak, 2 MB/h, AR(1) .99 of 1 MB", ZOO_LEAK, LONG, leak_2mb_ar, 0},
    {"leak, --warmup, clean", ZOO_LEAK, LONG, leak_given, NOISE_NONE},
    {"leak, --warmup, sawtooth", ZOO_LEAK, LONG, leak_given, NOISE_SAW_MINUTES},

    {"leak that stops", ZOO_HARD, LONG, hard_stops, NOISE_NONE},
    {"leak that stops, noise", ZOO_HARD, LONG, hard_stops, NOISE_NORMAL},
    {"leak that stops, sawtooth", ZOO_HARD, LONG, hard_stops, NOISE_SAW_MINUTES},
    {"leak that stops, AR(1) .99", ZOO_HARD, LONG, hard_stops, NOISE_AR99},
    {"slow exponential fill", ZOO_HARD, LONG, hard_exponential, 0},
    {"logarithm without end", ZOO_HARD, LONG, hard_logarithm, 0},
    {"3 late steps", ZOO_HARD, LONG, hard_steps, 3},
    {"5 late steps", ZOO_HARD, LONG, hard_steps, 5},
    {"sawtooth 40-120 min", ZOO_HARD, LONG, hard_cycle, WAVE_SAW},
    {"sine 40-120 min", ZOO_HARD, LONG, hard_cycle, WAVE_SINE},
    {"two exact periods that beat", ZOO_HARD, LONG, hard_beats, 0},
    {"owner restarts, frees all", ZOO_HARD, LONG, hard_owner_restarts, 0},
    {"high-water pool", ZOO_HARD, LONG, hard_pool, 0},
    {"a day's sine", ZOO_HARD, LONG, hard_day, 0},
    {"growth .3-1 x noise, normal", ZOO_HARD, LONG, hard_faint, NOISE_NORMAL},
    {"growth .3-1 x noise, AR(1) .99", ZOO_HARD, LONG, hard_faint, NOISE_AR99},
    {"growth .3-1 x noise, sawtooth", ZOO_HARD, LONG, hard_faint, NOISE_SAW_MINUTES},

    /* Seeds go by the place in this list: what is new goes to its end. */
    {"leak, one of two controllers", ZOO_LEAK, BOTH, leak_one_of_two, NOISE_NONE},
    {"leak, one of two, noise", ZOO_LEAK, BOTH, leak_one_of_two, NOISE_NORMAL},
};

const int zoo_families = sizeof zoo / sizeof zoo[0];

void zoo_build(const struct zoo_family *family, const struct zoo_run *run, uint64_t seed,
               struct zoo_series *s)
{
    memset(s, 0, sizeof *s);
    rnd_seed(&s->rnd, rnd_mix(seed));
    s->bytes_per_second = NAN;
    family->build(s, run, family->variant);
}
