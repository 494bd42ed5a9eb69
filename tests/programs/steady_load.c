/* 100 threads that allocate and free at 1,024 call sites, each site every 100 ms, with one block of
 * each kept at a time; for as many seconds as the argument says. */
#include <pthread.h>

#include "program.h"

#define THREADS 100
#define DEPTH   10 /* 2^10 ways down */

static volatile int stop;

/* Two functions that call one another in all orders: each way down is a call site. */
static void *down_left(unsigned way, int depth);
static void *down_right(unsigned way, int depth);

#define DOWN(name, size)                                                                           \
    __attribute__((noinline)) static void *name(unsigned way, int depth)                           \
    {                                                                                              \
        void *volatile block = depth == 0 ? malloc(size)                                           \
                               : way & 1  ? down_right(way >> 1, depth - 1)                        \
                                          : down_left(way >> 1, depth - 1);                         \
        return block;                                                                              \
    }
DOWN(down_left, 48)
DOWN(down_right, 80)

static void *work(void *argument)
{
    unsigned first = (unsigned)(size_t)argument;
    void *kept[11] = {NULL};
    while (!stop) {
        for (unsigned i = 0; i < 11; i++) {
            free(kept[i]);
            kept[i] = down_left(first + i * THREADS, DEPTH);
        }
        sleep_ms(100);
    }
    for (unsigned i = 0; i < 11; i++)
        free(kept[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    sleep_ms(argc > 1 ? 1000 * atol(argv[1]) : 1000);
    stop = 1;
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
