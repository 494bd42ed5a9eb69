/*
 * Where the stacks that a thread remembers lie (stack_cache.h): a ring of records, and the tree
 * that leads to them.
 *
 * A thread begins with some room in the block of its own state. That holds the stacks of a control
 * loop many times over, but not those of a compiler or an interpreter: in a program of many call
 * sites, a thread that has written over its ring more than once gets a larger room, and then one
 * that is larger still. Since no thread of the program may ask for memory, the monitor lays it; the
 * thread moves there when it writes its next record. What it leaves in the old room stays as it is,
 * and the quick index goes on leading there.
 *
 * Places of records are told in words from the start of the thread's state, in 32 bits.
 */
#ifndef HEAPTALLY_MEMO_ROOM_H
#define HEAPTALLY_MEMO_ROOM_H

#include <stddef.h>
#include <stdint.h>

struct ht_memo_room {
    uint32_t words;                               /* length of the ring */
    uint32_t tree_bits;                           /* the tree has 2^this places */
    uint64_t ring[] __attribute__((aligned(64))); /* and behind it the tree; read 64 bytes at a
                                                     time */
};

/* What the ring and the tree take. */
static inline size_t ht_memo_room_bytes(uint32_t words, uint32_t tree_bits)
{
    return words * sizeof(uint64_t) + (sizeof(int32_t) << tree_bits);
}

static inline int32_t *ht_memo_tree(struct ht_memo_room *room)
{
    return (int32_t *)(room->ring + room->words);
}

/* In a program of so many sites: lays larger rooms where they are needed. Monitor only. */
void ht_memo_rooms_grow(uint32_t sites);

#endif
