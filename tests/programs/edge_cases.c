/*
 * Prints what the allocator answers to calls at the edge of what is allowed: whether a block came
 * back, errno, alignment, content; and what comes of system calls made by number. The answers with
 * heaptally must be those without.
 */
#include "program.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* Volatile: these calls are wrong or strange, and the compiler knows. */
static volatile size_t huge = SIZE_MAX, half = PTRDIFF_MAX, zero = 0, three = 3, one = 1,
                       wrap = SIZE_MAX / 16;

static void answer(const char *call, void *block)
{
    int error = errno;
    printf("%-40s %s errno %d\n", call, block ? "block" : "NULL", block ? 0 : error);
    free(block);
    errno = 0;
}

#define ANSWER(call)   (errno = 0, answer(#call, call))
#define RESULT(result) (errno = 0, printf("%-40s %ld\n", #result, (long)(result)))

static int aligned(size_t align, size_t size)
{
    void *block = (void *)&zero;
    int result = posix_memalign(&block, align, size);
    if (result != 0)
        return block == (void *)&zero ? result : -1; /* must be untouched */
    bool wrong = (uintptr_t)block % align != 0;
    free(block);
    return wrong ? -2 : 0;
}

/* A block must survive a resize that fails, with its content. */
static int survives(size_t size)
{
    char *block = malloc(100);
    memset(block, 'k', 100);
    program_sink = block;
    char *moved = realloc(block, size);
    if (moved)
        return 0;
    char *same = program_sink; /* freed by nobody, but the compiler fears so */
    int good = errno == ENOMEM && same[99] == 'k';
    free(same);
    return good;
}

static int free_keeps_errno(void)
{
    void *small = malloc(10), *large = malloc(1 << 20);
    program_sink = small, program_sink = large;
    errno = 77;
    free(small);
    free(large);
    free(NULL);
    return errno;
}

/* A calloc of memory that was dirty before. */
static int calloc_is_zero(size_t size)
{
    unsigned char *block = malloc(size);
    memset(block, 0xff, size);
    program_sink = block;
    free(block);
    block = calloc(1, size);
    int dirty = 0;
    for (size_t i = 0; i < size; i++)
        dirty += block[i];
    free(block);
    return dirty;
}

/* The two pages of a file that say which they are, mapped by a call of six arguments. */
static int all_arguments_arrive(void)
{
    const long page = sysconf(_SC_PAGESIZE);
    int file = memfd_create("pages", 0);
    MUST(pwrite(file, "first", 6, 0) == 6 && pwrite(file, "second", 7, page) == 7);
    char *second = (char *)syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, file, page);
    MUST(second != MAP_FAILED);
    int good = strcmp(second, "second") == 0;
    MUST(munmap(second, (size_t)page) == 0 && close(file) == 0);
    return good;
}

/* By errno. */
static int fails(long number)
{
    errno = 0;
    long result = syscall(number, -1L, NULL, 0L);
    return result == -1 ? errno : 0;
}

int main(void)
{
    ANSWER(malloc(zero));
    ANSWER(calloc(zero, 10));
    ANSWER(calloc(10, zero));
    ANSWER(realloc(NULL, zero));
    ANSWER(realloc(malloc(10), zero));
    ANSWER(reallocarray(NULL, zero, 10));
    ANSWER(reallocarray(malloc(10), 10, zero));
    ANSWER(malloc(huge));
    ANSWER(malloc(huge - 7));
    ANSWER(malloc(huge - 8));
    ANSWER(malloc(half));
    ANSWER(malloc(half + 1));
    ANSWER(malloc(half - 8));
    ANSWER(malloc(half - 16));
    ANSWER(calloc(huge, three));
    ANSWER(calloc(half, 2));
    ANSWER(calloc(wrap + 1, 16));
    ANSWER(calloc(1, huge - 3));
    ANSWER(reallocarray(NULL, huge, three));
    ANSWER(aligned_alloc(zero, 100));
    ANSWER(aligned_alloc(three, 100));
    ANSWER(aligned_alloc(1, 100));
    ANSWER(aligned_alloc(4096, zero));
    ANSWER(aligned_alloc(64, huge - 63));
    ANSWER(aligned_alloc(one << 40, 64));
    ANSWER(aligned_alloc(one << 63, 64));
    ANSWER(memalign(zero, 100));
    ANSWER(memalign(three, 100));
    ANSWER(memalign(huge, 100));
    ANSWER(memalign(one << 22, 100));
    ANSWER(valloc(zero));
    ANSWER(valloc(huge));
    ANSWER(valloc(huge - 4096));
    ANSWER(pvalloc(zero));
    ANSWER(pvalloc(huge));
    ANSWER(pvalloc(huge - 4096));
    RESULT(aligned(zero, 10));
    RESULT(aligned(4, 10));
    RESULT(aligned(24, 10));
    RESULT(aligned(8, zero));
    RESULT(aligned(64, huge));
    RESULT(aligned(64, huge - 100));
    RESULT(aligned(64, 1000));
    RESULT(aligned((size_t)1 << 21, 10));
    RESULT(survives(huge));
    RESULT(survives(huge - 8));
    RESULT(survives(half));
    RESULT(free_keeps_errno());
    RESULT(malloc_usable_size(NULL));
    RESULT(calloc_is_zero(24));
    RESULT(calloc_is_zero(100));
    RESULT(calloc_is_zero(5000));
    RESULT(calloc_is_zero(300000));
    RESULT(all_arguments_arrive());
    RESULT(fails(SYS_read));
    RESULT(fails(SYS_seccomp));
    RESULT(fails(1L << 20));
    RESULT(syscall(SYS_getppid) == getppid());
    return 0;
}
