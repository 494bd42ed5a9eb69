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
 *        32..63  bits 0..31 times an odd number (modulo 2^32), exclusive-or a hash of the
 *                address: whatever is written over its first byte changes all that it says. Where
 *                the slack is SLACK_ESCAPE it is another odd number, so that the shortest way need
 *                not ask
 *
 * A pointer without a valid seal was never ours (foreign). A program that writes a little past the
 * end of a block hits the low bytes first: then the upper half still tells, with the address, what
 * the lower half was; if that is a plausible seal, the block is counted out as it should be and
 * noted as overrun. Up to 3 bytes leave one that must agree; where all 4 differ, an upper half that
 * is common in other words is not believed. The seal is cleared when the block is freed, so that a
 * stale one is not met again at the same address.
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
#define HT_SITE_MASK    ((1u << HT_SITE_BITS) - 1)
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

#define HT_SEAL_FACTOR   0x9E3779B1u
#define HT_SEAL_INVERSE  0x0E8B2F51u
#define HT_ESCAPE_FACTOR 0x85EBCA6Bu
_Static_assert(HT_SEAL_FACTOR *HT_SEAL_INVERSE == 1u, "modulo 2^32");

/* What the address gives to a seal: a hash in the upper half. (Bits of the address itself are two
 * instructions less, but then strangers that hold the same word are taken for seals in clusters.)
 */
static inline uint64_t ht_seal_address(const void *p)
{
    return (uint64_t)(uintptr_t)p * UINT64_C(0x9E3779B97F4A7C15) >> 32 << 32;
}

/* Content in the lower half, content times `factor` in the upper: one multiplication. */
static inline uint64_t ht_seal_spread(uint32_t content, uint32_t factor)
{
    return content * ((uint64_t)factor << 32 | 1);
}

/* The seal of a block at `p`, whatever multiple it stands at. */
static inline uint64_t ht_seal_make(const void *p, uint32_t site, size_t slack)
{
    uint32_t content = site | (uint32_t)slack << HT_SITE_BITS;
    uint32_t factor = slack == HT_SLACK_ESCAPE ? HT_ESCAPE_FACTOR : HT_SEAL_FACTOR;
    return ht_seal_spread(content, factor) ^ ht_seal_address(p);
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
    if (ht_block_is_own(p) || ht_real.sizes_unknown)
        return 0;
    return ht_real.malloc_usable_size((void *)p) &
           ~(size_t)7; /* a seal stands at a multiple of 8 */
}

/* Blocks up to this size have a usable size that needs no note. */
#define HT_SEAL_SMALL 61440u
_Static_assert(HT_SEAL_SMALL + HT_SLACK_ESCAPE <= 65536, "see ht_largest_usable");

/* What to ask the allocator for so that the seal fits. A size so large that it cannot grow is
 * passed on as it is: it fails by itself, and how is the allocator's business. */
static inline size_t ht_seal_padded(size_t size)
{
    /* Some allocators state exactly what they were asked for. */
    size_t more = HT_SEAL_SIZE + (ht_real.chunk_layout_known ? 0 : -size % 8);
    return size > PTRDIFF_MAX - more ? size : size + more;
}

/* Seals the block at `p`, for which the allocator was asked ht_seal_padded(size) bytes. Returns
 * `p`.
 */
void *ht_seal_write(void *p, size_t size, uint32_t site);

/* The same by the shortest way, for a size up to HT_SEAL_SMALL and with glibc beneath. */
static inline void *ht_seal_write_fast(void *p, size_t size, uint32_t site)
{
    size_t word = ((const size_t *)p)[-1], to_seal = (word & ~(size_t)7) - 16;
    size_t slack = to_seal + HT_SEAL_SIZE - size;
    if (__builtin_expect((word & 2) || slack >= HT_SLACK_ESCAPE, 0))
        return ht_seal_write(p, size, site);
    *(uint64_t *)((char *)p + to_seal) =
        ht_seal_spread(site | (uint32_t)slack << HT_SITE_BITS, HT_SEAL_FACTOR) ^ ht_seal_address(p);
    return p;
}

/* Reads the seal of any pointer that the program hands in as a block. The outputs are valid unless
 * the result is HT_SEAL_FOREIGN. */
enum ht_seal_state ht_seal_read(void *p, struct ht_block *block);

/* The same for a small block of glibc's that has a valid seal; false for all others. */
static inline bool ht_seal_read_fast(void *p, struct ht_block *block)
{
    size_t word = ((const size_t *)p)[-1], to_seal = (word & ~(size_t)7) - 16;
    if (__builtin_expect((word & 2) || to_seal > HT_SEAL_SMALL, 0))
        return false;
    uint64_t *seal = (uint64_t *)((char *)p + to_seal);
    uint64_t said = *seal ^ ht_seal_address(p);
    uint32_t content = (uint32_t)said;
    if (__builtin_expect(said != ht_seal_spread(content, HT_SEAL_FACTOR), 0))
        return false;
    block->seal = seal;
    block->site = content & HT_SITE_MASK;
    block->size = to_seal + HT_SEAL_SIZE - (content >> HT_SITE_BITS);
    return true;
}

/* What malloc_usable_size may tell the program: everything but what the seal needs. */
static inline size_t ht_seal_usable(const struct ht_block *block, const void *p)
{
    size_t to_seal = (size_t)((char *)block->seal - (const char *)p);
    return to_seal + HT_SEAL_SIZE - block->size >= HT_SLACK_ESCAPE ? to_seal - 8 : to_seal;
}

#endif
