/*
 * Threads that open the same scope for the first time at once. Built with ThreadSanitizer: the word
 * that remembers the tag is shared, and must be no data race.
 */
#define _POSIX_C_SOURCE 200809L
#include "heaptally.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 50 };

static pthread_barrier_t start;

static void *work(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&start);
    for (int i = 0; i < ROUNDS; i++) {
        HEAPTALLY_SCOPE("raced")
        {
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    if (pthread_barrier_init(&start, NULL, THREADS) != 0)
        return 2;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, NULL) != 0)
            return 2;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return heaptally_active() ? 0 : 3;
}
