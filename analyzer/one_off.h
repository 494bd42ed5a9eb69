/*
 * What a controller allocated once and kept, as against what comes again with its instantiations:
 * a table that the first call fills is no leak, however large.
 */
#ifndef HEAPTALLY_ANALYZER_ONE_OFF_H
#define HEAPTALLY_ANALYZER_ONE_OFF_H

#include "profile.h"

/* Below this many instantiations a single block may still be the first of many. */
enum { HT_ONE_OFF_LEAST_INSTANTIATIONS = 100 };

struct ht_one_off {
    uint64_t bytes, blocks;              /* live; bytes are never more than the tag's live bytes */
    const struct ht_site *top_recurring; /* with the most live bytes of the others; may be NULL */
};

/*
 * The live blocks of a tag that are one-off. A block is one-off if, in a tag with at least
 * HT_ONE_OFF_LEAST_INSTANTIATIONS, it is the only one that its caller ever allocated. The caller is
 * the innermost frame in a module that is no runtime, whatever called that: a leak that is reached
 * on many ways stays one leak, and so does one whose first block is known by its return address
 * only.
 *
 * All doubt speaks against one-off: too few instantiations, a caller that is not known, a second
 * block (also in place of the first, as where an array grows), and a block so small that its free
 * may be among what the file left out. What is not one-off recurs.
 */
struct ht_one_off ht_one_off_of_tag(const struct ht_profile *profile, const struct ht_tag *tag);

#endif
