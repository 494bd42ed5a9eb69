#include "block_seal.h"

#include "internal_heap.h"
#include "site_table.h"

/* More excess than this is rare below an overrun, and common in foreign words. */
#define HT_LIKELY_EXCESS 72u

_Atomic size_t ht_largest_usable = HT_SEAL_USUAL;

static void note_large(size_t usable)
{
    size_t largest = ht_largest_usable;
    while (usable > largest &&
           !__atomic_compare_exchange_n((size_t *)&ht_largest_usable, &largest, usable, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static uint32_t factor_of(uint32_t content)
{
    return content >> HT_SITE_BITS == HT_EXCESS_ESCAPE ? HT_ESCAPE_FACTOR : HT_SEAL_FACTOR;
}

void *ht_seal_write(void *p, size_t size, uint32_t site)
{
    return ht_seal_write_within(p, ht_block_usable(p), size, site);
}

void *ht_seal_write_within(void *p, size_t usable, size_t size, uint32_t site)
{
    size_t excess = usable + HT_SEAL_SIZE - size;
    uint64_t *word = (uint64_t *)((char *)p + usable - HT_SEAL_SIZE);
    if (excess >= HT_EXCESS_ESCAPE) {
        excess = HT_EXCESS_ESCAPE;
        word[-1] = size;
    }
    if (usable > HT_SEAL_USUAL)
        note_large(usable);
    struct ht_seal *seal = (struct ht_seal *)word;
    seal->content = site | (uint32_t)excess << HT_SITE_BITS;
    seal->check = ht_seal_check(p, seal->content, factor_of(seal->content));
    return p;
}

/* What a seal says if its content is `content`; false if that cannot be. */
static bool interpret(uint32_t content, uint64_t *seal, size_t usable, struct ht_block *block)
{
    uint32_t excess = content >> HT_SITE_BITS;
    block->seal = seal;
    block->site = content & HT_SITE_MASK;
    block->size = excess == HT_EXCESS_ESCAPE ? seal[-1] : usable + HT_SEAL_SIZE - excess;
    return excess >= 2 * HT_SEAL_SIZE && block->size <= usable - HT_SEAL_SIZE &&
           ht_site_exists(block->site);
}

/* Whether the upper half of a word is what it is in most words that were never seals: in zeros,
 * addresses, counts and their negatives. A seal has such a one once in 30,000 times. */
static bool is_common(uint32_t upper)
{
    return upper >> 16 == 0 || upper >> 16 == 0xffff;
}

enum ht_seal_state ht_seal_read(void *p, struct ht_block *block)
{
    size_t usable = ht_block_usable(p);
    /* One comparison for two doubts: too small (it wraps round) and too large. */
    if (usable - HT_SEAL_SIZE > ht_largest_usable || usable % 8)
        return HT_SEAL_FOREIGN;
    uint64_t *word = (uint64_t *)((char *)p + usable - HT_SEAL_SIZE);
    const struct ht_seal *seal = (const struct ht_seal *)word;
    uint32_t content = seal->content;
    if (seal->check == ht_seal_check(p, content, factor_of(content)))
        return interpret(content, word, usable, block) ? HT_SEAL_VALID : HT_SEAL_FOREIGN;
    /* Only the upper half may be whole: what it says must make sense, since any word says
     * something. */
    uint32_t true_content = ht_seal_content(p, seal->check);
    bool small_excess = true_content >> HT_SITE_BITS <= HT_LIKELY_EXCESS;
    bool byte_whole = (content ^ true_content) >> 24 == 0;
    if (!small_excess || (is_common(seal->check) && !byte_whole))
        return HT_SEAL_FOREIGN;
    return interpret(true_content, word, usable, block) ? HT_SEAL_OVERRUN : HT_SEAL_FOREIGN;
}

bool ht_block_is_own(const void *p)
{
    return ht_bootstrap_owns(p) || ht_heap_owns(p);
}
