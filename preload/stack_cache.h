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
 *   record:  A  HT_MEMO_MARK | generation << 48 | HT_MEMO_CARE where need be | return address
 *            B  tag << 48 | entry (see arch.h): the stack pointer, but for a constant
 *            C  2 * words - 4 << 32 | site
 *            D  number of words, 2 + 4n
 *            the words' values
 *            the words' distances from the entry / 8, four to a word
 *
 * Distances count from the record that the entry point pushed, whose first word is the caller's
 * frame pointer register: so that register, where a frame hangs on it, is a word like the others.
 *
 * Where all words lie within the bounds of the thread's own stack, which stays mapped, they are
 * compared all at once, two and then in fours (the last four are filled up with repetitions). Else
 * care is needed: they are compared in order. A bit that no address has keeps the quick way from
 * such records.
 *
 * Records are written one after the other into a ring, at multiples of 16 bytes, and found through
 * an index by hash. An index entry may be out of date, but a record proves itself: bit 63 is set in
 * A and in no other word, and as the ring is overwritten in order, a record whose A is whole is
 * whole. `generation` is raised whenever a module goes away.
 */
#ifndef HEAPTALLY_STACK_CACHE_H
#define HEAPTALLY_STACK_CACHE_H

#include "arch.h"
#include "capture_ring.h"
#include "site_table.h"
#include "unwind_rule.h"

#define HT_MEMO_MARK       (UINT64_C(1) << 63)
#define HT_MEMO_GENERATION 0x7fffu
#define HT_MEMO_CARE       (UINT64_C(1) << 47)
#define HT_MEMO_HEADER     4

/* HT_MEMO_MARK and, from bit 48 on, how often a module went away (within HT_MEMO_GENERATION). */
extern uint64_t ht_memo_mark HT_HIDDEN;

/* A module went away: what was remembered before is void. */
void ht_memo_next_generation(void);

/* enum ht_stacks of heaptally/options.h. */
extern int ht_stacks_mode;

/* Walks the stack by rules, remembers what it found, asks the monitor where a rule is missing. The
 * thread is HT_COUNTING. */
uint32_t ht_site_walk(struct ht_thread *thread, ht_entry entry, uint32_t tag);

/* Where the index has the place of a record. Neighbouring return addresses and entries spread over
 * it, and the scopes of one loop. */
static inline uint32_t *ht_memo_slot(struct ht_thread *thread, ht_entry entry, uint64_t tag_key)
{
    uint32_t key = (uint32_t)(ht_entry_pc(entry) + 8 * (uintptr_t)entry);
    uint32_t hash = (key + (uint32_t)(tag_key >> 32)) * 0x9E3779B1u;
    return &thread->memo_index[hash >> (32 - HT_MEMO_INDEX_BITS)];
}

/* The record that the index has for an allocation, whatever it is of. */
static inline __attribute__((always_inline)) const uint64_t *
ht_memo_record(struct ht_thread *thread, ht_entry entry, uint64_t tag_key)
{
    return (const uint64_t *)((char *)thread + *ht_memo_slot(thread, entry, tag_key));
}

/* Finds the site that the memo has for an allocation under an explicit tag; false where it has
 * none, or none that can be compared the quick way. The thread is HT_COUNTING. */
static inline __attribute__((always_inline)) bool
ht_memo_find(struct ht_thread *thread, ht_entry entry, uint64_t tag_key, uint32_t *site)
{
    const uint64_t *record = ht_memo_record(thread, entry, tag_key);
    if (__builtin_expect(record[0] != (ht_memo_mark | ht_entry_pc(entry)) ||
                             record[1] != (tag_key | (uintptr_t)entry),
                         0))
        return false;
    uint64_t c = record[2];
    *site = (uint32_t)c;
    __asm__("" : "+r"(*site)); /* its own register, so that the upper half is not kept with it */
    return __builtin_expect(ht_words_equal(entry, record + HT_MEMO_HEADER, c >> 32), 1);
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
