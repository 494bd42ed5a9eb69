/* The unwind rule of a program counter: how to get from a frame to its caller.
 *
 * The program's threads walk their own stack with nothing but a table of these rules; this file
 * makes the rules, on the monitor thread, from the module's .eh_frame alone. No stack is ever
 * looked at: a rule depends on the program counter only.
 *
 *   pc    a *return address*: where a frame goes on when its callee returns. The rule in force is
 *         that of the call itself, which ends at pc; so everything is looked up at pc - 1. (A call
 *         that doesn't return may be the last instruction of its function, and pc the first of
 *         the next.)
 *   CFA   canonical frame address: the frame's SP before the call that made it pushed its return
 *         address. It is the caller's SP at the caller's pc.
 *   SP    of a frame at its pc; RBP likewise. A walk carries (pc, SP, RBP, is RBP known).
 *
 * One step of a walk, for a rule of kind UNWIND_STEP:
 *
 *   CFA            := SP + cfa_offset                          UNWIND_CFA_SP
 *                   | RBP + cfa_offset                         UNWIND_CFA_RBP
 *                   | mem[RBP + deref_offset] + cfa_offset     UNWIND_CFA_RBP_DEREF
 *   return address := mem[CFA - 8]                             always
 *   caller's RBP   := RBP                                      UNWIND_RBP_SAME
 *                   | mem[CFA + rbp_offset]                    UNWIND_RBP_AT_CFA
 *                   | mem[RBP + rbp_offset]                    UNWIND_RBP_AT_RBP
 *                   | not known from here on                   UNWIND_RBP_UNKNOWN
 *   caller's SP    := CFA
 *   caller's pc    := return address
 *
 * Where the function has just changed stacks before the call, which unwind info cannot say, there
 * is no rule (UNSUPPORTED). A rule that reads RBP while RBP isn't known cuts the stack there, as
 * NONE does. SAME keeps an
 * unknown RBP unknown. A return address of 0 ends the stack. What no rule can promise is for the
 * walk to check: that the CFA lies above SP, on a multiple of 8, within the stack. */
#ifndef HEAPTALLY_UNWIND_RULE_H
#define HEAPTALLY_UNWIND_RULE_H

#include <stdint.h>

#include "module_bytes.h"

enum unwind_kind {
    UNWIND_NONE,        /* no unwind info for this pc: the stack is cut after this frame */
    UNWIND_STEP,        /* go on as drawn above */
    UNWIND_END,         /* this frame is the outermost one: the stack is whole */
    UNWIND_SIGNAL,      /* the trampoline of a signal handler: cut after this frame */
    UNWIND_UNSUPPORTED, /* there is info, but of a form that has no rule: cut after this frame */
};

enum unwind_cfa_base {
    UNWIND_CFA_SP,
    UNWIND_CFA_RBP,
    UNWIND_CFA_RBP_DEREF,
};

enum unwind_rbp_kind {
    UNWIND_RBP_SAME,
    UNWIND_RBP_AT_CFA,
    UNWIND_RBP_AT_RBP,
    UNWIND_RBP_UNKNOWN,
};

/* Fields that a rule doesn't use are 0, so that equal rules are equal byte by byte. */
struct unwind_rule {
    uint8_t kind;         /* enum unwind_kind; if not UNWIND_STEP, all else is 0 */
    uint8_t cfa_base;     /* enum unwind_cfa_base */
    uint8_t rbp_kind;     /* enum unwind_rbp_kind */
    uint8_t zero;         /* padding, 0 */
    int32_t cfa_offset;   /* bytes */
    int32_t deref_offset; /* bytes, UNWIND_CFA_RBP_DEREF only */
    int32_t rbp_offset;   /* bytes, AT_CFA and AT_RBP only */
};

/* A loaded module, as dl_iterate_phdr shows it. */
struct unwind_module {
    struct module_file file; /* where its bytes come from */
    uint64_t load_bias;      /* run-time minus link-time address (dlpi_addr) */
    uint64_t start, end;     /* run-time addresses [start, end) of its segments */
};

