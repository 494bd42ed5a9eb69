#include "recurring.h"

#include <string.h>

#include "aggregate.h"
#include "frame_info.h"
#include "internal_heap.h"
#include "site_table.h"

/* Blocks by caller: open addressing in a table that is twice as large as there are callers. */
struct caller {
    uint64_t frame;  /* id + 1; 0: empty */
    uint64_t blocks; /* ever allocated */
};
static struct caller *table;
static uint32_t capacity; /* a power of two */

static uint32_t caller_of(uint32_t site)
{
    for (uint32_t stack = ht_site_stack(site); stack >= HT_STACK_ROOTS;
         stack = ht_stack_outer(stack)) {
        uint32_t frame = ht_stack_frame(stack);
        uint64_t info = __atomic_load_n(ht_intern_slot(&ht_frames, frame) + 2, __ATOMIC_ACQUIRE);
        if (HT_INFO_HAS_MODULE(info) && !(info & HT_INFO_RUNTIME))
            return frame;
    }
    return UINT32_MAX;
}

static struct caller *entry_of(uint32_t frame)
{
    uint32_t i = frame * 2654435761u;
    while (table[i & (capacity - 1)].frame && table[i & (capacity - 1)].frame != frame + 1)
        i++;
    return &table[i & (capacity - 1)];
}

/* The sites of a tag that blocks are counted under. */
static const struct ht_site_view *site_of(uint32_t i, uint32_t tag)
{
    uint32_t site = ht_sums.sites[i];
    const struct ht_site_view *view = ht_site_view_at(i);
    bool counts = view->canonical == site && !ht_site_is_provisional(site) && view->tag == tag &&
                  view->now.allocated_blocks > 0;
    return counts ? view : NULL;
}

static bool make_room(uint32_t callers)
{
    uint32_t needed = 64;
    while (needed < 2 * callers)
        needed *= 2;
    if (needed > capacity) {
        ht_heap_free(table);
        table = ht_heap_alloc(needed * sizeof *table, 16);
        capacity = table ? needed : 0;
    }
    if (table)
        memset(table, 0, capacity * sizeof *table);
    return table != NULL;
}

uint64_t ht_recurring_bytes(uint32_t tag)
{
    uint64_t live = ht_live_bytes(&ht_tag_view(tag)->now), once = 0;
    uint32_t sites = 0;
    for (uint32_t i = 0; i < ht_sums.site_count; i++)
        sites += site_of(i, tag) != NULL;
    if (!make_room(sites))
        return live;
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        const struct ht_site_view *view = site_of(i, tag);
        uint32_t frame = view ? caller_of(ht_sums.sites[i]) : UINT32_MAX;
        if (frame == UINT32_MAX)
            continue;
        struct caller *caller = entry_of(frame);
        caller->frame = frame + 1;
        caller->blocks += view->now.allocated_blocks;
    }
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        const struct ht_site_view *view = site_of(i, tag);
        uint32_t frame = view ? caller_of(ht_sums.sites[i]) : UINT32_MAX;
        if (frame != UINT32_MAX && entry_of(frame)->blocks == 1)
            once += ht_live_bytes(&view->now);
    }
    return live > once ? live - once : 0;
}
