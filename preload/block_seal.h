/*
 * The seal: 8 bytes in the last word of a block's usable space that say to which site the block
 * belongs and how many bytes the program asked for. It needs no table and no lock, and the pointer
 * that the program gets is the allocator's own.
 *
 *   p                    p + size                     p + usable - 8
 *   | what was asked for | slack                      | seal |
 *
 *   bits  0..19  site id
 *        20..31  what the block takes beyond its size, usable + 8 - size (with glibc: its chunk
 *                less its size); HT_EXCESS_ESCAPE: the size stands in the word before the seal
 *        32..63  bits 0..31 times an odd number (modulo 2^32), exclusive-or the address's: whatever
 *                is written over the first byte changes all that it says. Where the excess is
 *                HT_EXCESS_ESCAPE another number takes the place of the first, so that the
 *                shortest way need not ask
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

#include "internal_heap.h"
#include "real_alloc.h"
#include "usable_size.h"

#define HT_SEAL_SIZE     8u
#define HT_SITE_BITS     20
#define HT_SITE_MASK     ((1u << HT_SITE_BITS) - 1)
#define HT_EXCESS_ESCAPE 4095u

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

/* The halves of a seal. They are written and read one by one, which saves putting them together. */
struct ht_seal {
    uint32_t content, check;
} __attribute__((may_alias));

/* The upper half of the seal of a block at `p`. One and the same word is a seal at one address in
 * 4 GB at most. */
static inline uint32_t ht_seal_check(const void *p, uint32_t content, uint32_t factor)
{
    return content * factor ^ (uint32_t)(uintptr_t)p;
}

/* The content to which an upper half belongs, but for an escape. */
static inline uint32_t ht_seal_content(const void *p, uint32_t check)
{
    return (check ^ (uint32_t)(uintptr_t)p) * HT_SEAL_INVERSE;
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
    if (ht_real.sizes_unknown || (ht_heap_may_own(p) && ht_block_is_own(p)))
        return 0;
    return ht_real.malloc_usable_size((void *)p) &
           ~(size_t)7; /* a seal stands at a multiple of 8 */
}

/* Up to here a usable size needs no note, and always has one that short by glibc's rules. */
#define HT_SEAL_USUAL 65536u
#define HT_SEAL_SMALL 61440u
_Static_assert(HT_SEAL_SMALL + HT_EXCESS_ESCAPE <= HT_SEAL_USUAL, "see ht_largest_usable");

/* In the word in front of a block of glibc's: not a small chunk of an arena. */
#define HT_CHUNK_UNUSUAL (~(size_t)0xffff | 2)
#define HT_CHUNK_SIZE    (~(size_t)7)

/* What to ask another allocator than glibc's for: some state exactly what they were asked for. Not
 * for sizes near the largest. */
static inline size_t ht_seal_padded_other(size_t size)
{
    return (size + HT_SEAL_SIZE + 7) & ~(size_t)7;
}

/* What to ask the allocator for so that the seal fits. A size so large that it cannot grow is
 * passed on as it is: it fails by itself, and how is the allocator's business. */
static inline size_t ht_seal_padded(size_t size)
{
    if (size > PTRDIFF_MAX - 2 * HT_SEAL_SIZE + 1)
        return size;
    return ht_real.chunk_layout_known ? size + HT_SEAL_SIZE : ht_seal_padded_other(size);
}

/* Seals the block at `p`, for which the allocator was asked ht_seal_padded(size) bytes. Returns
 * `p`.
 */
void *ht_seal_write(void *p, size_t size, uint32_t site);

/* The same for a caller that has asked for its usable bytes, which may take the allocator long. */
void *ht_seal_write_within(void *p, size_t usable, size_t size, uint32_t site);

/* The same where it is a seal without escape. `chunk` is usable + 8, `less` is size - chunk:
 * negative, and in the place of the size, which saves an instruction. */
static inline void *ht_seal_put(void *p, size_t chunk, size_t less, uint32_t site)
{
    struct ht_seal *seal = (struct ht_seal *)((char *)p + chunk) - 2;
    uint32_t content = site - ((uint32_t)less << HT_SITE_BITS);
    seal->content = content;
    seal->check = ht_seal_check(p, content, HT_SEAL_FACTOR);
    return p;
}

/* The same by the shortest way, where that is one. `chunk` is usable + 8. */
static inline void *ht_seal_write_at(void *p, size_t chunk, size_t size, uint32_t site)
{
    size_t excess = size - chunk;
    __asm__("" : "+r"(excess));
    if (__builtin_expect(excess <= -(size_t)HT_EXCESS_ESCAPE, 0))
        return ht_seal_write_within(p, chunk - HT_SEAL_SIZE, chunk + excess, site);
    return ht_seal_put(p, chunk, excess, site);
}

