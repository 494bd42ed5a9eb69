#include "calls.h"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <malloc.h>
#include <new>

/* New in C23: there only where the C library, or heaptally above it, offers them. */
extern "C" {
void free_sized(void *block, size_t size) __attribute__((weak));
void free_aligned_sized(void *block, size_t align, size_t size) __attribute__((weak));
}

using std::align_val_t;
using std::nothrow;

#define ALLOCATE(expression)                                                                       \
    [](size_t size, size_t align) -> void * {                                                      \
        (void)align;                                                                               \
        return expression;                                                                         \
    }
#define RELEASE(expression)                                                                        \
    [](void *block, size_t size, size_t align) {                                                   \
        (void)size, (void)align;                                                                   \
        expression;                                                                                \
    }

static void *by_posix_memalign(size_t size, size_t align)
{
    void *block = nullptr;
    return posix_memalign(&block, align, size) == 0 ? block : nullptr;
}

static void *by_calloc(size_t size, size_t)
{
    return size % 8 == 0 ? calloc(size / 8, 8) : size % 2 ? calloc(size, 1) : calloc(1, size);
}

/* clang-format off */
static const allocate_call allocates[] = {
    /* name              family             zeroed takes_align own_align */
    {"malloc",           C_PLAIN,          false, false, 16,   ALLOCATE(malloc(size))},
    {"calloc",           C_PLAIN,          true,  false, 16,   by_calloc},
    {"realloc NULL",     C_PLAIN,          false, false, 16,   ALLOCATE(realloc(nullptr, size))},
    {"reallocarray NULL", C_PLAIN,         false, false, 16,   ALLOCATE(reallocarray(nullptr, size, 1))},
    {"aligned_alloc",    C_ALIGNED_ALLOC,          false, true,  0,    ALLOCATE(aligned_alloc(align, size))},
    {"memalign",         C_ALIGNED,          false, true,  0,    ALLOCATE(memalign(align, size))},
    {"posix_memalign",   C_ALIGNED,          false, true,  0,    by_posix_memalign},
    {"valloc",           C_ALIGNED,          false, false, 4096, ALLOCATE(valloc(size))},
    {"new",              NEW_ONE,           false, false, 16,   ALLOCATE(::operator new(size))},
    {"new nothrow",      NEW_ONE,           false, false, 16,   ALLOCATE(::operator new(size, nothrow))},
    {"new[]",            NEW_ARRAY,         false, false, 16,   ALLOCATE(::operator new[](size))},
    {"new[] nothrow",    NEW_ARRAY,         false, false, 16,   ALLOCATE(::operator new[](size, nothrow))},
    {"new aligned",      NEW_ONE_ALIGNED,   false, true,  0,    ALLOCATE(::operator new(size, align_val_t(align)))},
    {"new aligned nothrow", NEW_ONE_ALIGNED, false, true, 0,    ALLOCATE(::operator new(size, align_val_t(align), nothrow))},
    {"new[] aligned",    NEW_ARRAY_ALIGNED, false, true,  0,    ALLOCATE(::operator new[](size, align_val_t(align)))},
    {"new[] aligned nothrow", NEW_ARRAY_ALIGNED, false, true, 0, ALLOCATE(::operator new[](size, align_val_t(align), nothrow))},
    {"pvalloc",          C_ALIGNED,          false, false, 4096, ALLOCATE(pvalloc(size))},
};

