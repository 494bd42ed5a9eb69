/*
 * What is known of program counters, and the stacks that are made of them.
 *
 * A frame is a return address, with the rule that leads from it to its caller: 0 while unknown,
 * HT_RULE_PENDING once a thread has asked the monitor for it, else a packed unwind_rule. The
 * monitor publishes rules; threads only read them. When a module is unloaded its frames die: their
 * key is marked so that it is never found again, and another library at the same addresses gets
 * frames of its own. A frame that died keeps its id, module and offset for the reports.
 *
 * The key of a frame is its return address and, above it, how often frames died on its page: what
 * comes and goes at one address for ever would else fill the few places where one key may stand.
 * While a dlclose is under way somewhere, the pages that it may take away are *in doubt*: whether
 * they still hold what they held, or another thread's library already, is known once it is over.
 * Until then no return address there has a frame.
 *
 * A stack is a path in a tree that grows from the outside in: a node is (outer node, frame), and
 * its id stands for the whole stack. The roots say how the stack ends:
 *
 *   HT_STACK_WHOLE     at the outermost frame of the thread
 *   HT_STACK_CUT       at a frame beyond which nothing is known for sure
 *   HT_STACK_FALLBACK  right after the immediate return address, which is all that was looked at
 *
 *   main -> run -> history_push -> malloc      node 40: (33, history_push+0x51)
 *                                              node 33: (21, run+0x18)
 *                                              node 21: (HT_STACK_WHOLE, main+0x9)
 */
#ifndef HEAPTALLY_FRAME_TABLE_H
#define HEAPTALLY_FRAME_TABLE_H

#include "arch.h"
#include "intern.h"

#define HT_RULE_PENDING UINT64_C(7) /* not a value of unwind_rule_pack */
#define HT_FRAME_DEAD   (UINT64_C(1) << 63)

enum ht_stack_root {
    HT_STACK_TAG_ONLY = 0, /* not even the return address is known */
    HT_STACK_WHOLE = 1,
    HT_STACK_CUT = 2,
    HT_STACK_FALLBACK = 3,
    HT_STACK_ROOTS = 16,
};

#define HT_ADDRESS_LIMIT (UINT64_C(1) << HT_ADDRESS_BITS)

/* Pages that are this many apart count together. A library may be larger than that: so only pages
 * on which frames die count an unload, or it would renew every frame of the program each time. */
#define HT_FRAME_PAGES 8192u

extern struct ht_intern ht_frames; /* key: see ht_frame_key; then rule, ht_frame_info */
extern struct ht_intern ht_stacks; /* key: outer node << 32 | frame; home: ht_stack_hash */

/* How often frames died on a page; modulo 2^15, which dead frames make harmless as well. The
 * topmost bit says that it is in doubt. Written under the module map's lock. */
#define HT_FRAME_IN_DOUBT 0x8000u
extern uint16_t ht_frame_unloads[HT_FRAME_PAGES] HT_HIDDEN;

/* What is in doubt lies in [low, high); nothing outside of it, whatever its page says. Grows before
 * the pages are marked, and is empty again after they are not. */
struct ht_frame_span {
    uintptr_t low, high;
};
extern struct ht_frame_span ht_frames_doubted HT_HIDDEN;

/* Whether an address whose page is marked may really be meant. */
static inline bool ht_frame_span_has(uintptr_t address)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the span is no older than the mark */
    return address >= __atomic_load_n(&ht_frames_doubted.low, __ATOMIC_RELAXED) &&
           address < __atomic_load_n(&ht_frames_doubted.high, __ATOMIC_RELAXED);
}

/* With HT_FRAME_DEAD, which is the same bit, where the page is in doubt. */
static inline uint64_t ht_frame_key(uintptr_t pc)
{
    uint64_t unloads =
        __atomic_load_n(&ht_frame_unloads[(pc - 1) >> 12 & (HT_FRAME_PAGES - 1)], __ATOMIC_RELAXED);
    if (__builtin_expect(unloads & HT_FRAME_IN_DOUBT, 0) && !ht_frame_span_has(pc - 1))
        unloads &= ~(uint64_t)HT_FRAME_IN_DOUBT;
    return unloads << HT_ADDRESS_BITS | pc;
}

