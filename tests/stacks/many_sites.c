/*
 * Live blocks of random sizes through many stacks, on several threads; then what the process holds.
 *
 *   many_sites SITES THREADS BLOCKS [PAUSE [MOST [lock]]]
 *
 * BLOCKS are those of each thread, of at most MOST bytes (512). It rests for PAUSE microseconds
 * (100) a hundred times (once for each thousand of them, by default): long pauses let many ticks go
 * by while all sites grow. With "lock" the program first locks all its memory, now and later.
 *
 * Prints blocks, their bytes, and VmRSS, VmHWM and VmLck in kB. Status 5: memory cannot be locked,
 * 6: there is not enough.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tree.h"

static unsigned sites, threads, blocks, depth, rest_us = 100, rests = 1000, most = 512;
static pthread_barrier_t barrier;
static unsigned long long bytes;

/* The same on every thread. */
static OPAQUE void allocate(uint32_t random)
{
    unsigned long long mine = 0;
    for (unsigned i = 0; i < blocks; i++) {
        random = random * 1664525u + 1013904223u;
        size_t size = 1 + (random >> 8) % most;
        void *p = tree_left(i % sites, depth, size);
        if (!p) {
            fprintf(stderr, "many_sites: out of memory after %u blocks\n", i);
            _exit(6);
        }
        memset(p, 1, size);
        mine += size;
        if (i % rests == 0)
            usleep(rest_us);
    }
    __atomic_fetch_add(&bytes, mine, __ATOMIC_RELAXED);
    pthread_barrier_wait(&barrier); /* all are alive while main looks */
}

static void *work(void *argument)
{
    allocate(1 + (uint32_t)(uintptr_t)argument);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static long status_kb(const char *key)
{
    char line[256];
    long kb = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            kb = atol(line + strlen(key) + 1);
    if (file)
        fclose(file);
    return kb;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    sites = (unsigned)atoi(argv[1]);
    threads = (unsigned)atoi(argv[2]);
    blocks = (unsigned)atoi(argv[3]);
    while (1u << depth < sites)
        depth++;
    if (argc > 4) {
        rest_us = (unsigned)atoi(argv[4]);
        rests = blocks / 100 + 1;
    }
    if (argc > 5)
        most = (unsigned)atoi(argv[5]);
    if (argc > 6 && mlockall(MCL_CURRENT | MCL_FUTURE)) {
        perror("many_sites: mlockall");
        return 5;
    }
    pthread_barrier_init(&barrier, NULL, threads);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    for (uintptr_t t = 1; t < threads; t++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, work, (void *)t)) {
            perror("many_sites: pthread_create");
            return 6;
        }
    }
    allocate(1);
    printf("%u %llu %ld %ld %ld\n", blocks * threads, bytes, status_kb("VmRSS:"),
           status_kb("VmHWM:"), status_kb("VmLck:"));
    fflush(stdout);
    pthread_barrier_wait(&barrier);
    return 0;
}
