/*
 * What speaks against a run: leaks, limits that are passed, and what cannot be judged.
 *
 * A controller fails
 *   - by its verdict, if that is `leak`;
 *   - by MB per 1000 instantiations, at the limit that the process ran with, unless a limit on the
 *     command line for it replaces that one;
 *   - by each limit that concerns it.
 * A limit on what is not known (no instantiation counted, no rate) leaves the check inconclusive,
 * unless it was known for another controller that the same glob means. A rate is above its limit if
 * its whole interval is, and in doubt if only its middle is; one that is bounded is not.
 *
 * Suppressed call sites count for nothing: their live bytes, their recurring bytes, their
 * allocations in regions, and their rates where these are known, are taken off before a limit is
 * looked at. The verdict of a controller stands all the same, unless what is suppressed explains
 * it:
 *   - a call site that is not suppressed is itself found to leak: the leak stands;
 *   - none is, but suppressed ones are: it is explained, unless the controller grows faster than
 *     these together by more than both intervals;
 *   - no call site is found to leak: it stands, since nothing says that it is the suppressed ones.
 * A controller that a tag rule names is left out wholly.
 */
#ifndef HEAPTALLY_ANALYZER_CHECK_PROFILE_H
#define HEAPTALLY_ANALYZER_CHECK_PROFILE_H

#include "check_limits.h"
#include "profile.h"
#include "suppressions.h"
#include "symbolize.h"

enum ht_finding_kind { HT_FOUND_LEAK, HT_FOUND_INVALID, HT_FOUND_DOUBT, HT_FOUND_NOTE };

struct ht_finding {
    enum ht_finding_kind kind;
    char *text; /* one line, with the place where there is one */
};

struct ht_check {
    struct ht_limit *limits;
    size_t limit_count;
    struct ht_suppressions suppressions;

    struct ht_finding *findings; /* in the order in which they were made */
    size_t finding_count;
    size_t files, controllers; /* looked at */
};

/* Looks at one more file. */
void ht_check_profile(struct ht_check *check, const struct ht_profile *profile,
                      struct ht_symbolizer *symbolizer);

/* After the last file: what no file answered. */
void ht_check_finish(struct ht_check *check);

/* How many findings of that kind there are. */
size_t ht_check_count(const struct ht_check *check, enum ht_finding_kind kind);

void ht_check_clear(struct ht_check *check);

#endif
