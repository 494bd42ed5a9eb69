/*
 * Metrics for the textfile collector of node_exporter: one file a process in --prometheus-dir,
 * written aside and renamed, so that a reader never sees half of it; every few ticks, and removed
 * at the end of the process, when its figures are no longer true. What processes that were killed
 * have left there is removed at the first write and once an hour (metrics_sweep.h).
 *
 * Names are those of the report's prometheus format. A figure that is not known is absent. Labels
 * hold names only, never an address. The file is readable by everybody, unlike all else that
 * heaptally writes: the collector is another user.
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_PROMETHEUS_H
#define HEAPTALLY_PROMETHEUS_H

#include "moment.h"
#include "options.h"

/* Takes the directory; it is made absolute now. Once, at start. */
void ht_prometheus_begin(const struct ht_settings *settings);

/* Writes the file where it is time. After ht_detect_tick of the same moment. */
void ht_prometheus_tick(const struct ht_moment *moment);

/* The next part of a sweep that ht_prometheus_tick has found due, if any. The monitor thread,
 * without the gate: a directory of another machine may be slow. */
void ht_prometheus_sweep(void);

/* Removes the file. */
void ht_prometheus_end(void);

/* In the child of a fork: the file is the parent's. */
void ht_prometheus_forget(void);

#endif
