/*
 * The exported symbols, and nothing else: each entry point is the underlying call, and tracking
 * after it of the block that came, before it of the block that goes. What is rare goes to a cold
 * function and costs the normal case one test.
 *
 * Promises kept here: the pointer is the allocator's own; sizes, alignments, failures and errno are
 * the allocator's; a block that we have never seen goes through untouched.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal_heap.h"
#include "lifecycle.h"
#include "track.h"

#define EXPORT      __attribute__((visibility("default")))
#define COLD        __attribute__((noinline, cold))
#define OUTLINED    __attribute__((noinline))
#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- the cold side of allocating ----------------------------------------------------------------
 */

enum how {
    BY_MALLOC,
    BY_CALLOC,
    BY_MEMALIGN,
    BY_ALIGNED_ALLOC,
    BY_POSIX_MEMALIGN,
    BY_VALLOC,
    BY_PVALLOC,
};

/* Each entry point calls the one of its own name: an allocator need not have all of them, and what
 * one allocator gave another must not take back. */
static void *ask(enum how how, size_t alignment, size_t size)
{
    void *p = NULL;
    switch (how) {
    case BY_MALLOC:
        return ht_real.malloc(size);
    case BY_CALLOC:
        return ht_real.calloc(1, size);
    case BY_MEMALIGN:
        return ht_real.memalign(alignment, size);
    case BY_ALIGNED_ALLOC:
        return ht_real.aligned_alloc(alignment, size);
    case BY_POSIX_MEMALIGN: /* leaves errno alone, and the result on failure */
        return ht_real.posix_memalign(&p, alignment, size) == 0 ? p : NULL;
    case BY_VALLOC:
        return ht_real.valloc(size);
    case BY_PVALLOC:
        return ht_real.pvalloc(size);
    }
    return NULL;
}

static void *own(size_t size, size_t alignment)
{
    void *p = ht_heap_alloc(size, alignment);
    if (!p)
        errno = ENOMEM;
    return p;
}

/* First allocations of a thread or a stack, re-entrant ones, large ones, those of heaptally itself,
 * and all while it is dormant: `size` is asked for, `counted` is what the program asked for. */
static COLD void *allocate_cold(enum how how, size_t alignment, size_t size, size_t counted,
                                ht_entry entry)
{
    if (!ht_boot())
        return ht_bootstrap_alloc(size, alignment);
    if (ht_self->busy == HT_INTERNAL)
        return own(size, alignment);
    if (ht_slow & HT_SLOW_PROBATION) /* also if it seems to count: it may have left that for good */
        ht_probation();
    if (ht_slow & HT_SLOW_DORMANT)
        return ask(how, alignment, size);
    if (ht_self->busy == HT_UNBORN && !ht_thread_arrives())
        return ask(how, alignment, size);
    void *p = ask(how, alignment, ht_seal_padded(size));
    if (p)
        ht_track_allocated(p, counted, entry);
    return p;
}

/* The block at `p` is there, but its stack is not remembered, or its cell not there. */
static COLD void *count_cold(void *p, size_t size, ht_entry entry)
{
    ht_track_allocated(p, size, entry);
    __asm__("" : "+r"(p)); /* else clang sees that it is the same, and keeps it across the call */
    return p;
}

/* Whether another allocator than glibc's lies beneath, and nothing else is in the way. */
static inline bool over_other(const struct ht_thread *thread)
{
    return LIKELY(ht_slow == HT_SLOW_ALLOCATOR) && LIKELY(!thread->busy);
}

#define SPARED_AT_A_TIME 7u

/* Asks whether probation is over, unless the last allocations of the thread came so quickly one
 * after the other that the next ones need not. */
static inline void ask_probation(struct ht_thread *thread)
{
    if (thread->probation_spared > 0)
        thread->probation_spared--;
    else if (ht_probation())
        thread->probation_spared = SPARED_AT_A_TIME;
}

