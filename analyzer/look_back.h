/*
 * The figures of tags and call sites at an earlier moment, found by reading the file once more.
 *
 * A tick lists the sites that changed most, not all: figures of a moment are the last listed before
 * it. What changed unlisted since then is stated, and so is the tick that was taken.
 */
#ifndef HEAPTALLY_ANALYZER_LOOK_BACK_H
#define HEAPTALLY_ANALYZER_LOOK_BACK_H

#include "profile.h"

struct ht_look_back {
    bool known;              /* the file has a tick to take */
    uint64_t t_ns;           /* of the tick that was taken, from the start of counting */
    uint64_t live_bytes;     /* of the process at that tick */
    uint64_t left_out_bytes; /* moved by sites that were not listed up to it */
    bool before_the_file;    /* wanted was an earlier moment, of which the file says no more */
};

/*
 * Fills `then` of all sites and tags for the moment of most live bytes and for `baseline_ns` after
 * the start of counting: the last tick up to each, else the first of the file. False with `*error`
 * (a new string) where the file cannot be read again; then nothing is known.
 */
bool ht_look_back(struct ht_profile *profile, uint64_t baseline_ns,
                  struct ht_look_back found[HT_MOMENTS], char **error);

/* The moment from which growth counts unless one is named: the end of the warm-up, a fifth of the
 * run and no more than ten minutes. */
uint64_t ht_standard_baseline(const struct ht_profile *profile);

#endif
