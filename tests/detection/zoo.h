/*
 * The labelled zoo: families of memory histories whose truth is known, because we made them.
 *
 * What can be decided is said first. BOUNDED series have reached their bound within the warm-up:
 * steps, fills, one full period of any cycle (the watch's default evidence of 40 minutes covers
 * cycles up to that; with a warm-up given, up to that). LEAK series grow, from some moment on and
 * to the end, by at least the range of their own noise. HARD series cannot be told from a leak
 * while they grow: they may be flagged then, and must not be any more at 1.5 times the growth's
 * length after its end.
 *
 * A series is a function of time: ask at ever later moments. The same family, run and seed give
 * the same series.
 */
#ifndef TEST_DETECTION_ZOO_H
#define TEST_DETECTION_ZOO_H

#include <stdbool.h>
#include <stdint.h>

#include "parts.h"

#define ZOO_PARTS 5

enum zoo_truth { ZOO_BOUNDED, ZOO_LEAK, ZOO_HARD };

/* How long a run is, and what its monitor was told. */
struct zoo_run {
    double ticks;  /* of one second */
    double scale;  /* what stands for 10 minutes of warm-up is so many times 10 minutes long */
    bool is_short; /* judged once, at its end */
};

struct zoo_series {
    struct part part[ZOO_PARTS];
    int parts;
    int own;                 /* so many of them, the first, are this controller's; 0 for all */
    struct rnd rnd;          /* the player's: when to look, which ticks are missing */
    double warmup;           /* given to the monitor, 0 if not */
    double missing;          /* share of ticks that are missing */
    double growth_start;     /* LEAK and HARD */
    double growth_end;       /* the run's end for LEAK; INFINITY where HARD has none */
    double bytes_per_second; /* LEAK: the true mean rate, NaN where it has none */
};

struct zoo_family {
    const char *name;
    enum zoo_truth truth;
    bool in_long, in_short;
    void (*build)(struct zoo_series *, const struct zoo_run *, int variant);
    int variant;
};

extern const struct zoo_family zoo[];
extern const int zoo_families;

/* Builds series number `seed` of `family` into `*s`. */
void zoo_build(const struct zoo_family *family, const struct zoo_run *run, uint64_t seed,
               struct zoo_series *s);

/* Live bytes of the controller at `t` seconds, not before the last moment asked. */
double zoo_value(struct zoo_series *s, double t);

/* The same of the process, which may have a second controller: what is seen without tags. */
double zoo_process_value(struct zoo_series *s, double t);

#endif
