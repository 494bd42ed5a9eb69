/*
 * Standard normal numbers, the same for the same seed on every machine with the same libm.
 *
 * A 64-bit counter advances by the golden ratio's fraction and is mixed (Steele, Lea and Flood,
 * "Fast splittable pseudorandom number generators", 2014: splitmix64); the upper 53 bits of two of
 * its numbers become a pair of normal ones (Box and Muller, 1958): sqrt(-2 ln a) times cos and sin
 * of 2 pi b, a in (0, 1], b in [0, 1). The cosine comes first.
 */
#ifndef HEAPTALLY_ANALYZER_NORMAL_H
#define HEAPTALLY_ANALYZER_NORMAL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

struct ht_normal {
    uint64_t counter; /* the seed at first */
    double second;    /* of the pair */
    bool has_second;
};

static inline uint64_t ht_normal_bits(struct ht_normal *g)
{
    uint64_t z = g->counter += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline double ht_normal_next(struct ht_normal *g)
{
    if (g->has_second) {
        g->has_second = false;
        return g->second;
    }
    double a = (double)((ht_normal_bits(g) >> 11) + 1) * 0x1p-53;
    double b = (double)(ht_normal_bits(g) >> 11) * 0x1p-53;
    double radius = sqrt(-2 * log(a)), angle = 2 * M_PI * b;
    g->second = radius * sin(angle);
    g->has_second = true;
    return radius * cos(angle);
}

#endif
