/*
 * heaptally loop: one controller, run for a number of steps in a process of its own, and judged.
 *
 *   cmd_loop.c     the command line; makes the process, which is this command again with the
 *                  library preloaded, and waits for it
 *   loop_worker.c  that process: loads the controller and runs it
 *   loop_result.c  judges the snapshot that it wrote, and says so
 *
 * The two processes share one record in memory, which outlives a controller that crashes.
 */
#ifndef HEAPTALLY_ANALYZER_LOOP_H
#define HEAPTALLY_ANALYZER_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "profile.h"

#define HT_LOOP_THRESHOLD_MB 100.0 /* of growth, above which an alert is raised */
#define HT_LOOP_GROWTH_MB    50.0  /* of growth, from which on the run has not passed */

/* What is to be done. */
struct ht_loop_plan {
    const char *controller; /* path of the shared object, as given */
    const char *config;     /* text, "" for none */
    uint64_t iterations, cleanup_interval, seed;
    uint64_t duration_ns; /* the run is spread over that at least, so that there are ticks */
};

enum ht_loop_state {
    HT_LOOP_BEGUN,
    HT_LOOP_REFUSED, /* the object, or the configuration, cannot be used: `error` */
    HT_LOOP_BROKEN,  /* heaptally itself cannot: `error` */
    HT_LOOP_FAILED,  /* a step failed: `error` */
    HT_LOOP_RAN,
};

/* A time in which the controller rests, CLOCK_MONOTONIC: what a tick shows then is exact. */
struct ht_loop_rest {
    uint64_t from_ns, to_ns;
};

/* What came of it; written by the worker. */
struct ht_loop_record {
    uint32_t state;               /* enum ht_loop_state */
    uint64_t done;                /* steps computed */
    uint64_t mark;                /* steps before the first rest; a fifth of all */
    struct ht_loop_rest rests[2]; /* after those, and after the last step */
    uint64_t rss_start, rss_end;  /* before create and after the last step; HTL_UNKNOWN */
    char tag[128];                /* who the controller's allocations belong to */
    char error[512];              /* one line */
};

/* Runs the plan in this process; its exit status. */
int ht_loop_work(const struct ht_loop_plan *plan, struct ht_loop_record *record);

struct ht_loop_result;

/* Judges what `record` says and the profile of the snapshot. Freed by ht_loop_result_free. */
struct ht_loop_result *ht_loop_judge(const struct ht_loop_plan *plan,
                                     const struct ht_loop_record *record,
                                     const struct ht_profile *profile);
void ht_loop_result_free(struct ht_loop_result *result);

/* Growth below HT_LOOP_GROWTH_MB, all steps done, and no controller leaks. */
bool ht_loop_passed(const struct ht_loop_result *result);

void ht_loop_write_text(const struct ht_loop_result *result, FILE *out);
void ht_loop_write_json(const struct ht_loop_result *result, FILE *out);

#endif
