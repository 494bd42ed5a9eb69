/*
 * How far growth can go: the least room below any limit that the process recorded.
 */
#ifndef HEAPTALLY_ANALYZER_LIMIT_ROOM_H
#define HEAPTALLY_ANALYZER_LIMIT_ROOM_H

#include "profile.h"
#include "verdict.h"

/*
 * Bytes that are left at the end of the file below the nearest limit, at least 0, and which limit
 * that is; -1 and HT_LIMIT_NONE where none was recorded. A tag meets its own threshold or what
 * limits the process; the process (`tag` NULL) only the latter.
 */
double ht_limit_room(const struct ht_profile *profile, const struct ht_tag *tag,
                     enum ht_limit_kind *limit);

#endif