/* The short way on probation, out of line. Only with glibc beneath. */
static inline __attribute__((always_inline)) void *
allocate_on_probation(enum how how, size_t alignment, size_t size, ht_entry entry)
{
    struct ht_thread *thread = ht_self;
    uint32_t site = HT_NO_SITE;
    if (size >= HT_SHORT_WAY_BELOW || thread->busy || ht_slow != HT_SLOW_PROBATION)
        return allocate_cold(how, alignment, size, size, entry);
    ask_probation(thread);
    void *p = ask(how, alignment, size + HT_SEAL_SIZE);
    if (UNLIKELY(!p))
        return p;
    bool counted = LIKELY(__atomic_load_n(&ht_memo_unanswered, __ATOMIC_RELAXED))
                       ? ht_track_allocated_by_caller(thread, size, entry, &site)
                       : ht_track_allocated_fast(thread, size, entry, &site);
    return LIKELY(counted) ? ht_seal_write_fast(p, size, site) : count_cold(p, size, entry);
}

static OUTLINED void *malloc_on_probation(size_t size, ht_entry entry)
{
    return allocate_on_probation(BY_MALLOC, 16, size, entry);
}

static OUTLINED void *calloc_on_probation(size_t size, ht_entry entry)
{
    return allocate_on_probation(BY_CALLOC, 16, size, entry);
}

/* Another allocator has given the block at `p`: it is asked how much. */
static OUTLINED void *count_other(void *p, size_t size, ht_entry entry)
{
    uint32_t site = HT_NO_SITE;
    size_t usable = ht_usable_learn(p, ht_seal_padded_other(size));
    if (UNLIKELY(usable < size + HT_SEAL_SIZE) ||
        UNLIKELY(!ht_track_allocated_fast(ht_self, size, entry, &site)))
        return count_cold(p, size, entry);
    return ht_seal_write_other(p, usable, size, site);
}

/* The short way with another allocator beneath, out of line like all but glibc's. */
static OUTLINED void *allocate_other(enum how how, size_t alignment, size_t size, ht_entry entry)
{
    if (size >= HT_SHORT_WAY_BELOW || !over_other(ht_self))
        return allocate_on_probation(how, alignment, size, entry);
    void *p = ask(how, alignment, ht_seal_padded_other(size));
    return LIKELY(p) ? count_other(p, size, entry) : p;
}

/* The same where it may be known how much the allocator will give. */
static inline __attribute__((always_inline)) void *allocate_known(enum how how, size_t size,
                                                                  ht_entry entry)
{
    struct ht_thread *thread = ht_self;
    uint32_t site = HT_NO_SITE;
    if (UNLIKELY((size | thread->busy) >= ht_known_way_below)) { /* as in allocate_from */
        if (ht_slow != HT_SLOW_PROBATION)
            return allocate_other(how, 16, size, entry);
        return how == BY_MALLOC ? malloc_on_probation(size, entry)
                                : calloc_on_probation(size, entry);
    }
    void *p = ask(how, 16, ht_seal_padded_other(size));
    if (UNLIKELY(!p))
        return p;
    __asm__("" : "+r"(size)); /* what was asked for is not kept across the call */
    size_t usable = ht_seal_known(size);
    if (UNLIKELY(!usable) || UNLIKELY(!ht_track_allocated_fast(thread, size, entry, &site)))
        return count_other(p, size, entry);
    return ht_seal_put(p, usable + HT_SEAL_SIZE, size - usable - HT_SEAL_SIZE, site);
}

static OUTLINED void *malloc_other(size_t size, ht_entry entry)
{
    return allocate_known(BY_MALLOC, size, entry);
}

static OUTLINED void *calloc_other(size_t size, ht_entry entry)
{
    return allocate_known(BY_CALLOC, size, entry);
}

/* All that does not go the short way over glibc's allocator. */
static inline __attribute__((always_inline)) void *allocate_aside(enum how how, size_t alignment,
                                                                  size_t size, ht_entry entry)
{
    if (how == BY_MALLOC)
        return malloc_other(size, entry);
    return how == BY_CALLOC ? calloc_other(size, entry)
                            : allocate_other(how, alignment, size, entry);
}

