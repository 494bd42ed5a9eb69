/*
 * beside WORKLOAD ROUNDS FORWARDER: what a preloaded library costs, within one process. Each round
 * runs a stretch of the workload with malloc and free of FORWARDER, a library that only passes
 * calls on to libc, and then one with those that a program finds. Prints `name ratio` for each
 * quantity: the median of the rounds' ratios.
 *
 *   hot4, hot24   a block of 64 bytes taken and given back at once, 4 or 24 frames deep
 *   million       a million live blocks of 16 to 271 bytes, a half for each of the two; one at
 *                 random is replaced each time
 *   cycles        a control loop that computes and then replaces 20 blocks, from 8 to 12 frames
 *                 deep: percentiles of how long that takes, cycles left out in which the kernel
 * took the processor away
 *
 * Two processes have different pages and, where machines are shared, different neighbours: one and
 * the same program may take half as long again from one start to the next. Here both share them.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "heaptally.h"

#define PAIRS       20000 /* of a stretch of hot pairs */
#define REPLACED    40000 /* of a stretch of the million */
#define CYCLES      500   /* of a stretch of cycles; the first WARMING are not counted */
#define WARMING     20
#define SETTLE      30     /* short rounds before the first that counts, with pauses */
#define SHORT       100    /* of the usual length is a short one */
#define LIVE        500000 /* of each half */
#define CYCLE_BLOCK 20
#define MOST_ROUNDS 2000
#define BARRIER()   __asm__ volatile("" ::: "memory")

enum side { FORWARDER, FOUND, SIDES };

static void *(*forwarder_malloc)(size_t size);
static void (*forwarder_free)(void *p);
static void *volatile sink;

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- hot pairs ------------------------------------------------------------------------------- */

__attribute__((noinline)) static void pairs_here(enum side side, long count)
{
    volatile size_t size = 64;
    if (side == FORWARDER)
        while (count-- > 0) {
            void *block = forwarder_malloc(size);
            sink = block;
            forwarder_free(block);
        }
    else
        while (count-- > 0) {
            void *block = malloc(size);
            sink = block;
            free(block);
        }
    BARRIER();
}

__attribute__((noinline)) static void descend(int depth, enum side side, long count)
{
    if (depth > 0)
        descend(depth - 1, side, count);
    else
        pairs_here(side, count);
    BARRIER(); /* no tail call: the frame stays */
}

/* Frames of the program beneath malloc: pairs_here, `depth` + 1 of descend, the workload, main. */
static double hot(int depth, enum side side, long share)
{
    double start = seconds(CLOCK_THREAD_CPUTIME_ID);
    descend(depth, side, PAIRS / share);
    return seconds(CLOCK_THREAD_CPUTIME_ID) - start;
}

static double hot4(enum side side, long share)
{
    return hot(0, side, share);
}

static double hot24(enum side side, long share)
{
    return hot(20, side, share);
}

/* ---- a million live blocks ------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;
static void **live;

static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20);
}

/* The two kinds lie among each other, and in no order, as after a long life. */
static void fill_live(void)
{
    live = calloc(SIDES * LIVE, sizeof *live);
    for (size_t i = 0; i < LIVE; i++) {
        live[i] = forwarder_malloc(16 + draw() % 256);
        live[LIVE + i] = malloc(16 + draw() % 256);
        *(char *)live[i] = *(char *)live[LIVE + i] = 1;
    }
    for (size_t i = 0; i < SIDES * LIVE; i++) {
        size_t half = i / LIVE * LIVE, j = half + draw() % LIVE;
        void *other = live[i];
        live[i] = live[j];
        live[j] = other;
    }
}

static double million(enum side side, long share)
{
    if (!live)
        fill_live();
    void **half = live + (side == FORWARDER ? 0 : LIVE);
    double start = seconds(CLOCK_THREAD_CPUTIME_ID);
    for (long n = REPLACED / share; n > 0; n--) {
        size_t i = draw() % LIVE, size = 16 + draw() % 256;
        if (side == FORWARDER) {
            forwarder_free(half[i]);
            half[i] = forwarder_malloc(size);
        } else {
            free(half[i]);
            half[i] = malloc(size);
        }
        *(char *)half[i] = 1;
    }
    return seconds(CLOCK_THREAD_CPUTIME_ID) - start;
}

/* ---- cycles of a control loop ---------------------------------------------------------------- */

