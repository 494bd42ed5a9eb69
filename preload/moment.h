/*
 * The clock and the resident memory at one moment, as every tick begins with them.
 */
#ifndef HEAPTALLY_MOMENT_H
#define HEAPTALLY_MOMENT_H

#include <stdint.h>

struct ht_moment {
    uint64_t monotonic_ns; /* CLOCK_MONOTONIC */
    uint64_t realtime_ns;  /* CLOCK_REALTIME */
    uint64_t rss_bytes;    /* HTL_UNKNOWN where it cannot be read */
};

uint64_t ht_now_ns(void);        /* CLOCK_MONOTONIC */
uint64_t ht_realtime_ns(void);   /* CLOCK_REALTIME */
uint64_t ht_thread_cpu_ns(void); /* what this thread has had of a core */

/* Resident bytes of the process, HTL_UNKNOWN where it cannot be read. No stdio, no allocation. */
uint64_t ht_resident_bytes(void);

/* All three, now. */
struct ht_moment ht_moment_now(void);

#endif
