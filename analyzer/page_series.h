/*
 * The past as a screen can show it: all series of a report on one common list of moments, at most
 * HT_PAGE_MOMENTS of them. Between two moments a series keeps its lowest and its highest value, so
 * that no spike is lost, and at each moment the value it had there: values of several series at one
 * moment may be added up.
 */
#ifndef HEAPTALLY_ANALYZER_PAGE_SERIES_H
#define HEAPTALLY_ANALYZER_PAGE_SERIES_H

#include "profile.h"

enum { HT_PAGE_MOMENTS = 480 };

struct ht_moments {
    uint64_t t_ns[HT_PAGE_MOMENTS]; /* rising, from the start of counting */
    size_t count;
};

/* One value of each kind per moment; HTL_UNKNOWN where nothing was known up to it. */
struct ht_series {
    uint64_t value[HT_PAGE_MOMENTS]; /* at the moment, or last known before it */
    uint64_t low[HT_PAGE_MOMENTS];   /* since the moment before */
    uint64_t high[HT_PAGE_MOMENTS];
};

/* The ticks of the process themselves where they are few, else moments at equal distance. */
void ht_moments_of(const struct ht_profile *profile, struct ht_moments *moments);

/* `before` is the value until the first point: 0 for a tag, HTL_UNKNOWN for resident memory. */
void ht_series_of(const struct ht_past *past, const struct ht_moments *moments, uint64_t before,
                  struct ht_series *series);

#endif
