/*
 * The allocator beneath: the next definition of every entry point after ours, and the arena that
 * serves the program while those are being looked up.
 *
 * ht_real is filled by ht_real_resolve() at the first allocation of the process, when only one
 * thread exists, and by ht_real_late() for what may come later; a filled pointer never changes, so
 * that it is read without a lock. dlsym itself may allocate: such calls, and any before the
 * look-up is done, are served from the bootstrap arena, which is never given back and is recognised
 * by address at every entry point.
 */
#ifndef HEAPTALLY_REAL_ALLOC_H
#define HEAPTALLY_REAL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"

/* One row per entry point of the allocator that we call on: name, result, parameters. */
#define HT_REAL_FUNCTIONS(X)                                                                       \
    X(malloc, void *, (size_t))                                                                    \
    X(free, void, (void *))                                                                        \
    X(calloc, void *, (size_t, size_t))                                                            \
    X(realloc, void *, (void *, size_t))                                                           \
    X(posix_memalign, int, (void **, size_t, size_t))                                              \
    X(aligned_alloc, void *, (size_t, size_t))                                                     \
    X(memalign, void *, (size_t, size_t))                                                          \
    X(valloc, void *, (size_t))                                                                    \
    X(pvalloc, void *, (size_t))                                                                   \
    X(malloc_usable_size, size_t, (void *))

/* The C++ operators of the allocator or the C++ runtime; used when ours must step aside. */
#define HT_REAL_OPERATORS(X)                                                                       \
    X(_Znwm, void *, (size_t))                                                                     \
    X(_Znam, void *, (size_t))                                                                     \
    X(_ZnwmRKSt9nothrow_t, void *, (size_t, const void *))                                         \
    X(_ZnamRKSt9nothrow_t, void *, (size_t, const void *))                                         \
    X(_ZnwmSt11align_val_t, void *, (size_t, size_t))                                              \
    X(_ZnamSt11align_val_t, void *, (size_t, size_t))                                              \
    X(_ZnwmSt11align_val_tRKSt9nothrow_t, void *, (size_t, size_t, const void *))                  \
    X(_ZnamSt11align_val_tRKSt9nothrow_t, void *, (size_t, size_t, const void *))                  \
    X(_ZdlPv, void, (void *))                                                                      \
    X(_ZdaPv, void, (void *))                                                                      \
    X(_ZdlPvm, void, (void *, size_t))                                                             \
    X(_ZdaPvm, void, (void *, size_t))                                                             \
    X(_ZdlPvRKSt9nothrow_t, void, (void *, const void *))                                          \
    X(_ZdaPvRKSt9nothrow_t, void, (void *, const void *))                                          \
    X(_ZdlPvSt11align_val_t, void, (void *, size_t))                                               \
    X(_ZdaPvSt11align_val_t, void, (void *, size_t))                                               \
    X(_ZdlPvmSt11align_val_t, void, (void *, size_t, size_t))                                      \
    X(_ZdaPvmSt11align_val_t, void, (void *, size_t, size_t))                                      \
    X(_ZdlPvSt11align_val_tRKSt9nothrow_t, void, (void *, size_t, const void *))                   \
    X(_ZdaPvSt11align_val_tRKSt9nothrow_t, void, (void *, size_t, const void *))

#define HT_REAL_FIELD(name, result, parameters) result(*name) parameters;
struct ht_real {
    HT_REAL_FUNCTIONS(HT_REAL_FIELD)
    HT_REAL_OPERATORS(HT_REAL_FIELD)
    /* glibc's allocator lies beneath and its chunk layout was found as expected, so that the
     * usable size of a block can be read in front of it. */
    bool chunk_layout_known;
    /* The allocator is jemalloc, whose blocks for the same request always have the same usable
     * size: this tells it. NULL with all others. */
    size_t (*nallocx)(size_t size, int flags);
    /* The allocator does not say how large its blocks are: there is no place for a seal. */
    bool sizes_unknown;
    /* Somebody reports whoever reads beyond the end of a block. */
    bool blocks_guarded;
    /* Some operator new or delete is the program's own: all of ours pass through, unsealed. */
    bool operators_foreign;
    /* The C++ operators come from the allocator itself, not from a C++ runtime over malloc. */
    bool operators_of_allocator;
    /* Another malloc comes before ours in the program: one that is linked into it, or one that
     * calls of ours are sent to. */
    bool bypassed;
    /* The three above have been found out. */
    bool operators_known;
};
#undef HT_REAL_FIELD

extern struct ht_real ht_real HT_HIDDEN;

/* Looks everything up, once; later calls do nothing. False while the look-up is under way (the
 * caller is inside it and must use the bootstrap arena). */
bool ht_real_resolve(void);

/* Looks at who defines the C++ operators, and looks up again what was absent: a C++ runtime may
 * come with a later dlopen. Not on the malloc path. */
void ht_real_late(void);

/* Serves the look-up: zeroed, at a multiple of `alignment` (a power of two); NULL when exhausted.
 */
void *ht_bootstrap_alloc(size_t size, size_t alignment);
bool ht_bootstrap_owns(const void *block);
size_t ht_bootstrap_usable(const void *block);

#endif
