/*
 * A control loop of 10,000 steps that allocates and frees at each, on a thread that the kernel
 * kills at the first system call other than read, write and exit. The reference looks at its memory
 * in the loop: three system calls a step at least.
 */
#include "program.h"

#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define STEPS 10000

static volatile int steps_done;

__attribute__((noinline)) static void step(void)
{
    HEAPTALLY_SCOPE("controller")
    {
        for (int i = 0; i < 10; i++) {
            char *block = malloc(16 + 16 * (size_t)i);
            program_sink = block;
            free(block);
        }
    }
    heaptally_cycle("controller");
}

static void run(int steps)
{
    for (int i = 0; i < steps; i++)
        step();
}

static void *control_loop(void *unused)
{
    (void)unused;
    run(100); /* the thread's first allocation, and the first of each call site */
    sleep_ms(500);
    run(100);
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
    run(STEPS);
    steps_done = STEPS;
    syscall(SYS_exit, 0);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, control_loop, NULL) == 0);
    pthread_join(thread, NULL);
    printf("%d\n", steps_done);
    return 0;
}
