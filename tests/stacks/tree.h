/*
 * Thousands of stacks out of two functions that call themselves and each other: a walk goes left or
 * right at each of `depth` levels, by the bits of a number, and ends at an allocation. 2^depth
 * different stacks, all of one immediate caller.
 */
#ifndef TREE_H
#define TREE_H

#include <stddef.h>
#include <stdlib.h>

#if defined(__clang__)
#define OPAQUE __attribute__((noinline))
#else
#define OPAQUE __attribute__((noipa))
#endif
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

OPAQUE void *tree_left(unsigned bits, unsigned depth, size_t size);
OPAQUE void *tree_right(unsigned bits, unsigned depth, size_t size);

OPAQUE void *tree_leaf(size_t size)
{
    void *p = malloc(size);
    NO_TAIL_CALL();
    return p;
}

#define TREE_BODY(mark)                                                                            \
    void *p;                                                                                       \
    if (depth == 0)                                                                                \
        p = tree_leaf(size);                                                                       \
    else if (bits & 1)                                                                             \
        p = tree_right(bits >> 1, depth - 1, size);                                                \
    else                                                                                           \
        p = tree_left(bits >> 1, depth - 1, size);                                                 \
    __asm__ volatile("# " mark ::: "memory");                                                      \
    return p;

OPAQUE void *tree_left(unsigned bits, unsigned depth, size_t size){TREE_BODY("left")}

OPAQUE void *tree_right(unsigned bits, unsigned depth, size_t size)
{
    TREE_BODY("right")
}

#endif
