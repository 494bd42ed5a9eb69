/*
 * What the process says of itself to the program and to commands: whether growth is above the
 * threshold, the plain trend, the memory report, and what controllers cost by instantiation.
 *
 * All of it is words and sums made of what detect.h and aggregate.h hold as of the last tick.
 * Threads: the monitor, or who holds the gate; ht_surface_check alone may be called at any time by
 * anybody.
 */
#ifndef HEAPTALLY_SURFACE_H
#define HEAPTALLY_SURFACE_H

#include <stdbool.h>
#include <stdint.h>

#include "alert.h"
#include "heaptally.h"
#include "text_out.h"

/* Has ht_surface_check answer with the figures of this moment. After each tick, and whenever
 * a baseline or a threshold changes. */
void ht_surface_publish(void);

/* In the child of a fork: nothing is known yet. */
void ht_surface_forget(void);

/* Takes note of an event: the number of the last one on resident memory is published. */
void ht_surface_heard(const struct ht_alert *alert);

/* Fills `*alert` from what was published last; true if growth is above the threshold. Takes no
 * lock, makes no system call. */
bool ht_surface_check(struct heaptally_alert *alert);

/* The trend of resident memory (HTL_HISTORY_PROCESS) or of a tag, with the verdict. */
void ht_surface_trend(uint32_t subject, struct heaptally_trend *trend);

/* Fills `*leaks` for a limit in MB per 1000; 0 or less is the one of the settings. */
void ht_surface_leaks(double mb_per_1000, struct heaptally_leaks *leaks);

/* The texts of heaptally_memory_report and heaptally_tracker_report, and the JSON forms of a trend
 * and of leaks. */
void ht_surface_put_report(struct ht_out *out);
void ht_surface_put_tracker(struct ht_out *out);
void ht_surface_put_trend(const struct heaptally_trend *trend, struct ht_out *out);
void ht_surface_put_leaks(const struct heaptally_leaks *leaks, struct ht_out *out);

#endif
