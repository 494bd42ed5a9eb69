/*
 * Plays a series of the zoo through the detector, tick by tick, as the monitor would feed it: the
 * lowest of several looks at jittered moments within each tick, with some ticks missing. One sample
 * a tick, at its moment, is kept for the rivals.
 */
#ifndef TEST_DETECTION_PLAY_H
#define TEST_DETECTION_PLAY_H

#include "heaptally/trend.h"
#include "rivals.h"
#include "zoo.h"

struct play_result {
    float start;            /* of the growth; 0 where there is none */
    float first;            /* tick of the first `leak` at or after the growth's start; -1: never */
    float early;            /* tick of the first `leak` before it; -1: never */
    float late;             /* HARD: last tick of a `leak` past the allowed time; -1: never */
    float withdrawn;        /* HARD: ticks from the growth's end to the end of the last `leak` */
    float rate_error;       /* LEAK: relative error of the rate at the end; NaN if none */
    float flips;            /* how often a `leak` was withdrawn */
    unsigned char call;     /* enum ht_trend_call at the end */
    unsigned char ci_holds; /* LEAK: the true rate lies within the interval at the end */
    unsigned char ci_known; /* it was a leak with a known rate, and called one */
    unsigned char at_odds;  /* at some moment a `leak` came with an interval that held 0 */
    unsigned char vague;    /* or without an interval */
    int rival[RIVAL_COUNT]; /* tick of the first flag; -1: never */
};

/*
 * A run judged at every tick from the tenth minute on (from its own warm-up on, where it was given
 * one). `with_rivals` plays these too. Not for several threads at once.
 */
void play_long(const struct zoo_family *family, const struct zoo_run *run, uint64_t seed,
               bool with_rivals, struct play_result *out);

/* A run judged once, at its end. */
void play_short(const struct zoo_family *family, const struct zoo_run *run, uint64_t seed,
                struct play_result *out);

#endif