/* `here`: the entry is that of the function into which this is inlined, which the rare case then
 * finds by itself, so that the short way need not keep it. */
static inline __attribute__((always_inline)) void *
allocate_from(enum how how, size_t alignment, size_t size, ht_entry entry, bool here)
{
    struct ht_thread *thread = ht_self;
    uint32_t site = HT_NO_SITE;
    void *p;
    if (UNLIKELY((size | thread->busy) >= ht_short_way_below)) { /* or busy, which is more */
        p = allocate_aside(how, alignment, size, here ? HT_ENTRY() : entry);
        __asm__("" : "+r"(p)); /* no tail call: `entry` lies in the frame of this function */
        return p;
    }
    p = ask(how, alignment, size + HT_SEAL_SIZE);
    if (UNLIKELY(!p))
        return p;
    if (UNLIKELY(!ht_track_allocated_fast(thread, size, entry, &site))) {
        p = count_cold(p, size, here ? HT_ENTRY() : entry);
        __asm__("" : "+r"(p));
        return p;
    }
    return ht_seal_write_fast(p, size, site);
}

/* For an entry point. */
static inline __attribute__((always_inline)) void *allocate(enum how how, size_t alignment,
                                                            size_t size)
{
    return allocate_from(how, alignment, size, HT_ENTRY(), true);
}

/* ---- freeing ------------------------------------------------------------------------------------
 */

/* Frees on a busy thread, large blocks, those of a site that has lost its cell, and strangers. */
static COLD void release_cold(void *p)
{
    if (ht_heap_may_own(p)) {
        if (ht_bootstrap_owns(p))
            return;
        if (ht_heap_owns(p)) {
            ht_heap_free(p);
            return;
        }
    }
    if (!ht_boot())
        return;
    if (ht_self->busy == HT_UNBORN)
        ht_thread_arrives();
    if (!ht_track_freed(p) && !(ht_slow & HT_SLOW_DORMANT))
        ht_track_stranger(p);
    ht_real.free(p);
}

/* The short way over another allocator, on a thread that is not busy, where it must be asked. */
static OUTLINED void release_asked(void *p, struct ht_thread *thread)
{
    if (ht_track_freed_asked(thread, p))
        ht_real.free(p);
    else
        release_cold(p);
}

/* The same where it need not. */
static OUTLINED void release_other(void *p, struct ht_thread *thread)
{
    if (LIKELY(ht_track_freed_guessed(thread, p)))
        ht_real.free(p);
    else
        release_asked(p, thread);
}

/* Every way out is a tail call, so that the common path saves no register. */
static inline __attribute__((always_inline)) void release(void *p)
{
    struct ht_thread *thread = ht_self;
    if (UNLIKELY(!p))
        return;
    uint64_t aside = thread->busy | ht_slow_free;
    if (UNLIKELY(aside)) {
        if (aside == HT_SLOW_ALLOCATOR)
            release_other(p, thread);
        else
            release_cold(p);
        return;
    }
    /* The seal stands at the end of a block that may have long left the caches; the end is known
     * only once the size in front of it has come. Most blocks are small: ask for both at once. */
    __builtin_prefetch((char *)p + 64, 1);
    __builtin_prefetch((char *)p + 128, 1);
    __builtin_prefetch((char *)p + 192, 1);
    if (LIKELY(ht_track_freed_fast(thread, p)))
        ht_real.free(p);
    else
        release_cold(p);
}

/* ---- resizing -----------------------------------------------------------------------------------
 */

/* A block of heaptally's own memory: given out before the look-up was done, or to the monitor. */
static COLD void *resize_own(void *p, size_t size, ht_entry entry)
{
    size_t old = ht_bootstrap_owns(p) ? ht_bootstrap_usable(p) : ht_heap_usable(p);
    void *q = allocate_from(BY_MALLOC, 16, size, entry, false);
    if (q) {
        __builtin_memcpy(q, p, old < size ? old : size);
        release_cold(p);
    }
    return q;
}

