/*
 * The whole path of one allocation, on one screen. The entry points (interpose.c) call the
 * underlying allocator between these.
 *
 * Invariants:
 *   - Counting happens while busy is HT_COUNTING: a signal handler that allocates then sees it and
 *     counts in the shared totals; it finds the thread's cells and memo half-written and leaves
 *     them alone.
 *   - A block is recorded as freed, and its seal cleared, before it goes back to the allocator:
 *     afterwards another thread may have it already.
 *   - The underlying allocator runs outside of HT_COUNTING.
 */
#ifndef HEAPTALLY_TRACK_H
#define HEAPTALLY_TRACK_H

#include "block_seal.h"
#include "stack_cache.h"

/* Not 0: allocations take the cold path, for one of these reasons. */
#define HT_SLOW_DORMANT   1u /* new blocks are not counted; those that are get counted out */
#define HT_SLOW_PROBATION 2u /* counted, and now and then asked whether a tick has passed */
extern uint32_t ht_slow;

/* ---- the rare cases, out of line ----------------------------------------------------------------
 */

/* Notes that a block without a valid seal is being freed or resized. */
void ht_track_stranger(void *p);

/* The same as ht_track_allocated and ht_track_freed for a thread that is busy: in the shared
 * totals, with the immediate return address only. */
void ht_track_allocated_shared(void *p, size_t size, ht_entry entry);
bool ht_track_freed_shared(void *p);

/* Takes the record off a block that is about to be resized: false if it is not ours. */
bool ht_track_taken(void *p, struct ht_block *block);

/* Resizing failed: the block at `p` stays as it was. */
void ht_track_put_back(void *p, const struct ht_block *block);

/* The block whose record was taken is gone for good. */
void ht_track_gone(const struct ht_block *old);

/* Resizing worked: `old` is gone, the block at `p` of `size` bytes has come. It keeps the explicit
 * tag of the old one unless another scope is open. */
void ht_track_resized(const struct ht_block *old, void *p, size_t size, ht_entry entry);

/* Moves the block at `p`, if it is one, to another explicit tag. */
void ht_track_adopted(uint32_t tag, const void *p);

/* ---- the common cases ---------------------------------------------------------------------------
 */

static inline void ht_track_begin(struct ht_thread *thread)
{
    thread->busy = HT_COUNTING;
    __asm__ volatile("" ::: "memory");
}

static inline void ht_track_end(struct ht_thread *thread)
{
    __asm__ volatile("" ::: "memory");
    thread->busy = 0;
}

/* Counts a new block of `size` bytes under the caller's site and seals it. */
static inline void ht_track_allocated(struct ht_thread *thread, void *p, size_t size,
                                      ht_entry entry)
{
    ht_track_begin(thread);
    uint32_t site = ht_site_find(thread, entry, thread->tag);
    ht_count(thread, site, HT_ALLOCATED_BYTES, size);
    ht_track_end(thread);
    ht_seal_write(p, size, site);
}

/* Counts out the block at `p` and clears its seal; false, with nothing done, if it has none. */
static inline bool ht_track_freed(struct ht_thread *thread, void *p)
{
    struct ht_block block;
    if (__builtin_expect(ht_seal_read(p, &block) != HT_SEAL_VALID, 0))
        return false;
    *block.seal = 0;
    ht_track_begin(thread);
    ht_count(thread, block.site, HT_FREED_BYTES, block.size);
    ht_track_end(thread);
    return true;
}

#endif
