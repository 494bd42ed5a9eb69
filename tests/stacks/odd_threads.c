/*
 * Threads and processes that allocate in this memory, and of which libc knows nothing: made by
 * clone(2), with thread-local storage that the program gave them. The size of each block is
 * SIZE_OF(path) of the path through tree.h that it is allocated by, so that a block under another
 * path's stack is seen.
 *
 *   odd_threads kept        storage that outlives its thread: the next one goes on with it
 *   odd_threads crowd       many at a time, that come and go on storage of their own
 *   odd_threads namespaces  processes for which the threads of this one have no number, since they
 *                           are in a namespace of their own
 *
 * Prints how many blocks were allocated in the scope "kept", and how many in all.
 */
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <heaptally.h>

#include "tree.h"

#define DEPTH         9
#define PATHS         (1u << DEPTH)
#define SIZE_OF(path) (1000 + (size_t)(path))
#define STACK         ((size_t)64 << 10)

/* Threads that were there: more than heaptally keeps apart before it looks for some that ended. */
#define MANY  80u
#define CROWD 8u

static unsigned long blocks, in_scope; /* atomic add */

static OPAQUE void visit(unsigned path)
{
    __atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED);
    free(tree_left(path % PATHS, DEPTH, SIZE_OF(path % PATHS)));
    NO_TAIL_CALL();
}

static void visit_some(unsigned from, unsigned count)
{
    for (volatile unsigned i = 0; i < count; i++) /* one call, however it is compiled */
        visit((from + i) * 77);
}

static void need(int condition, const char *what)
{
    if (condition)
        return;
    perror(what);
    exit(3);
}

static void wait_while(volatile int *word, int value)
{
    while (*word == value)
        syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void set(volatile int *word, int value)
{
    *word = value;
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ---- what libc has for itself -------------------------------------------------------------------
 */

static void *(*allocate_storage)(void *);
static void (*deallocate_storage)(void *, int);

static void *sleep_on(void *argument)
{
    for (;;)
        pause();
    return argument;
}

/* The loader's functions, and a thread: libc must know that there are several. */
static void prepare(void)
{
    pthread_t thread;
    *(void **)&allocate_storage = dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
    *(void **)&deallocate_storage = dlsym(RTLD_DEFAULT, "_dl_deallocate_tls");
    need(allocate_storage && deallocate_storage, "thread-local storage");
    need(pthread_create(&thread, NULL, sleep_on, NULL) == 0, "thread");
    for (unsigned i = 0; i < 5; i++) { /* so that the stacks of the tree are known */
        visit_some(0, PATHS);
        usleep(20000);
    }
}

static void *new_storage(void)
{
    void **storage = allocate_storage(NULL);
    need(storage != NULL, "thread-local storage");
    storage[0] = storage[2] = storage; /* where code finds it */
    return storage;
}

static char *new_stack(void)
{
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(stack != MAP_FAILED, "mmap");
    return stack + STACK;
}

#define THREAD                                                                                     \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |            \
     CLONE_SETTLS | CLONE_CHILD_CLEARTID)

/* `lives` is 0 once it has ended. */
static void start_thread(int (*function)(void *), char *stack_end, void *storage, unsigned i,
                         volatile int *lives)
{
    *lives = 1;
    need(clone(function, stack_end, THREAD, (void *)(uintptr_t)i, NULL, storage, lives) > 0,
         "clone of a thread");
}

static int come_and_go(void *from)
{
    visit_some((unsigned)(uintptr_t)from, 4);
    syscall(SYS_exit, 0);
    return 0;
}

/* So many threads, on storage that is given back. */
static void run_fresh(char *stack_end, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        volatile int lives;
        void *storage = new_storage();
        start_thread(come_and_go, stack_end, storage, i, &lives);
        wait_while(&lives, 1);
        deallocate_storage(storage, 1);
    }
}

/* ---- storage that outlives its thread -----------------------------------------------------------
 */

