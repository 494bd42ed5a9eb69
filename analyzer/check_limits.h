/*
 * The limits of a check, as they are written on its command line: GLOB=LIMIT, where GLOB is for
 * names of controllers (of regions, for allocations) and LIMIT is one of
 *
 *     SIZE            live bytes at the end                          pid=10MB
 *     SIZE/1000       recurring live bytes per 1000 instantiations   'plan*=0.5/1000'
 *     SIZE/TIME       growth; TIME is s, min, h or d                 '*=1MB/h'
 *     Nallocs         allocations where none were promised           loop=0allocs
 *
 * A SIZE without unit is in MB. A limit is passed by more than it says, not by as much. The last
 * '=' divides.
 */
#ifndef HEAPTALLY_ANALYZER_CHECK_LIMITS_H
#define HEAPTALLY_ANALYZER_CHECK_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ht_limit_on { HT_LIMIT_ON_SIZE, HT_LIMIT_ON_1000, HT_LIMIT_ON_RATE, HT_LIMIT_ON_ALLOCATIONS };

struct ht_limit {
    char *glob;
    const char *text; /* as it was written */
    enum ht_limit_on on;
    double most;  /* bytes, bytes per 1000, bytes per hour, allocations */
    bool met;     /* a controller of that name was seen in some file */
    bool carried; /* and for one of them the figure was known */
};

/* Reads one limit, which keeps a pointer to `text`; false after a message. */
bool ht_limit_read(const char *text, struct ht_limit *limit);

bool ht_limit_concerns(const struct ht_limit *limit, const char *name);

#endif
