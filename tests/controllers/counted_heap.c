#include "counted_heap.h"

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

enum { SLOTS = 1 << 16 };

/* Live blocks by address, open addressing; a freed one leaves a grave, so that probing goes on. */
static struct slot {
    void *block;
    size_t size;
} slots[SLOTS];

static char grave;

struct counted_heap counted_heap = {.fail_after = -1};

static struct slot *find(const void *block)
{
    size_t i = (uintptr_t)block / 16 % SLOTS;
    while (slots[i].block && slots[i].block != block)
        i = (i + 1) % SLOTS;
    return &slots[i];
}

static void *note(void *block, size_t size)
{
    if (!block)
        return NULL;
    size_t i = (uintptr_t)block / 16 % SLOTS;
    while (slots[i].block && slots[i].block != &grave)
        i = (i + 1) % SLOTS;
    slots[i] = (struct slot){block, size};
    counted_heap.live_bytes += size;
    counted_heap.live_blocks++;
    counted_heap.allocated_bytes += size;
    counted_heap.allocated_blocks++;
    return block;
}

static void forget(void *block)
{
    struct slot *slot = find(block);
    ck_assert_msg(slot->block == block, "a block is freed that is not live");
    counted_heap.live_bytes -= slot->size;
    counted_heap.live_blocks--;
    slot->block = &grave;
}

static int fails(void)
{
    if (counted_heap.fail_after < 0)
        return 0;
    if (counted_heap.fail_after > 0) {
        counted_heap.fail_after--;
        return 0;
    }
    errno = ENOMEM;
    return 1;
}

void *counted_malloc(size_t size)
{
    return fails() ? NULL : note(malloc(size), size);
}

void *counted_calloc(size_t count, size_t size)
{
    return fails() ? NULL : note(calloc(count, size), count * size);
}

void *counted_realloc(void *block, size_t size)
{
    if (fails())
        return NULL;
    if (block)
        forget(block);
    return note(realloc(block, size), size);
}

void counted_free(void *block)
{
    if (block)
        forget(block);
    free(block);
}

void counted_heap_free_all(void)
{
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].block && slots[i].block != &grave)
            counted_free(slots[i].block);
}
