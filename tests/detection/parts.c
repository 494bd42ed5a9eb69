/* See parts.h. Each part: its value function, then its setter. */
#include "parts.h"

#include <string.h>

static void part_clear(struct part *p, double (*value)(struct part *, double))
{
    struct rnd rnd = p->rnd;
    memset(p, 0, sizeof *p);
    p->rnd = rnd;
    p->value = value;
}

static double level_value(struct part *p, double t)
{
    (void)t;
    return p->a;
}

void part_level(struct part *p, double bytes)
{
    part_clear(p, level_value);
    p->a = bytes;
}

static double linear_value(struct part *p, double t)
{
    double grown = p->a * (fmin(fmax(t, p->b), p->c) - p->b);
    return p->d > 0 ? floor(grown / p->d) * p->d : grown;
}

void part_linear(struct part *p, double rate, double from, double to, double grain)
{
    part_clear(p, linear_value);
    p->a = rate;
    p->b = from;
    p->c = to;
    p->d = grain;
}

static double quadratic_value(struct part *p, double t)
{
    return p->a * (t + t * t / p->b);
}

void part_quadratic(struct part *p, double rate, double tau)
{
    part_clear(p, quadratic_value);
    p->a = rate;
    p->b = tau;
}

static double normal_value(struct part *p, double t)
{
    (void)t;
    return fmax(0, p->a * (4.5 + rnd_normal(&p->rnd)));
}

void part_normal(struct part *p, double sd)
{
    part_clear(p, normal_value);
    p->a = sd;
}

static double uniform_value(struct part *p, double t)
{
    (void)t;
    return p->a * rnd_unit(&p->rnd);
}

void part_uniform(struct part *p, double range)
{
    part_clear(p, uniform_value);
    p->a = range;
}

static double ar_value(struct part *p, double t)
{
    double keep = p->count++ ? exp(-(t - p->y) / p->a) : 0;
    p->x = p->x * keep + sqrt(1 - keep * keep) * rnd_normal(&p->rnd);
    p->y = t;
    return fmax(0, p->b * (4.5 + p->x));
}

void part_ar(struct part *p, double tau, double sd)
{
    part_clear(p, ar_value);
    p->a = tau;
    p->b = sd;
}

/* The height of a wave's shape at the share `x` of its period. */
static double wave_height(enum wave_shape shape, double x)
{
    switch (shape) {
    case WAVE_SAW:
        return x;
    case WAVE_REVERSE:
        return 1 - x;
    case WAVE_TRIANGLE:
        return x < 0.5 ? 2 * x : 2 - 2 * x;
    case WAVE_SINE:
        return 0.5 - 0.5 * cos(2 * M_PI * x);
    case WAVE_SQUARE:
        return x >= 0.5;
    case WAVE_SPIKE:
        return x >= 0.95;
    case WAVE_VALLEY:
        return x >= 0.05;
    case WAVE_STAIRS:
        return floor(8 * x) / 8;
    case WAVE_CONVEX:
        return x * x;
    default:
        return sqrt(x);
    }
}

/* x: start of the cycle, y: its period, z: its floor */
static void wave_turn(struct part *p)
{
    p->y = p->a * (1 + p->c * (2 * rnd_unit(&p->rnd) - 1));
    p->z = p->b * p->d * rnd_unit(&p->rnd);
}

static double wave_value(struct part *p, double t)
{
    while (t >= p->x + p->y) {
        p->x += p->y;
        wave_turn(p);
    }
    return p->z + (p->b - p->z) * wave_height((enum wave_shape)p->shape, (t - p->x) / p->y);
}

void part_wave(struct part *p, enum wave_shape shape, double period, double height, double jitter,
               double floor)
{
    part_clear(p, wave_value);
    p->shape = (int)shape;
    p->a = period;
    p->b = height;
    p->c = jitter;
    p->d = floor;
    wave_turn(p);
    p->x = -p->y * rnd_unit(&p->rnd);
}

static double exponential_value(struct part *p, double t)
{
    return p->b * (1 - exp(-t / p->a));
}

void part_exponential(struct part *p, double tau, double height)
{
    part_clear(p, exponential_value);
    p->a = tau;
    p->b = height;
}

static double logarithm_value(struct part *p, double t)
{
    return p->b * log1p(fmin(t, p->c) / p->a);
}

void part_logarithm(struct part *p, double tau, double height, double until)
{
    part_clear(p, logarithm_value);
    p->a = tau;
    p->b = height;
    p->c = until;
}

static double steps_value(struct part *p, double t)
{
    double sum = 0;
    for (int i = 0; i < p->count && p->slot[i] <= t; i++)
        sum += p->size[i];
    return fmax(0, sum);
}

void part_steps(struct part *p)
{
    part_clear(p, steps_value);
}

void part_add_step(struct part *p, double when, double bytes)
{
    p->slot[p->count] = when;
    p->size[p->count++] = bytes;
}

