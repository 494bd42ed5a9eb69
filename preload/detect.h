/*
 * The leak detector in the process: one trend (heaptally/trend.h) for each tag, for all tags
 * together and for resident memory, fed once a tick, and asked whether it is worth waking up for.
 *
 * A subject is a tag's id, HT_SUBJECT_HEAP, or HTL_HISTORY_PROCESS (resident memory).
 *
 *   baseline   what growth is counted from: at the start of counting, or at the last reset. A tag
 *              that comes up later has 0
 *   trend      what the verdict is made of. It begins with the tag's first tick, begins anew where
 *              counting was stopped and started again, and is not touched by a reset of baselines
 *
 * State is made when a tag is first used, some 9 KB each, and kept. Threads: the monitor, or who
 * holds the gate.
 */
#ifndef HEAPTALLY_DETECT_H
#define HEAPTALLY_DETECT_H

#include <stdbool.h>
#include <stdint.h>

#include "heaptally/reference_trend.h"
#include "heaptally/snapshot_format.h"
#include "heaptally/trend.h"
#include "nearest_limit.h"
#include "moment.h"

#define HT_SUBJECT_HEAP 0u /* live bytes of all tags; no tag has this id */
#define HT_REASON_MAX   160

#define HT_LEAST_WARMUP_TICKS 16u /* a window of the detector is an eighth of it: two ticks */

/* What is known about a subject at one moment. */
struct ht_judgement {
    struct ht_trend_verdict verdict; /* HT_TREND_WATCH; seconds_to_limit NaN where unknown */
    struct ht_limit limit;           /* the limit that will be met first, by this subject */
    uint64_t now_bytes;              /* live, or resident; HTL_UNKNOWN where it cannot be read */
    uint64_t baseline_bytes;
    double growth_bytes; /* the difference; NaN where unknown */
    char reason[HT_REASON_MAX];
};

/* Begins all trends and baselines with this moment. The figures have just been looked at. */
void ht_detect_restart(const struct ht_moment *moment);

/* Begins all trends anew, with the settings as they are now; baselines stay. */
void ht_detect_restart_trends(void);

/* From now on growth counts from here; trends go on. */
void ht_detect_reset_baseline(const struct ht_moment *moment);

/* Feeds one tick. The figures have just been looked at. */
void ht_detect_tick(const struct ht_moment *moment);

/* Takes resident memory as it is now, between two ticks; no trend is fed. */
void ht_detect_note_resident(const struct ht_moment *moment);

/* When ht_detect_tick was last called, and with what resident memory. */
const struct ht_moment *ht_detect_last_tick(void);

/* The cheap question of every tick. */
bool ht_detect_is_leak(uint32_t subject);

/* Growth in bytes since the baseline, as of the last look; NaN where unknown. */
double ht_detect_growth(uint32_t subject);
uint64_t ht_detect_baseline(uint32_t subject);

/* Fills all of `*out`, as of the last tick. For a tag that was never fed the verdict is
 * inconclusive. Half a microsecond, and now and then some file reads for the limits. */
void ht_detect_judge(uint32_t subject, struct ht_judgement *out);

/* ht_trend_push, of a sample of counters that are being raised meanwhile. */
void ht_detect_push(struct ht_trend *trend, struct ht_trend_sample *sample);

/* The settings that every trend of this process is made with. */
struct ht_trend_settings ht_detect_settings(void);

/* The plain trend of the last --trend-window samples of resident memory. */
void ht_detect_reference(struct ht_reference_trend *out);

/* In the child of a fork: what was fed is the parent's. */
void ht_detect_forget(void);

#endif
