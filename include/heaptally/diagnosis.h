/*
 * Why resident memory grew: resident memory against the live heap, over one stretch of time.
 *
 *   resident = live heap + what the allocator keeps + heaptally's own + what is no heap
 *
 * The live heap is counted. What the allocator keeps (freed memory that it did not give back, holes
 * between blocks, its own heads) can be no more than what was live at the peak and is not any more,
 * and a few bytes for each block. What grew beyond that came by no allocator: mappings, stacks,
 * code, pages of files. Plain arithmetic; no allocation, no libm; one thread.
 */
#ifndef HEAPTALLY_DIAGNOSIS_H
#define HEAPTALLY_DIAGNOSIS_H

#include <stdbool.h>

#include "heaptally/trend_text.h"

#define HT_DIAGNOSES(X)                                                                            \
    X(STEADY, "steady")     /* hardly grew */                                                      \
    X(LEAK, "leak")         /* live heap, and a leak was found in it */                            \
    X(HEAP, "live heap")    /* live heap, without a verdict that it leaks */                       \
    X(RETAINED, "retained") /* fragmentation, or memory that the allocator keeps */                \
    X(NOT_HEAP, "not heap") /* more than the heap explains */                                      \
    X(OWN, "heaptally")     /* heaptally's own memory, which has its cap */

#define HT_DIAGNOSIS_ENUM(id, name) HT_DIAGNOSIS_##id,
enum ht_diagnosis { HT_DIAGNOSES(HT_DIAGNOSIS_ENUM) HT_DIAGNOSIS_COUNT };
#undef HT_DIAGNOSIS_ENUM

/* Bytes, but for the last two. */
struct ht_memory_course {
    double resident_before, resident_now;
    double live_before, live_now;
    double live_peak; /* at least the highest since the start of counting */
    double own_before, own_now;
    double live_blocks; /* now */
    bool leak;          /* a verdict says that something in the heap leaks */
};

#define HT_STEADY_BYTES (512.0 * 1024) /* growth below this, or below 2 %, is no growth */
#define HT_BLOCK_HEAD   40.0           /* bytes that a block may cost above what was asked for */

static inline const char *ht_diagnosis_name(enum ht_diagnosis diagnosis)
{
#define HT_DIAGNOSIS_NAME(id, name) [HT_DIAGNOSIS_##id] = name,
    static const char *const names[HT_DIAGNOSIS_COUNT] = {HT_DIAGNOSES(HT_DIAGNOSIS_NAME)};
#undef HT_DIAGNOSIS_NAME
    return names[diagnosis];
}

/* The larger part of the growth decides. */
static inline enum ht_diagnosis ht_diagnose(const struct ht_memory_course *c)
{
    double growth = c->resident_now - c->resident_before;
    double live = c->live_now - c->live_before, own = c->own_now - c->own_before;
    double rest = growth - live - own;
    double kept = c->live_peak - c->live_now + HT_BLOCK_HEAD * c->live_blocks;
    if (growth < HT_STEADY_BYTES || growth < 0.02 * c->resident_before)
        return HT_DIAGNOSIS_STEADY;
    if (live >= rest && live >= own)
        return c->leak ? HT_DIAGNOSIS_LEAK : HT_DIAGNOSIS_HEAP;
    if (own >= rest)
        return HT_DIAGNOSIS_OWN;
    /* More than half of it must be what an allocator cannot be holding. */
    return rest - kept > rest / 2 ? HT_DIAGNOSIS_NOT_HEAP : HT_DIAGNOSIS_RETAINED;
}

/*
 * Says so in one line: "leak: resident memory grew by 5.2 MB, the live heap by 4.7 MB". Into `size`
 * bytes at `buffer` (160 hold all of it), NUL-terminated.
 */
static inline void ht_diagnosis_say(const struct ht_memory_course *c, char *buffer, size_t size)
{
    static const char *const why[HT_DIAGNOSIS_COUNT] = {
        [HT_DIAGNOSIS_STEADY] = "",
        [HT_DIAGNOSIS_LEAK] = "",
        [HT_DIAGNOSIS_HEAP] = "; it is not known to leak",
        [HT_DIAGNOSIS_RETAINED] = "; the rest is fragmentation, or freed memory not given back",
        [HT_DIAGNOSIS_NOT_HEAP] = "; the rest is no heap: mappings, stacks, files",
        [HT_DIAGNOSIS_OWN] = "; the rest is mostly heaptally's own",
    };
    enum ht_diagnosis diagnosis = ht_diagnose(c);
    double growth = c->resident_now - c->resident_before, live = c->live_now - c->live_before;
    struct ht_text text = ht_text_begin(buffer, size);
    ht_text_put(&text, ht_diagnosis_name(diagnosis));
    ht_text_put(&text, growth < 0 ? ": resident memory fell by " : ": resident memory grew by ");
    ht_text_bytes(&text, growth < 0 ? -growth : growth);
    ht_text_put(&text, live < 0 ? ", the live heap fell by " : ", the live heap by ");
    ht_text_bytes(&text, live < 0 ? -live : live);
    ht_text_put(&text, why[diagnosis]);
}

#endif
