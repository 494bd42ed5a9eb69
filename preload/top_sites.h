/*
 * The sites that have grown most lately: for at most HT_TOP_SITES of them a past and a trend of
 * their own are kept, so that a verdict can be given on a call site, in the process and in reports.
 *
 * Who they are is reviewed now and then (the time between two reviews is a fifth of the run so
 * far, 16 ticks at least). A site's score is how far its floor, the lowest live bytes between two
 * reviews, has risen since the review before, plus half of the score it had. The highest scores
 * have the places; who loses its place loses its past.
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_TOP_SITES_H
#define HEAPTALLY_TOP_SITES_H

#include "heaptally/trend.h"
#include "history.h"
#include "moment.h"

#define HT_TOP_SITES       64u
#define HT_TOP_SITE_POINTS 128u

struct ht_top_site {
    uint32_t site; /* 0: the place is free (no site of a stack has this id) */
    struct ht_trend trend;
    struct ht_history *history; /* t_ns counts from `start_ns` of ht_top_sites_restart */
};

/* Forgets all of them. `start_ns`: what histories count their time from, CLOCK_MONOTONIC. */
void ht_top_sites_restart(uint64_t start_ns);

/* Feeds one tick, and reviews who the top sites are where it is time. */
void ht_top_sites_tick(const struct ht_moment *moment);

/* The one at place `i` < HT_TOP_SITES, or NULL where that is free. */
const struct ht_top_site *ht_top_site(uint32_t i);

/* The site of a tag that a leak is best explained by: the one with the highest rate among those
 * that leak, else the one that has grown most. 0 where none is known. */
uint32_t ht_top_site_of_tag(uint32_t tag);

/* Whether histories should be written down now: each time the run has become twice as long. */
bool ht_top_sites_are_due(void);

#endif
