/*
 * What a thread keeps of the walk before, so that the next one need not go all the way: programs
 * with very many stacks change their innermost frames, and come from the same callers all the time.
 *
 * The log has, for each frame of that walk and from the outermost in, where the walk stood (the
 * program counter, the stack pointer, and the frame pointer with the place that it was restored
 * from), what it made of it (the frame, and the stack from the outermost frame to this one), and
 * the words of memory that the step to the caller relied upon.
 *
 * The invariant: whoever walks the same stack, under the same rules, and comes to stand where a
 * logged step stood, goes on as it did, if the words of that step and of all further out are what
 * they were. For a step depends on where it stands, on its rule and on these words alone. This is
 * what a memo record rests upon as well (stack_cache.h), and it holds as long: for one generation,
 * and on the thread's own stack, where what is read stays mapped.
 *
 * A frame pointer counts only where a frame hangs on it before it is restored from elsewhere. There
 * it must be the same, and come from the same place, since the words that follow name that place.
 *
 *   steps  [main | run | history_push | ...   free   ...]
 *   words  outermost first, too: `words` of a step are how many there are up to its own
 *
 * A walk gathers its own steps, which it finds from the innermost out, at the far ends of both
 * arrays, downwards: there they lie in the order of the log already, and are moved up to what was
 * taken over from it. Where they would overwrite logged steps, these are given up; so what is taken
 * over and what was gathered always have room together. A walk that comes to nothing leaves the log
 * as it was, but for those.
 */
#ifndef HEAPTALLY_WALK_LOG_H
#define HEAPTALLY_WALK_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "heaptally/snapshot_format.h"

#define HT_MAX_DEPTH HTL_STACK_DEPTH /* frames of a stack; beyond it is cut */
#define HT_WALK_WORDS                                                                              \
    (2 * HT_MAX_DEPTH) /* of memory, that a walk may rely upon and be remembered */

/* No generation of modules: of the log, frames and stacks alone are good. */
#define HT_LOG_UNPROVEN UINT64_MAX

struct ht_stack_word {
    uintptr_t address, value;
};

struct ht_logged_step {
    uintptr_t pc, sp;    /* where the walk stood; fp only where known */
    uintptr_t fp, fp_at; /* fp_at: the address that it was restored from, 0: it is that at entry */
    uint32_t frame;      /* in ht_frames */
    uint32_t stack;      /* in ht_stacks: from the outermost frame to this one */
    uint32_t hash;       /* ht_stack_hash of that */
    uint16_t words;      /* in the log: up to this step; while gathered: those further in */
    bool fp_known : 1;
    bool needs_fp : 1;  /* this step, or one further out, hangs on the frame pointer of here */
    bool passes_fp : 1; /* the caller's frame pointer is the same */
};

struct ht_walk_log {
    uint64_t generation; /* ht_memo_generation for which the steps are proven, HT_LOG_UNPROVEN */
    uint32_t root;       /* how the stack ends: enum ht_stack_root */
    uint32_t kept;       /* steps */
    struct ht_logged_step steps[HT_MAX_DEPTH];
    struct ht_stack_word words[HT_WALK_WORDS];
};

#endif