static COLD void *resize_cold(void *p, size_t size, ht_entry entry)
{
    if (!ht_boot() || ht_block_is_own(p))
        return resize_own(p, size, entry);
    if (ht_self->busy == HT_UNBORN)
        ht_thread_arrives();
    if ((ht_slow & HT_SLOW_PROBATION) && ht_thread_has_scope(ht_self)) /* counting, too */
        ht_probation();
    struct ht_block old;
    if (!ht_track_taken(p, &old)) {
        if (!(ht_slow & HT_SLOW_DORMANT))
            ht_track_stranger(p);
        return ht_real.realloc(p, size);
    }
    void *q =
        ht_real.realloc(p, size && !(ht_slow & HT_SLOW_DORMANT) ? ht_seal_padded(size) : size);
    if (q)
        ht_track_resized(&old, q, size, entry);
    else if (size)
        ht_track_put_back(p, &old);
    else
        ht_track_gone(&old);
    return q;
}

enum short_way { OVER_GLIBC, OVER_OTHER, ON_PROBATION };

/* A short way: `old` is what the seal of `p` says. */
static inline __attribute__((always_inline)) void *
resize_known(void *p, const struct ht_block *old, size_t size, ht_entry entry, enum short_way way)
{
    bool other = way == OVER_OTHER, counted;
    uint64_t tag_key = ht_memo_tag_key(ht_track_scope_of_resized(old->site));
    uint32_t site = HT_NO_SITE;
    *old->seal = 0;
    void *q = ht_real.realloc(p, other ? ht_seal_padded_other(size) : size + HT_SEAL_SIZE);
    if (UNLIKELY(!q)) {
        ht_track_put_back(p, old);
        return q;
    }
    size_t usable = other && size < HT_SEAL_KNOWN_BELOW ? ht_seal_known(size) : 0;
    if (other && !usable)
        usable = ht_usable_learn(q, ht_seal_padded_other(size));
    if (UNLIKELY(other && usable < size + HT_SEAL_SIZE))
        counted = false;
    else if (way == ON_PROBATION && __atomic_load_n(&ht_memo_unanswered, __ATOMIC_RELAXED))
        counted = ht_track_resized_by_caller(ht_self, old, size, entry, tag_key, &site);
    else
        counted = ht_track_resized_fast(ht_self, old, size, entry, tag_key, &site);
    if (UNLIKELY(!counted)) {
        ht_track_resized(old, q, size, entry);
        return q;
    }
    return other ? ht_seal_write_other(q, usable, size, site) : ht_seal_write_fast(q, size, site);
}

/* Whether a block was counted by its stack, and is to stay one. What waits for its stack goes the
 * long way: counted out, its id may go to another block. */
static inline bool is_known(const struct ht_block *old, size_t size)
{
    return LIKELY(size > 0) && LIKELY(old->site >= HT_SITE_BASE);
}

/* Where allocations take a short way out of line: so does this. All else goes the long way. */
static OUTLINED void *resize_aside(void *p, size_t size, ht_entry entry)
{
    struct ht_thread *thread = ht_self;
    struct ht_block old;
    if (size >= HT_SHORT_WAY_BELOW || thread->busy || ht_heap_may_own(p))
        return resize_cold(p, size, entry);
    if (over_other(thread))
        return (LIKELY(ht_seal_read_guessed(p, &old)) || ht_seal_read_asked(p, &old)) &&
                       is_known(&old, size)
                   ? resize_known(p, &old, size, entry, OVER_OTHER)
                   : resize_cold(p, size, entry);
    if (ht_slow != HT_SLOW_PROBATION || !ht_seal_read_fast(p, &old) || !is_known(&old, size))
        return resize_cold(p, size, entry);
    ask_probation(thread);
    return resize_known(p, &old, size, entry, ON_PROBATION);
}

static inline __attribute__((always_inline)) void *resize(void *p, size_t size, ht_entry entry)
{
    struct ht_block old;
    if (UNLIKELY(!p))
        return allocate_from(BY_MALLOC, 16, size, entry, false);
    if (UNLIKELY((size | ht_self->busy) >= ht_short_way_below) ||
        UNLIKELY(!ht_seal_read_fast(p, &old)) || UNLIKELY(!is_known(&old, size)))
        return resize_aside(p, size, entry);
    return resize_known(p, &old, size, entry, OVER_GLIBC);
}

