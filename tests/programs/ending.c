/*
 * ending HOW: a process that ends in one of the ways a process can.
 *
 * 1000 blocks of 100 bytes are there for several ticks before the end, one more of 1000 bytes only
 * at the very end: an ending in good order shows all, any other loses at most the last one. It is
 * one block, so that no tick can fall into the middle of it.
 */
#include "program.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static const char *program;

static int end_return(void)
{
    return 0;
}

static int end_exit(void)
{
    exit(7);
}

static int end__exit(void)
{
    _exit(8);
}

static int end_quick_exit(void)
{
    quick_exit(9);
}

static int end_abort(void)
{
    abort();
}

static int end_segv(void)
{
    *(volatile int *)program_sink = 0;
    volatile int *nowhere = NULL;
    return *nowhere;
}

static int end_kill(void)
{
    raise(SIGKILL);
    return 0;
}

static int end_term(void)
{
    raise(SIGTERM);
    return 0;
}

static void *last_worker(void *argument)
{
    sleep_ms(300);
    keep_blocks("late", 5, 100);
    return argument;
}

/* The main thread ends; the process lives until its last worker has returned. */
static int end_pthread_exit(void)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, last_worker, NULL) == 0);
    pthread_exit(NULL);
}

static void on_signal(int signal)
{
    (void)signal;
}

/* An exit handler that takes a thread's stack, and signals: those that its thread lets through. */
static void demanding_handler(void)
{
    volatile char large[1 << 20];
    sigset_t blocked;
    for (size_t i = 0; i < sizeof large; i += 1024)
        large[i] = 1;
    MUST(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
    MUST(sigismember(&blocked, SIGUSR1) == 1 && sigismember(&blocked, SIGALRM) == 0);
    signal(SIGALRM, on_signal);
    alarm(1);
    pause();
    keep_blocks("late", large[0] + 4, 100);
}

static void *quiet_worker(void *argument)
{
    sleep_ms(300);
    return argument;
}

/* The same, with an exit handler that asks for more; the last worker never allocates. */
static int end_demanding(void)
{
    pthread_t thread;
    sigset_t blocked;
    atexit(demanding_handler);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    MUST(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    MUST(pthread_create(&thread, NULL, quiet_worker, NULL) == 0);
    pthread_exit(NULL);
}

/* Resident memory that comes after the main thread has ended, and stays. */
static void *growing_worker(void *argument)
{
    const size_t size = 24 << 20;
    pthread_join(*(pthread_t *)argument, NULL);
    MUST((program_sink = malloc(size)) != NULL);
    memset(program_sink, 1, size);
    sleep_ms(300);
    return NULL;
}

static int end_outgrown(void)
{
    static pthread_t self;
    pthread_t thread;
    self = pthread_self();
    MUST(pthread_create(&thread, NULL, growing_worker, &self) == 0);
    pthread_exit(NULL);
}

/* A worker ends the process while the main thread waits for it. */
static void *exiting_worker(void *argument)
{
    (void)argument;
    exit(11);
}

static int end_worker_exit(void)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, exiting_worker, NULL) == 0);
    pthread_join(thread, NULL);
    return 0;
}

static int end_exec_other(void)
{
    execl("/bin/sh", "sh", "-c", "exit 12", (char *)NULL);
    return 1;
}

/* The same program again, under the same process id: a second file beside the first. */
static int end_exec_self(void)
{
    execl("/proc/self/exe", program, "return", (char *)NULL);
    return 1;
}

/* exec that fails: the program goes on and must still be watched. */
static int end_exec_failed(void)
{
    execl("/nonexistent/program", "program", (char *)NULL);
    keep_blocks("late", 5, 100);
    sleep_ms(200);
    return 0;
}

/* From inside an exit handler, another block: the last one of an ending in good order. */
static void allocate_at_exit(void)
{
    keep_blocks("late", 5, 100);
}

static int end_atexit(void)
{
    atexit(allocate_at_exit);
    return 0;
}

static const struct {
    const char *name;
    int (*end)(void);
} endings[] = {
    {"return", end_return},
    {"exit", end_exit},
    {"_exit", end__exit},
    {"quick_exit", end_quick_exit},
    {"abort", end_abort},
    {"segv", end_segv},
    {"kill", end_kill},
    {"term", end_term},
    {"pthread_exit", end_pthread_exit},
    {"demanding", end_demanding},
    {"outgrown", end_outgrown},
    {"worker_exit", end_worker_exit},
    {"exec_other", end_exec_other},
    {"exec_self", end_exec_self},
    {"exec_failed", end_exec_failed},
    {"atexit", end_atexit},
};

int main(int argc, char **argv)
{
    MUST(argc == 2);
    program = argv[0];
    keep_blocks("kept", 1000, 100);
    sleep_ms(400);
    keep_blocks("kept", 1, 1000);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(argv[1], endings[i].name) == 0)
            return endings[i].end();
    fprintf(stderr, "ending: unknown way %s\n", argv[1]);
    return 2;
}
