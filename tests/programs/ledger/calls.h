/*
 * Every way to get a block and every way to give it back, as two tables.
 *
 * A way to allocate belongs to a family; any release of the same family may end the block. Only
 * C_PLAIN and C_ALIGNED may be resized.
 */
#ifndef LEDGER_CALLS_H
#define LEDGER_CALLS_H

#include <cstddef>

enum call_family {
    C_PLAIN,         /* malloc and its like */
    C_ALIGNED,       /* memalign and its like */
    C_ALIGNED_ALLOC, /* aligned_alloc, which has a release of its own */
    NEW_ONE,
    NEW_ARRAY,
    NEW_ONE_ALIGNED,
    NEW_ARRAY_ALIGNED
};

struct allocate_call {
    const char *name;
    call_family family;
    bool zeroed;      /* the block's bytes are 0 */
    bool takes_align; /* the alignment asked for is honoured; else it is the way's own */
    size_t own_align; /* what the way promises by itself for blocks at least that large */
    void *(*allocate)(size_t size, size_t align); /* align: a power of two, at least 8 */
};

struct release_call {
    const char *name;
    call_family family;
    void (*release)(void *block, size_t size, size_t align); /* as given to allocate */
};

/* The tables; `*count` is set. With `pvalloc` false that way, which is the last, is left out: an
   allocator that has none would be handed a block of libc's. */
const allocate_call *allocate_calls(bool pvalloc, int *count);
const release_call *release_calls(int *count);

/*
 * Asks for a size that no allocator can give, in way number `n` of a few, and resizes `block` (one
 * that may be resized, or NULL) to such a size where the way is a resize. Returns true if the call
 * failed as it must (NULL, or bad_alloc, and errno ENOMEM counted in `*wrong_errno` if it is
 * another); `throwing` allows the ways that throw, which allocate the exception.
 */
bool refuse_huge(unsigned n, void *block, bool throwing, unsigned long *wrong_errno);

#endif
