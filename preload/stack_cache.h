/*
 * From an entry point to a site: the memo of this thread first, a walk by rules second.
 *
 * A memo record says: "called with this return address, at this stack pointer, under this tag,
 * and the words at these places of the stack are these, then the site is this". The words are
 * every return address of the stack, innermost first, and every saved frame pointer that a frame's
 * CFA hangs on. Where all agree it is the same stack, by induction: the frames found so far are
 * the same, so the next return address lies at the same place; that it also has the same value
 * makes the next frame the same. The words are compared in this order and the comparison stops at
 * the first that differs, since nothing is known of what is mapped beyond it.
 *
 *   record:  key    HT_MEMO_MARK | generation << 47 | entry (see arch.h), exclusive-or tag << 52
 *                   and tag << 16: the upper one keeps keys apart, the lower one spreads them
 *            site
 *            words  each with its distance from the entry. A short record has the return address
 *                   and five others; a long one these two: the return address and the next word;
 *                   and all that follow in groups of eight, so that many are fetched at a time. The
 *                   last is repeated to fill up
 *
 * The entry is the stack pointer, but for a constant. Distances count from the record that the
 * entry point pushed, whose first word is the caller's frame pointer register: so that register,
 * where a frame hangs on it, is a word like the others.
 *
 * Where all words lie within the bounds of the thread's own stack, which stays mapped, they are
 * compared all at once. Else care is needed: they are compared in order. A bit that no entry has
 * keeps the quick way from such records; another marks long ones.
 *
 * Records are written one after the other into a ring, at multiples of 32 bytes, and found through
 * an index by hash. An index entry may be out of date, but a record proves itself: bit 63 is set in
 * its key and in no other word, and as the ring is overwritten in order, a record whose key is
 * whole is whole.
 *
 * Whenever a module goes away, what was remembered before is void: a key holds the lowest bits of
 * how often that was, and before these come round to where they were, the index of every thread is
 * emptied. A record that was in the making meanwhile is withdrawn by the thread that made it.
 */
#ifndef HEAPTALLY_STACK_CACHE_H
#define HEAPTALLY_STACK_CACHE_H

#include "arch.h"
#include "capture_ring.h"
#include "site_table.h"
#include "unwind_rule.h"

#define HT_MEMO_MARK            (UINT64_C(1) << 63)
#define HT_MEMO_GENERATION_AT   47
#define HT_MEMO_GENERATION_BITS 5
#define HT_MEMO_CARE            UINT64_C(1) /* entries are multiples of 8 */
#define HT_MEMO_LONG            UINT64_C(2)
_Static_assert(HT_MEMO_TAG_AT == HT_MEMO_GENERATION_AT + HT_MEMO_GENERATION_BITS, "the key");
_Static_assert(HT_TAGS <= 1u << (63 - HT_MEMO_TAG_AT), "a tag fits in beside the mark");

#define HT_MEMO_NEAR  5 /* words of a short record, and the return address */
#define HT_MEMO_GROUP 8
#define HT_MEMO_ALIGN 32

struct ht_memo_record {
    uint64_t key;
    uint32_t site;
    uint32_t far_bytes;                /* of `far`; 0 in a short record */
    uint64_t values[1 + HT_MEMO_NEAR]; /* the return address and the words after it */
    uint32_t distances[HT_MEMO_NEAR];  /* of these */
    uint32_t place;                    /* ht_cell_place(site) */
    uint32_t far_values;               /* where the values of `far` are: bytes from there */
    uint32_t unused;                   /* 0 */
    uint32_t far[];                    /* distances of the words in groups */
} __attribute__((aligned(HT_MEMO_ALIGN)));

static inline const uint64_t *ht_memo_far_values(const struct ht_memo_record *record)
{
    return (const void *)((const char *)record->far + record->far_values);
}

/* How often a module went away. */
extern uint64_t ht_memo_generation HT_HIDDEN;

/* What all keys of this generation have: HT_MEMO_MARK and the lowest bits of the generation. */
extern uint64_t ht_memo_mark HT_HIDDEN;

/* A module went away: what was remembered before is void. One thread at a time. */
void ht_memo_next_generation(void);

/* enum ht_stacks of heaptally/options.h. */
extern int ht_stacks_mode;

/* Walks the stack by rules, remembers what it found, asks the monitor where a rule is missing. The
 * thread is HT_COUNTING. */
uint32_t ht_site_walk(struct ht_thread *thread, ht_entry entry, uint32_t tag);

/*
 * Whether a thread that is marked as counting has left it for good: by siglongjmp out of a signal
 * handler that had interrupted it. `entry` is where it allocates now. True only if
 *   - the stack pointer at which it counted is on the thread's own stack, and so is the present
 * one;
 *   - by known rules, ordinary calls lead from `entry` outwards to where that stack begins.
 * Then no signal handler runs on this stack, nor has one been entered beside it: on the way out of
 * a handler the kernel's trampoline would be met. So nothing that was interrupted on it will go on.
 * Of a fiber, which has a stack of its own, and of what it was in the middle of, nothing is
 * claimed.
 */
bool ht_counting_is_over(struct ht_thread *thread, ht_entry entry);

/* The key of a record that can be compared the quick way and is short. */
static inline uint64_t ht_memo_key(ht_entry entry, uint64_t tag_key, uint64_t mark)
{
    return mark ^ tag_key ^ (uintptr_t)entry;
}

/* Where the index has the place of a record. Neighbouring return addresses and entries spread over
 * it, and the scopes of one loop. */
