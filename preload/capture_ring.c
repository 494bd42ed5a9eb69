#include "capture_ring.h"

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
