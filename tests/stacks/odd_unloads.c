/*
 * Libraries are unloaded in odd ways, or odd ones are. Then another one, which stays, allocates,
 * and its stacks must become known as they do everywhere.
 *
 *   odd_unloads CASE STAYING PARTING    prints a line as path_sizes.py reads it, and on the
 * standard error output the process that it is about
 *
 *   namespaces   some in namespaces of their own, for which the loader's counts go down
 *   fork         one goes on another thread while a child is made: the child's stacks
 *   jump         a destructor leaves dlclose by longjmp; then there is another dlclose
 *   thread-ends  a destructor ends its thread
 *   meanwhile    one of 40 MB is about to go: the program's own stacks and those of its first
 *                libraries are not in doubt
 *   large        one of 40 MB goes again and again: nor are they made anew each time
 *   iteration    dlclose where the loader's lock is held
 *   copied       where the library was there is a copy of it for a while, which the loader does not
 *                know, and then the library again
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "until_known.h"

#define TIMES  200
#define ROUNDS 20
#define SIZE   ((size_t)96)

typedef void plugin_function(size_t size, unsigned long times, void (*allocate)(size_t));

static plugin_function *run;
static const char *staying, *parting;
static unsigned long blocks;
static bool of_program; /* it is the program itself that allocates, in `leaf` */
static void (*at_parting_do)(void);
static sem_t parts, may_go;
static jmp_buf out;

static void *need(void *handle)
{
    if (!handle) {
        fprintf(stderr, "odd_unloads: %s\n", dlerror());
        exit(3);
    }
    return handle;
}

void at_parting(void)
{
    if (at_parting_do)
        at_parting_do();
}

static void __attribute__((noinline)) leaf(void)
{
    free(malloc(SIZE));
    __asm__ volatile("" ::: "memory");
}

static void allocate(unsigned rounds, unsigned rest)
{
    for (unsigned round = 0; round < rounds; round++) {
        if (of_program)
            for (int i = 0; i < TIMES; i++)
                leaf();
        else
            run(SIZE, TIMES, NULL);
        blocks += TIMES;
        usleep(rest);
    }
}

static void open_and_close(void)
{
    dlclose(need(dlopen(parting, RTLD_NOW)));
}

static void *close_it(void *handle)
{
    free(malloc(1)); /* this thread is known */
    dlclose(handle);
    return NULL;
}

static void wait_for_leave(void)
{
    sem_post(&parts);
    sem_wait(&may_go);
}

/* Another thread is inside dlclose when this returns. */
static pthread_t begin_parting(void (*what)(void))
{
    pthread_t thread;
    at_parting_do = what;
    if (pthread_create(&thread, NULL, close_it, need(dlopen(parting, RTLD_NOW))))
        exit(3);
    return thread;
}

/* ---- the cases ----------------------------------------------------------------------------------
 */

static void namespaces(void)
{
    allocate(4, 50000);
    void *first = need(dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW));
    allocate(4, 50000);
    void *second = need(dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW));
    allocate(4, 50000);
    dlclose(second);
    dlclose(first);
    allocate(ROUNDS, 50000);
}

static void in_fork(void)
{
    pthread_t thread = begin_parting(wait_for_leave);
    sem_wait(&parts);
    pid_t child = fork();
    if (child == 0) {
        allocate(2 * ROUNDS, 50000);
        return;
    }
    int status = 1;
    waitpid(child, &status, 0);
    sem_post(&may_go);
    pthread_join(thread, NULL);
    quick_exit(status != 0);
}

static void leave_by_jump(void)
{
    at_parting_do = NULL;
    longjmp(out, 1);
}

static void jump(void)
{
    at_parting_do = leave_by_jump;
    if (!setjmp(out))
        open_and_close();
    dlclose(need(dlopen("libm.so.6", RTLD_NOW)));
    allocate(ROUNDS, 50000);
}

static void leave_thread(void)
{
    pthread_exit(NULL);
}

static void thread_ends(void)
{
    pthread_join(begin_parting(leave_thread), NULL);
    allocate(ROUNDS, 50000);
}

