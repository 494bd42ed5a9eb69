/*
 * pairs WORKLOAD COUNT [SETTLE_MS]: allocates and frees COUNT times, and prints the thread CPU time
 * of one malloc with its free, in nanoseconds.
 *
 *   hot4, hot24   one block of 64 bytes, taken and given back at once, 4 or 24 frames deep
 *   grown         a block of 16 bytes, as hot4, that is resized to 48 bytes in between
 *   threads       two threads that each do hot4
 *   million       a million live blocks of 16 to 271 bytes; one at random is replaced each time
 *   pipe          one thread allocates, another frees, blocks pass in order through a ring
 *
 * Before it measures, a workload runs in short bursts with pauses, SETTLE_MS (400) in all, so that
 * whoever learns about call sites in the background has learnt them. heaptally is asked for a
 * snapshot after each burst, which comes once it has looked at all that was new to it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heaptally.h"

#define BURSTS    8
#define BURST     4000 /* allocations of a burst */
#define RING      4096
#define LIVE      1000000
#define BARRIER() __asm__ volatile("" ::: "memory")

static long pause_ms = 400;
static void *volatile sink;

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- hot pairs ------------------------------------------------------------------------------- */

__attribute__((noinline)) static void pairs_here(long count)
{
    volatile size_t size = 64;
    while (count-- > 0) {
        void *block = malloc(size);
        sink = block;
        free(block);
    }
    BARRIER();
}

__attribute__((noinline)) static void grown_here(long count)
{
    volatile size_t size = 16;
    while (count-- > 0) {
        void *block = malloc(size);
        sink = block;
        block = realloc(block, 3 * size);
        sink = block;
        free(block);
    }
    BARRIER();
}

static void (*here)(long count) = pairs_here;

__attribute__((noinline)) static void descend_one(int depth, long count);
__attribute__((noinline)) static void descend_other(int depth, long count);

static void descend_one(int depth, long count)
{
    if (depth > 0)
        descend_other(depth - 1, count);
    else
        here(count);
    BARRIER(); /* no tail call: the frame stays */
}

static void descend_other(int depth, long count)
{
    char frame[48];
    sink = frame;
    if (depth > 0)
        descend_one(depth - 1, count);
    else
        here(count);
    BARRIER();
    sink = NULL;
}

/* Frames beneath pairs_here: main, the workload, and `depth` of ours. */
static double hot(int depth, long count)
{
    double start = thread_seconds();
    descend_one(depth, count);
    return thread_seconds() - start;
}

static double hot4(long count)
{
    return hot(1, count);
}

static double hot24(long count)
{
    return hot(21, count);
}

static double grown(long count)
{
    here = grown_here;
    return hot(1, count);
}

/* ---- two threads ----------------------------------------------------------------------------- */

struct share {
    long count;
    double seconds;
};

static void *run_share(void *argument)
{
    struct share *share = argument;
    pairs_here(share->count / 10); /* the thread's first allocations set it up */
    share->seconds = hot(1, share->count);
    return NULL;
}

static double two_threads(long count)
{
    struct share shares[2] = {{count / 2, 0}, {count - count / 2, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run_share, &shares[i]) != 0)
            exit(3);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return shares[0].seconds + shares[1].seconds;
}

/* ---- a million live blocks ------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;

static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20);
}

static void **live;

static void fill_live(void)
{
    live = calloc(LIVE, sizeof *live);
    for (size_t i = 0; i < LIVE; i++) {
        live[i] = malloc(16 + draw() % 256);
        *(char *)live[i] = 1;
    }
    for (size_t i = 0; i < LIVE; i++) { /* no order in the addresses, as after a long life */
        size_t j = draw() % LIVE;
        void *other = live[i];
        live[i] = live[j];
        live[j] = other;
    }
}

static double million(long count)
{
    if (!live)
        fill_live();
    double start = thread_seconds();
    while (count-- > 0) {
        size_t i = draw() % LIVE;
        free(live[i]);
        live[i] = malloc(16 + draw() % 256);
        *(char *)live[i] = 1;
    }
    return thread_seconds() - start;
}

/* ---- producer and consumer ------------------------------------------------------------------- */

static struct {
    _Alignas(64) atomic_ulong written;
    _Alignas(64) atomic_ulong taken;
    void *blocks[RING];
} ring;

static void *consume(void *argument)
{
    struct share *share = argument;
    double start = thread_seconds();
    unsigned long at = ring.taken, end = at + (unsigned long)share->count;
    while (at < end) {
        unsigned long ready = ring.written;
        if (ready == at)
            sched_yield();
        for (; at < ready; at++)
            free(ring.blocks[at % RING]);
        ring.taken = at;
    }
    share->seconds = thread_seconds() - start;
    return NULL;
}

static double pipe_through(long count)
{
    struct share consumer = {count, 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, consume, &consumer) != 0)
        exit(3);
    double start = thread_seconds();
    unsigned long at = ring.written, end = at + (unsigned long)count;
    while (at < end) {
        unsigned long stop = ring.taken + RING;
        if (stop > end)
            stop = end;
        if (at == stop)
            sched_yield();
        for (; at < stop; at++)
            ring.blocks[at % RING] = malloc(64);
        ring.written = at;
    }
    double seconds = thread_seconds() - start;
    pthread_join(thread, NULL);
    return seconds + consumer.seconds;
}

/* ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    double (*run)(long count); /* returns CPU seconds */
} workloads[] = {
    {"hot4", hot4},           {"hot24", hot24},     {"grown", grown},
    {"threads", two_threads}, {"million", million}, {"pipe", pipe_through},
};

static void rest(void)
{
    long ns = pause_ms * 1000000 / BURSTS;
    struct timespec pause = {ns / 1000000000, ns % 1000000000};
    nanosleep(&pause, NULL);
    heaptally_snapshot();
}

/* For those who count instructions: what comes between these two is what is measured. */
__attribute__((noinline)) static void measuring_begins(void)
{
    BARRIER();
}

__attribute__((noinline)) static void measuring_ends(void)
{
    BARRIER();
}

/* CPU seconds of `count` allocations. They come from the same place in the program as the bursts
 * before: from another they would be other stacks. */
static double settle_and_run(double (*run)(long), long count)
{
    double seconds = 0;
    for (volatile int bursts = BURSTS; bursts >= 0; bursts--) { /* volatile: one call, no copy */
        if (bursts == 0)
            measuring_begins();
        seconds = run(bursts > 0 && count > BURST ? BURST : count);
        if (bursts > 0)
            rest();
    }
    measuring_ends();
    return seconds;
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? atol(argv[2]) : 0;
    if (argc > 3)
        pause_ms = atol(argv[3]);
    for (size_t i = 0; count > 0 && i < sizeof workloads / sizeof *workloads; i++) {
        if (strcmp(argv[1], workloads[i].name) != 0)
            continue;
        printf("%.3f\n", settle_and_run(workloads[i].run, count) * 1e9 / (double)count);
        return 0;
    }
    fputs("usage: pairs hot4|hot24|grown|threads|million|pipe COUNT [SETTLE_MS]\n", stderr);
    return 2;
}