/* The same for a size up to HT_SEAL_SMALL and with glibc beneath. */
static inline void *ht_seal_write_fast(void *p, size_t size, uint32_t site)
{
    size_t word = ((const size_t *)p)[-1];
    if (__builtin_expect((word & HT_CHUNK_UNUSUAL) != 0, 0))
        return ht_seal_write(p, size, site);
    __asm__("" : "+r"(word)); /* tested: what follows may overwrite it */
    return ht_seal_write_at(p, word & HT_CHUNK_SIZE, size, site);
}

/* The same with another allocator beneath, which has said how many bytes are usable: `size` and
 * those of the seal at least. */
static inline void *ht_seal_write_other(void *p, size_t usable, size_t size, uint32_t site)
{
    if (__builtin_expect(usable > HT_SEAL_USUAL, 0))
        return ht_seal_write_within(p, usable, size, site);
    return ht_seal_write_at(p, usable + HT_SEAL_SIZE, size, site);
}

/* The sizes below which the usable size may be known by request: see ht_seal_put. */
#define HT_SEAL_KNOWN_BELOW (HT_USABLE_REQUEST - HT_SEAL_SIZE + 1)
_Static_assert(HT_USABLE_SURPLUS + 3 * HT_SEAL_SIZE < HT_EXCESS_ESCAPE, "no escape");

/* The usable size of a block for which ht_seal_padded_other(size) bytes were asked, below
 * HT_SEAL_KNOWN_BELOW; 0 where it is not known. */
static inline size_t ht_seal_known(size_t size)
{
    return __atomic_load_n(&ht_usable_by_request[ht_seal_padded_other(size) / 8], __ATOMIC_RELAXED);
}

/* Reads the seal of any pointer that the program hands in as a block. The outputs are valid unless
 * the result is HT_SEAL_FOREIGN. */
enum ht_seal_state ht_seal_read(void *p, struct ht_block *block);

/* The same by the shortest way, of a block whose usable bytes are `chunk` - 8; false where it has
 * no valid seal, or has its size in the word before. */
static inline bool ht_seal_read_at(void *p, size_t chunk, struct ht_block *block)
{
    struct ht_seal *seal = (struct ht_seal *)((char *)p + chunk) - 2;
    uint32_t content = seal->content;
    /* ht_seal_check turned round: clang then needs no copy of an address. */
    if (__builtin_expect((content * HT_SEAL_FACTOR ^ seal->check) != (uint32_t)(uintptr_t)p, 0))
        return false;
    block->seal = (uint64_t *)seal;
    block->site = content & HT_SITE_MASK;
    block->size = chunk - (content >> HT_SITE_BITS);
    return true;
}

/* The same for a small block of glibc's; false for all others. */
static inline bool ht_seal_read_fast(void *p, struct ht_block *block)
{
    size_t word = ((const size_t *)p)[-1];
    if (__builtin_expect((word & HT_CHUNK_UNUSUAL) != 0, 0))
        return false;
    __asm__("" : "+r"(word)); /* as in ht_seal_write_fast */
    return ht_seal_read_at(p, word & HT_CHUNK_SIZE, block);
}

/* The same for a small block of another allocator that says it has `usable` bytes; false for all
 * others. */
static inline bool ht_seal_read_other(void *p, size_t usable, struct ht_block *block)
{
    usable &= ~(size_t)7; /* as in ht_block_usable */
    if (__builtin_expect(usable - HT_SEAL_SIZE > HT_SEAL_USUAL - HT_SEAL_SIZE, 0))
        return false;
    return ht_seal_read_at(p, usable + HT_SEAL_SIZE, block);
}

/* The same of a block of another allocator that may have as many bytes as others on its page; false
 * where they do not end on this, or its seal is not there. */
static inline bool ht_seal_read_guessed(void *p, struct ht_block *block)
{
    size_t usable;
    return __builtin_expect(ht_usable_guess(p, &usable), 1) &&
           ht_seal_read_at(p, usable + HT_SEAL_SIZE, block);
}

/* The same for any small block of another allocator, which is asked; the next guess is better. Not
 * for memory of heaptally's own. */
static inline bool ht_seal_read_asked(void *p, struct ht_block *block)
{
    size_t usable = ht_real.malloc_usable_size(p);
    if (!ht_seal_read_other(p, usable, block))
        return false;
    ht_usable_note(p, usable);
    return true;
}

/* What malloc_usable_size may tell the program: everything but what the seal needs. */
static inline size_t ht_seal_usable(const struct ht_block *block, const void *p)
{
    size_t to_seal = (size_t)((char *)block->seal - (const char *)p);
    return to_seal + 2 * HT_SEAL_SIZE - block->size >= HT_EXCESS_ESCAPE ? to_seal - 8 : to_seal;
}

#endif
