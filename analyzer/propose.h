/*
 * Rules that would tell apart what is in one tag: proposals from the names of functions on the
 * stacks of a file.
 *
 * A family of functions is what names have in common: "pid_*" of C, "plan::*" of C++ and Rust; a
 * function that belongs to no family stands for itself. A family that nearly all bytes pass through
 * tells nothing apart (main, a loop, a list that all use): it is proposed only where the others
 * cover too little. Of the others the largest is proposed first, and so on, each by what the ones
 * before it leave.
 */
#ifndef HEAPTALLY_ANALYZER_PROPOSE_H
#define HEAPTALLY_ANALYZER_PROPOSE_H

#include "profile.h"
#include "symbolize.h"

struct ht_proposal {
    char *name, *pattern; /* NAME=PATTERN */
};

struct ht_proposals {
    struct ht_proposal *tags; /* for --tag */
    size_t tag_count;
    struct ht_proposal *constructs; /* for --construct: functions of these families that allocate
                                       and are called as if they make one */
    size_t construct_count;
};

/* At most `most` tags. Free with ht_proposals_clear. */
struct ht_proposals ht_propose(const struct ht_profile *profile, struct ht_symbolizer *symbolizer,
                               size_t most);

void ht_proposals_clear(struct ht_proposals *proposals);

#endif
