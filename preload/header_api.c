/*
 * What include/heaptally.h calls: scopes, regions, instantiations, cycles. See there for the
 * contracts.
 */
#include <stdint.h>
#include <string.h>

#include "heaptally/snapshot_format.h"
#include "lifecycle.h"
#include "tag.h"
#include "track.h"

#define EXPORT __attribute__((visibility("default")))

/* The calling thread's state, made if need be; NULL where it can have none. */
static struct ht_thread *own_state(void)
{
    if (ht_self->busy == HT_UNBORN && ht_boot())
        ht_thread_arrives();
    return ht_thread_has_scope(ht_self) ? ht_self : NULL;
}

EXPORT uint32_t heaptally_v1_tag(const char *name);
EXPORT uint32_t heaptally_v1_tag(const char *name)
{
    return name && ht_boot() ? ht_tag_intern(name, strlen(name), HTL_TAG_EXPLICIT) : 0;
}

EXPORT uint32_t heaptally_v1_enter(uint32_t tag);
EXPORT uint32_t heaptally_v1_enter(uint32_t tag)
{
    struct ht_thread *thread = own_state();
    if (!thread)
        return 0;
    uint32_t previous = ht_thread_tag();
    ht_thread_set_tag(ht_scope_with_owner(previous, tag < HT_TAGS ? ht_scope_owner(tag) : 0));
    return previous;
}

EXPORT void heaptally_v1_leave(uint32_t previous);
EXPORT void heaptally_v1_leave(uint32_t previous)
{
    struct ht_thread *thread = own_state();
    if (thread)
        ht_thread_set_tag(previous < HT_TAGS ? previous : 0);
}

EXPORT uint32_t heaptally_v1_no_alloc_enter(uint32_t region);
EXPORT uint32_t heaptally_v1_no_alloc_enter(uint32_t region)
{
    struct ht_thread *thread = own_state();
    if (!thread)
        return 0;
    uint32_t previous = ht_thread_tag();
    ht_thread_set_tag(ht_scope_intern(ht_scope_owner(previous), region < HT_TAGS ? region : 0));
    return previous;
}

EXPORT void heaptally_v1_no_alloc_leave(uint32_t previous);
EXPORT void heaptally_v1_no_alloc_leave(uint32_t previous)
{
    heaptally_v1_leave(previous);
}

/* While blocks are not counted, neither is what they are divided by. */
static bool counts(void)
{
    return !(ht_slow & HT_SLOW_DORMANT);
}

EXPORT void heaptally_v1_constructed(uint32_t tag);
EXPORT void heaptally_v1_constructed(uint32_t tag)
{
    if (counts())
        ht_tag_count_instantiation(tag);
}

EXPORT void heaptally_v1_cycle(uint32_t tag);
EXPORT void heaptally_v1_cycle(uint32_t tag)
{
    if (counts())
        ht_tag_count_cycle(tag);
}

EXPORT void heaptally_v1_adopt(uint32_t tag, const void *block);
EXPORT void heaptally_v1_adopt(uint32_t tag, const void *block)
{
    heaptally_v1_constructed(tag);
    if (block && tag && tag < HT_TAGS)
        ht_track_adopted(tag, block);
}