static const release_call releases[] = {
    {"free",              C_PLAIN,           RELEASE(free(block))},
    {"free_sized",        C_PLAIN,           RELEASE(free_sized ? free_sized(block, size) : free(block))},
    {"free",              C_ALIGNED,         RELEASE(free(block))},
    {"free",              C_ALIGNED_ALLOC,   RELEASE(free(block))},
    {"free_aligned_sized", C_ALIGNED_ALLOC,  RELEASE(free_aligned_sized ? free_aligned_sized(block, align, size) : free(block))},
    {"delete",            NEW_ONE,           RELEASE(::operator delete(block))},
    {"delete sized",      NEW_ONE,           RELEASE(::operator delete(block, size))},
    {"delete nothrow",    NEW_ONE,           RELEASE(::operator delete(block, nothrow))},
    {"delete[]",          NEW_ARRAY,         RELEASE(::operator delete[](block))},
    {"delete[] sized",    NEW_ARRAY,         RELEASE(::operator delete[](block, size))},
    {"delete[] nothrow",  NEW_ARRAY,         RELEASE(::operator delete[](block, nothrow))},
    {"delete aligned",    NEW_ONE_ALIGNED,   RELEASE(::operator delete(block, align_val_t(align)))},
    {"delete sized aligned", NEW_ONE_ALIGNED, RELEASE(::operator delete(block, size, align_val_t(align)))},
    {"delete aligned nothrow", NEW_ONE_ALIGNED, RELEASE(::operator delete(block, align_val_t(align), nothrow))},
    {"delete[] aligned",  NEW_ARRAY_ALIGNED, RELEASE(::operator delete[](block, align_val_t(align)))},
    {"delete[] sized aligned", NEW_ARRAY_ALIGNED, RELEASE(::operator delete[](block, size, align_val_t(align)))},
    {"delete[] aligned nothrow", NEW_ARRAY_ALIGNED, RELEASE(::operator delete[](block, align_val_t(align), nothrow))},
};
/* clang-format on */

const allocate_call *allocate_calls(bool pvalloc, int *count)
{
    *count = (int)(sizeof allocates / sizeof *allocates) - (pvalloc ? 0 : 1);
    return allocates;
}

const release_call *release_calls(int *count)
{
    *count = (int)(sizeof releases / sizeof *releases);
    return releases;
}

/* A `new` that must throw, or the one that throws behind the scenes: true if it did. */
static bool new_fails(size_t size, unsigned n)
{
    if (n % 3 == 1)
        return !::operator new(size, nothrow);
    try {
        void *block = n % 3 ? ::operator new(size, align_val_t(64)) : ::operator new[](size);
        return block == nullptr; /* not reached by a conforming operator new */
    } catch (const std::bad_alloc &) {
        return true;
    }
}

/* posix_memalign tells by its result and leaves errno alone. */
static bool posix_memalign_fails(size_t size)
{
    void *untouched = &untouched, *block = untouched;
    bool failed = posix_memalign(&block, 64, size) == ENOMEM;
    errno = ENOMEM;
    return failed;
}

bool refuse_huge(unsigned n, void *block, bool throwing, unsigned long *wrong_errno)
{
    /* Volatile: the compiler knows that these cannot succeed and would say so. */
    volatile size_t most = SIZE_MAX, half = PTRDIFF_MAX;
    bool failed;
    if (throwing && n % 4 == 0) /* errno is not part of the promise of new */
        return new_fails(n % 8 ? most - 64 : half, n);
    errno = 0;
    switch (n % 12) {
    case 0:
        failed = !malloc(most);
        break;
    case 1:
        failed = !malloc(most - 7);
        break; /* + 8 would be 0 */
    case 2:
        failed = !malloc(half);
        break;
    case 3:
        failed = !malloc(half - 7);
        break;
    case 4:
        failed = !calloc(most / 2, 3);
        break;
    case 5:
        failed = !calloc(1, most - 4);
        break;
    case 6:
        failed = !calloc(half, 2);
        break; /* SIZE_MAX - 1 */
    case 7:
        failed = !realloc(block, most - 8);
        break;
    case 8:
        failed = !realloc(block, half);
        break;
    case 9:
        failed = !reallocarray(block, half, 3);
        break;
    case 10:
        failed = !aligned_alloc(64, most - 63);
        break;
    default:
        failed = posix_memalign_fails(half - 63);
        break;
    }
    *wrong_errno += errno != ENOMEM;
    return failed;
}
