/*
 * Paths that look alike from where the allocation is made: the same immediate return address, the
 * same stack pointer, other callers further out. One case per run:
 *
 *   middle     the callers differ in the middle
 *   deep       the callers differ at depth 20
 *   alloca     areas of changing size that hold what lay at these very addresses on the other path:
 *              its return addresses and frame pointers included
 *   fiber      two fibers take turns on one stack
 *   plugin     two libraries of the same layout take turns at one address
 *   shared     the same, but it is the program's own function that allocates
 *
 * Each path allocates blocks of a size of its own, so that a block under a wrong stack is seen by
 * its size. Prints for each path: the name of a function that lies on it alone, size, count.
 * Status 4: the twins do not meet (another stack pointer, another address), nothing is shown.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "until_known.h"

#if defined(__clang__)
#define OPAQUE __attribute__((noinline))
#else
#define OPAQUE __attribute__((noipa))
#endif
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

#define SIZE_A ((size_t)96)
#define SIZE_B ((size_t)160)

static unsigned long count_a, count_b;
static uintptr_t sp_a, sp_b; /* the stack pointer in leaf, as far as the compiler has it there */
static unsigned char seen[2048]; /* the stack from sp_a on, as it was on path A */

static void do_not_meet(const char *why)
{
    fprintf(stderr, "twins: %s\n", why);
    exit(4);
}

static uintptr_t stack_pointer(void) __attribute__((always_inline));
static inline uintptr_t stack_pointer(void)
{
    uintptr_t sp;
    __asm__ volatile("movq %%rsp, %0" : "=r"(sp));
    return sp;
}

/* Where both paths allocate. */
OPAQUE void leaf(size_t size)
{
    uintptr_t sp = stack_pointer(), *known = size == SIZE_A ? &sp_a : &sp_b;
    if (*known && *known != sp)
        do_not_meet("a path does not come the same way twice");
    *known = sp;
    if (size == SIZE_A)
        memcpy(seen, (const void *)sp, sizeof seen);
    void *p = malloc(size);
    *(size == SIZE_A ? &count_a : &count_b) += 1;
    if (p && count_a % 64)
        free(p);
    NO_TAIL_CALL();
}

/* Runs a and b in an order without rhythm; a first, so that b meets what a has left. */
static void take_turns(unsigned long times, void (*a)(void), void (*b)(void))
{
    uint32_t random = 12345;
    for (unsigned long i = 0; i < times; i++) {
        random = random * 1664525u + 1013904223u;
        void (*volatile path)(void) = i && (random >> 20) % 2 ? b : a;
        path();
        if (i < 200 || i % 64 == 0)
            usleep(1000); /* for the stacks to get known */
    }
}

/* ---- middle ---------------------------------------------------------------------------------- */

OPAQUE void middle(size_t size)
{
    leaf(size);
    NO_TAIL_CALL();
}

OPAQUE void middle_a(void)
{
    middle(SIZE_A);
    __asm__ volatile("# a" ::: "memory");
}

OPAQUE void middle_b(void)
{
    middle(SIZE_B);
    __asm__ volatile("# b" ::: "memory");
}

/* ---- deep ------------------------------------------------------------------------------------ */

#define LEVEL(name, next)                                                                          \
    OPAQUE void name(size_t size)                                                                  \
    {                                                                                              \
        next(size);                                                                                \
        NO_TAIL_CALL();                                                                            \
    }