static inline __attribute__((always_inline)) uint32_t *ht_memo_slot(struct ht_thread *thread,
                                                                    ht_entry entry, uint64_t key)
{
    uint32_t hash = ht_entry_pc_low(entry) + 8 * (uint32_t)key;
    return &thread->memo_index[hash * 0x9E3779B1u >> (32 - HT_MEMO_INDEX_BITS)];
}

/* The record that the index has for an allocation, whatever it is of. */
static inline __attribute__((always_inline)) const struct ht_memo_record *
ht_memo_at(struct ht_thread *thread, ht_entry entry, uint64_t key)
{
    return (const void *)((char *)thread + *ht_memo_slot(thread, entry, key));
}

/* Finds the record of an allocation under the thread's tag; NULL where there is none, or none that
 * can be compared the quick way. The thread is HT_COUNTING. */
static inline __attribute__((always_inline)) const struct ht_memo_record *
ht_memo_find(struct ht_thread *thread, ht_entry entry)
{
    uint64_t key = ht_memo_key(entry, thread->tag_key, ht_memo_mark);
    /* The mark first: while this goes on, others may raise it and empty the index. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    const struct ht_memo_record *record = ht_memo_at(thread, entry, key);
    if (record->key == key)
        return ht_near_words_equal(entry, record->values, record->distances) ? record : NULL;
    if (__builtin_expect(record->key != (key | HT_MEMO_LONG), 0))
        return NULL;
    bool same =
        ht_two_words_equal(entry, record->values, record->distances[0]) &&
        ht_far_words_equal(entry, record->far, ht_memo_far_values(record), record->far_bytes);
    return same ? record : NULL;
}

/* The same for all records, compared in order: the site or HT_NO_SITE. */
uint32_t ht_memo_find_with_care(struct ht_thread *thread, ht_entry entry, uint32_t tag);

/* The site of an allocation. The thread is HT_COUNTING. */
static inline uint32_t ht_site_find(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uint32_t site = ht_memo_find_with_care(thread, entry, tag);
    return site != HT_NO_SITE ? site : ht_site_walk(thread, entry, tag);
}

/* ---- one step of a walk, for the thread and for the monitor alike -------------------------------
 */

enum ht_step { HT_STEP_GOES_ON, HT_STEP_WHOLE, HT_STEP_CUT, HT_STEP_OUT_OF_REACH };

/* Reads a word of the stack; false where the address is out of reach. */
typedef bool ht_stack_reader(void *context, uintptr_t address, uintptr_t *word);

/* Is told of every word that the step relied upon, in order: the return address, and words that
 * led to it. `fp_used`: the walk's frame pointer was relied upon. */
typedef void ht_stack_witness(void *context, uintptr_t address, uintptr_t word);

struct ht_stepper {
    ht_stack_reader *read;
    ht_stack_witness *witness_word;
    void (*witness_fp)(void *context); /* the frame pointer, as it is now, was relied upon */
    void (*moved_fp)(void *context, uintptr_t address, uintptr_t value); /* it was restored from */
    void *context;
};

/* For a walk that notes nothing. */
static inline void ht_ignore_word(void *context, uintptr_t address, uintptr_t word)
{
    (void)context;
    (void)address;
    (void)word;
}

static inline void ht_ignore_fp(void *context)
{
    (void)context;
}

/*
 * Goes from a frame to its caller by `rule` (of a kind other than unknown or pending). Inlined
 * with a constant stepper, so that the calls through it vanish.
 */
static inline __attribute__((always_inline)) enum ht_step
ht_walk_step(struct ht_walk *walk, uint64_t packed, const struct ht_stepper *stepper)
{
    struct unwind_rule rule = unwind_rule_unpack(packed);
    if (rule.kind == UNWIND_END)
        return HT_STEP_WHOLE;
    if (rule.kind != UNWIND_STEP)
        return HT_STEP_CUT;
    uintptr_t cfa = walk->sp;
    if (rule.cfa_base != UNWIND_CFA_SP || rule.rbp_kind == UNWIND_RBP_AT_RBP) {
        if (!walk->fp_known)
            return HT_STEP_CUT;
        stepper->witness_fp(stepper->context);
    }
    if (rule.cfa_base == UNWIND_CFA_RBP) {
        cfa = walk->fp;
    } else if (rule.cfa_base == UNWIND_CFA_RBP_DEREF) {
        uintptr_t address = walk->fp + (intptr_t)rule.deref_offset;
        if (!stepper->read(stepper->context, address, &cfa))
            return HT_STEP_OUT_OF_REACH;
        stepper->witness_word(stepper->context, address, cfa);
    }
    cfa += (intptr_t)rule.cfa_offset;
    /* A frame lies above its callee's: anything else is a damaged stack or wrong information. */
    if (cfa <= walk->sp || cfa % 8)
        return HT_STEP_CUT;
    if (rule.rbp_kind == UNWIND_RBP_UNKNOWN) {
        walk->fp_known = false;
    } else if (rule.rbp_kind != UNWIND_RBP_SAME) {
        uintptr_t address =
            (rule.rbp_kind == UNWIND_RBP_AT_CFA ? cfa : walk->fp) + (intptr_t)rule.rbp_offset;
        if (!stepper->read(stepper->context, address, &walk->fp))
            return HT_STEP_OUT_OF_REACH;
        walk->fp_known = true;
        stepper->moved_fp(stepper->context, address, walk->fp);
    }
    if (!stepper->read(stepper->context, cfa - 8, &walk->pc))
        return HT_STEP_OUT_OF_REACH;
    stepper->witness_word(stepper->context, cfa - 8, walk->pc);
    walk->sp = cfa;
    return walk->pc == 0 ? HT_STEP_WHOLE : HT_STEP_GOES_ON;
}

#endif
