/*
 * The live bytes of each controller at the last refreshes of `heaptally top`, as a line of bars.
 */
#ifndef HEAPTALLY_ANALYZER_LIVE_PAST_H
#define HEAPTALLY_ANALYZER_LIVE_PAST_H

#include <stddef.h>

#include "live.h"

enum { HT_PAST_BARS = 120 }; /* refreshes that are remembered */

struct ht_live_past;

/* Adds what every controller holds now; `*past` starts as NULL. */
void ht_live_past_add(struct ht_live_past **past, const struct ht_live *live);

/*
 * A new string of `width` columns: bars between the lowest and the highest of the last `width`
 * values, the newest last; blanks where there are fewer. What never changed is a low line.
 */
char *ht_live_past_bars(const struct ht_live_past *past, const char *name, size_t width);

void ht_live_past_free(struct ht_live_past *past);

#endif
