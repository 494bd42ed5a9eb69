/*
 * One step of a walk, from a frame to its caller, for a thread in its own stack (stack_walk.c) and
 * for the monitor in a copy (unwind.c) alike.
 */
#ifndef HEAPTALLY_WALK_STEP_H
#define HEAPTALLY_WALK_STEP_H

#include "capture_ring.h"
#include "unwind_rule.h"

enum ht_step { HT_STEP_GOES_ON, HT_STEP_WHOLE, HT_STEP_CUT, HT_STEP_OUT_OF_REACH };

/* Reads a word of the stack; false where the address is out of reach. */
typedef bool ht_stack_reader(void *context, uintptr_t address, uintptr_t *word);

/* Is told of every word that the step relied upon, in order: the return address, and words that
 * led to it. */
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
