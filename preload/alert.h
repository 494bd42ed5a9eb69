/*
 * Alerts: what happened, the last of them in a list, and where they go.
 *
 *   event   one edge of one condition: it was entered, it escalated, it was cleared. A condition
 *           that stays as it is makes no event (see watch.h for who decides)
 *   sink    where an event goes: a log line on stderr or to syslog, a file of JSON lines, the
 *           snapshot file, and one hook for whoever calls the program back
 *
 * The list keeps the last HT_ALERTS_KEPT events. Threads: the monitor, or who holds the gate; the
 * hook runs on that thread and must not wait.
 */
#ifndef HEAPTALLY_ALERT_H
#define HEAPTALLY_ALERT_H

#include <stdbool.h>
#include <stdint.h>

#include "heaptally/alert_kinds.h"
#include "moment.h"
#include "options.h"
#include "tag.h"

#define HT_ALERTS_KEPT       64u
#define HT_ALERT_MESSAGE_MAX 512

enum ht_alert_state { HT_ALERT_ENTER, HT_ALERT_ESCALATE, HT_ALERT_CLEAR };     /* as in the file */
enum ht_alert_severity { HT_ALERT_INFO, HT_ALERT_WARNING, HT_ALERT_CRITICAL }; /* as in the file */

struct ht_alert {
    uint64_t number; /* 1, 2, 3, ... in this process */
    uint64_t monotonic_ns, realtime_ns;
    uint32_t kind;     /* enum heaptally_alert_kind */
    uint32_t state;    /* enum ht_alert_state */
    uint32_t severity; /* enum ht_alert_severity; of a clear, what it had been */
    uint32_t tag;      /* a tag's id; of no_alloc the region's; HTL_HISTORY_PROCESS */
    double value_mb;   /* what is compared with the threshold; of a leak its MB per hour. NaN where
                          unknown, as the others */
    double threshold_mb, rss_mb, growth_mb; /* growth of the tag, or of resident memory */
    char tag_name[HT_TAG_NAME_MAX + 1];     /* "" for the process */
    char message[HT_ALERT_MESSAGE_MAX];     /* in plain words, without kind, severity and tag */
};

const char *ht_alert_kind_name(uint32_t kind);
const char *ht_alert_state_name(uint32_t state);
const char *ht_alert_severity_name(uint32_t severity);

/* Reads where alerts go; paths are made absolute now. Once, at start. */
void ht_alert_begin(const struct ht_settings *settings);

/* Takes an event, numbers it, and gives it to all sinks. `alert` need only live for the call. */
void ht_alert_emit(struct ht_alert *alert);

/* How many events there have been: the number of the last one. */
uint64_t ht_alert_count(void);

/* The event with this number, or NULL where it is no longer, or not yet, in the list. */
const struct ht_alert *ht_alert(uint64_t number);

/* Has `hook` called for each event from now on; NULL ends it. */
void ht_alert_subscribe(void (*hook)(const struct ht_alert *alert));

/* In the child of a fork: the events were the parent's. */
void ht_alert_forget(void);

#endif