static double cache_value(struct part *p, double t)
{
    return t < p->b ? p->a * t / p->b : p->a * (1 - p->c * rnd_unit(&p->rnd));
}

void part_cache(struct part *p, double cap, double full, double churn)
{
    part_clear(p, cache_value);
    p->a = cap;
    p->b = full;
    p->c = churn;
}

static double doubling_value(struct part *p, double t)
{
    double held = p->a * fmin(t, p->b);
    return held < 64 ? 64 : exp2(ceil(log2(held)));
}

void part_doubling(struct part *p, double rate, double until)
{
    part_clear(p, doubling_value);
    p->a = rate;
    p->b = until;
}

/* slot: when each job ends, size: what it holds, x: when the next one comes */
static double jobs_value(struct part *p, double t)
{
    while (p->x <= t) {
        if (p->count < PART_SLOTS) {
            p->slot[p->count] = p->x + p->b * rnd_between(&p->rnd, 0.3, 1.7);
            p->size[p->count++] = p->c * rnd_between(&p->rnd, 0.5, 1.5);
        }
        p->x += rnd_exponential(&p->rnd, p->a);
    }
    double sum = 0;
    for (int i = 0; i < p->count; i++) {
        if (p->slot[i] <= t) {
            p->count--;
            p->slot[i] = p->slot[p->count];
            p->size[i] = p->size[p->count];
            i--;
        } else {
            sum += p->size[i];
        }
    }
    return sum;
}

void part_jobs(struct part *p, double gap, double hold, double bytes)
{
    part_clear(p, jobs_value);
    p->a = gap;
    p->b = hold;
    p->c = bytes;
    p->x = -2 * hold; /* as it would stand after a long time */
}

/* slot: when each session changes, size: on (1) or off (0) */
static double sessions_value(struct part *p, double t)
{
    double sum = 0;
    for (int i = 0; i < p->count; i++) {
        while (p->slot[i] <= t) {
            p->size[i] = 1 - p->size[i];
            p->slot[i] += rnd_exponential(&p->rnd, p->size[i] > 0 ? p->a : p->b);
        }
        sum += p->size[i];
    }
    return sum * p->c;
}

void part_sessions(struct part *p, int sessions, double on, double off, double bytes)
{
    part_clear(p, sessions_value);
    p->a = on;
    p->b = off;
    p->c = bytes;
    p->count = sessions;
    for (int i = 0; i < sessions; i++) {
        p->size[i] = rnd_unit(&p->rnd) < on / (on + off);
        p->slot[i] = rnd_exponential(&p->rnd, p->size[i] > 0 ? on : off);
    }
}

static double pool_value(struct part *p, double t)
{
    jobs_value(p, t);
    p->y = fmax(p->y, fmin(p->count, p->d));
    return p->y * p->c;
}

void part_pool(struct part *p, double gap, double hold, double bytes, double cap)
{
    part_jobs(p, gap, hold, bytes);
    p->value = pool_value;
    p->d = cap;
    p->x = 0;
}

/* x: when it was last started, y: when it will be next */
static double restarts_value(struct part *p, double t)
{
    while (t >= p->y) {
        p->x = p->y;
        p->y += p->a * rnd_between(&p->rnd, 0.5, 1.5);
    }
    return p->c * fmin(1, (t - p->x) / p->b);
}

void part_restarts(struct part *p, double every, double refill, double bytes)
{
    part_clear(p, restarts_value);
    p->a = every;
    p->b = refill;
    p->c = bytes;
    p->y = every * rnd_between(&p->rnd, 0.3, 1.3);
}

static double trim_value(struct part *p, double t)
{
    double entries = floor(t / p->a), half = floor(p->b / 2);
    if (entries >= p->b)
        entries = half + fmod(entries - p->b, p->b - half);
    return entries * p->c;
}

void part_trim(struct part *p, double gap, double cap, double entry)
{
    part_clear(p, trim_value);
    p->a = gap;
    p->b = cap;
    p->c = entry;
}

/* x: when the next block is lost, y: bytes lost */
static double lost_value(struct part *p, double t)
{
    while (p->x <= t) {
        p->y += p->b;
        p->x += rnd_exponential(&p->rnd, p->a);
    }
    return p->y;
}

void part_lost(struct part *p, double gap, double bytes, double from)
{
    part_clear(p, lost_value);
    p->a = gap;
    p->b = bytes;
    p->x = from + rnd_exponential(&p->rnd, gap);
}

static double partly_freed_value(struct part *p, double t)
{
    double cycles = floor(t / p->a);
    return p->b * (p->c * cycles + (t / p->a - cycles));
}

void part_partly_freed(struct part *p, double period, double bytes, double kept)
{
    part_clear(p, partly_freed_value);
    p->a = period;
    p->b = bytes;
    p->c = kept;
}
