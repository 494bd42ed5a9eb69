/*
 * Which function of a call site is to be looked at, and which stand between it and the allocator or
 * between it and the kernel.
 */
#ifndef HEAPTALLY_ANALYZER_BLAME_H
#define HEAPTALLY_ANALYZER_BLAME_H

#include "profile.h"
#include "symbolize.h"

/* One line of a stack: a function, inlined or not. */
struct ht_stack_line {
    const struct ht_frame *frame;
    const struct ht_function *function;
    bool plumbing; /* of a runtime, or a wrapper that every allocation of the language goes through
                    */
};

/* The lines of a stack, innermost first: a new array, and its length in `*count`. */
struct ht_stack_line *ht_stack_lines(struct ht_symbolizer *symbolizer, const struct ht_stack *stack,
                                     size_t *count);

/* The innermost line of a site that is not plumbing, else the innermost; false where the site is
 * known by its tag only. */
bool ht_blamed_line(struct ht_symbolizer *symbolizer, const struct ht_site *site,
                    struct ht_stack_line *line);

#endif
