/*
 * How much growth since the baseline is too much: --threshold, for the process and for single tags.
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_THRESHOLDS_H
#define HEAPTALLY_THRESHOLDS_H

#include <stdint.h>

#include "options.h"

#define HT_NO_THRESHOLD UINT64_MAX

/* Takes the thresholds from the settings. Once, at start, after the tags have their table. */
void ht_thresholds_begin(const struct ht_settings *settings);

/* The threshold in bytes of a tag's own, or of the process (HTL_HISTORY_PROCESS);
 * HT_NO_THRESHOLD where there is none. */
uint64_t ht_threshold(uint32_t subject);

/* Takes items of --threshold. Those without a tag are the process's; of several for the same owner
 * the last one holds. */
void ht_thresholds_take(const char *items);

/* Changes one; HT_NO_THRESHOLD takes it away. */
void ht_threshold_set(uint32_t subject, uint64_t bytes);

#endif
