/*
 * What people use today to tell a leak from a history of memory use, each as it is commonly
 * written, for comparison on the same series. They see one sample a tick, as such tools do.
 */
#ifndef TEST_DETECTION_RIVALS_H
#define TEST_DETECTION_RIVALS_H

#include <stddef.h>

/*      id             in the table             what it does */
#define RIVALS(X)                                                                                  \
    X(THRESHOLD, "+500 MB")      /* growth since the first sample */                               \
    X(SQUARES_ALL, "r2>.8 all")  /* least squares rises with r squared above 0.8 */                \
    X(SQUARES_100, "r2>.8 100")  /* the same over the last 100 samples */                          \
    X(KENDALL_ALL, "MK .01 all") /* Mann-Kendall, two-sided p below 0.01, rising */                \
    X(KENDALL_100, "MK .01 100") /* the same over the last 100 samples */                          \
    X(SCALENE, "Scalene-like")   /* rule of succession over new highs, 95 % */                     \
    X(MONOTONIC, "monotonic")    /* the last 100 samples never fall and rise once */

#define RIVAL_ENUM(id, name) RIVAL_##id,
enum rival { RIVALS(RIVAL_ENUM) RIVAL_COUNT };
#undef RIVAL_ENUM

extern const char *const rival_names[RIVAL_COUNT];

/*
 * Plays `count` samples, one a tick, through every rival, and stores the index of the tick at which
 * each first said "leak" (not before `from`), or -1. Needs some memory for the while; aborts
 * without.
 */
void rivals_play(const double *values, int count, int from, int first[RIVAL_COUNT]);

#endif
