#include "frame_table.h"

#include "frame_info.h"

struct ht_intern ht_frames = {
    .stride = 3,
    .segments = {{.base = 1, .size = 8192},
                 {.base = 1 + 8192, .size = 32768},
                 {.base = 1 + 8192 + 32768, .size = 131072}},
};

struct ht_intern ht_stacks = {
    .stride = 1,
    .segments = {{.base = HT_STACK_ROOTS, .size = 16384},
                 {.base = HT_STACK_ROOTS + 16384, .size = 131072},
                 {.base = HT_STACK_ROOTS + 16384 + 131072, .size = 524288}},
};

void ht_frames_kill(uintptr_t start, uintptr_t end, uint32_t module)
{
    for (unsigned s = 0; s < ht_intern_segments(&ht_frames); s++) {
        struct ht_intern_segment *segment = &ht_frames.segments[s];
        for (uint32_t i = 0; i < segment->size; i++) {
            uint64_t *slot = segment->slots + (size_t)i * ht_frames.stride;
            uint64_t pc = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
            /* A return address may be the byte after the last of its module. */
            if (pc <= start || pc > end)
                continue;
            ht_frame_info_set_module(slot + 2, module);
            __atomic_store_n(slot, pc | HT_FRAME_DEAD, __ATOMIC_RELEASE);
        }
    }
}