/* ---- C ------------------------------------------------------------------------------------------
 */

EXPORT void *malloc(size_t size)
{
    return allocate(BY_MALLOC, 16, size);
}

EXPORT void free(void *p)
{
    release(p);
}

EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
        return ht_boot() ? ht_real.calloc(count, size) : NULL;
    return allocate(BY_CALLOC, 16, bytes);
}

EXPORT void *realloc(void *p, size_t size)
{
    return resize(p, size, HT_ENTRY());
}

EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return resize(p, bytes, HT_ENTRY());
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return allocate(BY_MEMALIGN, alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return allocate(BY_ALIGNED_ALLOC, alignment, size);
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (UNLIKELY(alignment % sizeof(void *) || alignment == 0 || (alignment & (alignment - 1))))
        return EINVAL;
    int saved = errno; /* which posix_memalign leaves alone */
    void *p = allocate(BY_POSIX_MEMALIGN, alignment, size);
    errno = saved;
    if (!p)
        return ENOMEM;
    *result = p;
    return 0;
}

EXPORT void *valloc(size_t size)
{
    return allocate(BY_VALLOC, (size_t)getpagesize(), size);
}

/* The program may use the last page to its end: so the allocator is asked for a whole page more,
 * in which the seal stands; what is counted is what the program asked for. */
EXPORT void *pvalloc(size_t size)
{
    ht_entry entry = HT_ENTRY();
    size_t page = (size_t)getpagesize(), whole = (size + page - 1) & ~(page - 1);
    if (whole < size) /* fails by itself */
        return ht_boot() ? ht_real.pvalloc(size) : NULL;
    void *p = allocate_cold(BY_PVALLOC, page, whole, size, entry);
    __asm__("" : "+r"(p)); /* no tail call, see allocate */
    return p;
}

/* A block of glibc's, one whose size must be asked for, or a stranger. */
static OUTLINED size_t usable_aside(void *p)
{
    struct ht_block block;
    if (!p)
        return 0;
    if (ht_heap_may_own(p)) {
        if (ht_bootstrap_owns(p))
            return ht_bootstrap_usable(p);
        if (ht_heap_owns(p))
            return ht_heap_usable(p);
    }
    if (!ht_boot())
        return 0;
    if ((ht_slow & HT_SLOW_ALLOCATOR) && ht_seal_read_asked(p, &block))
        return ht_seal_usable(&block, p);
    if (ht_seal_read(p, &block) == HT_SEAL_VALID)
        return ht_seal_usable(&block, p);
    return ht_real.malloc_usable_size(p);
}

/* Some programs ask for every block that they allocate, and that they free. */
EXPORT size_t malloc_usable_size(void *p)
{
    struct ht_block block;
    if (LIKELY(ht_slow_free == HT_SLOW_ALLOCATOR) && LIKELY(p) &&
        LIKELY(ht_seal_read_guessed(p, &block)))
        return ht_seal_usable(&block, p);
    return usable_aside(p);
}

EXPORT void free_sized(void *p, size_t size);
EXPORT void free_sized(void *p, size_t size)
{
    (void)size; /* the program's size is not the allocator's */
    release(p);
}

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    release(p);
}

EXPORT void cfree(void *p);
EXPORT void cfree(void *p)
{
    release(p);
}

/* ---- C++ ----------------------------------------------------------------------------------------
 */

/* Whether ours do the work: not if any operator is the program's own. */
static inline bool operators_ours(void)
{
    if (UNLIKELY(!ht_real.operators_known))
        ht_real_late();
    return LIKELY(!ht_real.operators_foreign);
}

/* The operator of the C++ runtime or the allocator, looked up again where it was absent. */
#define REAL_OPERATOR(name) (ht_real.name ? ht_real.name : (ht_real_late(), ht_real.name))

