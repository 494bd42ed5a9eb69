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

/* Where the return address stands in the record, in words. */
#define HT_ENTRY_PC_AT 1u

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
    typedef uint32_t __attribute__((may_alias, aligned(1))) half; /* a stack may lie anywhere */
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

/* All bits of a 4-byte part are set where two words of the stack, so many words from the entry,
 * have the same part as two values at a multiple of 16. */
static inline __attribute__((always_inline)) __m128i
ht_compare_two(ht_entry entry, uint64_t distance_0, uint64_t distance_1, const uint64_t *values)
{
    __m128d words = _mm_load_sd((const double *)(entry + distance_0));
    words = _mm_loadh_pd(words, (const double *)(entry + distance_1));
    return _mm_cmpeq_epi32(_mm_castpd_si128(words), *(const __m128i *)values);
}

/* The lowest 16 bits, which are taken off. Two instructions, in which no compiler may see a shift
 * and a mask of the whole: of that it would take copies. */
static inline __attribute__((always_inline)) uint64_t ht_take_16(uint64_t *packed)
{
#ifdef __clang__
    uint64_t low = (uint16_t)*packed;
    *packed >>= 16;
    __asm__("" : "+r"(*packed));
#else
    uint64_t low;
    __asm__("movzwl %w1, %k0\n\tshrq $16, %1" : "=&r"(low), "+r"(*packed) : : "cc");
#endif
    return low;
}

/* The return address and five other words, as ht_compare_two; see ht_five_words_equal. */
static inline __attribute__((always_inline)) __m128i
ht_compare_six(ht_entry entry, const uint64_t *values, uint64_t four, uint64_t fifth)
{
    uint64_t first = ht_take_16(&four), second = ht_take_16(&four), third = ht_take_16(&four);
    __m128i same = ht_compare_two(entry, HT_ENTRY_PC_AT, first, values);
    same = _mm_and_si128(same, ht_compare_two(entry, second, third, values + 2));
    return _mm_and_si128(same, ht_compare_two(entry, four, fifth, values + 4));
}

/*
 * Whether the return address and five other words are what `values` says. The distances of the
 * first four others are `four`, 16 bits each and the first the lowest; that of the last is `fifth`.
 * All are read, in any order.
 *
 * What is loaded here is known late: it hangs on the record, which had to be found. Loads of that
 * kind are what an allocation's time goes by (each takes half a cycle, where 24 NOPs more take
 * one): so the distances come four at a time, though it takes instructions to part them.
 */
static inline __attribute__((always_inline)) bool
ht_five_words_equal(ht_entry entry, const uint64_t *values, uint64_t four, uint64_t fifth)
{
    return _mm_movemask_epi8(ht_compare_six(entry, values, four, fifth)) == 0xffff;
}

/* The same of seven other words: the distances of the last three are `more`. */
static inline __attribute__((always_inline)) bool
ht_seven_words_equal(ht_entry entry, const uint64_t *values, uint64_t four, const uint16_t *more)
{
    __m128i same = ht_compare_six(entry, values, four, more[0]);
    same = _mm_and_si128(same, ht_compare_two(entry, more[1], more[2], values + 6));
    return _mm_movemask_epi8(same) == 0xffff;
}

/*
 * Whether this processor fetches words from scattered addresses by one instruction, where that is
 * quicker than one by one. Only Intel's are known to be quicker so, and those of them that need no
 * protection against what the instruction gives away (Downfall), which makes it very slow. Four
 * words at a time in either case: eight are a little quicker in a loop that does nothing else, but
 * registers of 512 bits slow the processor down for a while where it has not used them just before,
 * and made one in ten cycles of a control loop half as long again.
 */
enum ht_gather {
    HT_GATHER_NONE,
    HT_GATHER_AVX2,   /* by registers that every other instruction has to be shielded from */
    HT_GATHER_AVX512, /* by those that AVX-512 added, as far as they are 256 bits wide */
};
extern uint32_t ht_gather HT_HIDDEN;

/* The last of them that the processor can do, whether or not that is quick. */
enum ht_gather ht_gather_widest(void);

/* Sets ht_gather. Once, at start. */
void ht_arch_begin(void);

/* Registers that the compiler knows only where it may use them itself. */
#ifdef __AVX512F__
#define HT_ALSO_CLOBBERS , "xmm16", "xmm17", "k1", "k2", "k3"
#else
#define HT_ALSO_CLOBBERS
#endif
#ifdef __AVX__ /* what vzeroupper takes away is of interest then */
#define HT_UPPER_CLOBBERS                                                                          \
    , "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", \
        "xmm15"
#else
#define HT_UPPER_CLOBBERS
#endif

/* Some words of the stack, with their distances from the entry in bytes. At a multiple of 16. */
#define HT_WORD_GROUP 4
struct ht_word_group {
    uint64_t values[HT_WORD_GROUP];
    uint32_t distances[HT_WORD_GROUP];
};

/*
 * Whether the words of all groups up to `end` are what these say; there is at least one group. All
 * are read, in any order. Where the first group is, is known before how many there are: so they are
 * gone through from there on.
 *
 * What a gather writes is emptied before, and its mask copied from one that no gather writes: else
 * each would wait for the last, since it keeps what the mask leaves out. It also waits for a word
 * that was stored just now; what lies in the innermost frames is therefore compared otherwise.
 */
