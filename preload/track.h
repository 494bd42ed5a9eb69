/*
 * The whole path of one allocation, on one screen. The entry points (interpose.c) call the
 * underlying allocator: before a block that comes is counted, after one that goes is.
 *
 * Invariants:
 *   - Counting happens while busy is HT_COUNTING: a signal handler that allocates then sees it and
 *     counts in the shared totals; it finds the thread's cells and memo half-written and leaves
 *     them alone.
 *   - A block is counted once the allocator has it: what is refused was never there.
 *   - A block is recorded as freed, and its seal cleared, before it goes back to the allocator:
 *     afterwards another thread may have it already.
 *   - The underlying allocator runs outside of HT_COUNTING.
 */
#ifndef HEAPTALLY_TRACK_H
#define HEAPTALLY_TRACK_H

#include "block_seal.h"
#include "capture_ring.h"
#include "stack_cache.h"

/* Not 0: the short way with glibc's allocator is closed, for one of these reasons. With the second
 * one alone, or the third, there is a short way still, out of line. */
#define HT_SLOW_DORMANT   1u /* new blocks are not counted; those that are get counted out */
#define HT_SLOW_PROBATION 2u /* counted; allocations ask whether a tick has passed */
#define HT_SLOW_ALLOCATOR 4u /* counted; usable sizes must be asked of the allocator. For good */
#define HT_SLOW_GUARDED   8u /* counted; nothing beyond a block may be read. For good */
extern uint32_t ht_slow HT_HIDDEN;

/* Allocations of fewer bytes may go the short way: 0 while `ht_slow` is not 0. */
#define HT_SHORT_WAY_BELOW (HT_SEAL_SMALL + 1)
extern size_t ht_short_way_below HT_HIDDEN;
_Static_assert(HT_SHORT_WAY_BELOW <= HT_UNBORN, "whoever is busy does not go the short way");

/* The same over another allocator, where it may be known how much that gives: 0 while `ht_slow` is
 * anything but HT_SLOW_ALLOCATOR. */
extern size_t ht_known_way_below HT_HIDDEN;
_Static_assert(HT_SEAL_KNOWN_BELOW <= HT_UNBORN, "see HT_SHORT_WAY_BELOW");

/* Not 0: frees may not go the short way, either: the last two of these reasons. The others are none
 * for them: what was counted is counted out. */
extern uint32_t ht_slow_free HT_HIDDEN;

/* Adds a reason, or takes it back and says whether it was there. Any thread. */
void ht_slow_add(uint32_t reason);
bool ht_slow_remove(uint32_t reason);

/* ---- the rare cases, out of line ----------------------------------------------------------------
 */

/* Counts a new block and seals it, the general way. */
void ht_track_allocated(void *p, size_t size, ht_entry entry);

/* Notes that a block without a valid seal is being freed or resized. */
void ht_track_stranger(void *p);

/* Counts out the block at `p` and clears its seal; false, with nothing done, if it has none. */
bool ht_track_freed(void *p);

/* Takes the record off a block that is about to be resized: false if it is not ours. */
bool ht_track_taken(void *p, struct ht_block *block);

/* Resizing failed: the block at `p` stays as it was. */
void ht_track_put_back(void *p, const struct ht_block *block);

/* The block whose record was taken is gone for good. */
void ht_track_gone(const struct ht_block *old);

/* Resizing worked: `old` is gone, the block at `p` of `size` bytes has come. It keeps the explicit
 * tag of the old one unless another scope is open. */
void ht_track_resized(const struct ht_block *old, void *p, size_t size, ht_entry entry);

/* The scope of a block that is being resized: that which is open, and the explicit tag of the old
 * one, of site `from`, where that has none. */
uint32_t ht_track_scope_of_resized(uint32_t from);

/* Moves the block at `p`, if it is one, to another explicit tag. */
void ht_track_adopted(uint32_t tag, const void *p);

/* ---- the common cases ---------------------------------------------------------------------------
 */

static inline void ht_track_begin(struct ht_thread *thread)
{
    ht_note_stack_pointer(&thread->busy);
    __asm__ volatile("" ::: "memory");
}

static inline void ht_track_end(struct ht_thread *thread)
{
    __asm__ volatile("" ::: "memory");
    thread->busy = 0;
}

/* Counts a new block of `size` bytes, the shortest way, and tells its site; false, with nothing
 * done, where its stack is not remembered or its cell not there. The caller seals it. */
