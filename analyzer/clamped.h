/*
 * Sums and conversions of figures from a file that may hold any number: they stop at the ends of
 * the range.
 */
#ifndef HEAPTALLY_ANALYZER_CLAMPED_H
#define HEAPTALLY_ANALYZER_CLAMPED_H

#include <stdint.h>

static inline int64_t ht_clamped_sum(int64_t a, int64_t b)
{
    int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum))
        return sum;
    return a < 0 ? INT64_MIN : INT64_MAX;
}

static inline int64_t ht_clamped_difference(int64_t a, int64_t b)
{
    int64_t difference;
    if (!__builtin_sub_overflow(a, b, &difference))
        return difference;
    return a < 0 ? INT64_MIN : INT64_MAX;
}

/* The whole number that a real number begins with; 0 for NaN and what is below 0. */
static inline uint64_t ht_clamped_whole(double number)
{
    if (!(number > 0))
        return 0;
    return number < 0x1p64 ? (uint64_t)number : UINT64_MAX;
}

#endif
