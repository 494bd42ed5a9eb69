/*
 * How a thread asks the monitor about a program counter it does not know: a copy of what it takes
 * to go on from there.
 *
 * The thread has walked its stack up to a frame whose rule is unknown, and was the one to mark
 * that rule pending. It copies the frames so far, the registers at the unknown frame and the stack
 * from there outwards into a free slot, and counts its allocation under the slot's provisional
 * site. The monitor walks on in the copy, publishes all rules it needed, and makes the provisional
 * site an alias of the real one. Meanwhile, and where no slot is free, allocations there are
 * counted as fallback.
 *
 * There are few slots as long as few are needed: where a burst has taken half of them, the monitor
 * lays as many again before the next.
 *
 * A slot: FREE -> (thread, by compare-and-swap) FILLING -> READY -> (monitor) FREE, with a fresh
 * provisional id if that was used. Nothing waits: a thread tries a few slots and gives up. Which
 * slots are a thread's or wait is told by one bit each, so that the monitor need not look at slots,
 * of which each is on pages of its own, to find that there is nothing to do:
 *
 *   state   FREE   FILLING   READY   FREE
 *   taken   0      0 then 1  1       0      set once the slot is the thread's, cleared before it is
 *                                           free
 */
#ifndef HEAPTALLY_CAPTURE_RING_H
#define HEAPTALLY_CAPTURE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "counters.h"

#define HT_CAPTURE_FIRST 32u   /* slots at the beginning; a power of two, as the next */
#define HT_CAPTURE_SLOTS 128u  /* at most */
#define HT_CAPTURE_BYTES 4096u /* of stack */

enum ht_capture_state { HT_CAPTURE_FREE, HT_CAPTURE_FILLING, HT_CAPTURE_READY };

/* The state of a slot that a thread of this id is filling: it is told whose it is, should the
 * thread never come to an end with it. 0: the monitor. */
static inline uint32_t ht_capture_filled_by(pid_t tid)
{
    return HT_CAPTURE_FILLING | (uint32_t)tid << 2;
}

static inline bool ht_capture_is_filled(uint32_t state)
{
    return (state & 3) == HT_CAPTURE_FILLING;
}

/* The registers that a walk carries. */
struct ht_walk {
    uintptr_t pc, sp, fp;
    bool fp_known;
};

struct ht_capture {
    uint32_t state;       /* enum ht_capture_state; the owner in turn is named above. While it is
                             being filled: ht_capture_filled_by */
    uint32_t provisional; /* site id for the allocation, 0 while the monitor has none left */
    uint32_t tag;         /* explicit tag of the allocation */
    uint32_t fallback;    /* where allocations go meanwhile */
    uint32_t frame_count; /* frames walked, the unknown one last */
    uint32_t stack_bytes;
    bool rules_only; /* no allocation is counted under `provisional`: the rules are wanted alone */
    uint64_t generation; /* ht_memo_generation when the walk began: void once it is another */
    struct ht_walk at;   /* at the unknown frame */
    uint32_t frames[HT_MAX_DEPTH];
    unsigned char stack[HT_CAPTURE_BYTES]; /* memory from at.sp on */
};

/* The explicit tag under which each provisional site was handed out, and HT_PROVISIONAL_USED; 0
 * where it never was. */
#define HT_PROVISIONAL_USED 0x8000u
extern uint16_t ht_provisional_tags[HT_PROVISIONALS];

extern struct ht_capture *ht_captures[HT_CAPTURE_SLOTS]; /* the first ht_capture_count of them */
extern uint32_t ht_capture_count; /* raised by the monitor once the slots are there (release) */

/* Bit i % 64 of word i / 64: slot i is taken. Every slot that is READY has its bit set. */
#define HT_CAPTURE_WORDS (HT_CAPTURE_SLOTS / 64)
extern uint64_t ht_captures_taken[HT_CAPTURE_WORDS];

/* Makes the first slots, without provisional ids. False without memory. */
bool ht_capture_begin(void);

/* Makes as many again, up to HT_CAPTURE_SLOTS; there are none more without memory. Monitor only. */
void ht_capture_grow(void);

/* A slot in state FILLING, or NULL. Any thread, signal handlers too: these get another one than
 * what they interrupted is filling. */
struct ht_capture *ht_capture_claim(pid_t tid);

/* Whether a capture that waits to be worked off will bring the rule of `frame`. Any thread; where
 * that is being worked off just now, or just comes, either answer. */
bool ht_capture_brings(uint32_t frame);

/* Frees slot `i`; by whom it is. */
void ht_capture_give_back(unsigned i);

/* How many slots are taken. */
unsigned ht_capture_taken_count(void);

/* Gives back the slots that a thread has left half-filled, and asks again for the rule of `asking`
 * unless one in the ring will bring it (0: none). */
void ht_capture_abandon(pid_t tid, uint32_t asking);

/* In the child of a fork: gives back slots that other threads were filling, and asks again for all
 * rules that no capture in the ring will bring. */
void ht_capture_after_fork(void);

#endif
