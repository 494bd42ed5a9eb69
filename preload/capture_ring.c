#include "capture_ring.h"

#include "frame_table.h"
#include "internal_heap.h"

struct ht_capture *ht_captures[HT_CAPTURE_SLOTS];
uint32_t ht_capture_count;
uint16_t ht_provisional_tags[HT_PROVISIONALS];
static _Atomic uint32_t next_slot;

static void lay(uint32_t count)
{
    struct ht_capture *slots = ht_heap_alloc(count * sizeof *slots, 64);
    if (!slots)
        return;
    for (uint32_t i = 0; i < count; i++)
        ht_captures[ht_capture_count + i] = &slots[i];
    __atomic_store_n(&ht_capture_count, ht_capture_count + count, __ATOMIC_RELEASE);
}

bool ht_capture_begin(void)
{
    if (!ht_capture_count)
        lay(HT_CAPTURE_FIRST);
    return ht_capture_count > 0;
}

void ht_capture_grow(void)
{
    if (ht_capture_count && ht_capture_count < HT_CAPTURE_SLOTS)
        lay(ht_capture_count);
}

struct ht_capture *ht_capture_claim(pid_t tid)
{
    uint32_t count = __atomic_load_n(&ht_capture_count, __ATOMIC_ACQUIRE);
    for (int tries = 0; count && tries < 8; tries++) {
        struct ht_capture *slot = ht_captures[next_slot++ & (count - 1)];
        uint32_t free = HT_CAPTURE_FREE;
        if (__atomic_compare_exchange_n(&slot->state, &free, ht_capture_filled_by(tid), false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return slot;
    }
    return NULL;
}

/* Whether a capture that waits to be worked off will bring the rule of `frame`. */
static bool is_awaited(uint32_t frame)
{
    for (unsigned i = 0; i < ht_capture_count; i++)
        if (ht_captures[i]->state == HT_CAPTURE_READY &&
            ht_captures[i]->frames[ht_captures[i]->frame_count - 1] == frame)
            return true;
    return false;
}

void ht_capture_abandon(pid_t tid, uint32_t asking)
{
    uint32_t count = __atomic_load_n(&ht_capture_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++)
        if (__atomic_load_n(&ht_captures[i]->state, __ATOMIC_RELAXED) == ht_capture_filled_by(tid))
            __atomic_store_n(&ht_captures[i]->state, HT_CAPTURE_FREE, __ATOMIC_RELEASE);
    uint64_t pending = HT_RULE_PENDING; /* where another thread asks for it: twice does no harm */
    if (asking && !is_awaited(asking))
        __atomic_compare_exchange_n(ht_frame_rule(asking), &pending, 0, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
}

void ht_capture_after_fork(void)
{
    for (unsigned i = 0; i < ht_capture_count; i++)
        if (ht_capture_is_filled(ht_captures[i]->state))
            ht_captures[i]->state = HT_CAPTURE_FREE;
    for (unsigned s = 0; ht_capture_count && s < ht_intern_segments(&ht_frames); s++) {
        struct ht_intern_segment *segment = &ht_frames.segments[s];
        for (uint32_t i = 0; i < segment->size && segment->used; i++) {
            uint64_t *rule = segment->slots + (size_t)i * ht_frames.stride + 1;
            if (*rule == HT_RULE_PENDING && !is_awaited(segment->base + i))
                *rule = 0;
        }
    }
}
