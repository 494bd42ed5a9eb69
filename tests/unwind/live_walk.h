/* Walks the live stack with nothing but our unwind rules, as the malloc path does, for tests. */
#ifndef LIVE_WALK_H
#define LIVE_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "../../preload/unwind_rule.h"

enum { WALK_MAX = 512 };

struct walk {
    unsigned count;        /* frames found, innermost first */
    uint64_t pc[WALK_MAX]; /* return addresses; pc[0] is in the function that captured */
    uint8_t kind;          /* enum unwind_kind that ended the walk; STEP: it was full */
    unsigned rules[UNWIND_UNSUPPORTED + 1]; /* rules used, by kind */
    unsigned cfa[UNWIND_CFA_RBP_DEREF + 1]; /* steps, by base */
};

struct registers {
    uint64_t pc, sp, rbp; /* as after the return of capture_registers */
};

/* Notes the registers of its caller. Written in assembly, so that nothing lies between. */
void capture_registers(struct registers *registers);

/* Forgets all modules and lists those that are loaded now. To be called after a dlopen. */
void walk_list_modules(void);

/* The module that holds an address, or NULL. */
const struct unwind_module *walk_module_of(uint64_t pc);

/* Walks from `registers`. */
void walk_stack(const struct registers *registers, struct walk *walk);

#endif