static inline __attribute__((always_inline)) bool
ht_word_groups_equal(ht_entry entry, const struct ht_word_group *group,
                     const struct ht_word_group *end)
{
    uint32_t same;
    if (__builtin_expect(ht_gather == HT_GATHER_AVX512, 1)) {
        __asm__("kxnorb %%k2, %%k2, %%k2\n\t" /* all ones: which to fetch */
                "kmovb %%k2, %%k3\n"          /* and which are equal so far */
                "1:\t"
                "kmovb %%k2, %%k1\n\t"
                "vpxorq %%xmm17, %%xmm17, %%xmm17\n\t"
                "vmovdqa64 32(%[group]), %%xmm16\n\t"
                "vpgatherdq (%[entry],%%xmm16), %%ymm17%{%%k1%}\n\t"
                "vpcmpeqq (%[group]), %%ymm17, %%k3%{%%k3%}\n\t"
                "add $48, %[group]\n\t"
                "cmp %[end], %[group]\n\t"
                "jne 1b\n\t"
                "kmovb %%k3, %[same]"
                : [group] "+r"(group), [same] "=r"(same)
                : [entry] "r"(entry), [end] "r"(end)
                : "cc", "memory" HT_ALSO_CLOBBERS);
        return same == 0xf;
    }
    if (ht_gather == HT_GATHER_AVX2) {
        __asm__("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n" /* all ones: so far all are equal */
                "1:\t"
                "vpcmpeqd %%ymm1, %%ymm1, %%ymm1\n\t" /* which to fetch: used up each time */
                "vpxor %%xmm2, %%xmm2, %%xmm2\n\t"
                "vmovdqa 32(%[group]), %%xmm3\n\t"
                "vpgatherdq %%ymm1, (%[entry],%%xmm3), %%ymm2\n\t"
                "vpcmpeqq (%[group]), %%ymm2, %%ymm2\n\t"
                "vpand %%ymm2, %%ymm0, %%ymm0\n\t"
                "add $48, %[group]\n\t"
                "cmp %[end], %[group]\n\t"
                "jne 1b\n\t"
                "vpmovmskb %%ymm0, %[same]\n\t"
                "vzeroupper"
                : [group] "+r"(group), [same] "=r"(same)
                : [entry] "r"(entry), [end] "r"(end)
                : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3" HT_UPPER_CLOBBERS);
        return same == UINT32_MAX;
    }
    uint64_t first, second;
    __asm__("pcmpeqd %%xmm0, %%xmm0\n" /* all ones: so far all are equal */
            "1:\t"
            "mov 32(%[group]), %[second]\n\t" /* two at a time: see ht_five_words_equal */
            "mov %k[second], %k[first]\n\t"
            "shr $32, %[second]\n\t"
            "movq (%[entry],%[first]), %%xmm1\n\t"
            "movhps (%[entry],%[second]), %%xmm1\n\t"
            "pcmpeqd (%[group]), %%xmm1\n\t"
            "pand %%xmm1, %%xmm0\n\t"
            "mov 40(%[group]), %[second]\n\t"
            "mov %k[second], %k[first]\n\t"
            "shr $32, %[second]\n\t"
            "movq (%[entry],%[first]), %%xmm1\n\t"
            "movhps (%[entry],%[second]), %%xmm1\n\t"
            "pcmpeqd 16(%[group]), %%xmm1\n\t"
            "pand %%xmm1, %%xmm0\n\t"
            "add $48, %[group]\n\t"
            "cmp %[end], %[group]\n\t"
            "jne 1b\n\t"
            "pmovmskb %%xmm0, %[same]"
            : [group] "+r"(group), [same] "=r"(same), [first] "=&r"(first), [second] "=&r"(second)
            : [entry] "r"(entry), [end] "r"(end)
            : "cc", "memory", "xmm0", "xmm1");
    return same == 0xffff;
}

/* User addresses fit 47 bits: the upper bits of a word that holds one are free for other use. */
#define HT_ADDRESS_BITS 48

/*
 * The whole of a `syscall` of libc's (see its manual) that first has a look at one of the calls:
 * that goes to `look`, a function of the same arguments and the same result. It has no frame, as
 * libc's has none: a call may come back on another stack.
 */
#define HT_SYSCALL_BUT(seen, look, failed)                                                         \
    __asm__("cmp $" HT_IN_WORDS(seen) ", %rdi\n\t"                                                 \
                                      "je " #look "\n\t"                                           \
                                      "mov %rdi, %rax\n\t"                                         \
                                      "mov %rsi, %rdi\n\t"                                         \
                                      "mov %rdx, %rsi\n\t"                                         \
                                      "mov %rcx, %rdx\n\t"                                         \
                                      "mov %r8, %r10\n\t"                                          \
                                      "mov %r9, %r8\n\t"                                           \
                                      "mov 8(%rsp), %r9\n\t"                                       \
                                      "syscall\n\t"                                                \
                                      "mov %rax, %rdi\n\t"                                         \
                                      "cmp $-4095, %rax\n\t" /* -errno */                          \
                                      "jae " #failed "\n\t"                                        \
                                      "ret")
#define HT_IN_WORDS(macro)  HT_IN_WORDS_(macro)
#define HT_IN_WORDS_(words) #words

/* The call itself, of three arguments: its result or -errno. */
static inline long ht_system_call(long number, unsigned long first, unsigned long second,
                                  const void *third)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

#else
#error "heaptally knows x86-64 only"
#endif

#endif
