#include "last_thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw_io.h"
#include "thread_state.h"

static void (*wait_for_others)(void);

/* A main thread that has ended stays as a zombie. */
bool ht_last_thread_wanted(int others)
{
    if (!__atomic_load_n(&ht_main_thread_ended, __ATOMIC_RELAXED))
        return false;
    char text[1024], state;
    if (ht_read_file("/proc/self/stat", text, sizeof text) <= 0)
        return false;
    const char *after_name = strrchr(text, ')');
    long threads = 0;
    if (!after_name || sscanf(after_name + 1,
                              " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                              "%*d %ld",
                              &state, &threads) != 2)
        return false;
    return state == 'Z' && threads <= 2 + others;
}

/* Lets through what the last thread of the program did. */
static void take_over_signals(void)
{
    uint64_t blocked = __atomic_load_n(&ht_last_blocked, __ATOMIC_RELAXED);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof blocked);
}

static void *last_main(void *argument)
{
    struct ht_thread *outside = ht_internal_begin();
    wait_for_others();
    ht_internal_end(outside); /* what the exit handlers allocate is the program's */
    take_over_signals();
    return argument;
}

void ht_last_thread_start(void (*wait)(void))
{
    pthread_t thread;
    wait_for_others = wait;
    if (pthread_create(&thread, NULL, last_main, NULL) == 0)
        pthread_detach(thread);
    else
        take_over_signals();
}
