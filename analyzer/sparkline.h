/*
 * A past in one line: ▁▂▃▅▇█, or _.-=#@ where the locale has no such characters.
 */
#ifndef HEAPTALLY_ANALYZER_SPARKLINE_H
#define HEAPTALLY_ANALYZER_SPARKLINE_H

#include <stdbool.h>

#include "past.h"

/*
 * `columns` characters (a new string) for the time from 0 to `end_s` seconds: each the highest
 * bytes held in its part of the time, from 0 to the highest of all. A part in which nothing was
 * recorded shows what was held before it. "" where nothing was recorded at all.
 */
char *ht_sparkline(const struct ht_past *past, double end_s, size_t columns, bool utf8);

#endif
