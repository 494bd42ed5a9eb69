/* One of two libraries of the same layout, whose functions have other names (PLUGIN(x) is x_a or
 * x_b). Allocates by itself where it is given no function to do so. */
#include <stddef.h>
#include <stdlib.h>

#define JOIN(x, y)     x##_##y
#define NAME(x, y)     JOIN(x, y)
#define PLUGIN(x)      NAME(x, TWIN)
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

void PLUGIN(plugin_inner)(size_t size, void (*allocate)(size_t)) __attribute__((noinline));
void PLUGIN(plugin_run)(size_t size, unsigned long times, void (*allocate)(size_t));

void PLUGIN(plugin_inner)(size_t size, void (*allocate)(size_t))
{
    if (allocate)
        allocate(size);
    else
        free(malloc(size));
    NO_TAIL_CALL();
}

void PLUGIN(plugin_run)(size_t size, unsigned long times, void (*allocate)(size_t))
{
    for (unsigned long i = 0; i < times; i++) {
        PLUGIN(plugin_inner)(size, allocate);
        NO_TAIL_CALL();
    }
}
