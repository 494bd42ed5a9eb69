/*
 * What a generated program writes down about itself while it runs: the true call path of each of
 * its allocations. No unwinder has a part in it.
 *
 *   shadow stack   one per thread, in mapped memory: the return addresses of all open calls,
 *                  outermost first. A function pushes its own on entry (SHADOW_ENTER), where the
 *                  compiler knows where it lies; thunks written in assembly push theirs.
 *   path           a shadow stack as it was at an allocation, and the tag then in force; interned,
 *                  with the four figures that heaptally keeps for a site
 *   block          begins with the id of its path and its size, so that whoever frees it can count
 *
 * All of it lies in mapped memory: the record itself never allocates from the heap.
 */
#ifndef SHADOW_H
#define SHADOW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHADOW_DEPTH 1000

/* The first two fields and the size of a slot are known to thunks.S. */
struct shadow {
    uint64_t depth;
    uint64_t slots[SHADOW_DEPTH];
    uint64_t random;
    void (*pending)(const unsigned char *script); /* what a callback of libc is to go on with */
    const unsigned char *pending_script;
    unsigned pending_wait; /* callbacks to let pass before */
};

typedef void shadow_function(const unsigned char *script);

extern __thread struct shadow *shadow_self __attribute__((tls_model("initial-exec")));

/* All functions of the program and its plugins, by number. */
extern shadow_function *volatile shadow_functions[];

#if defined(__clang__)
#define SHADOW_OPAQUE __attribute__((noinline))
#else
#define SHADOW_OPAQUE __attribute__((noipa))
#endif

#define SHADOW_ENTER()                                                                             \
    struct shadow *shadow = shadow_self;                                                           \
    const uint64_t shadow_depth = shadow->depth;                                                   \
    shadow->slots[shadow->depth++] = (uint64_t)__builtin_return_address(0)

/* After a call through a thunk, or where an exception was caught. */
#define SHADOW_BACK()                                                                              \
    do {                                                                                           \
        shadow->depth = shadow_depth + 1;                                                          \
        __asm__ volatile("" ::: "memory");                                                         \
    } while (0)

#define SHADOW_LEAVE()                                                                             \
    do {                                                                                           \
        shadow->depth = shadow_depth;                                                              \
        __asm__ volatile("" ::: "memory"); /* no tail calls */                                     \
    } while (0)

/* The compiler must take it that the memory at `p` is looked at and changed. */
#define SHADOW_TOUCH(p) __asm__ volatile("" : : "r"(p) : "memory")

/* A number below `limit`, of this thread's own sequence. */
unsigned shadow_random(struct shadow *shadow, unsigned limit);

/* Counts a block that the path now on the shadow stack has allocated, and keeps it alive for a
 * while. Takes the thunk's slot off the shadow stack. */
void shadow_allocated(struct shadow *shadow, void *block, size_t size);

/* The same where a function of libc allocated for us: its own frames are not on the shadow stack.
 */
void shadow_allocated_within(struct shadow *shadow, void *block, size_t size);

/* The same for one that took the place of `old_path`, a block of `old_size`. */
void shadow_resized(struct shadow *shadow, void *block, size_t size, uint32_t old_path,
                    size_t old_size);

/* Takes a live block away from those that are kept, or NULL. */
void *shadow_take_block(struct shadow *shadow, uint32_t *path, size_t *size);

/* Notes the path to here, where something that isn't ours is about to allocate. */
void shadow_passed(struct shadow *shadow);

/* thunks.S: note the return address, then go on as the function itself. */
void *thunk_malloc(size_t size);
void *thunk_calloc(size_t count, size_t size);
void *thunk_realloc(void *p, size_t size);
int thunk_posix_memalign(void **p, size_t alignment, size_t size);
void *thunk_aligned_alloc(size_t alignment, size_t size);
void *thunk_new(size_t size);
char *thunk_strdup(const char *text);
void thunk_qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *));
void *thunk_bsearch(const void *key, const void *base, size_t count, size_t size,
                    int (*compare)(const void *, const void *));

/* thunks.S: frames of their own that go on with `function`. Their names say what is odd. */
void frame_without_cfi(shadow_function *function, const unsigned char *script);
void frame_without_cfi_false_rbp(shadow_function *function, const unsigned char *script);
void frame_cfi_plain(shadow_function *function, const unsigned char *script);
void frame_cfi_rbp(shadow_function *function, const unsigned char *script);
void frame_cfi_rbp_is_scratch(shadow_function *function, const unsigned char *script);
void frame_cfi_pushes(shadow_function *function, const unsigned char *script);
void frame_cfi_by_rbx(shadow_function *function, const unsigned char *script);
void frame_cfi_rbp_in_register(shadow_function *function, const unsigned char *script);

#ifdef __cplusplus
}
#endif

/* Ways to allocate, for the generated functions: each counts what it got. */
#define SHADOW_GOT(p, size) shadow_allocated(shadow, (p), (size))

#define ALLOCATE_MALLOC(size)        SHADOW_GOT(thunk_malloc(size), size)
#define ALLOCATE_CALLOC(size)        SHADOW_GOT(thunk_calloc(1, size), size)
#define ALLOCATE_ALIGNED_ALLOC(size) SHADOW_GOT(thunk_aligned_alloc(64, size), size)
#define ALLOCATE_NEW(size)           SHADOW_GOT(thunk_new(size), size)
#define ALLOCATE_POSIX_MEMALIGN(size)                                                              \
    do {                                                                                           \
        void *aligned = 0;                                                                         \
        thunk_posix_memalign(&aligned, 128, size);                                                 \
        SHADOW_GOT(aligned, size);                                                                 \
    } while (0)
#define ALLOCATE_STRDUP(size)                                                                      \
    do {                                                                                           \
        static const char text[] = "a text long enough for a block's head";                        \
        (void)(size);                                                                              \
        shadow_allocated_within(shadow, thunk_strdup(text), sizeof text);                          \
    } while (0)
#define ALLOCATE_REALLOC(size)                                                                     \
    do {                                                                                           \
        uint32_t old_path = 0;                                                                     \
        size_t old_size = 0;                                                                       \
        void *old = shadow_take_block(shadow, &old_path, &old_size);                               \
        shadow_resized(shadow, thunk_realloc(old, size), size, old_path, old_size);                \
    } while (0)

#endif
