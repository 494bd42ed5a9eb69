/*
 * Sites: (stack, scope), the unit that is counted. A scope is an explicit tag, and a no-allocation
 * region where one is open (tag.h); it is 0 where neither is. Where it has no tag the monitor finds
 * one by rule or by default (tag_rules.h).
 *
 * Where the table, or the tables behind it, are full, the allocation is counted under its tag
 * alone, whose id is a site id too: pressure costs detail, never count.
 */
#ifndef HEAPTALLY_SITE_TABLE_H
#define HEAPTALLY_SITE_TABLE_H

#include "counters.h"
#include "frame_table.h"

extern struct ht_intern ht_sites; /* key: stack << 32 | tag */

/* The site of a stack (which may be HT_INTERN_FULL) and an explicit tag. Any thread, signal
 * handlers too; no lock, no system call. */
static inline uint32_t ht_site_intern(uint32_t stack, uint32_t tag)
{
    uint32_t site = HT_INTERN_FULL;
    if (stack != HT_INTERN_FULL)
        site = ht_intern(&ht_sites, (uint64_t)stack << 32 | tag, true);
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

/* The stack and the explicit tag of a site that is not provisional. */
static inline uint32_t ht_site_stack(uint32_t site)
{
    return site < HT_TAGS ? HT_STACK_TAG_ONLY : (uint32_t)(ht_intern_key(&ht_sites, site) >> 32);
}

static inline uint32_t ht_site_tag(uint32_t site)
{
    return site < HT_TAGS ? site : (uint32_t)ht_intern_key(&ht_sites, site);
}

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
