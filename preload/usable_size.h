/*
 * Usable sizes that need not be asked of an allocator other than glibc's: asking takes it longer
 * than all that heaptally does for a block.
 *
 *   by request  what the allocator makes of so many bytes, where that never varies. Certain: learnt
 *               from what it said of a block, and only where nallocx promises the same
 *   by page     what the block had that was last asked about on this page of memory. A guess: most
 *               pages hold blocks of one size, until they are put to another use. Also, pages that
 *               lie a multiple of HT_GUESSES apart share one
 *
 * So a seal is written where the block ends, for certain, and looked for where it may end: one that
 * stands there, is this block's (block_seal.h). Where none is, the allocator is asked, as it is
 * wherever what is to be read would not lie on the page on which the block begins: of other memory
 * nobody knows whether it is there.
 *
 * Any thread reads and writes both, single words.
 */
#ifndef HEAPTALLY_USABLE_SIZE_H
#define HEAPTALLY_USABLE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"

#define HT_GUESS_PAGE 4096u
#define HT_GUESS_UNIT 16u
#define HT_GUESSES    (1u << 16)

/* Requests that are multiples of 8 up to here may be known. */
#define HT_USABLE_REQUEST 10240u

/* A known block has fewer usable bytes than this beyond its request: no seal needs an escape. */
#define HT_USABLE_SURPLUS 2048u

/* By request / 8: usable bytes, or 0 where the allocator must be asked. */
extern uint16_t ht_usable_by_request[HT_USABLE_REQUEST / 8 + 1] HT_HIDDEN;

/* By page: the usable bytes are a page less so many units. 0 at first. NULL until it is laid, which
 * only programs over such an allocator have use for. */
extern uint8_t *ht_usable_by_page HT_HIDDEN;

/* Lays that. False without memory: then nothing may be guessed. Once, while there is one thread. */
bool ht_usable_begin(void);

/* Asks the allocator how much it gave at `p` for `request` bytes, down to a multiple of 8. */
size_t ht_usable_learn(void *p, size_t request);

/* The allocator says that the block at `p` has `usable` bytes, or others on its page have. */
void ht_usable_note(const void *p, size_t usable);

/* Whether a guess may be tried for the block at `p`, and then how many bytes it may have: so many
 * from `p` on end on the page of `p`. Not at a multiple of 4 GB: there a word of zeros is a seal.
 */
static inline bool ht_usable_guess(const void *p, size_t *usable)
{
    const uint8_t *noted = &ht_usable_by_page[(uintptr_t)p / HT_GUESS_PAGE % HT_GUESSES];
    size_t less = (size_t)HT_GUESS_UNIT * __atomic_load_n(noted, __ATOMIC_RELAXED);
    *usable = HT_GUESS_PAGE - less;
    return (uintptr_t)p % HT_GUESS_PAGE <= less && (uint32_t)(uintptr_t)p;
}

#endif
