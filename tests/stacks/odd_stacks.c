/*
 * Allocations where stacks are not what they usually are, or are disturbed while they are looked
 * at. The size of each block is SIZE_OF(path) of the path through tree.h that it is allocated by,
 * so that a block under another path's stack is seen.
 *
 *   odd_stacks signals        a handler strikes thousands of times, on the stack and beside it by
 *                             turns, and allocates, as the thread goes through thousands of stacks
 *   odd_stacks small-threads  the smallest stacks that pthreads allow
 *   odd_stacks vfork          children that share the memory, allocate, and _exit or exec
 *   odd_stacks main-ends      main ends by pthread_exit while threads go on
 *   odd_stacks contexts       fibers on heap stacks that go through one stack after the other
 *   odd_stacks neighbours     a thread whose stack is one mapping with what lies below it, until
 *                             that is given back
 *   odd_stacks smaller        a thread with another stack at the end of one that was larger, and a
 *                             fiber where that one was
 *   odd_stacks switched       a function that calls another on a stack with nothing behind its end
 *
 * Prints how many blocks were allocated in the tree.
 */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "tree.h"

#define DEPTH         11
#define SIZE_OF(path) (1000 + (size_t)(path))

static unsigned long blocks; /* atomic add */

static void visit(unsigned path)
{
    __atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED);
    free(tree_left(path, DEPTH, SIZE_OF(path)));
}

/* All paths in some order, `rounds` times. */
static void visit_all(unsigned rounds, unsigned step)
{
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 1u << DEPTH; i++)
            visit((i * step) & ((1u << DEPTH) - 1));
        usleep(2000);
    }
}

/* ---- signals ------------------------------------------------------------------------------------
 */

static _Atomic bool over;
static _Atomic unsigned long struck;

static void on_signal(int signal)
{
    static unsigned path;
    (void)signal;
    for (int i = 0; i < 3; i++)
        visit(path++ * 5 & ((1u << DEPTH) - 1));
    struck++;
}

static void *pest(void *target)
{
    for (unsigned i = 0; !over; i++) {
        pthread_kill(*(pthread_t *)target, i % 2 ? SIGUSR1 : SIGUSR2);
        for (volatile unsigned wait = 0; wait < i % 700 * 20; wait++)
            ;
    }
    return NULL;
}

static int signals(void)
{
    static char beside[64 << 10];
    stack_t stack = {.ss_sp = beside, .ss_size = sizeof beside};
    struct sigaction action = {.sa_handler = on_signal};
    sigfillset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR2, &action, NULL);
    sigaltstack(&stack, NULL);
    pthread_t self = pthread_self(), thread;
    if (pthread_create(&thread, NULL, pest, &self))
        return 3;
    for (int i = 0; i < 60 || (struck < 1000 && i < 3000); i++)
        visit_all(1, 77);
    over = true;
    pthread_join(thread, NULL);
    fprintf(stderr, "struck %lu times\n", (unsigned long)struck);
    return struck < 1000;
}

/* ---- threads ------------------------------------------------------------------------------------
 */

static void *small_thread(void *argument)
{
    for (unsigned i = 0; i < 1u << DEPTH; i++)
        visit((i * 77 + (unsigned)(uintptr_t)argument) & ((1u << DEPTH) - 1));
    return NULL;
}

static int small_threads(void)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN);
    for (uintptr_t i = 0; i < 200; i += 4) {
        pthread_t threads[4];
        for (uintptr_t t = 0; t < 4; t++)
            if (pthread_create(&threads[t], &attributes, small_thread, (void *)(i + t)))
                return 3;
        for (int t = 0; t < 4; t++)
            pthread_join(threads[t], NULL);
        usleep(2000);
    }
    return 0;
}

static int vforks(void)
{
    visit_all(4, 77);
    for (unsigned i = 0; i < 300; i++) {
        pid_t child = vfork();
        if (child == 0) {
            for (unsigned path = i; path < 1u << DEPTH; path += 300)
                visit(path);
            if (i % 2)
                execl("/bin/true", "true", NULL);
            _exit(0);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 3;
    }
    visit_all(4, 77);
    return 0;
}

static pthread_t main_thread;

static void *outlives_main(void *argument)
{
    pthread_join(main_thread, NULL);
    visit_all(20, 77);
    printf("%lu\n", blocks);
    exit(0);
    return argument;
}

static int main_ends(void)
{
    pthread_t thread;
    main_thread = pthread_self();
    visit_all(4, 77);
    if (pthread_create(&thread, NULL, outlives_main, NULL))
        return 3;
    pthread_exit(NULL);
}

/* ---- contexts -----------------------------------------------------------------------------------
 */

#define FIBERS 16

static ucontext_t scheduler, fibers[FIBERS];
static unsigned running;

/* One of many things that a fiber does between two turns of its own. */
static OPAQUE void do_something(unsigned i, unsigned depth)
{
    if (depth > 0)
        do_something(i, depth - 1);
    else
        visit((i * 77) & ((1u << DEPTH) - 1));
    if (i % 8 == depth)
        swapcontext(&fibers[running], &scheduler);
    NO_TAIL_CALL();
}

static void fiber(void)
{
    for (unsigned i = 0; i < 20000; i++)
        do_something(i, i % 8);
}

static int contexts(void)
{
    for (unsigned i = 0; i < FIBERS; i++) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = malloc(32 << 10);
        fibers[i].uc_stack.ss_size = 32 << 10;
        fibers[i].uc_link = &scheduler;
        makecontext(&fibers[i], fiber, 0);
    }
    for (unsigned turn = 0; turn < 20000; turn++) {
        for (running = 0; running < FIBERS; running++)
            swapcontext(&scheduler, &fibers[running]);
        if (turn % 100 == 0)
            usleep(1000);
    }
    return 0;
}

