/*
 * How much memory a stretch of code holds at most, through the hooks of AddressSanitizer's
 * allocator. Counts what all code of this process asks for; one stretch at a time.
 */
#ifndef HEAPTALLY_FUZZ_HEAP_WATCH_H
#define HEAPTALLY_FUZZ_HEAP_WATCH_H

#include <stddef.h>

/* Begins a stretch: what is held now counts as nothing. */
void heap_watch_begin(void);

/* The most bytes that were held at once since then, beyond what was held at its begin. */
size_t heap_watch_peak(void);

#endif
