/*
 * Stacks about as deep as those that are told in full, and deeper, which are cut. From two
 * functions that call themselves and each other, so deep that with what lies around them that is
 * 100 to 145 frames; stacks that differ at their inner end, at their outer end, and in depth, take
 * turns at the same stack pointers: what was found of one must not be taken for the next.
 *
 * A block's size names its stack: 1000 + (depth * WAYS + outer) * WAYS + inner. From the innermost
 * level, 0, outwards, levels below INNER turn right by the bits of `inner`, the others by those of
 * `outer`: bit `level % 3`.
 *
 * Prints how many blocks there were.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tree.h"

#define WAYS    8u
#define INNER   7u
#define SHALLOW 95u
#define DEPTHS  46u

struct stack {
    unsigned depth, outer, inner;
};

OPAQUE void deep_left(const struct stack *stack, unsigned level);
OPAQUE void deep_right(const struct stack *stack, unsigned level);

OPAQUE void deep_leaf(const struct stack *stack)
{
    free(malloc(1000 + (stack->depth * WAYS + stack->outer) * WAYS + stack->inner));
    NO_TAIL_CALL();
}

static inline __attribute__((always_inline)) void go_on(const struct stack *stack, unsigned level)
{
    unsigned inwards = level - 1, way = inwards < INNER ? stack->inner : stack->outer;
    if (level == 0)
        deep_leaf(stack);
    else if (way >> inwards % 3 & 1)
        deep_right(stack, inwards);
    else
        deep_left(stack, inwards);
}

OPAQUE void deep_left(const struct stack *stack, unsigned level)
{
    go_on(stack, level);
    __asm__ volatile("# left" ::: "memory");
}

OPAQUE void deep_right(const struct stack *stack, unsigned level)
{
    go_on(stack, level);
    __asm__ volatile("# right" ::: "memory");
}

static uint32_t random_state = 1;

static unsigned any(unsigned below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* Mostly it is something near that changes. */
static void change(struct stack *stack)
{
    unsigned what = any(8);
    if (what < 4)
        stack->inner = any(WAYS);
    else if (what < 6)
        stack->outer = any(WAYS);
    else if (what == 6)
        stack->depth = SHALLOW + any(DEPTHS);
    else if (stack->depth < SHALLOW + DEPTHS - 1)
        stack->depth++;
}

int main(void)
{
    struct stack stack = {SHALLOW, 0, 0};
    unsigned long blocks = 0;
    for (; blocks < 200000; blocks++) {
        change(&stack);
        deep_left(&stack, stack.depth);
        if (blocks < 20000 && blocks % 50 == 0)
            usleep(1000); /* for the stacks to get known */
    }
    printf("%lu\n", blocks);
    return 0;
}
