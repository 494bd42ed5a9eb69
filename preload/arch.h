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

/* The low half of the address to which it returns, by a load of its own: the whole then goes to
 * where it is compared without passing through a register. */
static inline uint32_t ht_entry_pc_low(ht_entry entry)
{
    typedef uint32_t __attribute__((may_alias)) half;
    return *(const volatile half *)(entry + 1);
}

static inline uintptr_t ht_entry_sp(ht_entry entry)
{
    return (uintptr_t)(entry + 2);
}

/* Writes down where the stack now ends, in one instruction. */
static inline __attribute__((always_inline)) void ht_note_stack_pointer(uint64_t *where)
{
    __asm__ volatile("movq %%rsp, %0" : "=m"(*where));
}

/* The stack pointer of the caller of the function in which this stands, at the call. */
#define HT_CALLERS_SP() ((uintptr_t)__builtin_dwarf_cfa())

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

/* The same for the return address and one other word. */
static inline __attribute__((always_inline)) bool
ht_two_words_equal(ht_entry entry, const uint64_t *values, uint32_t distance)
{
    __m128i same = ht_compare_two(entry, HT_ENTRY_PC_DISTANCE, distance, values);
    return _mm_movemask_epi8(same) == 0xffff;
}

/*
 * How many words this processor fetches from scattered addresses by one instruction, where that is
 * quicker than one by one: 8 with AVX-512, 4 with AVX2, else 0. Only Intel's are known to be
 * quicker so, and those of them that need no protection against what the instruction gives away
 * (Downfall), which makes it very slow.
 */
enum ht_gather { HT_GATHER_NONE = 0, HT_GATHER_4 = 4, HT_GATHER_8 = 8 };
extern uint32_t ht_gather HT_HIDDEN;

/* What the processor can do, whether or not that is quick. */
enum ht_gather ht_gather_widest(void);

/* Sets ht_gather. Once, at start. */
void ht_arch_begin(void);

/* Registers that the compiler knows only where it may use them itself. */
#ifdef __AVX512F__
#define HT_ALSO_CLOBBERS , "xmm16", "xmm17", "k1", "k2", "k3"
#else
#define HT_ALSO_CLOBBERS
#endif

/*
 * Whether groups of eight words at `distances` from the entry are what `values` says; there are
 * `bytes` of distances, 32 a group, and at least one group. Both lists stand at multiples of 32.
 * All words are read, in any order.
 *
 * What a gather writes is emptied before, and its mask copied from one that no gather writes: else
 * each would wait for the last, since it keeps what the mask leaves out. It also waits for a word
 * that was stored just now; what lies in the innermost frames is therefore compared otherwise.
 */
static inline __attribute__((always_inline)) bool ht_far_words_equal(ht_entry entry,
                                                                     const uint32_t *distances,
                                                                     const uint64_t *values,
                                                                     uint64_t bytes)
{
    uint64_t i = 0;
    if (__builtin_expect(ht_gather == HT_GATHER_8, 1)) {
        bool differ;
        __asm__("kxnorb %%k2, %%k2, %%k2\n\t" /* all ones: which to fetch */
                "kmovb %%k2, %%k3\n"          /* and which are equal so far */
                "1:\t"
                "kmovb %%k2, %%k1\n\t"
                "vpxorq %%xmm17, %%xmm17, %%xmm17\n\t"
                "vmovdqu64 (%[distances],%[i]), %%ymm16\n\t"
                "vpgatherdq (%[entry],%%ymm16), %%zmm17%{%%k1%}\n\t"
                "vpcmpeqq (%[values],%[i],2), %%zmm17, %%k3%{%%k3%}\n\t"
                "add $32, %[i]\n\t"
                "cmp %[bytes], %[i]\n\t"
                "jne 1b\n\t"
                "kortestb %%k3, %%k3" /* carry: all are */
                : [i] "+r"(i), "=@ccnc"(differ)
                : [entry] "r"(entry), [distances] "r"(distances), [values] "r"(values),
                  [bytes] "r"(bytes)
                : "memory" HT_ALSO_CLOBBERS);
        return !differ;
    }
    if (ht_gather == HT_GATHER_4) {
        uint32_t same;
        __asm__("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n" /* all ones: so far all are equal */
                "1:\t"
                "vpcmpeqd %%ymm4, %%ymm4, %%ymm4\n\t" /* which to fetch: used up each time */
                "vpcmpeqd %%ymm5, %%ymm5, %%ymm5\n\t"
                "vpxor %%xmm6, %%xmm6, %%xmm6\n\t"
                "vpxor %%xmm7, %%xmm7, %%xmm7\n\t"
                "vmovdqu (%[distances],%[i]), %%xmm2\n\t"
                "vmovdqu 16(%[distances],%[i]), %%xmm3\n\t"
                "vpgatherdq %%ymm4, (%[entry],%%xmm2), %%ymm6\n\t"
                "vpgatherdq %%ymm5, (%[entry],%%xmm3), %%ymm7\n\t"
                "vpcmpeqq (%[values],%[i],2), %%ymm6, %%ymm6\n\t"
                "vpcmpeqq 32(%[values],%[i],2), %%ymm7, %%ymm7\n\t"
                "vpand %%ymm6, %%ymm0, %%ymm0\n\t"
                "vpand %%ymm7, %%ymm0, %%ymm0\n\t"
                "add $32, %[i]\n\t"
                "cmp %[bytes], %[i]\n\t"
                "jne 1b\n\t"
                "vpmovmskb %%ymm0, %[same]\n\t"
                "vzeroupper"
                : [i] "+r"(i), [same] "=r"(same)
                : [entry] "r"(entry), [distances] "r"(distances), [values] "r"(values),
                  [bytes] "r"(bytes)
                : "cc", "memory", "xmm0", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
        return same == UINT32_MAX;
    }
    uint32_t same;
    uint64_t distance;
    __asm__(
        "pcmpeqd %%xmm0, %%xmm0\n" /* all ones: so far all are equal */
        "1:\t"
        "mov (%[distances],%[i]), %k[distance]\n\t"
        "movq (%[entry],%[distance]), %%xmm1\n\t"
        "mov 4(%[distances],%[i]), %k[distance]\n\t"
        "movhps (%[entry],%[distance]), %%xmm1\n\t"
        "pcmpeqd (%[values],%[i],2), %%xmm1\n\t"
        "pand %%xmm1, %%xmm0\n\t"
        "add $8, %[i]\n\t"
        "cmp %[bytes], %[i]\n\t"
        "jne 1b\n\t"
        "pmovmskb %%xmm0, %[same]"
        : [i] "+r"(i), [same] "=r"(same), [distance] "=&r"(distance)
        : [entry] "r"(entry), [distances] "r"(distances), [values] "r"(values), [bytes] "r"(bytes)
        : "cc", "memory", "xmm0", "xmm1");
    return same == 0xffff;
}

/* User addresses fit 47 bits: the upper bits of a word that holds one are free for other use. */
#define HT_ADDRESS_BITS 48

#else
#error "heaptally knows x86-64 only"
#endif

#endif
