/* Sizes are asked of the allocator, at a block's birth and before its end. */
#include "heap_watch.h"

#include <stdbool.h>
#include <stdlib.h>

/* Of AddressSanitizer's runtime; Debian's gcc comes without the header that declares them. */
extern int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *,
                                                                         size_t),
                                                     void (*free_hook)(const volatile void *));
extern size_t __sanitizer_get_allocated_size(const volatile void *block);

static long long held, most;

static void on_malloc(const volatile void *block, size_t size)
{
    (void)block;
    long long now = __atomic_add_fetch(&held, (long long)size, __ATOMIC_RELAXED);
    if (now > most)
        most = now;
}

static void on_free(const volatile void *block)
{
    if (block)
        __atomic_sub_fetch(&held, (long long)__sanitizer_get_allocated_size(block),
                           __ATOMIC_RELAXED);
}

void heap_watch_begin(void)
{
    static bool installed;
    if (!installed && !__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free))
        abort();
    installed = true;
    held = most = 0;
}

size_t heap_watch_peak(void)
{
    return (size_t)most;
}