enum { BEGINS, IS_THERE, GOES_ON };
static volatile int stage;

static void visit_in_scope(unsigned from)
{
    __atomic_fetch_add(&in_scope, 4, __ATOMIC_RELAXED);
    visit_some(from, 4);
}

static int go_on_with_it(void *from)
{
    heaptally_token token = heaptally_begin("kept");
    visit_in_scope((unsigned)(uintptr_t)from);
    set(&stage, IS_THERE);
    wait_while(&stage, IS_THERE);
    visit_in_scope((unsigned)(uintptr_t)from);
    heaptally_end(token);
    syscall(SYS_exit, 0);
    return 0;
}

static void kept(void)
{
    volatile int lives;
    void *storage[MANY];
    char *first = new_stack(), *second = new_stack();
    for (unsigned i = 0; i < MANY; i++) {
        storage[i] = new_storage();
        start_thread(come_and_go, first, storage[i], i, &lives);
        wait_while(&lives, 1);
    }
    for (unsigned i = 0; i < MANY; i++) {
        stage = BEGINS;
        start_thread(go_on_with_it, first, storage[i], i, &lives);
        wait_while(&stage, BEGINS);
        run_fresh(second, 2);
        set(&stage, GOES_ON);
        wait_while(&lives, 1);
    }
}

/* ---- many at a time -----------------------------------------------------------------------------
 */

static void crowd(void)
{
    static volatile int lives[CROWD];
    char *stacks[CROWD];
    void *storage[CROWD];
    for (unsigned i = 0; i < CROWD; i++)
        stacks[i] = new_stack();
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < CROWD; i++) {
            storage[i] = new_storage();
            start_thread(come_and_go, stacks[i], storage[i], round + i, &lives[i]);
        }
        for (unsigned i = 0; i < CROWD; i++) {
            wait_while(&lives[i], 1);
            deallocate_storage(storage[i], 1);
        }
    }
}

/* ---- processes in another namespace -------------------------------------------------------------
 */

static pthread_barrier_t all_there, all_go_on;

static void *stay(void *from)
{
    heaptally_token token = heaptally_begin("kept");
    visit_in_scope((unsigned)(uintptr_t)from);
    pthread_barrier_wait(&all_there);
    pthread_barrier_wait(&all_go_on);
    visit_in_scope((unsigned)(uintptr_t)from);
    heaptally_end(token);
    return NULL;
}

static int visit_and_exit(void *from)
{
    visit_some((unsigned)(uintptr_t)from, 4);
    syscall(SYS_exit, 0);
    return 0;
}

static void run_process(char *stack_end, unsigned i)
{
    int status, flags = CLONE_VM | CLONE_FILES | CLONE_SETTLS | CLONE_NEWPID | SIGCHLD;
    void *storage = new_storage();
    pid_t child = clone(visit_and_exit, stack_end, flags, (void *)(uintptr_t)i, NULL, storage);
    if (child < 0) {
        perror("clone into a new namespace");
        exit(77);
    }
    need(waitpid(child, &status, 0) == child && status == 0, "process");
}

static void namespaces(void)
{
    pthread_t threads[MANY];
    char *stack = new_stack();
    pthread_barrier_init(&all_there, NULL, MANY + 1);
    pthread_barrier_init(&all_go_on, NULL, MANY + 1);
    for (uintptr_t i = 0; i < MANY; i++)
        need(pthread_create(&threads[i], NULL, stay, (void *)i) == 0, "thread");
    pthread_barrier_wait(&all_there);
    for (unsigned i = 0; i < 20; i++)
        run_process(stack, i);
    pthread_barrier_wait(&all_go_on);
    for (unsigned i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"kept", kept}, {"crowd", crowd}, {"namespaces", namespaces}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        prepare();
        cases[i].run();
        printf("%lu %lu\n", in_scope, blocks);
        return 0;
    }
    return 2;
}