static inline __attribute__((always_inline)) bool
ht_track_allocated_fast(struct ht_thread *thread, size_t size, ht_entry entry, uint32_t *site)
{
    ht_track_begin(thread);
    uint64_t place = 0;
    if (__builtin_expect(!ht_memo_find(thread, entry, ht_self_tag_key, site) ||
                             *ht_cell_site(thread, place = ht_cell_place(*site)) != *site,
                         0)) {
        ht_track_end(thread);
        return false;
    }
    struct ht_cell *cell = ht_cell(thread, place);
    ht_add_owned(&cell->figures[HT_ALLOCATED_BYTES], size);
    ht_track_end(thread);
    return true;
}

/* The same while nobody would answer captures: by the return address alone. */
static inline __attribute__((always_inline)) bool
ht_track_allocated_by_caller(struct ht_thread *thread, size_t size, ht_entry entry, uint32_t *site)
{
    ht_track_begin(thread);
    bool found = ht_caller_find(thread, entry, ht_self_tag_key, site);
    uint64_t place = found ? ht_cell_place(*site) : 0;
    if (__builtin_expect(!found || *ht_cell_site(thread, place) != *site, 0)) {
        ht_track_end(thread);
        return false;
    }
    ht_add_owned(&ht_cell(thread, place)->figures[HT_ALLOCATED_BYTES], size);
    ht_track_end(thread);
    return true;
}

/* Counts out a block whose seal was read, and clears that; false, with nothing done, where the cell
 * is not there. */
static inline bool ht_track_going(struct ht_thread *thread, const struct ht_block *block)
{
    uint64_t place = ht_cell_place(block->site);
    /* Before the cell is looked at: from then on no signal handler gives it to another site. */
    ht_track_begin(thread);
    if (__builtin_expect(*ht_cell_site(thread, place) != block->site, 0)) {
        ht_track_end(thread);
        return false;
    }
    *block->seal = 0;
    struct ht_cell *cell = ht_cell(thread, place);
    ht_add_owned(&cell->figures[HT_FREED_BYTES], block->size);
    ht_track_end(thread);
    return true;
}

/* What the two below do once the site is looked up, and the thread counts. */
static inline __attribute__((always_inline)) bool ht_track_resized_to(struct ht_thread *thread,
                                                                      const struct ht_block *old,
                                                                      size_t size, bool found,
                                                                      uint32_t site)
{
    uint64_t from = ht_cell_place(old->site), place = 0;
    if (__builtin_expect(!found || *ht_cell_site(thread, place = ht_cell_place(site)) != site ||
                             *ht_cell_site(thread, from) != old->site,
                         0)) {
        ht_track_end(thread);
        return false;
    }
    ht_add_owned(&ht_cell(thread, from)->figures[HT_FREED_BYTES], old->size);
    ht_add_owned(&ht_cell(thread, place)->figures[HT_ALLOCATED_BYTES], size);
    ht_track_end(thread);
    return true;
}

/* Counts a resized block, the shortest way: `old`, whose seal was cleared, is gone, and one of
 * `size` bytes has come. Else as ht_track_allocated_fast, under a tag given by ht_memo_tag_key. */
static inline bool ht_track_resized_fast(struct ht_thread *thread, const struct ht_block *old,
                                         size_t size, ht_entry entry, uint64_t tag_key,
                                         uint32_t *site)
{
    ht_track_begin(thread);
    bool found = ht_memo_find(thread, entry, tag_key, site);
    return ht_track_resized_to(thread, old, size, found, *site);
}

/* The same while nobody would answer captures: by the return address alone. */
static inline bool ht_track_resized_by_caller(struct ht_thread *thread, const struct ht_block *old,
                                              size_t size, ht_entry entry, uint64_t tag_key,
                                              uint32_t *site)
{
    ht_track_begin(thread);
    bool found = ht_caller_find(thread, entry, tag_key, site);
    return ht_track_resized_to(thread, old, size, found, *site);
}

/*
 * Counts out the block at `p` and clears its seal; false, with nothing done, where it takes more
 * than the shortest way: the caller then goes through ht_track_freed. Only with glibc beneath.
 */
static inline bool ht_track_freed_fast(struct ht_thread *thread, void *p)
{
    struct ht_block block;
    return __builtin_expect(ht_seal_read_fast(p, &block), 1) && ht_track_going(thread, &block);
}

/* The same with another allocator beneath, where the block's size is guessed. */
static inline bool ht_track_freed_guessed(struct ht_thread *thread, void *p)
{
    struct ht_block block;
    return __builtin_expect(ht_seal_read_guessed(p, &block), 1) && ht_track_going(thread, &block);
}

/* The same where the allocator is asked for it. */
static inline bool ht_track_freed_asked(struct ht_thread *thread, void *p)
{
    struct ht_block block;
    return !ht_heap_may_own(p) && ht_seal_read_asked(p, &block) && ht_track_going(thread, &block);
}

#endif
