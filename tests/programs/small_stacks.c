/*
 * 200 threads, 20 at a time, with the smallest stack that pthreads allow, each of which allocates
 * at some depth and ends with blocks that another thread frees.
 */
#include "program.h"

#include <limits.h>
#include <pthread.h>

#define AT_A_TIME 20

__attribute__((noinline)) static void *allocate_deep(int depth)
{
    volatile char frame[64];
    frame[0] = (char)depth;
    void *block = depth ? allocate_deep(depth - 1) : malloc(200);
    return frame[0] == (char)depth ? block : NULL;
}

static void *run(void *argument)
{
    for (int i = 0; i < 50; i++) {
        void *block = allocate_deep(i % 16);
        MUST(block != NULL);
        program_sink = block;
        free(block);
    }
    (void)argument;
    void *last = NULL;
    HEAPTALLY_SCOPE("thread")
    {
        last = allocate_deep(3);
    }
    return last;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    MUST(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) == 0);
    for (int round = 0; round < 10; round++) {
        pthread_t threads[AT_A_TIME];
        for (int i = 0; i < AT_A_TIME; i++)
            MUST(pthread_create(&threads[i], &attributes, run, NULL) == 0);
        for (int i = 0; i < AT_A_TIME; i++) {
            void *block = NULL;
            pthread_join(threads[i], &block);
            if (i % 2)
                free(block); /* the other half stays: 100 blocks */
        }
    }
    return 0;
}