/*
 * No memory: the real operator calls the new-handler, throws or returns NULL. The runtime's own
 * calls malloc, so what it may bring back is sealed already; an allocator's own does not.
 */
#define FAILED(name, size, ...)                                                                    \
    if (!ht_real.operators_of_allocator)                                                           \
        return REAL_OPERATOR(name)(size __VA_ARGS__);                                              \
    p = REAL_OPERATOR(name)(ht_seal_padded(size) __VA_ARGS__);                                     \
    if (p && !(ht_slow & HT_SLOW_DORMANT))                                                         \
        ht_track_allocated(p, size, entry);                                                        \
    return p

#define COMMA ,

#define OPERATOR_NEW(name, how, alignment, parameters, extra)                                      \
    EXPORT void *name parameters;                                                                  \
    EXPORT void *name parameters                                                                   \
    {                                                                                              \
        ht_entry entry = HT_ENTRY();                                                               \
        if (UNLIKELY(!operators_ours()))                                                           \
            return REAL_OPERATOR(name)(size extra);                                                \
        void *p = allocate(how, alignment, size);                                                  \
        if (LIKELY(p))                                                                             \
            return p;                                                                              \
        FAILED(name, size, extra);                                                                 \
    }

#define OPERATOR_DELETE(name, parameters, arguments)                                               \
    EXPORT void name parameters;                                                                   \
    EXPORT void name parameters                                                                    \
    {                                                                                              \
        if (UNLIKELY(!operators_ours()))                                                           \
            REAL_OPERATOR(name) arguments;                                                         \
        else                                                                                       \
            release(p);                                                                            \
    }

OPERATOR_NEW(_Znwm, BY_MALLOC, 16, (size_t size), )
OPERATOR_NEW(_Znam, BY_MALLOC, 16, (size_t size), )
OPERATOR_NEW(_ZnwmRKSt9nothrow_t, BY_MALLOC, 16, (size_t size, const void *nothrow), COMMA nothrow)
OPERATOR_NEW(_ZnamRKSt9nothrow_t, BY_MALLOC, 16, (size_t size, const void *nothrow), COMMA nothrow)
OPERATOR_NEW(_ZnwmSt11align_val_t, BY_MEMALIGN, align, (size_t size, size_t align), COMMA align)
OPERATOR_NEW(_ZnamSt11align_val_t, BY_MEMALIGN, align, (size_t size, size_t align), COMMA align)
OPERATOR_NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, BY_MEMALIGN, align,
             (size_t size, size_t align, const void *nothrow), COMMA align COMMA nothrow)
OPERATOR_NEW(_ZnamSt11align_val_tRKSt9nothrow_t, BY_MEMALIGN, align,
             (size_t size, size_t align, const void *nothrow), COMMA align COMMA nothrow)

OPERATOR_DELETE(_ZdlPv, (void *p), (p))
OPERATOR_DELETE(_ZdaPv, (void *p), (p))
OPERATOR_DELETE(_ZdlPvm, (void *p, size_t size), (p, size))
OPERATOR_DELETE(_ZdaPvm, (void *p, size_t size), (p, size))
OPERATOR_DELETE(_ZdlPvRKSt9nothrow_t, (void *p, const void *nothrow), (p, nothrow))
OPERATOR_DELETE(_ZdaPvRKSt9nothrow_t, (void *p, const void *nothrow), (p, nothrow))
OPERATOR_DELETE(_ZdlPvSt11align_val_t, (void *p, size_t align), (p, align))
OPERATOR_DELETE(_ZdaPvSt11align_val_t, (void *p, size_t align), (p, align))
OPERATOR_DELETE(_ZdlPvmSt11align_val_t, (void *p, size_t size, size_t align), (p, size, align))
OPERATOR_DELETE(_ZdaPvmSt11align_val_t, (void *p, size_t size, size_t align), (p, size, align))
OPERATOR_DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t align, const void *nothrow),
                (p, align, nothrow))
OPERATOR_DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t align, const void *nothrow),
                (p, align, nothrow))
