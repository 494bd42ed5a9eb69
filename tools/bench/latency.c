/*
 * latency CYCLES [SETTLE_MS]: how long the cycles of a control loop take that allocates 20 blocks
 * in each and frees those of the cycle before: prints the 50th, 99th, 99.9th and 99.99th percentile
 * and the longest, in nanoseconds, and how many cycles they are from.
 *
 * Cycles in which the kernel took the processor away (an involuntary context switch) are left out:
 * they say nothing of the allocator. Between two cycles the loop computes for some microseconds, as
 * a controller does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

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

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void settle(double ms)
{
    for (double end = now_ns() + 1e6 * ms; now_ns() < end;) {
        struct timespec pause = {0, 1000000};
        cycle();
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv)
{
    size_t cycles = argc > 1 ? strtoul(argv[1], NULL, 0) : 0, count = 0;
    double *ns = calloc(cycles, sizeof *ns);
    if (!cycles || !ns) {
        fprintf(stderr, "usage: latency CYCLES [SETTLE_MS]\n");
        return 2;
    }
    settle(argc > 2 ? atof(argv[2]) : 400);
    for (size_t i = 0; i < cycles; i++) {
        long before = switches();
        double start = now_ns();
        cycle();
        double took = now_ns() - start;
        if (switches() == before)
            ns[count++] = took;
        compute();
    }
    if (!count)
        return 1;
    qsort(ns, count, sizeof *ns, compare);
    static const double shares[] = {0.5, 0.99, 0.999, 0.9999, 1.0};
    for (unsigned i = 0; i < sizeof shares / sizeof *shares; i++)
        printf("%.0f ", ns[(size_t)(shares[i] * (double)(count - 1))]);
    printf("%zu\n", count);
    return 0;
}
