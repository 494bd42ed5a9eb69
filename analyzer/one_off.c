/*
 * Sites of a tag are added up by caller; callers with one block ever, still live, are one-off.
 */
#include "one_off.h"

#include <stdlib.h>

#include "text.h"

struct caller {
    struct ht_frame frame; /* key; without padding */
    uint64_t allocated_blocks, live_bytes, live_blocks;
    UT_hash_handle hh;
};

/* The innermost frame in a module that is no runtime; NULL where there is none. */
static const struct ht_frame *caller_frame(const struct ht_stack *stack)
{
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct ht_frame *frame = &stack->frames[i];
        if (frame->module && !(frame->module->flags & HTL_MODULE_RUNTIME))
            return frame;
    }
    return NULL;
}

static void add_site(struct caller **callers, const struct ht_site *site)
{
    const struct ht_frame *frame = caller_frame(site->stack);
    struct caller *caller;
    if (!frame)
        return;
    HASH_FIND(hh, *callers, frame, sizeof *frame, caller);
    if (!caller) {
        caller = ht_allocate_zeroed(1, sizeof *caller);
        caller->frame = *frame;
        HASH_ADD(hh, *callers, frame, sizeof caller->frame, caller);
    }
    caller->allocated_blocks += site->figures.allocated_blocks;
    caller->live_bytes += site->live_bytes;
    caller->live_blocks += site->live_blocks;
}

/* `callers` are those of the site's tag, or empty where they say too little. */
static bool is_one_off(const struct ht_profile *p, struct caller *callers,
                       const struct ht_site *site)
{
    const struct ht_frame *frame = caller_frame(site->stack);
    struct caller *caller = NULL;
    if (frame)
        HASH_FIND(hh, callers, frame, sizeof *frame, caller);
    return caller && caller->allocated_blocks == 1 && caller->live_blocks == 1 &&
           caller->live_bytes > p->quality.left_out_bytes;
}

struct ht_one_off ht_one_off_of_tag(const struct ht_profile *p, const struct ht_tag *tag)
{
    struct ht_one_off found = {0};
    struct caller *callers = NULL, *caller, *next;
    uint64_t made = tag->latest.instantiations;
    bool enough = made != HTL_UNKNOWN && made >= HT_ONE_OFF_LEAST_INSTANTIATIONS;
    for (size_t i = 0; enough && i < tag->site_count; i++)
        add_site(&callers, tag->sites[i]);
    for (size_t i = 0; i < tag->site_count && tag->sites[i]->live_bytes > 0; i++) {
        const struct ht_site *site = tag->sites[i];
        if (is_one_off(p, callers, site)) {
            found.bytes += site->live_bytes;
            found.blocks++;
        } else if (!found.top_recurring) {
            found.top_recurring = site;
        }
    }
    HASH_ITER(hh, callers, caller, next)
    {
        HASH_DEL(callers, caller);
        free(caller);
    }
    if (found.bytes > tag->live_bytes)
        found.bytes = tag->live_bytes;
    return found;
}
