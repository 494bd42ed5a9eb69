/*
 * How a log line names a call site: "history_push (libplan.so+0x1f3c)", or "libplan.so+0x1f3c"
 * where the symbol table has no name. C++ names are readable where the program has the runtime that
 * reads them, and come without parameters. The frame is the innermost one that is neither runtime
 * nor middleware. File and line are the report's to find.
 *
 * Streams a symbol table: for alerts, not for every tick. Threads: the monitor, or who holds the
 * gate.
 */
#ifndef HEAPTALLY_SITE_WORDS_H
#define HEAPTALLY_SITE_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* The frame of a stack that is to blame for its allocations, or UINT32_MAX where there is none. */
uint32_t ht_blamed_frame(uint32_t stack);

/* Puts the words for a site into `buffer`, "" where nothing is known. */
void ht_site_words(uint32_t site, char *buffer, size_t size);

#endif
