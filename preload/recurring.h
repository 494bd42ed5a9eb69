/*
 * What a tag allocated once is no rate: live bytes of the blocks that recur.
 *
 * A live block is one-off if it is the only one that its caller ever allocated for the tag; the
 * caller is the innermost frame in a module that is no runtime, whatever called that, as in
 * reports. All doubt speaks for recurring: a caller that is not known, a second block, also in
 * place of the first.
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_RECURRING_H
#define HEAPTALLY_RECURRING_H

#include <stdint.h>

/* Live bytes of a tag without what is one-off, as of the last look. Goes through all sites. All
 * bytes count as recurring where there is no memory to find out. */
uint64_t ht_recurring_bytes(uint32_t tag);

#endif
