/*
 * An allocator that may be interrupted anywhere: a signal handler may allocate in it while the
 * thread beneath stands in the middle of malloc. To be preloaded below heaptally, so that a test
 * can interrupt heaptally's own code at every instruction without breaking the allocator.
 *
 * It hands out fresh memory from one large reservation by a single atomic addition and takes
 * nothing back. The usable size stands in the 16 bytes in front of each block. Where
 * REFUSE_AFTER_MS is in the environment, it refuses large blocks, and thinks that long before.
 */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE    12000
#define RESERVED ((size_t)1 << 36)
#define HEAD     16

static _Atomic(uintptr_t) region; /* start of the reservation, 0 before the first use */
static _Atomic(size_t) used;

/* Two threads may both map at first: one wins, the other gives its mapping back. */
static uintptr_t region_start(void)
{
    uintptr_t start = region;
    if (start)
        return start;
    void *fresh = mmap(NULL, RESERVED, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fresh == MAP_FAILED)
        return 0;
    if (atomic_compare_exchange_strong(&region, &start, (uintptr_t)fresh))
        return (uintptr_t)fresh;
    munmap(fresh, RESERVED);
    return start;
}

static int refuses(size_t size)
{
    const char *ms = size < LARGE ? NULL : getenv("REFUSE_AFTER_MS");
    return ms && usleep((useconds_t)atoi(ms) * 1000) == 0;
}

static void *take(size_t size, size_t align)
{
    uintptr_t start = region_start();
    size_t usable = size ? (size + 15) & ~(size_t)15 : 16;
    if (size > RESERVED / 2 || !start || refuses(size))
        goto none;
    if (align < 16)
        align = 16;
    size_t offset = atomic_fetch_add(&used, usable + HEAD + align);
    if (offset + usable + HEAD + align > RESERVED)
        goto none;
    uintptr_t block = (start + offset + HEAD + align - 1) & ~(uintptr_t)(align - 1);
    *(size_t *)(block - HEAD) = usable;
    return (void *)block;
none:
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t size)
{
    return take(size, 16);
}

void free(void *block)
{
    (void)block;
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return take(bytes, 16); /* the reservation is zero and nothing is used twice */
}

size_t malloc_usable_size(void *block)
{
    return block ? *(size_t *)((uintptr_t)block - HEAD) : 0;
}

void *realloc(void *block, size_t size)
{
    size_t usable = malloc_usable_size(block);
    if (block && size <= usable && size > usable / 2)
        return block;
    void *fresh = take(size, 16);
    if (fresh && block)
        memcpy(fresh, block, usable < size ? usable : size);
    return fresh;
}

void *memalign(size_t align, size_t size)
{
    return take(size, align);
}

void *aligned_alloc(size_t align, size_t size)
{
    return take(size, align);
}

int posix_memalign(void **block, size_t align, size_t size)
{
    int saved = errno;
    void *fresh = take(size, align);
    errno = saved;
    if (!fresh)
        return ENOMEM;
    *block = fresh;
    return 0;
}

void *valloc(size_t size)
{
    return take(size, 4096);
}

void *pvalloc(size_t size)
{
    return take((size + 4095) & ~(size_t)4095, 4096);
}
