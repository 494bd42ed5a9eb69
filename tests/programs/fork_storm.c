/*
 * Forks 150 children while three threads allocate and free as fast as they can. Each child uses
 * the heap itself, starts a thread, and ends. A lock held by another thread at the fork would
 * hang it; the alarm turns that into a failure.
 */
#include "program.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

static atomic_bool stop;

static void *allocate(void *argument)
{
    while (!stop) {
        for (int i = 0; i < 50; i++) {
            void *block = malloc((size_t)i * 37);
            program_sink = block;
            free(block);
        }
    }
    return argument;
}

static void *allocate_once(void *argument)
{
    program_sink = malloc(1000);
    free(program_sink);
    return argument;
}

static void child(void)
{
    alarm(20);
    keep_blocks("child", 20, 100);
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, allocate_once, NULL) == 0);
    pthread_join(thread, NULL);
    exit(0);
}

int main(void)
{
    pthread_t threads[3];
    alarm(120);
    for (int i = 0; i < 3; i++)
        MUST(pthread_create(&threads[i], NULL, allocate, NULL) == 0);
    for (int i = 0; i < 150; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            child();
        MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
        MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    stop = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    keep_blocks("kept", 1000, 100);
    return 0;
}
