/*
 * What the monitor has found out about a frame, in the frame's third word:
 *
 *   bits  0..15  module id + 1, 0 while not looked up
 *        16..27  tag by rule, 0 for none
 *        28..39  tag whose instantiations its blocks count, 0 for none
 *        40      all of the above is final
 *        41, 42  the module is runtime; the module is skipped
 *        43      outside any module
 *        44      in no module that was known when it was first looked at
 */
#ifndef HEAPTALLY_FRAME_INFO_H
#define HEAPTALLY_FRAME_INFO_H

#include <stdbool.h>
#include <stdint.h>

#define HT_INFO_FINAL     (UINT64_C(1) << 40)
#define HT_INFO_RUNTIME   (UINT64_C(1) << 41)
#define HT_INFO_SKIPPED   (UINT64_C(1) << 42)
#define HT_INFO_NO_MODULE (UINT64_C(1) << 43)
#define HT_INFO_MISSED    (UINT64_C(1) << 44)

#define HT_INFO_MODULE(info)     ((uint32_t)((info)&0xffff) - 1)
#define HT_INFO_HAS_MODULE(info) (((info)&0xffff) != 0)
#define HT_INFO_RULE(info)       ((uint32_t)((info) >> 16 & 0xfff))
#define HT_INFO_CONSTRUCT(info)  ((uint32_t)((info) >> 28 & 0xfff))

/* Notes the module of a frame unless one is noted; the first to know is right. */
static inline void ht_frame_info_set_module(uint64_t *info, uint32_t module)
{
    uint64_t old = __atomic_load_n(info, __ATOMIC_RELAXED);
    while (!HT_INFO_HAS_MODULE(old) && !(old & HT_INFO_NO_MODULE) &&
           !__atomic_compare_exchange_n(info, &old, old | (module + 1), false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
        ;
}

#endif
