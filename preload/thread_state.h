/*
 * What each thread keeps for itself, so that its malloc path shares nothing with other threads.
 *
 * A thread gets its state at its first allocation, from heaptally's own heap, and gives it back
 * when it ends; states are recycled and never unmapped, so that the monitor may read any of them at
 * any time. All states ever made stand in one list. Thread-local storage holds a pointer to it, and
 * the open scope.
 *
 * `busy` is how a thread, its signal handlers and its own internals keep out of each other's way.
 * The malloc path tests it once; anything but 0 leads to a cold function:
 *
 *   0              the normal case
 *   HT_UNBORN      no state yet
 *   HT_BEGINNING   the state is being made; allocations now are counted in the shared totals
 *   HT_ENDED       the state was given back; what the thread still does goes to the shared totals
 *   HT_INTERNAL    heaptally's own work: allocations come from its own heap, uncounted
 *   HT_COUNTING    or more: inside the counting code
 *
 * While it is HT_COUNTING or more, a signal handler that allocates must not touch cells or memos,
 * and counts in the shared totals. It is the stack pointer there, so that an entry can be told from
 * one that a handler left by siglongjmp, and that would else keep the thread out for ever: see
 * ht_counting_is_over in stack_cache.h.
 *
 * Every field is written by the owning thread alone, but for those marked otherwise.
 */
#ifndef HEAPTALLY_THREAD_STATE_H
#define HEAPTALLY_THREAD_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "arch.h"
#include "caller_memo.h"
#include "memo_room.h"
#include "walk_log.h"

#define HT_BUSY_AT 16 /* none is a size that goes the short way: one comparison tells both */
enum ht_busy {
    HT_UNBORN = 1 << HT_BUSY_AT,
    HT_BEGINNING = 2 << HT_BUSY_AT,
    HT_ENDED = 3 << HT_BUSY_AT,
    HT_INTERNAL = 4 << HT_BUSY_AT,
    HT_COUNTING = 5 << HT_BUSY_AT, /* the least that a stack pointer may be: no stack lies lower */
};

static inline bool ht_is_counting(uint64_t busy)
{
    return busy >= HT_COUNTING;
}

/* The four monotonic figures of a site. What was freed comes first and is read first, so that a
 * reader who is overtaken sees too much alive rather than less than nothing. */
enum ht_figure {
    HT_FREED_BYTES,
    HT_FREED_BLOCKS,
    HT_ALLOCATED_BYTES,
    HT_ALLOCATED_BLOCKS,
    HT_FIGURES,
};

#define HT_CELLS   512u /* a power of two */
#define HT_NO_SITE UINT32_MAX

/* A figure on its way from a cell to the totals: should the way be left halfway, it can be told
 * whether it had been added. `value` is 0 where none is. */
struct ht_moving {
    uint64_t value;
    uint64_t *from;
    const uint64_t *to;
    uint64_t before;    /* what stood there before anything was added */
    uint32_t *finished; /* to be raised when all figures of the cell are there, or NULL */
};

/* One line of the write-combining table: figures of a site that are not yet in the totals. Aligned,
 * so that what an allocation raises is in one line of the cache with what freeing raises. */
struct ht_cell {
    uint64_t figures[HT_FIGURES];
} __attribute__((aligned(32)));

#define HT_NEVER_KNOWN UINTPTR_MAX /* where a stack begins of which nothing can be said */

#define HT_MEMO_INDEX_BITS 11 /* of the quick index of remembered stacks: see stack_cache.h */

struct ht_thread {
    uint64_t busy;     /* enum ht_busy, or 0 */
    uint32_t sequence; /* odd while a cell is being moved to the totals */

    /* Remembered stacks, see stack_cache.h. */
    struct ht_memo_room *memo_room;   /* where they lie: first_room, or a larger_room later */
    struct ht_memo_room *larger_room; /* NULL until the monitor lays it (release) */
    bool gets_no_room;                /* none that is larger can be had; the monitor's */
    uint32_t memo_next;               /* word of the ring at which the next record goes */
    uint32_t memo_laps;               /* how often the ring of this room came round */

    uint32_t farewells; /* how often the end of the thread was announced */
    pid_t tid;
    uint32_t taken; /* by compare-and-swap: 1 while a thread owns the state */
    bool mortal;    /* once there is no thread `tid`, and `named_at` has another, nobody owns it */
    uintptr_t stack_low; /* the thread's own stack; both 0 while it is not known. Any thread may say
                            HT_NEVER_KNOWN of the one (ht_threads_lose): for good, so that the owner
                            writes it by compare-and-swap */
    uintptr_t stack_high;        /* memory from a stack pointer of the thread's to here is mapped */
    uintptr_t lost_to;           /* while the bounds are not known, whatever any thread makes
                                    unreadable below the end of the stack ends no higher */
    uintptr_t thread_pointer;    /* of the owner: on glibc it lies at the top of a thread's stack */
    struct ht_thread **named_at; /* ht_self of the owner */
    struct ht_thread *next;      /* in the list of all states; never changes */
    struct ht_moving moving;     /* see counters.c */
    uint32_t asking;             /* the frame whose rule is being asked for, or 0 */
    uint32_t caller_next;        /* which way of a line is the next to be given up */
    uint32_t probation_spared;   /* allocations that need not ask whether probation is over */

