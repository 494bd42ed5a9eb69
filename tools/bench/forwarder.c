/*
 * An interposer that does nothing but forward: what any preload costs at the least. Benchmarks
 * hold heaptally against it.
 *
 * The real functions are looked up by the constructor. What is called before that, by the loader
 * or by dlsym itself, is served from a small static area and never freed.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_memalign)(size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void (*real_free)(void *);

static _Alignas(16) char early[65536];
static size_t early_used;

static void *early_allocate(size_t size)
{
    size_t rounded = (size + 15) & ~(size_t)15;
    if (rounded > sizeof early - early_used)
        return NULL;
    void *block = early + early_used;
    early_used += rounded;
    return block;
}

static int is_early(const void *block)
{
    return (uintptr_t)block - (uintptr_t)early < sizeof early;
}

#define LOOK_UP(function) *(void **)&real_##function = dlsym(RTLD_NEXT, #function)

__attribute__((constructor)) static void look_up(void)
{
    LOOK_UP(calloc);
    LOOK_UP(realloc);
    LOOK_UP(memalign);
    LOOK_UP(aligned_alloc);
    LOOK_UP(posix_memalign);
    LOOK_UP(free);
    LOOK_UP(malloc);
}

void *malloc(size_t size)
{
    return __builtin_expect(real_malloc != NULL, 1) ? real_malloc(size) : early_allocate(size);
}

void free(void *block)
{
    if (!is_early(block) && __builtin_expect(real_free != NULL, 1))
        real_free(block);
}

void *calloc(size_t count, size_t size)
{
    return real_calloc ? real_calloc(count, size) : early_allocate(count * size);
}

void *realloc(void *block, size_t size)
{
    if (real_realloc && !is_early(block))
        return real_realloc(block, size);
    void *moved = malloc(size);
    if (moved && block) {
        size_t most = (size_t)(early + sizeof early - (char *)block);
        memcpy(moved, block, size < most ? size : most);
    }
    return moved;
}

void *memalign(size_t align, size_t size)
{
    return real_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return real_aligned_alloc(align, size);
}

int posix_memalign(void **block, size_t align, size_t size)
{
    return real_posix_memalign(block, align, size);
}
