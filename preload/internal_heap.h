/*
 * heaptally's own memory: everything that must not come from the program's allocator.
 *
 * Arenas are mapped 256 KB at a time, so that under mlockall no more becomes resident than is
 * used; a block larger than that has a mapping of its own. Every block has a 16-byte head, the
 * last word of which is 0: where glibc keeps a chunk's size, an impossible one, so that a pointer
 * of this heap is never taken for a sealed block of the program.
 *
 * Freed blocks are kept for their size class and never unmapped; own mappings are. One mutex
 * guards all; no function of the loader or of stdio is called while it is held, and fork takes it
 * (ht_heap_lock) so that the child finds it free.
 *
 * Tables that last as long as the process stand in huge pages where there will be much in them:
 * what is looked up there lies all over, and in small pages the processor would each time have to
 * find the page as well.
 */
#ifndef HEAPTALLY_INTERNAL_HEAP_H
#define HEAPTALLY_INTERNAL_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"

/* At least `size` bytes at a multiple of `alignment` (16 or a larger power of two), zeroed; NULL
 * without memory. Threads: any; not from a signal handler that may interrupt this heap. */
void *ht_heap_alloc(size_t size, size_t alignment);

/* The same at a multiple of 64, for tables, which ht_heap_free does not take back. Where much is
 * expected all of it may be resident at once; the caller waits for that, nobody does later. */
void *ht_heap_alloc_lasting(size_t size);

/* From now on much is: up to 2 MB more than is needed make no difference to the process. */
void ht_heap_expect_much(void);

/* Gives a block back; NULL is ignored. `block` must be this heap's. */
void ht_heap_free(void *block);

/* The bytes that may be used of this heap's `block`. */
size_t ht_heap_usable(const void *block);

/* Whether `block` was given out by this heap. Any pointer may be asked about; takes no lock. */
bool ht_heap_owns(const void *block);

/* Most blocks that are asked about are the program's, and need not be compared with all ranges: a
 * granule of addresses in which none ever lay has no bit here. Granules that are a multiple of
 * HT_HEAP_GRANULES apart share one. Set before a range is given out; never cleared. */
#define HT_HEAP_GRANULE  ((uintptr_t)64 << 10)
#define HT_HEAP_GRANULES ((uintptr_t)32768)
extern uint64_t ht_heap_touched[HT_HEAP_GRANULES / 64] HT_HIDDEN;

/* Gives the granules of a range their bits, for ranges that are heaptally's own but not this
 * heap's, too. One thread at a time. */
void ht_heap_touch(uintptr_t start, size_t size);

/* False only where no block of heaptally's own lies; most often then. Any pointer. */
static inline bool ht_heap_may_own(const void *block)
{
    uintptr_t granule = (uintptr_t)block / HT_HEAP_GRANULE % HT_HEAP_GRANULES;
    return __atomic_load_n(&ht_heap_touched[granule / 64], __ATOMIC_RELAXED) >> granule % 64 & 1;
}

/* Bytes mapped now. */
uint64_t ht_heap_mapped(void);

/* Whether the system has ever refused memory. */
bool ht_heap_was_refused(void);

/* Between the two, all signals are blocked on the calling thread, so that it need not see to that
 * for each block: for work that takes many. One thread at a time, and not twice. */
void ht_heap_many_begin(void);
void ht_heap_many_end(void);

/* For fork: no other thread is inside the heap between the two. */
void ht_heap_lock(void);
void ht_heap_unlock(void);

#endif
