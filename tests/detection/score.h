/*
 * What was played and what came of it, as tables, and whether the targets were met.
 */
#ifndef TEST_DETECTION_SCORE_H
#define TEST_DETECTION_SCORE_H

#include "play.h"

/* One series. */
struct job {
    uint64_t seed;
    struct zoo_run run;
    int family;
    int short_class; /* LONG_RUN: judged at every tick of seven hours */
    bool fresh;      /* of the seeds drawn for this run of the zoo */
    struct play_result result;
};

#define LONG_RUN -1

/* Classes of short runs, in ticks: of less than 60 + 32 nothing can be said. */
struct short_class {
    double low, high;
    const char *name;
    double found; /* least share of leaks to be found, % */
};

#define SHORT_CLASSES 4
extern const struct short_class short_class[SHORT_CLASSES];

/* Prints the tables; `with_rivals` if these were played. */
void score_print(const struct job *jobs, int count, bool with_rivals);

/* Prints each series that went wrong, with the seed that repeats it. */
void score_print_misses(const struct job *jobs, int count, bool shorts_too);

/* Prints each target with what was measured; false if one was missed. */
bool score_targets(const struct job *jobs, int count);

#endif
