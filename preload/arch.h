/*
 * All that depends on the processor: how an entry point learns where it was called from, and how
 * a counter of this thread is raised.
 *
 * A `ht_entry` points at the frame record that an entry point pushed: the caller's frame pointer,
 * then the return address; just above lies the stack pointer as it was before the call. Entry
 * points are compiled with a frame pointer for this.
 */
#ifndef HEAPTALLY_ARCH_H
#define HEAPTALLY_ARCH_H

#include <emmintrin.h>
#include <stdbool.h>
#include <stdint.h>

/* On data that the malloc path reads: -fvisibility does not cover declarations, and going through
 * the global offset table costs an instruction. */
#define HT_HIDDEN __attribute__((visibility("hidden")))

#if defined(__SANITIZE_THREAD__)
#define HT_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HT_THREAD_SANITIZER 1
#endif
#endif
#ifndef HT_THREAD_SANITIZER
#define HT_THREAD_SANITIZER 0
#endif

#if defined(__x86_64__)

typedef const uintptr_t *ht_entry;

#define HT_ENTRY() ((ht_entry)__builtin_frame_address(0))

/* Where the return address stands in the record, in bytes. */
#define HT_ENTRY_PC_DISTANCE sizeof(uintptr_t)

/* The caller's frame pointer register (the first word of the record), the address to which the
 * entry point returns, and the caller's stack pointer once it has returned (the entry point's CFA).
 */
static inline uintptr_t ht_entry_fp(ht_entry entry)
{
    return entry[0];
}

static inline uintptr_t ht_entry_pc(ht_entry entry)
{
    return entry[1];
}

static inline uintptr_t ht_entry_sp(ht_entry entry)
{
    return (uintptr_t)(entry + 2);
}

/* Adds `value` and 1 to two counters that only this thread writes, in one instruction each, so that
 * no signal handler can come between; other threads may read the counters at any time. */
static inline __attribute__((always_inline)) void ht_add_owned(uint64_t *counter, uint64_t value)
{
#if HT_THREAD_SANITIZER /* it does not see into assembly */
    __atomic_fetch_add(&counter[0], value, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counter[1], 1, __ATOMIC_RELAXED);
#else
    __asm__("addq %2, %0\n\taddq $1, %1" : "+m"(counter[0]), "+m"(counter[1]) : "er"(value) : "cc");
#endif
}

/* Eight words of a stack, at `distances` bytes from an entry, and what they are compared with. */
struct ht_word_group {
    uint64_t values[8];
    uint32_t distances[8];
} __attribute__((aligned(16)));

/* All bits of a 4-byte part are set where two words of the stack have the same part as two values
 * at a multiple of 16. */
static inline __attribute__((always_inline)) __m128i
ht_compare_two(ht_entry entry, uintptr_t distance_0, uintptr_t distance_1, const uint64_t *values)
{
    const char *stack = (const char *)entry;
    __m128d words = _mm_load_sd((const double *)(stack + distance_0));
    words = _mm_loadh_pd(words, (const double *)(stack + distance_1));
    return _mm_cmpeq_epi32(_mm_castpd_si128(words), *(const __m128i *)values);
}

/* Whether the return address and five other words are what `values` says; `distances` is of the
 * others. All are read, in any order. */
static inline __attribute__((always_inline)) bool
ht_near_words_equal(ht_entry entry, const uint64_t *values, const uint32_t *distances)
{
    __m128i same = ht_compare_two(entry, HT_ENTRY_PC_DISTANCE, distances[0], values);
    same = _mm_and_si128(same, ht_compare_two(entry, distances[1], distances[2], values + 2));
    same = _mm_and_si128(same, ht_compare_two(entry, distances[3], distances[4], values + 4));
    return _mm_movemask_epi8(same) == 0xffff;
}

/*
 * Whether this processor fetches words from scattered addresses quicker by one instruction than one
 * by one: ht_far_words_equal then does so. Only Intel's are known to, and those of them that need
 * no protection against what that instruction gives away (Downfall), which makes it very slow.
 */
extern bool ht_gathers HT_HIDDEN;

/* Finds that out. Once, at start. */
void ht_arch_begin(void);

/* The same for all words of the groups up to `end`, of which there is at least one. */
static inline __attribute__((always_inline)) bool
ht_far_words_equal(ht_entry entry, const struct ht_word_group *group, const void *end)
{
    if (ht_gathers) {
        uint32_t same;
        __asm__("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\t" /* all ones: so far all are equal */
                "vmovdqa %%ymm0, %%ymm1\n"
                "1:\t"
                "vmovdqu 64(%[group]), %%xmm2\n\t"
                "vmovdqu 80(%[group]), %%xmm3\n\t"
                "vmovdqa %%ymm1, %%ymm4\n\t" /* which to fetch: used up each time */
                "vmovdqa %%ymm1, %%ymm5\n\t"
                "vpgatherdq %%ymm4, (%[entry],%%xmm2), %%ymm6\n\t"
                "vpgatherdq %%ymm5, (%[entry],%%xmm3), %%ymm7\n\t"
                "vpcmpeqq (%[group]), %%ymm6, %%ymm6\n\t"
                "vpcmpeqq 32(%[group]), %%ymm7, %%ymm7\n\t"
                "vpand %%ymm6, %%ymm0, %%ymm0\n\t"
                "vpand %%ymm7, %%ymm0, %%ymm0\n\t"
                "add $96, %[group]\n\t"
                "cmp %[end], %[group]\n\t"
                "jne 1b\n\t"
                "vpmovmskb %%ymm0, %[same]\n\t"
                "vzeroupper"
                : [group] "+r"(group), [same] "=r"(same)
                : [entry] "r"(entry), [end] "r"(end)
                : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
        return same == UINT32_MAX;
    }
    __m128i same = _mm_set1_epi32(-1);
    do {
        const uint32_t *d = group->distances;
        for (unsigned i = 0; i < 8; i += 2)
            same = _mm_and_si128(same, ht_compare_two(entry, d[i], d[i + 1], group->values + i));
    } while (++group != end);
    return _mm_movemask_epi8(same) == 0xffff;
}

/* User addresses fit 47 bits: the upper bits of a word that holds one are free for other use. */
#define HT_ADDRESS_BITS 48

#else
#error "heaptally knows x86-64 only"
#endif

#endif
