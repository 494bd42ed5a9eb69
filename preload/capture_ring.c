#include "capture_ring.h"

#include "frame_table.h"
#include "internal_heap.h"

struct ht_capture *ht_captures;
uint16_t ht_provisional_tags[HT_PROVISIONALS];
static _Atomic uint32_t next_slot;

bool ht_capture_begin(void)
{
    if (!ht_captures)
        __atomic_store_n(&ht_captures, ht_heap_alloc(HT_CAPTURE_SLOTS * sizeof *ht_captures, 64),
                         __ATOMIC_RELEASE);
    return ht_captures;
}

struct ht_capture *ht_capture_claim(void)
{
    struct ht_capture *slots = __atomic_load_n(&ht_captures, __ATOMIC_ACQUIRE);
    for (int tries = 0; slots && tries < 8; tries++) {
        struct ht_capture *slot = &slots[next_slot++ & (HT_CAPTURE_SLOTS - 1)];
        uint32_t free = HT_CAPTURE_FREE;
        if (__atomic_compare_exchange_n(&slot->state, &free, HT_CAPTURE_FILLING, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return slot;
    }
    return NULL;
}

/* Whether a capture that waits to be worked off will bring the rule of `frame`. */
static bool is_awaited(uint32_t frame)
{
    for (unsigned i = 0; i < HT_CAPTURE_SLOTS; i++)
        if (ht_captures[i].state == HT_CAPTURE_READY &&
            ht_captures[i].frames[ht_captures[i].frame_count - 1] == frame)
            return true;
    return false;
}

void ht_capture_after_fork(void)
{
    for (unsigned i = 0; ht_captures && i < HT_CAPTURE_SLOTS; i++)
        if (ht_captures[i].state == HT_CAPTURE_FILLING)
            ht_captures[i].state = HT_CAPTURE_FREE;
    for (unsigned s = 0; ht_captures && s < ht_intern_segments(&ht_frames); s++) {
        struct ht_intern_segment *segment = &ht_frames.segments[s];
        for (uint32_t i = 0; i < segment->size && segment->used; i++) {
            uint64_t *rule = segment->slots + (size_t)i * ht_frames.stride + 1;
            if (*rule == HT_RULE_PENDING && !is_awaited(segment->base + i))
                *rule = 0;
        }
    }
}
