/*
 * Random numbers for the zoo: xoshiro256** seeded by splitmix64 (both by Blackman and Vigna, public
 * domain algorithms). The same seed gives the same series on every machine.
 */
#ifndef TEST_DETECTION_RANDOM_H
#define TEST_DETECTION_RANDOM_H

#include <math.h>
#include <stdint.h>

struct rnd {
    uint64_t s[4];
    double spare; /* the second of a pair of Gaussians, NaN if used */
};

static inline uint64_t rnd_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline void rnd_seed(struct rnd *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = rnd_mix(seed + (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15));
    r->spare = NAN;
}

static inline uint64_t rnd_next(struct rnd *r)
{
    uint64_t x = r->s[1] * 5, result = (x << 7 | x >> 57) * 9, t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = r->s[3] << 45 | r->s[3] >> 19;
    return result;
}

/* In [0, 1). */
static inline double rnd_unit(struct rnd *r)
{
    return (double)(rnd_next(r) >> 11) * 0x1p-53;
}

static inline double rnd_between(struct rnd *r, double low, double high)
{
    return low + (high - low) * rnd_unit(r);
}

/* Evenly spread over orders of magnitude. */
static inline double rnd_scale(struct rnd *r, double low, double high)
{
    return low * exp(log(high / low) * rnd_unit(r));
}

static inline double rnd_exponential(struct rnd *r, double mean)
{
    return -mean * log(1 - rnd_unit(r));
}

/* Standard normal, by Marsaglia's polar method. */
static inline double rnd_normal(struct rnd *r)
{
    if (!isnan(r->spare)) {
        double spare = r->spare;
        r->spare = NAN;
        return spare;
    }
    double x, y, s;
    do {
        x = 2 * rnd_unit(r) - 1;
        y = 2 * rnd_unit(r) - 1;
        s = x * x + y * y;
    } while (s >= 1 || s == 0);
    s = sqrt(-2 * log(s) / s);
    r->spare = y * s;
    return x * s;
}

#endif
