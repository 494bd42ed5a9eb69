#include "capture_ring.h"

#include "frame_table.h"
#include "internal_heap.h"

struct ht_capture *ht_captures[HT_CAPTURE_SLOTS];
uint32_t ht_capture_count;
uint16_t ht_provisional_tags[HT_PROVISIONALS];
uint64_t ht_captures_taken[HT_CAPTURE_WORDS];
_Static_assert(HT_CAPTURE_SLOTS % 64 == 0, "there is a bit for each slot");

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

#define CLAIM_TRIES 8u

/* The slots of a word of ht_captures_taken, as bits. */
static uint64_t slots_of(unsigned word, uint32_t count)
{
    return count - 64 * word >= 64 ? UINT64_MAX : (UINT64_C(1) << (count - 64 * word)) - 1;
}

/* The first that are free are taken: they are in the cache. */
struct ht_capture *ht_capture_claim(pid_t tid)
{
    uint32_t count = __atomic_load_n(&ht_capture_count, __ATOMIC_ACQUIRE);
    unsigned tries = 0;
    for (unsigned word = 0; 64 * word < count; word++) {
        uint64_t *taken = &ht_captures_taken[word];
        uint64_t others = ~__atomic_load_n(taken, __ATOMIC_RELAXED) & slots_of(word, count);
        for (; others && tries < CLAIM_TRIES; others &= others - 1, tries++) {
            struct ht_capture *slot = ht_captures[64 * word + (unsigned)__builtin_ctzll(others)];
            uint32_t free = HT_CAPTURE_FREE;
            if (!__atomic_compare_exchange_n(&slot->state, &free, ht_capture_filled_by(tid), false,
                                             __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                continue;
            __atomic_fetch_or(taken, others & -others, __ATOMIC_RELAXED);
            return slot;
        }
    }
    return NULL;
}

void ht_capture_give_back(unsigned i)
{
    __atomic_fetch_and(&ht_captures_taken[i / 64], ~(UINT64_C(1) << i % 64), __ATOMIC_RELAXED);
    __atomic_store_n(&ht_captures[i]->state, HT_CAPTURE_FREE, __ATOMIC_RELEASE);
}

unsigned ht_capture_taken_count(void)
{
    unsigned count = 0;
    for (unsigned word = 0; word < HT_CAPTURE_WORDS; word++)
        count += (unsigned)__builtin_popcountll(
            __atomic_load_n(&ht_captures_taken[word], __ATOMIC_RELAXED));
    return count;
}

/* Whether a slot asks for the rule of `frame`. It may go to another thread meanwhile. */
static bool asks_for(const struct ht_capture *slot, uint32_t frame)
{
    if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) != HT_CAPTURE_READY)
        return false;
    uint32_t count = __atomic_load_n(&slot->frame_count, __ATOMIC_RELAXED);
    return count - 1 < HT_MAX_DEPTH &&
           __atomic_load_n(&slot->frames[count - 1], __ATOMIC_RELAXED) == frame;
}

bool ht_capture_brings(uint32_t frame)
{
    for (unsigned word = 0; word < HT_CAPTURE_WORDS; word++) {
        uint64_t taken = __atomic_load_n(&ht_captures_taken[word], __ATOMIC_RELAXED);
        for (; taken; taken &= taken - 1)
            if (asks_for(ht_captures[64 * word + (unsigned)__builtin_ctzll(taken)], frame))
                return true;
    }
    return false;
}

void ht_capture_abandon(pid_t tid, uint32_t asking)
{
    uint32_t count = __atomic_load_n(&ht_capture_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++)
        if (__atomic_load_n(&ht_captures[i]->state, __ATOMIC_RELAXED) == ht_capture_filled_by(tid))
            ht_capture_give_back(i);
    uint64_t pending = HT_RULE_PENDING; /* where another thread asks for it: twice does no harm */
    if (asking && !ht_capture_brings(asking))
        __atomic_compare_exchange_n(ht_frame_rule(asking), &pending, 0, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
}

void ht_capture_after_fork(void)
{
    for (unsigned i = 0; i < ht_capture_count; i++)
        if (ht_capture_is_filled(ht_captures[i]->state))
            ht_capture_give_back(i);
    for (unsigned s = 0; ht_capture_count && s < ht_intern_segments(&ht_frames); s++) {
        struct ht_intern_segment *segment = &ht_frames.segments[s];
        for (uint32_t i = 0; i < segment->size && segment->used; i++) {
            uint64_t *rule = segment->slots + (size_t)i * ht_frames.stride + 1;
            if (*rule == HT_RULE_PENDING && !ht_capture_brings(segment->base + i))
                *rule = 0;
        }
    }
}