/* ---- stacks that the program makes -------------------------------------------------------------
 */

#define ALTERNATE ((size_t)32 << 10)
#define BUFFER    ((size_t)64 << 10)
#define SMALL     ((size_t)64 << 10)
#define LARGE     ((size_t)1 << 20)

static char *memory; /* for these two cases */

static void *map(char *at, size_t bytes)
{
    void *p = mmap(at, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
    if (p == MAP_FAILED)
        exit(3);
    return p;
}

/* Runs a thread on the stack that is given, to its end. */
static void run_on(char *stack, size_t bytes, void *(*function)(void *))
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, bytes);
    if (pthread_create(&thread, &attributes, function, NULL) || pthread_join(thread, NULL))
        exit(3);
}

static void strike(int signal)
{
    (void)signal;
    visit(1);
    visit(2);
}

/* The alternate stack ends where the buffer was: nothing is behind it. */
static void *with_neighbours(void *argument)
{
    stack_t alternate = {.ss_sp = memory, .ss_size = ALTERNATE};
    struct sigaction action = {.sa_handler = strike, .sa_flags = SA_ONSTACK};
    sigaltstack(&alternate, NULL);
    sigaction(SIGUSR1, &action, NULL);
    visit_all(200, 77);
    munmap(memory + ALTERNATE, BUFFER);
    pthread_kill(pthread_self(), SIGUSR1);
    return argument;
}

static int neighbours(void)
{
    memory = map(NULL, ALTERNATE + BUFFER + LARGE);
    run_on(memory + ALTERNATE + BUFFER, LARGE, with_neighbours);
    return 0;
}

static char *where; /* the allocation in `at_depth` was, on the stack */

/* Allocates at about 9000 bytes a level from where it is called. */
static OPAQUE void at_depth(unsigned levels)
{
    volatile char room[9000];
    room[0] = 0;
    where = (char *)room;
    if (levels > 0)
        at_depth(levels - 1);
    else
        visit(5);
    NO_TAIL_CALL();
}

static void shallow(void)
{
    at_depth(0);
}

/* Has a fiber allocate whose stack ends at `end`; where that was. */
static char *allocate_below(char *end)
{
    getcontext(&fibers[0]);
    fibers[0].uc_stack.ss_sp = end - 12288;
    fibers[0].uc_stack.ss_size = 12288;
    fibers[0].uc_link = &scheduler;
    makecontext(&fibers[0], shallow, 0);
    swapcontext(&scheduler, &fibers[0]);
    return where;
}

static char *was_at;

static void *on_large(void *argument)
{
    for (unsigned i = 0; i < 300; i++) {
        at_depth(40);
        usleep(2000);
    }
    was_at = where;
    return argument;
}

/* Behind the end of the fiber's stack nothing is mapped, where the large one went on. */
static void *on_small(void *argument)
{
    static char elsewhere[16384] __attribute__((aligned(16)));
    char *end = elsewhere + sizeof elsewhere;
    char *behind = was_at + (end - allocate_below(end));
    uintptr_t page = 4096, last = (uintptr_t)behind / page * page;
    map((char *)last - 4 * page, 5 * page);
    for (unsigned i = 0; i < 300; i++) {
        if (allocate_below(behind) != was_at)
            exit(3);
        usleep(1000);
    }
    return argument;
}

static int smaller(void)
{
    memory = map(NULL, LARGE);
    run_on(memory, LARGE, on_large);
    munmap(memory, LARGE - SMALL);
    run_on(memory + LARGE - SMALL, SMALL, on_small);
    return 0;
}

/* ---- a switch that unwind information does not know of ------------------------------------------
 */

static void on_another_stack(void)
{
    static unsigned path;
    visit(path++ % 8);
}

static OPAQUE void call_on(char *end, void (*function)(void))
{
    __asm__ volatile("mov %%rsp, %%rbx\n\tmov %0, %%rsp\n\tcall *%1\n\tmov %%rbx, %%rsp"
                     :
                     : "r"(end), "r"(function)
                     : "rbx", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory",
                       "cc");
}

static int switched(void)
{
    char *stack = mmap(NULL, 2 * SMALL, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    map(stack, SMALL);
    for (unsigned i = 0; i < 300; i++) {
        call_on(stack + SMALL, on_another_stack);
        usleep(1000);
    }
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {{"signals", signals},   {"small-threads", small_threads},
             {"vfork", vforks},      {"main-ends", main_ends},
             {"contexts", contexts}, {"neighbours", neighbours},
             {"smaller", smaller},   {"switched", switched}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        int status = cases[i].run();
        printf("%lu\n", blocks);
        return status;
    }
    return 2;
}