static void *blocks[SIDES][CYCLE_BLOCK];
static uint32_t *cycle_ns[SIDES];
static size_t cycle_count[SIDES];
static volatile double state = 1.0;

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

__attribute__((noinline)) static void replace(int depth, enum side side, unsigned i)
{
    if (depth > 0)
        replace(depth - 1, side, i);
    else if (side == FORWARDER)
        blocks[side][i] = forwarder_malloc(16 + 24 * i);
    else
        blocks[side][i] = malloc(16 + 24 * i);
    BARRIER(); /* no tail call: the frame stays */
}

__attribute__((noinline)) static void cycle(enum side side)
{
    for (unsigned i = 0; i < CYCLE_BLOCK; i++) {
        if (side == FORWARDER)
            forwarder_free(blocks[side][i]);
        else
            free(blocks[side][i]);
        replace(4 + (int)(i % 5), side, i);
    }
}

static double cycles(enum side side, long share)
{
    double all = 0;
    for (long n = 0; n < CYCLES / share + WARMING; n++) {
        for (int i = 0; i < 1000; i++)
            state = state * 0.999 + 0.001;
        long before = switches();
        double start = seconds(CLOCK_MONOTONIC);
        cycle(side);
        double took = seconds(CLOCK_MONOTONIC) - start;
        if (n >= WARMING && share == 1 && switches() == before)
            cycle_ns[side][cycle_count[side]++] = (uint32_t)(1e9 * took);
        all += took;
    }
    return all;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int compare_ns(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_percentiles(void)
{
    static const struct {
        const char *name;
        double share;
    } wanted[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}};
    for (int side = 0; side < SIDES; side++)
        qsort(cycle_ns[side], cycle_count[side], sizeof **cycle_ns, compare_ns);
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        double at[SIDES];
        for (int side = 0; side < SIDES; side++)
            at[side] = cycle_ns[side][(size_t)(wanted[i].share * (double)(cycle_count[side] - 1))];
        printf("cycle_%s %.3f\n", wanted[i].name, at[FOUND] / at[FORWARDER]);
    }
}

/* All rounds from one place, since from another they would be other stacks. */
static void run(double (*stretch)(enum side, long), const char *name, int rounds)
{
    static double ratios[MOST_ROUNDS];
    for (volatile int round = -SETTLE; round < rounds; round++) {
        double took[SIDES];
        for (volatile int side = 0; side < SIDES; side++)
            took[side] = stretch((enum side)side, round < 0 ? SHORT : 1);
        if (round >= 0) {
            ratios[round] = took[FOUND] / took[FORWARDER];
            continue;
        }
        nanosleep(&(struct timespec){0, 10000000}, NULL);
        heaptally_snapshot(); /* comes once it has looked at all that was new */
    }
    qsort(ratios, (size_t)rounds, sizeof *ratios, compare_doubles);
    if (stretch == cycles)
        print_percentiles();
    else
        printf("%s %.3f\n", name, ratios[rounds / 2]);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        double (*stretch)(enum side, long);
    } workloads[] = {{"hot4", hot4}, {"hot24", hot24}, {"million", million}, {"cycles", cycles}};
    int rounds = argc == 4 ? atoi(argv[2]) : 0;
    if (rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "usage: beside hot4|hot24|million|cycles ROUNDS FORWARDER\n");
        return 2;
    }
    void *forwarder = dlopen(argv[3], RTLD_NOW | RTLD_LOCAL);
    *(void **)&forwarder_malloc = forwarder ? dlsym(forwarder, "malloc") : NULL;
    *(void **)&forwarder_free = forwarder ? dlsym(forwarder, "free") : NULL;
    if (!forwarder_malloc || !forwarder_free) {
        fprintf(stderr, "beside: %s: no malloc to be had: %s\n", argv[3], dlerror());
        return 2;
    }
    for (int side = 0; side < SIDES; side++) {
        size_t bytes = (size_t)rounds * CYCLES * sizeof **cycle_ns;
        cycle_ns[side] = malloc(bytes);
        memset(cycle_ns[side], 1, bytes); /* there before it is measured */
    }
    for (unsigned i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (strcmp(argv[1], workloads[i].name) == 0) {
            run(workloads[i].stretch, workloads[i].name, rounds);
            return 0;
        }
    fprintf(stderr, "beside: %s: no workload of that name\n", argv[1]);
    return 2;
}