/* Loads libunwind-x86_64.so.8 (RTLD_LOCAL: nothing of it enters the program's scope) and takes all
 * the memory that is needed later. Not for the malloc path; calls the loader.
 * 0; -ENOENT if the library cannot be loaded, -ENOSYS if it lacks a function, -ENOMEM. After a
 * failure every rule is NONE. Calling it again after success is free. */
int unwind_rule_open(void);

/* Finds the rule for return address `pc` (run-time) in `module`. pc 0 is UNWIND_END; a NULL module,
 * or one that doesn't hold pc - 1, is UNWIND_NONE.
 * Returns 0 if *out is what the module's unwind table says, and will always say. Returns a
 * -errno, with *out being UNWIND_NONE, if the table could not be read (-ESTALE: the file was
 * replaced, -ENOENT: deleted, -EMFILE, ...): a later call might do better, so a table of rules
 * does well not to keep that NONE for ever. */
int unwind_rule_find(const struct unwind_module *module, uint64_t pc, struct unwind_rule *out);

/* Told of the rule of another return address (run-time). */
typedef void unwind_rule_told(uint64_t pc, const struct unwind_rule *rule);

/* The same, and tells `told` of the rules of other places in the function that calls seem to return
 * to: they are what will be asked for next, and take little more time together than this one. Each
 * rule is right for its address, whether a call returns there or not. */
int unwind_rule_find_around(const struct unwind_module *module, uint64_t pc,
                            struct unwind_rule *out, unwind_rule_told *told);

/* Gives back all memory, and libunwind unless it has to stay loaded. */
void unwind_rule_close(void);

/* A rule in 64 bits, for tables of the malloc path. Never 0: 0 is free to mean "not known yet".
 *
 *   bits  0..2   kind + 1
 *   bits  3..4   cfa_base
 *   bits  5..6   rbp_kind
 *   bits  7..31  cfa_offset,   25 bits signed
 *   bits 32..47  deref_offset, 16 bits signed
 *   bits 48..63  rbp_offset,   16 bits signed
 *
 * A rule whose offsets don't fit is packed as UNWIND_UNSUPPORTED. */
enum {
    UNWIND_PACK_CFA_MIN = -(1 << 24),
    UNWIND_PACK_CFA_MAX = (1 << 24) - 1,
    UNWIND_PACK_OFFSET_MIN = -(1 << 15),
    UNWIND_PACK_OFFSET_MAX = (1 << 15) - 1,
};

static inline uint64_t unwind_rule_pack(const struct unwind_rule *rule)
{
    if (rule->kind != UNWIND_STEP)
        return (uint64_t)rule->kind + 1;
    if (rule->cfa_offset < UNWIND_PACK_CFA_MIN || rule->cfa_offset > UNWIND_PACK_CFA_MAX ||
        rule->deref_offset < UNWIND_PACK_OFFSET_MIN ||
        rule->deref_offset > UNWIND_PACK_OFFSET_MAX || rule->rbp_offset < UNWIND_PACK_OFFSET_MIN ||
        rule->rbp_offset > UNWIND_PACK_OFFSET_MAX)
        return (uint64_t)UNWIND_UNSUPPORTED + 1;
    return ((uint64_t)UNWIND_STEP + 1) | (uint64_t)rule->cfa_base << 3 |
           (uint64_t)rule->rbp_kind << 5 | ((uint64_t)rule->cfa_offset & 0x1ffffff) << 7 |
           ((uint64_t)rule->deref_offset & 0xffff) << 32 |
           ((uint64_t)rule->rbp_offset & 0xffff) << 48;
}

/* The opposite of unwind_rule_pack; `packed` must come from it. */
static inline struct unwind_rule unwind_rule_unpack(uint64_t packed)
{
    struct unwind_rule rule = {
        .kind = (uint8_t)((packed & 7) - 1),
        .cfa_base = packed >> 3 & 3,
        .rbp_kind = packed >> 5 & 3,
        /* Up to bit 63, then arithmetically down: that extends the sign. */
        .cfa_offset = (int32_t)((int64_t)(packed << 32) >> 39),
        .deref_offset = (int16_t)(packed >> 32),
        .rbp_offset = (int16_t)(packed >> 48),
    };
    return rule;
}

#endif
