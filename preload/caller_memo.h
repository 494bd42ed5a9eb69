/*
 * Sites by the immediate return address and the open scope alone: what a thread remembers while
 * nobody would answer captures (stack_cache.h). Wherever on the stack an allocation comes from, it
 * is found by one look: a program that has only just begun allocates at many depths, and a record
 * for each would not stay in the processor's caches.
 *
 *   key    HT_MEMO_MARK | generation << 47 | return address, exclusive-or the tag's
 *          (ht_memo_tag_key): no two of them are the same; 0 where nothing is
 *   site
 *
 * A key has a line of the cache where it may stand, together with three others.
 *
 * Owned by the thread, which is HT_COUNTING when it reads or writes: so no signal handler comes
 * between the two words. Any thread may empty a key.
 */
#ifndef HEAPTALLY_CALLER_MEMO_H
#define HEAPTALLY_CALLER_MEMO_H

#include "arch.h"

#define HT_CALLER_BITS 4 /* of the place of a line */
#define HT_CALLER_WAYS 4

struct ht_caller {
    uint64_t key;
    uint32_t site;
};

struct ht_caller_line {
    struct ht_caller ways[HT_CALLER_WAYS];
} __attribute__((aligned(64)));

/* `mark`: ht_memo_mark. */
static inline uint64_t ht_caller_key(ht_entry entry, uint64_t tag_key, uint64_t mark)
{
    return mark ^ tag_key ^ ht_entry_pc(entry);
}

static inline struct ht_caller_line *ht_caller_line(struct ht_caller_line *lines, uint64_t key)
{
    return &lines[(uint32_t)key * 0x9E3779B1u >> (32 - HT_CALLER_BITS)];
}

#endif
