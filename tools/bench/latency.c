/*
 * latency CYCLES [SLEEP_US [SPIN_NS]]: how long the cycles of a control loop take that allocates
 * 20 blocks in each and frees those of the cycle before: the nanoseconds of each cycle, as unsigned
 * 32 bits, to standard output.
 *
 * Before it allocates, a cycle computes for some microseconds, as a controller does, and sleeps for
 * SLEEP_US (0) before that: then it finds cold caches. Only what it allocates is timed. Cycles in
 * which the kernel took the processor away (an involuntary context switch) are left out: they say
 * nothing of the allocator. With SPIN_NS a cycle allocates nothing and takes that long: what the
 * machine by itself does to cycles of this length.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "heaptally.h"

#define SETTLE_NS 300e6
#define BLOCKS    20
#define DEPTH     4
#define BARRIER() __asm__ volatile("" ::: "memory")

static void *blocks[BLOCKS];
static volatile double state = 1.0;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

__attribute__((noinline)) static void allocate(int depth, unsigned i)
{
    if (depth > 0)
        allocate(depth - 1, i);
    else
        blocks[i] = malloc(16 + 24 * i);
    BARRIER(); /* no tail call: the frame stays */
}

__attribute__((noinline)) static void cycle(void)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        allocate(DEPTH + (int)(i % 5), i);
    }
}

static void compute(void)
{
    for (int i = 0; i < 1000; i++)
        state = state * 0.999 + 0.001;
}

static void sleep_us(long us)
{
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    if (us > 0)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void spin(double start, double ns)
{
    while (now_ns() - start < ns)
        BARRIER();
}

/* One pass of the loop: how long its allocations took, 0 where it was interrupted. */
static double pass(long us, double spin_ns)
{
    static long switches_before;
    sleep_us(us);
    compute();
    double start = now_ns();
    if (spin_ns > 0)
        spin(start, spin_ns);
    else
        cycle();
    double took = now_ns() - start;
    long switches_now = switches();
    bool undisturbed = switches_now == switches_before;
    switches_before = switches_now;
    return undisturbed ? took : 0;
}

/*
 * Passes until SETTLE_NS are over and heaptally knows all call sites, and then those that are
 * measured: from the same place in the program, since from another they would be other stacks.
 */
static size_t run(uint32_t *ns, size_t cycles, long us, double spin_ns)
{
    double half = now_ns() + SETTLE_NS / 2, end = half + SETTLE_NS / 2;
    volatile size_t left = cycles; /* volatile: one call, no copy */
    size_t count = 0;
    while (left > 0) {
        double took = pass(us, spin_ns);
        double now = now_ns();
        if (now < end) {
            sleep_us(1000);
            if (now > half)
                heaptally_snapshot(); /* comes once it has looked at all that was new */
            continue;
        }
        if (took > 0)
            ns[count++] = (uint32_t)took;
        left--;
    }
    return count;
}

int main(int argc, char **argv)
{
    size_t cycles = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;
    uint32_t *ns = calloc(cycles, sizeof *ns);
    if (!cycles || !ns) {
        fprintf(stderr, "usage: latency CYCLES [SLEEP_US [SPIN_NS]]\n");
        return 2;
    }
    memset(ns, 1, cycles * sizeof *ns); /* there before it is measured */
    size_t count = run(ns, cycles, argc > 2 ? atol(argv[2]) : 0, argc > 3 ? atof(argv[3]) : 0);
    return fwrite(ns, sizeof *ns, count, stdout) == count ? 0 : 1;
}
