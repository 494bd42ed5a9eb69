/*
 * What a running process answers to `status`, taken apart: for `heaptally status`, `list` and
 * `top`. All strings are clean (text.h); a number that the process does not know is NaN.
 */
#ifndef HEAPTALLY_ANALYZER_LIVE_H
#define HEAPTALLY_ANALYZER_LIVE_H

#include <stdbool.h>
#include <stddef.h>

#include "control_client.h"

struct ht_live_tag {
    char *name, *verdict, *reason;
    double live_bytes, live_blocks, peak_bytes, allocated_bytes;
    double instantiations, mb_per_1000, cycles;
    double mb_per_hour, ci_low, ci_high, seconds_to_limit;
    double growth_mb, threshold_mb;
};

struct ht_live_alert {
    char *kind, *state, *severity, *tag, *message; /* `tag` is "" for the process */
    double number, time;
};

struct ht_live {
    pid_t pid;
    char *exe, *host, *state, *snapshot;
    char *log;             /* "stderr" or "gone" */
    double log_lines_lost; /* that were for it */
    double user, duration_s, interval_s;
    struct ht_live_tag memory; /* of the process: resident memory, without a name */
    double rss_mb, baseline_mb, live_bytes, live_blocks, own_bytes;
    struct ht_live_tag *tags; /* by verdict, then by live bytes, falling, then by name */
    size_t tag_count;
    struct ht_live_alert *alerts; /* the last ones, oldest first */
    size_t alert_count;
};

/* Asks a process; NULL with `*error` (a new string). */
struct ht_live *ht_live_ask(struct ht_client *client, char **error);

void ht_live_free(struct ht_live *live);

/* How urgent a verdict is: more for a leak than for one that is bounded. */
int ht_live_rank(const char *verdict);

#endif
