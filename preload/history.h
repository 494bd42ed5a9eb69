/*
 * The past of the process and of each tag, in fixed memory: at most HT_HISTORY_POINTS points each.
 * When a series is full, neighbours are merged two by two and each point stands for twice the time
 * from then on; a point keeps the lowest and the highest live bytes of its span. So a year takes as
 * much room as an hour, and the start of the run is never lost.
 *
 * Threads: the monitor only, or who stands in for it.
 */
#ifndef HEAPTALLY_HISTORY_H
#define HEAPTALLY_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "heaptally/snapshot_format.h"

#define HT_HISTORY_POINTS 510u /* of a tag or the process; even, and just below 32 KB */

struct ht_history {
    uint32_t count;    /* points in use */
    uint32_t stride;   /* ticks a point stands for */
    uint32_t merged;   /* ticks in the last point */
    uint32_t capacity; /* points there is room for; even */
    struct htl_history_point points[];
};

/* A new, empty series of at most `capacity` (even) points, from the internal heap; NULL without
 * memory. */
struct ht_history *ht_history_new(uint32_t capacity);

/* The bytes that such a series takes, and one made of as many, at a multiple of 8. */
size_t ht_history_bytes(uint32_t capacity);
struct ht_history *ht_history_init(void *bytes, uint32_t capacity);

/* Empties a series. */
void ht_history_clear(struct ht_history *history);

/* Appends one tick's point to a series. */
void ht_history_append(struct ht_history *history, const struct htl_history_point *point);

/* Appends one tick's point to the history of a tag, or of the process (HTL_HISTORY_PROCESS). */
void ht_history_add(uint32_t subject, const struct htl_history_point *point);

/* Copies a history into `out` with `step` points (a power of two) merged into one; how many that
 * makes. `out` has room for all of them. */
uint32_t ht_history_thinned(const struct ht_history *history, uint32_t step,
                            struct htl_history_point *out);

/* Empties all of them. */
void ht_history_forget(void);

/* The history of a tag or the process, or NULL where nothing was ever added. */
const struct ht_history *ht_history(uint32_t subject);

#endif