    /* What every allocation goes through: of a loop of few call sites on as few pages as can be. */
    uint64_t used_cells[HT_CELLS / 64]; /* a bit for each cell that has had a site */
    uint32_t cell_sites[HT_CELLS];      /* whose figures a cell holds, or HT_NO_SITE */
    struct ht_cell cells[HT_CELLS];
    int32_t memo_index[1 << HT_MEMO_INDEX_BITS]; /* places of records; 0, where none is, for none:
                                                    any thread may empty it */

    struct ht_caller_line callers[1 << HT_CALLER_BITS]; /* while nobody answers captures */
    struct ht_walk_log walk_log; /* the last walk, and room for the next: see walk_log.h */
    struct ht_memo_room first_room;
} __attribute__((aligned(64)));

/* Empties the indexes of remembered stacks, and what is remembered of callers. The owner may write
 * at the same time: then the one or the other entry stands, and either is good. */
void ht_thread_forget_stacks(struct ht_thread *thread);

/* Whether a state is a thread's own, with a scope, though its owner may be counting. */
static inline bool ht_thread_has_scope(const struct ht_thread *thread)
{
    return !thread->busy || ht_is_counting(thread->busy);
}

/* Whether `sp` lies in the thread's own stack, as far as that is known. */
static inline bool ht_is_own_stack(const struct ht_thread *thread, uintptr_t sp)
{
    return sp < thread->stack_high && sp >= thread->stack_low;
}

extern __thread struct ht_thread *ht_self __attribute__((tls_model("initial-exec"))) HT_HIDDEN;

/* The tag_key (see ht_memo_tag_key) of the innermost open scope of the calling thread. Beside the
 * pointer to its state, not behind it: what is looked up by it is found a load earlier, by which an
 * allocation of 24 frames takes a twentieth less time. */
extern __thread uint64_t ht_self_tag_key __attribute__((tls_model("initial-exec"))) HT_HIDDEN;

/* What a tag, or 0, gives to the key of a record: the upper one keeps keys apart, the lower one the
 * places of 2^HT_MEMO_INDEX_BITS that are told by the upper bits of 32. */
#define HT_MEMO_TAG_AT 52
static inline uint64_t ht_memo_tag_key(uint32_t tag)
{
    return (uint64_t)tag << HT_MEMO_TAG_AT | (uint64_t)tag << (32 - HT_MEMO_INDEX_BITS);
}

/* The innermost open scope of the calling thread, 0 for none; see tag.h for what it stands for. */
static inline uint32_t ht_thread_tag(void)
{
    return (uint32_t)(ht_self_tag_key >> HT_MEMO_TAG_AT);
}

/* Opens or closes a scope of the calling thread, which has a state. */
static inline void ht_thread_set_tag(uint32_t tag)
{
    ht_self_tag_key = ht_memo_tag_key(tag);
}

/* Takes in the bounds of the calling thread's own stack, where they have got known since. */
void ht_thread_find_bounds(struct ht_thread *thread);

/* Where the calling thread's own stack lies, whether that was taken in or not; false where it is
 * not known. Writes nothing. */
bool ht_thread_see_bounds(const struct ht_thread *thread, uintptr_t *low, uintptr_t *high);

/* The same for the main thread, if `thread` is that. */
void ht_thread_find_main_bounds(struct ht_thread *thread);

/*
 * Memory from `start` to `end` is about to be made unreadable. Where it is of a thread's own stack,
 * that is no longer looked at as one that can be read from end to end, and whoever is looking at it
 * so has done with it: may wait for that, bounded, where it is another thread's. Any thread, signal
 * handlers too; keeps errno.
 */
void ht_threads_lose(uintptr_t start, uintptr_t end);

/* All states ever made: follow `next`. The list only grows, at its head. */
extern struct ht_thread *ht_threads;

/* The main thread has ended while others go on. */
extern bool ht_main_thread_ended;

/* The signals that the thread blocked which ended last, the main thread or one after it; a bit for
 * each, as the kernel has them. */
extern uint64_t ht_last_blocked;

/* Prepares for threads to come and end: before the first state is made, so that each is given back
 * at its thread's end. 0, also when called again, or -errno. */
int ht_thread_setup(void);

/*
 * Makes the state of the calling thread: true and ht_self set, or false and ht_self is at
 * HT_ENDED, where counting goes on in the shared totals. May map memory and take the internal
 * heap's lock; keeps errno.
 */
bool ht_thread_begin(void);

/* Takes up a state whose owner is in the middle of counting, and will never go on there: what it
 * may have left half-made is mended or dropped. `busy` is then 0. */
void ht_thread_mend(struct ht_thread *thread);

/* Marks heaptally's own work on the calling thread: returns what ht_internal_end must get. */
struct ht_thread *ht_internal_begin(void);
void ht_internal_end(struct ht_thread *previous);

/* In the child of a fork: all other threads are gone; moves what they counted to the totals.
 * Whether there were any. */
bool ht_thread_after_fork(void);

#endif
