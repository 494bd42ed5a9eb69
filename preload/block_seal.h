/*
 * The seal: 8 bytes in the last word of a block's usable space that say to which site the block
 * belongs and how many bytes the program asked for. It needs no table and no lock, and the pointer
 * that the program gets is the allocator's own.
 *
 *   p                    p + size                     p + usable - 8
 *   | what was asked for | slack                      | seal |
 *
 *   bits  0..19  site id
 *        20..31  slack = usable - size; SLACK_ESCAPE: the size stands in the word before the seal
 *        32..47  check of the address and of bits 0..31
 *        48..63  check of the address alone
 *
 * A pointer without a valid seal was never ours (foreign). Where the address check holds and the
 * other does not, the block was ours and the program wrote past its end: a short overrun hits the
 * low bytes first. The seal is cleared when the block is freed, so that a stale one is not met
 * again at the same address.
 *
 * Before the seal of an unknown pointer is read, the size that the allocator states must be
 * plausible: with a smashed heap the read itself must not be what kills the program.
 */
#ifndef HEAPTALLY_BLOCK_SEAL_H
#define HEAPTALLY_BLOCK_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "real_alloc.h"

#define HT_SEAL_SIZE    8u
#define HT_SITE_BITS    20
#define HT_SLACK_ESCAPE 4095u

/* The largest usable size of any block sealed so far, at least 64 KB: what a stated size must not
 * pass to be believed. Written rarely. */
extern _Atomic size_t ht_largest_usable;

enum ht_seal_state { HT_SEAL_VALID, HT_SEAL_FOREIGN, HT_SEAL_OVERRUN };

struct ht_block {
    uint64_t *seal; /* where the seal stands */
    size_t size;    /* what the program asked for */
    uint32_t site;
};

static inline uint64_t ht_seal_hash(uintptr_t p)
{
    return (uint64_t)p * UINT64_C(0x9E3779B97F4A7C15);
}

static inline uint32_t ht_seal_check(uint64_t hash, uint32_t content)
{
    return (uint32_t)(hash >> 32) ^ ((content ^ content >> 16) & 0xffff);
}

/* Whether a block is of heaptally's own memory: its heap or the bootstrap arena. */
bool ht_block_is_own(const void *p);

/* The usable size of any block of the allocator beneath; 0 for one of heaptally's own, which that
 * allocator must never see. */
static inline size_t ht_block_usable(const void *p)
{
    if (__builtin_expect(ht_real.chunk_layout_known, 1)) {
        size_t word = ((const size_t *)p)[-1];
        return (word & ~(size_t)7) - (word & 2 ? 16 : 8);
    }
    return ht_block_is_own(p) ? 0 : ht_real.malloc_usable_size((void *)p);
}

void ht_seal_note_large(size_t usable);

/* Seals the block at `p`, for which the allocator was asked `size` + HT_SEAL_SIZE bytes. */
static inline void ht_seal_write(void *p, size_t size, uint32_t site)
{
    size_t usable = ht_block_usable(p), slack = usable - size;
    uint64_t *seal = (uint64_t *)((char *)p + usable - HT_SEAL_SIZE);
    if (__builtin_expect(slack >= HT_SLACK_ESCAPE, 0)) {
        slack = HT_SLACK_ESCAPE;
        seal[-1] = size;
    }
    if (__builtin_expect(usable > 65536, 0))
        ht_seal_note_large(usable);
    uint32_t content = site | (uint32_t)slack << HT_SITE_BITS;
    *seal = content | (uint64_t)ht_seal_check(ht_seal_hash((uintptr_t)p), content) << 32;
}

/* Reads the seal of any pointer that the program hands in as a block. */
static inline enum ht_seal_state ht_seal_read(void *p, struct ht_block *block)
{
    size_t usable = ht_block_usable(p);
    /* One comparison for three doubts: too small (wraps round), too large, not a multiple of 8. */
    if (__builtin_expect(usable - HT_SEAL_SIZE > ht_largest_usable || usable % 8, 0))
        return HT_SEAL_FOREIGN;
    uint64_t *seal = (uint64_t *)((char *)p + usable - HT_SEAL_SIZE);
    uint32_t content = (uint32_t)*seal, check = (uint32_t)(*seal >> 32);
    uint64_t hash = ht_seal_hash((uintptr_t)p);
    if (__builtin_expect(check != ht_seal_check(hash, content), 0))
        return check >> 16 == hash >> 48 ? HT_SEAL_OVERRUN : HT_SEAL_FOREIGN;
    uint32_t slack = content >> HT_SITE_BITS;
    block->seal = seal;
    block->site = content & ((1u << HT_SITE_BITS) - 1);
    block->size = __builtin_expect(slack == HT_SLACK_ESCAPE, 0) ? seal[-1] : usable - slack;
    return HT_SEAL_VALID;
}

/* What malloc_usable_size may tell the program: everything but what the seal needs. */
static inline size_t ht_seal_usable(const struct ht_block *block, const void *p)
{
    size_t to_seal = (size_t)((char *)block->seal - (const char *)p);
    return to_seal + HT_SEAL_SIZE - block->size >= HT_SLACK_ESCAPE ? to_seal - 8 : to_seal;
}

#endif
