/*
 * A library whose constructor runs before heaptally's: it allocates on the main thread, and on as
 * many threads, one after the other, as EARLY_THREADS says.
 */
#include "program.h"

#include <pthread.h>

static void *allocate(void *argument)
{
    free(program_sink = malloc(100));
    return argument;
}

__attribute__((constructor)) static void begin(void)
{
    const char *threads = getenv("EARLY_THREADS");
    allocate(NULL);
    for (int i = threads ? atoi(threads) : 0; i > 0; i--) {
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, allocate, NULL) == 0);
        MUST(pthread_join(thread, NULL) == 0);
    }
}
