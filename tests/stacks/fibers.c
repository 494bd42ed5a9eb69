/*
 * A thousand fibers on stacks from the heap take turns; each allocates through one of eight paths,
 * in blocks of that path's size. Prints for each path: the name of a function that lies on it
 * alone, size, count.
 */
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

#include "tree.h"

#define FIBERS      1000u
#define TURNS       20u
#define STACK_BYTES ((size_t)16 << 10)
#define KINDS       8u

static ucontext_t scheduler, fibers[FIBERS];
static unsigned long counts[KINDS];
static unsigned running;

OPAQUE void *common(size_t size)
{
    void *p = malloc(size);
    NO_TAIL_CALL();
    return p;
}

/* A fiber of its kind; goes to the scheduler and back between allocations, at two depths. */
#define FIBER(kind)                                                                                \
    OPAQUE void fiber_path_##kind(unsigned turn)                                                   \
    {                                                                                              \
        void *p = common(32 + 16 * kind);                                                          \
        if (turn % 2)                                                                              \
            swapcontext(&fibers[running], &scheduler);                                             \
        free(p);                                                                                   \
        counts[kind]++;                                                                            \
        __asm__ volatile("# " #kind ::: "memory");                                                 \
    }                                                                                              \
    static void fiber_##kind(void)                                                                 \
    {                                                                                              \
        for (unsigned turn = 0; turn < TURNS; turn++) {                                            \
            fiber_path_##kind(turn);                                                               \
            if (turn % 2 == 0)                                                                     \
                swapcontext(&fibers[running], &scheduler);                                         \
        }                                                                                          \
    }
FIBER(0)
FIBER(1)
FIBER(2)
FIBER(3)
FIBER(4)
FIBER(5)
FIBER(6)
FIBER(7)

int main(void)
{
    static void (*const bodies[KINDS])(void) = {fiber_0, fiber_1, fiber_2, fiber_3,
                                                fiber_4, fiber_5, fiber_6, fiber_7};
    for (unsigned i = 0; i < FIBERS; i++) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = malloc(STACK_BYTES);
        fibers[i].uc_stack.ss_size = STACK_BYTES;
        fibers[i].uc_link = &scheduler;
        makecontext(&fibers[i], bodies[i * 7 % KINDS], 0);
    }
    for (unsigned turn = 0; turn <= TURNS; turn++) {
        for (running = 0; running < FIBERS; running++)
            swapcontext(&scheduler, &fibers[running]);
        usleep(20000); /* for the stacks to get known */
    }
    for (unsigned kind = 0; kind < KINDS; kind++)
        printf("fiber_path_%u %u %lu\n", kind, 32 + 16 * kind, counts[kind]);
    return 0;
}
