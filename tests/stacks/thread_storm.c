/*
 * Threads that start, allocate, free some of it, and end, over and over; all of one round are alive
 * at once. What the last threads have left is freed by main.
 *
 *   thread_storm THREADS ROUNDS    prints blocks, freed blocks, and the resident size in kB after
 * half of the rounds, when every memo has been round once, and after all
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tree.h"

#define DEPTH  4
#define BLOCKS 16u

static pthread_barrier_t barrier;
static pthread_attr_t attributes;

OPAQUE void *work(void *argument)
{
    void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = tree_left(i, DEPTH, 40);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 1; i < BLOCKS; i++)
        free(blocks[i]);
    return argument ? argument : blocks[0];
}

static long resident_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "VmRSS: %ld", &kb);
    if (file)
        fclose(file);
    return kb;
}

static void round_of(unsigned count, pthread_t *threads)
{
    pthread_barrier_init(&barrier, NULL, count);
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], &attributes, work, NULL)) {
            perror("thread_storm");
            _exit(77);
        }
    for (unsigned i = 0; i < count; i++) {
        void *left;
        pthread_join(threads[i], &left);
        free(left);
    }
    pthread_barrier_destroy(&barrier);
}

int main(int argc, char **argv)
{
    static pthread_t threads[2000];
    unsigned count = argc == 3 ? (unsigned)atoi(argv[1]) : 0;
    unsigned rounds = argc == 3 ? (unsigned)atoi(argv[2]) : 0;
    if (count < 1 || count > 2000 || rounds < 1)
        return 2;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    long early = 0;
    for (unsigned i = 0; i < rounds; i++) {
        round_of(count, threads);
        if (i == rounds / 2)
            early = resident_kb();
    }
    unsigned long blocks = (unsigned long)count * rounds * BLOCKS;
    printf("%lu %lu %ld %ld\n", blocks, blocks, early, resident_kb());
    return 0;
}
