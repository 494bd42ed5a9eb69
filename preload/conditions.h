/*
 * Which alerts are due. Every condition of every subject is looked at once a tick (or when somebody
 * asks), and only its edges become events:
 *
 *   enter     the value is above its threshold (strictly); critical at once if above 1.5 times it
 *   escalate  it has come above 1.5 times the threshold since; once until it is cleared
 *   clear     it has been at or below 0.9 of the threshold for five ticks on end. One that comes
 *             back within 3600 ticks of its clear is cleared only after as many ticks: a slow
 *             sawtooth around a threshold is two alerts and not one for each tooth
 *
 *   rss_growth   resident memory since the baseline      against --threshold SIZE
 *   heap_growth  live bytes of all tags since then       against the same
 *   tag_growth   live bytes of one tag since then        against --threshold TAG=SIZE
 *   per_1000     recurring live bytes for 1000 instantiations of a tag, against --leak-threshold
 *   leak         the verdict of the detector; escalates when the nearest limit is a day away
 *   no_alloc     allocations where the program promised none: the first in a region, and again
 *                when they have become ten times as many as when last told (also after a clear);
 *                cleared after a quiet hour
 *   trim_hint    once an hour: how much might be given back by trimming
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_CONDITIONS_H
#define HEAPTALLY_CONDITIONS_H

#include "alert.h"
#include "moment.h"

/* Forgets which conditions hold, without events. The hint comes an hour from now. */
void ht_conditions_restart(const struct ht_moment *moment);

/* Looks at every condition. After ht_detect_tick of the same moment. */
void ht_conditions_tick(const struct ht_moment *moment);

/*
 * Looks at resident memory now, as a call of the program asks for it: makes an event where this is
 * an edge, and says whether growth is above the threshold. Fills all of `*out` with how it stands;
 * out->number is that of the event, or 0 where there was none. Some microseconds.
 */
bool ht_conditions_check(const struct ht_moment *moment, struct ht_alert *out);

/*
 * So many allocations, of so many bytes, were seen in all in a region that promised none. `region`
 * is the id of its name, `site` where most of them were, or 0. Once a tick for every such region.
 */
void ht_conditions_no_alloc(uint32_t region, uint64_t allocations, uint64_t bytes, uint32_t site,
                            const struct ht_moment *moment);

/* MB for 1000 instantiations of a tag as the condition per_1000 has it: without what is one-off;
 * NaN where instantiations are not counted, or none was. */
double ht_conditions_mb_per_1000(uint32_t tag);

#endif
