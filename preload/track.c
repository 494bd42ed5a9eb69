#include "track.h"

#include "raw_io.h"
#include "tag.h"

uint32_t ht_slow;
uint32_t ht_slow_free;
size_t ht_short_way_below = HT_SHORT_WAY_BELOW;
size_t ht_known_way_below;

/* Whoever changes the reasons last, in whatever order the threads run, leaves what fits them. */
static void follow_reasons(void)
{
    uint32_t seen;
    do {
        seen = __atomic_load_n(&ht_slow, __ATOMIC_SEQ_CST);
        __atomic_store_n(&ht_short_way_below, seen ? 0 : HT_SHORT_WAY_BELOW, __ATOMIC_SEQ_CST);
        __atomic_store_n(&ht_known_way_below, seen == HT_SLOW_ALLOCATOR ? HT_SEAL_KNOWN_BELOW : 0,
                         __ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&ht_slow, __ATOMIC_SEQ_CST) != seen);
}

void ht_slow_add(uint32_t reason)
{
    __atomic_fetch_or(&ht_slow, reason, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&ht_slow_free, reason & (HT_SLOW_ALLOCATOR | HT_SLOW_GUARDED),
                      __ATOMIC_RELAXED);
    follow_reasons();
}

bool ht_slow_remove(uint32_t reason)
{
    uint32_t before = __atomic_fetch_and(&ht_slow, ~reason, __ATOMIC_SEQ_CST);
    follow_reasons();
    return before & reason;
}

static void add(uint64_t *counter, uint64_t value)
{
    __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
}

void ht_track_stranger(void *p)
{
    add(&ht_oddities.foreign_frees, 1);
    size_t usable = ht_block_usable(p);
    if (usable - 1 < ht_largest_usable)
        add(&ht_oddities.foreign_bytes, usable);
}

/* The innermost scope of the calling thread, whatever it is busy with. */
static uint32_t open_scope(void)
{
    return ht_thread_has_scope(ht_self) ? ht_thread_tag() : 0;
}

/* Counts an allocation in a scope (0: none): in the thread's cells with its whole stack,
 * or, where the thread is busy, in the shared totals with the immediate return address. */
static uint32_t count_allocated(size_t size, ht_entry entry, uint32_t tag)
{
    struct ht_thread *thread = ht_self;
    uint32_t site;
    if (ht_is_counting(thread->busy) && ht_counting_is_over(thread, entry))
        ht_thread_mend(thread);
    if (thread->busy) {
        site = ht_site_fallback(ht_entry_pc(entry), tag);
        ht_count_shared(site, HT_ALLOCATED_BYTES, size);
        return site;
    }
    ht_track_begin(thread);
    site = ht_site_find(thread, entry, tag);
    ht_count(thread, site, HT_ALLOCATED_BYTES, size);
    ht_track_end(thread);
    return site;
}

static void count_freed(const struct ht_block *block)
{
    struct ht_thread *thread = ht_self;
    if (thread->busy) {
        ht_count_shared(block->site, HT_FREED_BYTES, block->size);
        return;
    }
    ht_track_begin(thread);
    ht_count(thread, block->site, HT_FREED_BYTES, block->size);
    ht_track_end(thread);
}

void ht_track_allocated(void *p, size_t size, ht_entry entry)
{
    size_t usable = ht_block_usable(p);
    if (usable >= size + HT_SEAL_SIZE)
        ht_seal_write_within(p, usable, size, count_allocated(size, entry, open_scope()));
}

bool ht_track_taken(void *p, struct ht_block *block)
{
    enum ht_seal_state state = ht_seal_read(p, block);
    if (state == HT_SEAL_FOREIGN)
        return false;
    if (state == HT_SEAL_OVERRUN)
        add(&ht_oddities.suspected_overruns, 1);
    *block->seal = 0;
    return true;
}

bool ht_track_freed(void *p)
{
    struct ht_block block;
    if (!ht_track_taken(p, &block))
        return false;
    count_freed(&block);
    return true;
}

void ht_track_put_back(void *p, const struct ht_block *block)
{
    ht_seal_write(p, block->size, block->site);
}

/* The explicit tag that a block carries, also while its stack waits to be unwound. The region that
 * it was allocated in is no property of the block: it was that allocation's. */
static uint32_t explicit_tag(uint32_t site)
{
    uint32_t scope = ht_site_is_provisional(site)
                         ? ht_provisional_tags[site - HT_PROVISIONAL_BASE] & ~HT_PROVISIONAL_USED
                         : ht_site_tag(site);
    return ht_scope_owner(scope);
}

uint32_t ht_track_scope_of_resized(uint32_t from)
{
    uint32_t scope = open_scope();
    return ht_scope_owner(scope) ? scope : ht_scope_with_owner(scope, explicit_tag(from));
}

void ht_track_gone(const struct ht_block *old)
{
    count_freed(old);
}

void ht_track_resized(const struct ht_block *old, void *p, size_t size, ht_entry entry)
{
    /* First: counted out, a provisional id may go to another capture. */
    uint32_t scope = ht_track_scope_of_resized(old->site);
    count_freed(old);
    size_t usable = ht_slow & HT_SLOW_DORMANT ? 0 : ht_block_usable(p);
    if (usable < size + HT_SEAL_SIZE)
        return;
    ht_seal_write_within(p, usable, size, count_allocated(size, entry, scope));
}

/* Whether any object, on the heap or not, can be looked at as if it were a block: only where the
 * usable size stands in front of it, and only if what would be read is there. */
static bool may_be_block(const void *p)
{
    uintptr_t address = (uintptr_t)p;
    if (!ht_real.chunk_layout_known || address % 16 || !ht_is_readable(address - 8))
        return false;
    size_t usable = ht_block_usable(p);
    return usable - HT_SEAL_SIZE <= ht_largest_usable &&
           ht_is_readable((address + usable - HT_SEAL_SIZE) & ~(uintptr_t)7);
}

void ht_track_adopted(uint32_t tag, const void *p)
{
    struct ht_block block;
    if (!may_be_block(p) || ht_seal_read((void *)p, &block) != HT_SEAL_VALID)
        return;
    uint32_t site = ht_site_is_provisional(block.site) || block.site < HT_TAGS
                        ? tag /* its stack is not known, or not yet: the tag alone is */
                        : ht_site_intern(ht_site_stack(block.site), tag);
    ht_count_move(block.site, site, block.size);
    ht_seal_write((void *)p, block.size, site);
}
