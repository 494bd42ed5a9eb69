/*
 * Several processes as one: what a report over all processes of a run is made from.
 *
 * Tags are one by name, call sites by frames, tag and region; figures are added up, and pasts by
 * the time since the first process began. A process that has ended counts with what it held at its
 * end. A peak is the highest point of the past that was added up, not the sum of peaks.
 *
 * The verdict on a tag is the gravest of the processes that have it, with the process named.
 */
#ifndef HEAPTALLY_ANALYZER_MERGE_H
#define HEAPTALLY_ANALYZER_MERGE_H

#include "profile.h"

/* A new profile of at least one; they are not changed, but for verdicts that are remembered. */
struct ht_profile *ht_profiles_merge(struct ht_profile *const *profiles, size_t count);

#endif
