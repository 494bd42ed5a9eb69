/*
 * Sites: (stack, scope), the unit that is counted. A scope is an explicit tag, and a no-allocation
 * region where one is open (tag.h); it is 0 where neither is. Where it has no tag the monitor finds
 * one by rule or by default (tag_rules.h).
 *
 * The sites of a program have ids in the order in which they come up: see counters.h for what that
 * is good for. The table leads from (stack, scope) to the id, and keys by id back to what it is of.
 * Whoever finds one without an id in the table gives it the next; where two do so at a time, the id
 * of one of them stands, and that of the other is of a site at which nothing was counted.
 *
 * Where the table, or the tables behind it, are full, the allocation is counted under its tag
 * alone, whose id is a site id too: pressure costs detail, never count.
 */
#ifndef HEAPTALLY_SITE_TABLE_H
#define HEAPTALLY_SITE_TABLE_H

#include "counters.h"
#include "frame_table.h"

extern struct ht_intern ht_sites; /* key: stack << 32 | scope; then the id of the site, or 0 */

/* Gives a site of the table an id, which is written to `id`, unless it has one by now.
 * HT_INTERN_FULL where there is none left, or none until the monitor lays more. Any thread, signal
 * handlers too. */
uint32_t ht_site_number(uint64_t *id, uint64_t key);

/* The site of a stack (which may be HT_INTERN_FULL) and an explicit tag. Any thread, signal
 * handlers too; no lock, no system call. */
static inline uint32_t ht_site_intern(uint32_t stack, uint32_t tag)
{
    uint64_t key = (uint64_t)stack << 32 | tag;
    uint32_t site = HT_INTERN_FULL;
    uint32_t slot = stack != HT_INTERN_FULL ? ht_intern(&ht_sites, key, true) : HT_INTERN_FULL;
    if (slot != HT_INTERN_FULL) {
        uint64_t *id = ht_intern_slot(&ht_sites, slot) + 1;
        site = (uint32_t)__atomic_load_n(id, __ATOMIC_ACQUIRE);
        if (site == 0)
            site = ht_site_number(id, key);
    }
    if (site == HT_INTERN_FULL) {
        __atomic_fetch_add(&ht_oddities.truncated, 1, __ATOMIC_RELAXED);
        site = tag;
    }
    return site;
}

static inline bool ht_site_is_provisional(uint32_t site)
{
    return site >= HT_PROVISIONAL_BASE && site < HT_SITE_BASE;
}

/* The keys of sites by id: one array for each range of their totals, laid before it. */
extern uint64_t *ht_site_keys[HT_INTERN_SEGMENTS];

/* What a site is of, as the table has it; 0 for a moment after its id was given out. */
static inline uint64_t *ht_site_key_place(uint32_t site)
{
    const struct ht_total_range *range = ht_total_ranges + HT_RANGE_SITES;
    unsigned r = 0;
    while (site - range[r].base >= range[r].size)
        r++;
    return &ht_site_keys[r][site - range[r].base];
}

static inline uint64_t ht_site_key(uint32_t site)
{
    return __atomic_load_n(ht_site_key_place(site), __ATOMIC_ACQUIRE);
}

/* The stack and the explicit tag of a site that is not provisional. */
static inline uint32_t ht_site_stack(uint32_t site)
{
    return site < HT_TAGS ? HT_STACK_TAG_ONLY : (uint32_t)(ht_site_key(site) >> 32);
}

static inline uint32_t ht_site_tag(uint32_t site)
{
    return site < HT_TAGS ? site : (uint32_t)ht_site_key(site);
}

/* Behind the last id of a (stack, scope) that was given out. */
uint32_t ht_sites_end(void);

/* Of the ids of one (stack, scope) that which stands for all. 0 where it is too early to tell. */
uint32_t ht_site_canonical(uint32_t site);

/* Whether an id, read from memory that the program may have overwritten, is a site's. */
bool ht_site_exists(uint32_t site);

/* The site of an allocation of which only the immediate return address is looked at; its tag alone
 * where even that is in doubt (frame_table.h). */
uint32_t ht_site_fallback(uintptr_t pc, uint32_t tag);

/* Lays the first segments of frames, stacks, sites and their totals. False without memory. */
bool ht_site_begin(void);

/* Lays further segments where the last ones fill up, and room for threads to remember the sites.
 * Monitor only. */
void ht_site_grow(void);

#endif