/* The frame of a return address, or HT_INTERN_FULL, also where its page is in doubt. Any thread,
 * signal handlers too. */
static inline uint32_t ht_frame_intern(uintptr_t pc)
{
    uint64_t key = ht_frame_key(pc);
    return key & HT_FRAME_DEAD ? HT_INTERN_FULL : ht_intern(&ht_frames, key, true);
}

static inline bool ht_frame_is_in_doubt(uintptr_t pc)
{
    return ht_frame_key(pc) & HT_FRAME_DEAD;
}

static inline uint64_t *ht_frame_rule(uint32_t frame)
{
    return ht_intern_slot(&ht_frames, frame) + 1;
}

static inline uintptr_t ht_frame_pc(uint32_t frame)
{
    return (uintptr_t)(ht_intern_key(&ht_frames, frame) & (HT_ADDRESS_LIMIT - 1));
}

/*
 * Where a node would like to stand in the table: told by the frames of its stack alone, the hash of
 * the outer node and one frame, so that this is known before the ids of its outer nodes are, and
 * all nodes of a stack can be fetched at once. The hash of a root is its number.
 */
static inline uint32_t ht_stack_hash(uint32_t outer_hash, uint32_t frame)
{
    uint32_t hash = (outer_hash ^ frame) * 0x9E3779B1u;
    return hash ^ hash >> 15;
}

/* The node (outer, frame), whose ht_stack_hash is `hash`. Any thread, signal handlers too.
 * HT_INTERN_FULL where the table is full. */
static inline uint32_t ht_stack_push(uint32_t outer, uint32_t frame, uint32_t hash)
{
    return ht_intern_at(&ht_stacks, (uint64_t)outer << 32 | frame, hash, true);
}

/* The stack of one frame. */
static inline uint32_t ht_stack_alone(uint32_t root, uint32_t frame)
{
    return ht_stack_push(root, frame, ht_stack_hash(root, frame));
}

static inline uint32_t ht_stack_outer(uint32_t stack)
{
    return (uint32_t)(ht_intern_key(&ht_stacks, stack) >> 32);
}

static inline uint32_t ht_stack_frame(uint32_t stack)
{
    return (uint32_t)ht_intern_key(&ht_stacks, stack);
}

/* The stack `root` -> frames[count - 1] -> ... -> frames[0], or HT_INTERN_FULL. */
static inline uint32_t ht_stack_intern(uint32_t root, const uint32_t *frames, unsigned count)
{
    uint32_t stack = root, hash = root;
    while (count > 0 && stack != HT_INTERN_FULL) {
        hash = ht_stack_hash(hash, frames[--count]);
        stack = ht_stack_push(stack, frames[count], hash);
    }
    return stack;
}

#define HT_STACKS_FETCHED 8u

/* Has the innermost `depth` nodes, and their frames, of up to HT_STACKS_FETCHED stacks fetched, for
 * whoever goes through them next: they lie in no order, and going outwards along one stack after
 * the other, each node would be waited for. */
void ht_stacks_fetch(const uint32_t *stacks, unsigned count, unsigned depth);

/* How a stack ends: one of enum ht_stack_root. */
static inline uint32_t ht_stack_root(uint32_t stack)
{
    while (stack >= HT_STACK_ROOTS)
        stack = ht_stack_outer(stack);
    return stack;
}

/* Whether a stack is the immediate return address alone. */
static inline bool ht_stack_is_fallback(uint32_t stack)
{
    return stack >= HT_STACK_ROOTS && ht_stack_outer(stack) == HT_STACK_FALLBACK;
}

/* Marks every frame of [start, end) as dead and notes its module. When it is gone; the caller holds
 * the module map's lock. */
void ht_frames_kill(uintptr_t start, uintptr_t end, uint32_t module);

/* Whether there ever was a frame of no module; set before such a one is noted. */
extern bool ht_frames_of_no_module;

/* Marks those frames of [start, end) as dead that were found to be of no module: where a module is
 * now, there was something else. Whether there were any. The caller holds the module map's lock. */
bool ht_frames_kill_strangers(uintptr_t start, uintptr_t end);

/* Puts the pages of [start, end) in doubt; takes all doubt away. The caller holds the module map's
 * lock. */
void ht_frames_doubt(uintptr_t start, uintptr_t end);
void ht_frames_trust(void);

#endif
