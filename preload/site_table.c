#include "site_table.h"

#include "capture_ring.h"
#include "internal_heap.h"
#include "tag.h"

struct ht_intern ht_sites = {
    .stride = 2,
    .segments = {{.base = 1, .size = 4096},
                 {.base = 1 + 4096, .size = 8192},
                 {.base = 1 + 4096 + 8192, .size = 32768},
                 {.base = 1 + 4096 + 8192 + 32768, .size = 131072}},
};
_Static_assert(HT_SITE_LIMIT < 1u << 20, "a site id fits the seal");

uint64_t *ht_site_keys[HT_INTERN_SEGMENTS];
static uint32_t end = HT_SITE_BASE; /* behind the last id that was given out */

uint32_t ht_sites_end(void)
{
    return __atomic_load_n(&end, __ATOMIC_ACQUIRE);
}

/* How many ranges of totals are laid for ids. */
static unsigned ranges_laid(void)
{
    const struct ht_total_range *range = ht_total_ranges + HT_RANGE_SITES;
    unsigned laid = 0;
    while (laid < HT_INTERN_SEGMENTS && __atomic_load_n(&range[laid].totals, __ATOMIC_ACQUIRE))
        laid++;
    return laid;
}

/* Lays a range: keys, then totals. False without memory. */
static bool lay_range(unsigned range)
{
    if (!ht_site_keys[range])
        ht_site_keys[range] = ht_heap_alloc_lasting(ht_total_ranges[HT_RANGE_SITES + range].size *
                                                    sizeof **ht_site_keys);
    return ht_site_keys[range] && ht_totals_lay(HT_RANGE_SITES + range);
}

/* Ids below have totals, if at least one range is laid. */
static uint32_t limit_of(unsigned ranges)
{
    const struct ht_total_range *last = &ht_total_ranges[HT_RANGE_SITES + ranges - 1];
    return last->base + last->size;
}

uint32_t ht_site_number(uint64_t *id, uint64_t key)
{
    unsigned laid = ranges_laid();
    uint32_t next = __atomic_load_n(&end, __ATOMIC_RELAXED);
    do
        if (laid == 0 || next >= limit_of(laid))
            return HT_INTERN_FULL;
    while (!__atomic_compare_exchange_n(&end, &next, next + 1, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED));
    __atomic_store_n(ht_site_key_place(next), key, __ATOMIC_RELEASE);
    uint64_t stands = 0;
    return __atomic_compare_exchange_n(id, &stands, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
               ? next
               : (uint32_t)stands;
}

uint32_t ht_site_canonical(uint32_t site)
{
    uint64_t key = ht_site_key(site);
    uint32_t slot = key ? ht_intern_first(&ht_sites, key) : HT_INTERN_FULL;
    if (slot == HT_INTERN_FULL)
        return 0;
    uint64_t *id = ht_intern_slot(&ht_sites, slot) + 1;
    uint32_t stands = (uint32_t)__atomic_load_n(id, __ATOMIC_ACQUIRE);
    if (stands == 0) /* who found the place may never come to number it */
        stands = ht_site_number(id, key);
    return stands != HT_INTERN_FULL ? stands : 0;
}

uint32_t ht_site_fallback(uintptr_t pc, uint32_t tag)
{
    if (ht_frame_is_in_doubt(pc))
        return tag;
    uint32_t frame = ht_frame_intern(pc);
    if (frame == HT_INTERN_FULL)
        return ht_site_intern(HT_INTERN_FULL, tag);
    return ht_site_intern(ht_stack_alone(HT_STACK_FALLBACK, frame), tag);
}

bool ht_site_exists(uint32_t site)
{
    if (!ht_sites.segments[0].slots)
        return false;
    if (site < HT_TAGS)
        return site == 0 || ht_tag(site);
    if (site < HT_SITE_BASE)
        return ht_provisional_tags[site - HT_PROVISIONAL_BASE] != 0;
    return site < ht_sites_end() && ht_site_key(site) != 0;
}

bool ht_site_begin(void)
{
    return ht_totals_lay(HT_RANGE_TAGS) && ht_totals_lay(HT_RANGE_PROVISIONAL) && lay_range(0) &&
           ht_intern_begin(&ht_frames) && ht_intern_begin(&ht_stacks) && ht_intern_begin(&ht_sites);
}

#define MANY_SITES 1500u /* of which a program has more that needs memory by the megabyte */

void ht_site_grow(void)
{
    uint32_t sites = ht_intern_used(&ht_sites);
    if (sites >= MANY_SITES)
        ht_heap_expect_much();
    ht_intern_grow(&ht_frames);
    ht_intern_grow(&ht_stacks);
    ht_intern_grow(&ht_sites);
    unsigned laid = ranges_laid();
    if (laid < HT_INTERN_SEGMENTS &&
        (laid == 0 ||
         limit_of(laid) - ht_sites_end() < ht_total_ranges[HT_RANGE_SITES + laid - 1].size / 2))
        lay_range(laid);
    ht_memo_rooms_grow(sites);
}