static void meanwhile(void)
{
    pthread_t thread = begin_parting(wait_for_leave);
    sem_wait(&parts);
    allocate(ROUNDS, 50000);
    sem_post(&may_go);
    pthread_join(thread, NULL);
}

static void large(void)
{
    for (int i = 0; i < 40; i++) {
        open_and_close();
        allocate(1, 20000);
    }
}

static int in_iteration(struct dl_phdr_info *info, size_t size, void *handle)
{
    (void)info;
    (void)size;
    allocate(1, 10000);
    dlclose(handle);
    return 1;
}

static void iteration(void)
{
    for (int i = 0; i < ROUNDS; i++)
        dl_iterate_phdr(in_iteration, need(dlopen(parting, RTLD_NOW)));
    allocate(ROUNDS, 10000);
}

#define PAGE ((uintptr_t)4096)

struct extent {
    uintptr_t start, end;
};

/* Whole pages that the library with `run` in it takes. */
static int find_extent(struct dl_phdr_info *info, size_t size, void *result)
{
    struct extent extent = {UINTPTR_MAX, 0};
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + header->p_vaddr, end = start + header->p_memsz;
        if (header->p_type != PT_LOAD)
            continue;
        extent.start = start < extent.start ? start / PAGE * PAGE : extent.start;
        extent.end = end > extent.end ? (end + PAGE - 1) / PAGE * PAGE : extent.end;
    }
    bool found = (uintptr_t)run >= extent.start && (uintptr_t)run < extent.end;
    if (found)
        *(struct extent *)result = extent;
    return found;
}

static void open_staying(void)
{
    *(void **)&run = need(dlsym(need(dlopen(staying, RTLD_NOW)), "plugin_run_a"));
}

static char *map_writable(uintptr_t at, size_t bytes)
{
    char *p = mmap((void *)at, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
    if (p == MAP_FAILED)
        exit(3);
    return p;
}

/* The copy allocates blocks of another size, from another place. */
static void copied(void)
{
    struct extent extent = {0, 0};
    plugin_function *before = run;
    dl_iterate_phdr(find_extent, &extent);
    size_t bytes = extent.end - extent.start;
    char *copy = map_writable(0, bytes);
    memcpy(copy, (void *)extent.start, bytes);
    void *handle = need(dlopen(staying, RTLD_NOW));
    dlclose(handle);
    dlclose(handle);
    memcpy(map_writable(extent.start, bytes), copy, bytes);
    for (unsigned round = 0; round < ROUNDS; round++) {
        run(2 * SIZE, 1, NULL);
        usleep(20000);
    }
    munmap((void *)extent.start, bytes);
    open_staying();
    if (run != before)
        exit(3);
    dlclose(need(dlopen("libm.so.6", RTLD_NOW))); /* for the modules to be looked at */
    allocate(ROUNDS, 50000);
}

static const struct {
    const char *name;
    void (*run)(void);
    bool of_program;
} cases[] = {
    {"namespaces", namespaces, false},   {"fork", in_fork, false},       {"jump", jump, false},
    {"thread-ends", thread_ends, false}, {"meanwhile", meanwhile, true}, {"large", large, true},
    {"iteration", iteration, false},     {"copied", copied, false},
};

/* The monitor loads its unwinder once, soon after the start. All that follows here keeps the
 * loader's lock for long or for ever, and would keep the monitor from that. */
static void await_unwinder(void)
{
    for (int i = 0; i < 1000 && !dlopen("libunwind-x86_64.so.8", RTLD_NOW | RTLD_NOLOAD); i++)
        usleep(10000);
    until_known(); /* and has found in it what it needs */
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    await_unwinder();
    staying = argv[2];
    parting = argv[3];
    sem_init(&parts, 0, 0);
    sem_init(&may_go, 0, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        of_program = cases[i].of_program;
        if (!of_program)
            open_staying();
        cases[i].run();
        printf("%s %zu %lu\n", of_program ? "leaf" : "plugin_run_a", SIZE, blocks);
        fprintf(stderr, "%d\n", (int)getpid());
        fflush(stdout);
        quick_exit(0); /* a thread that has ended in dlclose has left the loader locked */
    }
    return 2;
}
