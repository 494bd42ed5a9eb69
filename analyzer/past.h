/*
 * The past of a tag, a site or the process: points by rising time, as a tick or a HISTORY record
 * gave them. Times count from the start of counting.
 *
 * A tag and the process keep every tick. Sites are many: their past is thinned when it has
 * HT_SITE_POINTS points, by merging neighbours; what a point then stands for is the span that ends
 * at its time: the lowest and highest live bytes of it, and the other figures at its end.
 */
#ifndef HEAPTALLY_ANALYZER_PAST_H
#define HEAPTALLY_ANALYZER_PAST_H

#include <stddef.h>
#include <stdint.h>

#include "heaptally/snapshot_format.h"

/* One that was joined or added up is complete: nothing more may be added to it. */
struct ht_past {
    struct htl_history_point *points; /* malloc'ed; NULL where there are none */
    size_t count;
};

enum { HT_SITE_POINTS = 512 };

/* Adds a point; one of the same moment replaces the last, one from before it is left out. */
void ht_past_add(struct ht_past *past, const struct htl_history_point *point);

/* Where there are HT_SITE_POINTS points, merges each two neighbours. */
void ht_past_thin(struct ht_past *past);

/* Puts the points of `older` that are older than all of `past` in front of them; empties `older`.
 */
void ht_past_join_older(struct ht_past *past, struct ht_past *older);

/* Adds the points of `newer` that are newer than all of `past` behind them; empties `newer`. */
void ht_past_join_newer(struct ht_past *past, struct ht_past *newer);

/*
 * Adds up two pasts of things that turned out to be one: at each time of either, what both held
 * then. A past counts as 0 before its first point and as its last point after that. Empties `more`.
 */
void ht_past_add_up(struct ht_past *sum, struct ht_past *more);

void ht_past_clear(struct ht_past *past);

#endif
