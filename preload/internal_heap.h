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
 */
#ifndef HEAPTALLY_INTERNAL_HEAP_H
#define HEAPTALLY_INTERNAL_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* At least `size` bytes at a multiple of `alignment` (16 or a larger power of two), zeroed; NULL
 * without memory. Threads: any; not from a signal handler that may interrupt this heap. */
void *ht_heap_alloc(size_t size, size_t alignment);

/* Gives a block back; NULL is ignored. `block` must be this heap's. */
void ht_heap_free(void *block);

/* The bytes that may be used of this heap's `block`. */
size_t ht_heap_usable(const void *block);

/* Whether `block` was given out by this heap. Any pointer may be asked about; takes no lock. */
bool ht_heap_owns(const void *block);

/* Bytes mapped now. */
uint64_t ht_heap_mapped(void);

/* Whether the system has ever refused memory. */
bool ht_heap_was_refused(void);

/* For fork: no other thread is inside the heap between the two. */
void ht_heap_lock(void);
void ht_heap_unlock(void);

#endif
