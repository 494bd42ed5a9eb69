/*
 * One line on stderr that says what is being done, for work that takes longer than a moment. Only
 * where stderr is a terminal; whoever writes to the terminal removes the line first. One at a time,
 * from one thread.
 */
#ifndef HEAPTALLY_ANALYZER_PROGRESS_H
#define HEAPTALLY_ANALYZER_PROGRESS_H

#include <stdint.h>

/*
 * Says that `done` of `total` is done of `what`, a clean string; `total` 0 where it is not known.
 * May be called as often as one likes: most calls look at the clock and do nothing.
 */
void ht_progress(const char *what, uint64_t done, uint64_t total);

/* Removes the line, if there is one. */
void ht_progress_end(void);

#endif
