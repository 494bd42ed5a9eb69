#include "track.h"

uint32_t ht_slow;

static void add(uint64_t *counter, uint64_t value)
{
    __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
}

void ht_track_stranger(void *p)
{
    struct ht_block block;
    if (ht_seal_read(p, &block) == HT_SEAL_OVERRUN) {
        add(&ht_oddities.suspected_overruns, 1);
        return;
    }
    add(&ht_oddities.foreign_frees, 1);
    size_t usable = ht_block_usable(p);
    if (usable - 1 < ht_largest_usable)
        add(&ht_oddities.foreign_bytes, usable);
}

/* The innermost scope of the calling thread, whatever it is busy with. */
static uint32_t open_tag(void)
{
    const struct ht_thread *thread = ht_self;
    return thread->busy <= HT_COUNTING ? thread->tag : 0;
}

void ht_track_allocated_shared(void *p, size_t size, ht_entry entry)
{
    uint32_t site = ht_site_fallback(ht_entry_pc(entry), open_tag());
    ht_count_shared(site, HT_ALLOCATED_BYTES, size);
    ht_seal_write(p, size, site);
}

bool ht_track_freed_shared(void *p)
{
    struct ht_block block;
    if (ht_seal_read(p, &block) != HT_SEAL_VALID)
        return false;
    *block.seal = 0;
    ht_count_shared(block.site, HT_FREED_BYTES, block.size);
    return true;
}

bool ht_track_taken(void *p, struct ht_block *block)
{
    if (ht_seal_read(p, block) != HT_SEAL_VALID)
        return false;
    *block->seal = 0;
    return true;
}

void ht_track_put_back(void *p, const struct ht_block *block)
{
    ht_seal_write(p, block->size, block->site);
}

/* The explicit tag that a block carries, also while its stack waits to be unwound. */
static uint32_t explicit_tag(uint32_t site)
{
    return ht_site_is_provisional(site) ? ht_provisional_tags[site - HT_PROVISIONAL_BASE]
                                        : ht_site_tag(site);
}

void ht_track_gone(const struct ht_block *old)
{
    struct ht_thread *thread = ht_self;
    if (thread->busy) {
        ht_count_shared(old->site, HT_FREED_BYTES, old->size);
        return;
    }
    ht_track_begin(thread);
    ht_count(thread, old->site, HT_FREED_BYTES, old->size);
    ht_track_end(thread);
}

void ht_track_resized(const struct ht_block *old, void *p, size_t size, ht_entry entry)
{
    ht_track_gone(old);
    if ((ht_slow & HT_SLOW_DORMANT) || ht_block_usable(p) < HT_SEAL_SIZE)
        return;
    struct ht_thread *thread = ht_self;
    uint32_t open = open_tag(), tag = open ? open : explicit_tag(old->site), site;
    if (thread->busy) {
        site = ht_site_fallback(ht_entry_pc(entry), tag);
        ht_count_shared(site, HT_ALLOCATED_BYTES, size);
    } else {
        ht_track_begin(thread);
        site = ht_site_find(thread, entry, tag);
        ht_count(thread, site, HT_ALLOCATED_BYTES, size);
        ht_track_end(thread);
    }
    ht_seal_write(p, size, site);
}

void ht_track_adopted(uint32_t tag, const void *p)
{
    struct ht_block block;
    if (ht_seal_read((void *)p, &block) != HT_SEAL_VALID)
        return;
    uint32_t site = ht_site_is_provisional(block.site)
                        ? tag /* its stack is not known yet: the tag alone is */
                        : ht_site_intern(ht_site_stack(block.site), tag);
    ht_count_move(block.site, site, block.size);
    ht_seal_write((void *)p, block.size, site);
}
