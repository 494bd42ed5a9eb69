/*
 * Four threads ask and tell heaptally everything at once, while a fifth allocates. Prints how many
 * questions were answered, and how many answers were neither that nor "not now".
 */
#include "program.h"

#include <pthread.h>

static volatile int over;
static int answered, refused, wrong;

static void count(int answer)
{
    int *where = answer >= 0 ? &answered : answer == -EAGAIN ? &refused : &wrong;
    __atomic_fetch_add(where, 1, __ATOMIC_RELAXED);
}

static void *ask(void *unused)
{
    (void)unused;
    char text[4096];
    struct heaptally_trend trend;
    struct heaptally_leaks leaks;
    while (!over) {
        count(heaptally_check_memory(NULL));
        count(heaptally_analyze_trend(NULL, &trend));
        count(heaptally_memory_report(text, sizeof text));
        count(heaptally_tracker_report(text, sizeof text));
        count(heaptally_check_leak_threshold(0, &leaks));
        count(heaptally_reset_baseline());
    }
    return NULL;
}

static void *work(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        HEAPTALLY_CONSTRUCT("worker")
        {
            program_sink = malloc(100);
        }
        if (i % 10)
            free(program_sink);
        if (i % 200 == 0)
            sleep_ms(10);
    }
    return NULL;
}

int main(void)
{
    pthread_t askers[4], worker;
    for (int i = 0; i < 4; i++)
        MUST(pthread_create(&askers[i], NULL, ask, NULL) == 0);
    MUST(pthread_create(&worker, NULL, work, NULL) == 0);
    pthread_join(worker, NULL);
    over = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(askers[i], NULL);
    printf("{\"answered\": %d, \"refused\": %d, \"wrong\": %d}\n", answered, refused, wrong);
    return 0;
}
