#include "frame_table.h"

#include "frame_info.h"

struct ht_intern ht_frames = {
    .stride = 3,
    .segments = {{.base = 1, .size = 4096},
                 {.base = 1 + 4096, .size = 8192},
                 {.base = 1 + 4096 + 8192, .size = 32768},
                 {.base = 1 + 4096 + 8192 + 32768, .size = 131072}},
};

struct ht_intern ht_stacks = {
    .stride = 1,
    .segments = {{.base = HT_STACK_ROOTS, .size = 8192},
                 {.base = HT_STACK_ROOTS + 8192, .size = 16384},
                 {.base = HT_STACK_ROOTS + 8192 + 16384, .size = 131072},
                 {.base = HT_STACK_ROOTS + 8192 + 16384 + 131072, .size = 524288}},
};

uint16_t ht_frame_unloads[HT_FRAME_PAGES];
struct ht_frame_span ht_frames_doubted = {.low = UINTPTR_MAX};

_Static_assert((uint64_t)HT_FRAME_IN_DOUBT << HT_ADDRESS_BITS == HT_FRAME_DEAD, "see ht_frame_key");

static void set_page(uint16_t *page, unsigned unloads, unsigned doubt)
{
    unsigned word = (unloads & (HT_FRAME_IN_DOUBT - 1)) | doubt;
    __atomic_store_n(page, (uint16_t)word, __ATOMIC_RELAXED);
}

void ht_frames_doubt(uintptr_t start, uintptr_t end)
{
    if (start < ht_frames_doubted.low)
        __atomic_store_n(&ht_frames_doubted.low, start, __ATOMIC_RELAXED);
    if (end > ht_frames_doubted.high)
        __atomic_store_n(&ht_frames_doubted.high, end, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (uintptr_t page = start >> 12, last = (end - 1) >> 12; page <= last; page++) {
        uint16_t *word = &ht_frame_unloads[page & (HT_FRAME_PAGES - 1)];
        set_page(word, *word, HT_FRAME_IN_DOUBT);
        if (page - (start >> 12) == HT_FRAME_PAGES - 1)
            break; /* all of them */
    }
}

void ht_frames_trust(void)
{
    for (unsigned i = 0; i < HT_FRAME_PAGES; i++)
        if (ht_frame_unloads[i] & HT_FRAME_IN_DOUBT)
            set_page(&ht_frame_unloads[i], ht_frame_unloads[i], 0);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&ht_frames_doubted.low, UINTPTR_MAX, __ATOMIC_RELAXED);
    __atomic_store_n(&ht_frames_doubted.high, 0, __ATOMIC_RELAXED);
}

/* Goes outwards along all of them at once, a node of each in turn: what is done with one that has
 * to be waited for must not hold up that the others are asked for. */
void ht_stacks_fetch(const uint32_t *stacks, unsigned count, unsigned depth)
{
    uint64_t keys[HT_STACKS_FETCHED];
    const uint64_t *slots[HT_STACKS_FETCHED];
    for (unsigned i = 0; i < count; i++)
        keys[i] = (uint64_t)stacks[i] << 32;
    for (unsigned turn = 0; count > 0 && turn <= depth; turn++) {
        unsigned left = 0;
        for (unsigned i = 0; i < count; i++) {
            uint32_t node = (uint32_t)(keys[i] >> 32);
            if (turn > 0)
                __builtin_prefetch(ht_intern_slot(&ht_frames, (uint32_t)keys[i]));
            if (node < HT_STACK_ROOTS)
                continue;
            slots[left] = ht_intern_slot(&ht_stacks, node);
            __builtin_prefetch(slots[left++]);
        }
        for (unsigned i = 0; i < left; i++)
            keys[i] = __atomic_load_n(slots[i], __ATOMIC_RELAXED);
        count = left;
    }
}

/* Counts an unload of the page of a return address, once among those of which `counted` has a bit
 * for each page: what is made there from now on is new. */
static void count_unload(uintptr_t pc, uint64_t *counted)
{
    unsigned page = (pc - 1) >> 12 & (HT_FRAME_PAGES - 1);
    uint64_t bit = UINT64_C(1) << page % 64;
    if (!(counted[page / 64] & bit))
        set_page(&ht_frame_unloads[page], ht_frame_unloads[page] + 1u,
                 ht_frame_unloads[page] & HT_FRAME_IN_DOUBT);
    counted[page / 64] |= bit;
}

/* Kills the frames of return addresses in (start, end] that are wanted; whether there were any. A
 * return address may be the byte after the last of its module. `module` is noted where none was. */
static bool kill_those(uintptr_t start, uintptr_t end, bool (*wanted)(uint64_t info),
                       uint32_t module)
{
    uint64_t counted[HT_FRAME_PAGES / 64] = {0};
    bool any = false;
    for (unsigned s = 0; s < ht_intern_segments(&ht_frames); s++) {
        struct ht_intern_segment *segment = &ht_frames.segments[s];
        for (uint32_t i = 0; i < segment->size; i++) {
            uint64_t *slot = segment->slots + (size_t)i * ht_frames.stride;
            uint64_t key = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
            uintptr_t pc = key & (HT_ADDRESS_LIMIT - 1);
            if ((key & HT_FRAME_DEAD) || pc <= start || pc > end ||
                !wanted(__atomic_load_n(slot + 2, __ATOMIC_RELAXED)))
                continue;
            any = true;
            count_unload(pc, counted);
            ht_frame_info_set_module(slot + 2, module);
            __atomic_store_n(slot, key | HT_FRAME_DEAD, __ATOMIC_RELEASE);
        }
    }
    return any;
}

static bool any_frame(uint64_t info)
{
    (void)info;
    return true;
}

static bool has_no_module(uint64_t info)
{
    return info & HT_INFO_NO_MODULE;
}

void ht_frames_kill(uintptr_t start, uintptr_t end, uint32_t module)
{
    kill_those(start, end, any_frame, module);
}

bool ht_frames_of_no_module;

bool ht_frames_kill_strangers(uintptr_t start, uintptr_t end)
{
    return __atomic_load_n(&ht_frames_of_no_module, __ATOMIC_ACQUIRE) &&
           kill_those(start, end, has_no_module, 0); /* that they have none is noted already */
}
