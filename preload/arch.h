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

/* Adds to a counter that only this thread writes, in one instruction, so that no signal handler
 * can come between; other threads may read the counter at any time. */
static inline void ht_add_owned(uint64_t *counter, uint64_t value)
{
#if HT_THREAD_SANITIZER /* it does not see into assembly */
    __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
#else
    __asm__("addq %1, %0" : "+m"(*counter) : "er"(value) : "cc");
#endif
}

/* All bits of a 4-byte part are set where two words of the stack have the same part as two values.
 */
static inline __attribute__((always_inline)) __m128i
ht_compare_two(const uint64_t *stack, const uint16_t *distances, const __m128i *values)
{
    __m128d words = _mm_load_sd((const double *)(stack + distances[0]));
    words = _mm_loadh_pd(words, (const double *)(stack + distances[1]));
    return _mm_cmpeq_epi32(_mm_castpd_si128(words), *values);
}

/*
 * Whether stack[distances[i]] == values[i] for all i of a list of 2 + 4n words; `values` stands at
 * a multiple of 16, and the distances follow the values. `bytes` is what the distances of all but
 * the first two take, 8n: one number that runs up to 0 leads through both. All words are read, in
 * any order.
 */
static inline __attribute__((always_inline)) bool
ht_words_equal(const uint64_t *stack, const uint64_t *values, uintptr_t bytes)
{
    const char *values_end = (const char *)(values + 2) + 4 * bytes;
    const char *distances_end = values_end + 4 + bytes;
    __m128i same = ht_compare_two(stack, (const uint16_t *)values_end, (const __m128i *)values);
    for (intptr_t at = -(intptr_t)bytes; at; at += 8) {
        const uint16_t *distances = (const uint16_t *)(distances_end + at);
        const __m128i *value = (const __m128i *)(values_end + 4 * at);
        same = _mm_and_si128(same, ht_compare_two(stack, distances, value));
        same = _mm_and_si128(same, ht_compare_two(stack, distances + 2, value + 1));
    }
    return _mm_movemask_epi8(same) == 0xffff;
}

/* User addresses fit 47 bits: the upper bits of a word that holds one are free for other use. */
#define HT_ADDRESS_BITS 48

#else
#error "heaptally knows x86-64 only"
#endif

#endif
