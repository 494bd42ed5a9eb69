/*
 * A heap that counts, for tests of what the controllers' books say: in these tests the controllers
 * are compiled with malloc, calloc, realloc and free renamed to these. It counts requested bytes
 * and blocks by itself, so the books are held to something they have no part in. It can also be
 * told to fail. One thread.
 */
#ifndef TESTS_COUNTED_HEAP_H
#define TESTS_COUNTED_HEAP_H

#include <stddef.h>

struct counted_heap {
    size_t live_bytes, live_blocks;
    size_t allocated_bytes, allocated_blocks; /* a realloc is a new block */
    long fail_after;                          /* allocations that still succeed; -1: all */
};

extern struct counted_heap counted_heap;

/* As the C library's; fails with ENOMEM when told to. Freeing what is not live fails the test. */
void *counted_malloc(size_t size);
void *counted_calloc(size_t count, size_t size);
void *counted_realloc(void *block, size_t size);
void counted_free(void *block);

/* Frees every block that is still live, so that a test of a leak leaves none. */
void counted_heap_free_all(void);

#endif