#define LEVELS_4(to, from)                                                                         \
    LEVEL(to##_1, from)                                                                            \
    LEVEL(to##_2, to##_1)                                                                          \
    LEVEL(to##_3, to##_2)                                                                          \
    LEVEL(to##_4, to##_3)
LEVELS_4(first, leaf)
LEVELS_4(second, first_4)
LEVELS_4(third, second_4)
LEVELS_4(fourth, third_4)
LEVEL(fifth_1, fourth_4)
LEVEL(fifth_2, fifth_1)

/* Frame 20, counted from the allocation: leaf, 18 levels, and this. */
OPAQUE void deep_a(void)
{
    fifth_2(SIZE_A);
    __asm__ volatile("# a" ::: "memory");
}

OPAQUE void deep_b(void)
{
    fifth_2(SIZE_B);
    __asm__ volatile("# b" ::: "memory");
}

/* ---- alloca ---------------------------------------------------------------------------------- */

/* Fills an area with what lay at its addresses on path A. */
static void fill_stale(uint64_t *area, size_t bytes)
{
    for (size_t i = 0; i < bytes / 8; i++) {
        uintptr_t address = (uintptr_t)&area[i];
        area[i] = 0;
        if (sp_a && address >= sp_a && address + 8 <= sp_a + sizeof seen)
            memcpy(&area[i], seen + (address - sp_a), 8);
    }
}

OPAQUE void with_area(size_t area_bytes, size_t size)
{
    uint64_t *area = __builtin_alloca(area_bytes);
    fill_stale(area, area_bytes);
    leaf(size);
    __asm__ volatile("" : : "r"(area) : "memory");
}

OPAQUE void alloca_a(size_t area_bytes)
{
    with_area(area_bytes, SIZE_A);
    __asm__ volatile("# a" ::: "memory");
}

OPAQUE void alloca_b(size_t area_bytes)
{
    with_area(area_bytes, SIZE_B);
    __asm__ volatile("# b" ::: "memory");
}

/* What the area has more, the padding has less: SP in leaf stays the same. */
OPAQUE void padded(size_t padding, size_t area_bytes, void (*path)(size_t))
{
    char *pad = __builtin_alloca(padding);
    __asm__ volatile("" : : "r"(pad) : "memory");
    path(area_bytes);
    __asm__ volatile("" : : "r"(pad) : "memory");
}

OPAQUE void small_area_a(void)
{
    padded(512, 128, alloca_a);
    NO_TAIL_CALL();
}

/* The larger area covers the frames of path A. */
OPAQUE void large_area_b(void)
{
    padded(128, 512, alloca_b);
    NO_TAIL_CALL();
}

/* ---- fiber ----------------------------------------------------------------------------------- */

static ucontext_t main_context, fiber_context;
static char fiber_stack[64 << 10] __attribute__((aligned(4096)));

OPAQUE void fiber_a(void)
{
    middle(SIZE_A);
    __asm__ volatile("# a" ::: "memory");
}

OPAQUE void fiber_b(void)
{
    middle(SIZE_B);
    __asm__ volatile("# b" ::: "memory");
}

static void run_fiber(void (*body)(void))
{
    getcontext(&fiber_context);
    fiber_context.uc_stack.ss_sp = fiber_stack;
    fiber_context.uc_stack.ss_size = sizeof fiber_stack - sizeof seen; /* leaf reads beyond */
    fiber_context.uc_link = &main_context;
    makecontext(&fiber_context, body, 0);
    swapcontext(&main_context, &fiber_context);
}

static void run_fiber_a(void)
{
    run_fiber(fiber_a);
}

static void run_fiber_b(void)
{
    run_fiber(fiber_b);
}

/* ---- plugins ----------------------------------------------------------------------------------
 */

typedef void plugin_function(size_t size, unsigned long times, void (*allocate)(size_t));

/* How a visit to a library goes on after its first allocations. */
enum pause { NO_PAUSE, SHORT_PAUSE, UNTIL_KNOWN };

static ElfW(Addr) visit(const char *file, const char *function, size_t size, unsigned long times,
                        void (*allocate)(size_t), enum pause pause)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    struct link_map *map;
    plugin_function *run = NULL;
    if (handle)
        *(void **)&run = dlsym(handle, function);
    if (!run || dlinfo(handle, RTLD_DI_LINKMAP, &map)) {
        fprintf(stderr, "twins: %s\n", dlerror());
        exit(3);
    }
    ElfW(Addr) base = map->l_addr;
    run(size, times, allocate);
    if (pause == SHORT_PAUSE)
        usleep(300);
    else if (pause == UNTIL_KNOWN)
        until_known();
    run(size, times, allocate);
    dlclose(handle);
    return base;
}

/* Each visit begins with what is unknown; some end before the monitor can have looked. */
static void plugins(unsigned long rounds, char **files, bool shared)
{
    void (*allocate)(size_t) = shared ? leaf : NULL;
    for (unsigned long i = 0; i < rounds; i++) {
        enum pause pause = i % 16 == 15 ? UNTIL_KNOWN : i % 4 == 2 ? SHORT_PAUSE : NO_PAUSE;
        ElfW(Addr) a = visit(files[0], "plugin_run_a", SIZE_A, 5, allocate, pause);
        ElfW(Addr) b = visit(files[1], "plugin_run_b", SIZE_B, 5, allocate, pause);
        if (a != b)
            do_not_meet("the loader does not put the libraries at one address");
    }
    if (!shared) {
        count_a = count_b = rounds * 2 * 5;
        sp_a = sp_b = 1; /* that they meet is shown by the address */
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*a)(void), (*b)(void);
    const char *only_a, *only_b;
} cases[] = {
    {"middle", middle_a, middle_b, "middle_a", "middle_b"},
    {"deep", deep_a, deep_b, "deep_a", "deep_b"},
    {"alloca", small_area_a, large_area_b, "alloca_a", "alloca_b"},
    {"fiber", run_fiber_a, run_fiber_b, "fiber_a", "fiber_b"},
    {"plugin", NULL, NULL, "plugin_run_a", "plugin_run_b"},
    {"shared", NULL, NULL, "plugin_run_a", "plugin_run_b"},
};

/* twins CASE TIMES [LIBRARY LIBRARY] */
int main(int argc, char **argv)
{
    for (size_t i = 0; argc >= 3 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        unsigned long times = strtoul(argv[2], NULL, 0);
        if (cases[i].a)
            take_turns(times, cases[i].a, cases[i].b);
        else if (argc == 5)
            plugins(times, argv + 3, strcmp(argv[1], "shared") == 0);
        if (sp_a != sp_b)
            do_not_meet("their stack pointers differ");
        printf("%s %zu %lu\n%s %zu %lu\n", cases[i].only_a, SIZE_A, count_a, cases[i].only_b,
               SIZE_B, count_b);
        return 0;
    }
    fprintf(stderr, "usage: twins CASE TIMES [LIBRARY LIBRARY]\n");
    return 2;
}
