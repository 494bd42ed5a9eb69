/*
 * Allocations on stacks, in threads and from code that neither libc nor the loader knows of. The
 * size of each block is SIZE_OF(path) of the path through tree.h that it is allocated by, so that a
 * block under another path's stack is seen.
 *
 *   odd_places clones   processes that share the memory, and threads that share their parent's
 *                       thread-local storage, made by clone(2) while the parent waits
 *   odd_places raw      threads made by clone(2), with such storage of their own, that end by
 *                       exit(2): libc never hears of them
 *   odd_places fibers   stacks that are unmapped, and others where they were
 *   odd_places guarded  a page of the thread's own stack that must not be read for a while
 *   odd_places early    the same, from before the thread allocates on, right above what it calls
 *   odd_places other    the same, and another thread makes it so
 *   odd_places late     the same, after the thread has allocated, but before it is known where its
 *                       stack lies
 *   odd_places made     machine code made at run time, other code at the same place each time
 *
 * Prints how many blocks were allocated in the tree.
 */
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "tree.h"

#define DEPTH         9
#define PATHS         (1u << DEPTH)
#define SIZE_OF(path) (1000 + (size_t)(path))
#define PAGE          ((size_t)4096)
#define STACK         ((size_t)256 << 10)

static unsigned long blocks; /* atomic add */

OPAQUE void visit(unsigned path)
{
    __atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED);
    free(tree_left(path % PATHS, DEPTH, SIZE_OF(path % PATHS)));
    NO_TAIL_CALL();
}

static void visit_all(void)
{
    for (unsigned i = 0; i < PATHS; i++)
        visit(i * 77);
    usleep(5000);
}

static void need(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        exit(3);
    }
}

static char *map(void *at, size_t bytes, int protection)
{
    char *p =
        mmap(at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
    need(p != MAP_FAILED, "mmap");
    return p;
}

/* ---- threads and processes by clone(2) ----------------------------------------------------------
 */

#define SHARED   (CLONE_VM | CLONE_FS | CLONE_FILES)
#define THREAD   (SHARED | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID)
#define CHILDREN 200u

static int visit_some(void *from)
{
    for (volatile unsigned i = 0; i < 4; i++) /* one call, however it is compiled */
        visit(((unsigned)(uintptr_t)from + i) * 77);
    return 0;
}

static int visit_some_and_end(void *from)
{
    visit_some(from);
    syscall(SYS_exit, 0);
    return 0;
}

static void run_process(char *stack_end, int flags, unsigned i)
{
    int status;
    pid_t child = clone(visit_some, stack_end, flags | SIGCHLD, (void *)(uintptr_t)i);
    need(child > 0 && waitpid(child, &status, 0) == child && status == 0, "clone of a process");
}

/* `storage`: what the thread has of its own, or NULL. */
static void run_thread(char *stack_end, void *storage, unsigned i)
{
    static volatile int lives;
    int there = lives = 1, flags = THREAD | (storage ? CLONE_SETTLS : 0);
    need(clone(visit_some_and_end, stack_end, flags, (void *)(uintptr_t)i, NULL, storage, &lives) >
             0,
         "clone of a thread");
    while (lives)
        syscall(SYS_futex, &lives, FUTEX_WAIT, there, NULL, NULL, 0);
}

static void clones(void)
{
    char *end = map(NULL, STACK, PROT_READ | PROT_WRITE) + STACK;
    visit_all();
    for (unsigned i = 0; i < CHILDREN; i++) {
        run_process(end, SHARED | CLONE_VFORK, i);
        run_process(end, SHARED, i);
        run_thread(end, NULL, i);
        usleep(500);
    }
    visit_all();
}

static void raw(void)
{
    void *(*allocate)(void *) = NULL;
    void (*deallocate)(void *, int) = NULL;
    char *end = map(NULL, STACK, PROT_READ | PROT_WRITE) + STACK;
    *(void **)&allocate = dlsym(RTLD_DEFAULT, "_dl_allocate_tls"); /* the loader's, for libc */
    *(void **)&deallocate = dlsym(RTLD_DEFAULT, "_dl_deallocate_tls");
    need(allocate && deallocate, "thread-local storage");
    visit_all();
    for (unsigned i = 0; i < 10 * CHILDREN; i++) {
        void **storage = allocate(NULL);
        need(storage, "thread-local storage");
        storage[0] = storage[2] = storage; /* where code finds it */
        run_thread(end, storage, i);
        deallocate(storage, 1);
    }
    visit_all();
}

/* ---- fibers ------------------------------------------------------------------------------------
 */

#define LEVELS 24u

static ucontext_t scheduler, fiber;
static uintptr_t at_level[LEVELS + 1]; /* where its frame lay */
static unsigned levels, turn;

static OPAQUE void go_down(unsigned left)
{
    volatile char room[1000];
    room[0] = 0;
    at_level[left] = (uintptr_t)room;
    if (left > 0)
        go_down(left - 1);
    else
        visit(turn / 8);
    NO_TAIL_CALL();
}

static void fiber_main(void)
{
    go_down(levels);
}

static void run_fiber(char *end, unsigned deep)
{
    levels = deep;
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = end - STACK / 2;
    fiber.uc_stack.ss_size = STACK / 2;
    fiber.uc_link = &scheduler;
    makecontext(&fiber, fiber_main, 0);
    swapcontext(&scheduler, &fiber);
}

/* A deep fiber, and one that is less deep by as much as its stack ends lower: they allocate at the
 * same stack pointer. Behind the second one's stack nothing is mapped. */
static void fibers(void)
{
    char *region = map(NULL, 2 * STACK, PROT_NONE);
    for (turn = 0; turn < 400; turn++) {
        char *end = map(region, STACK, PROT_READ | PROT_WRITE) + STACK;
        run_fiber(end, LEVELS);
        uintptr_t frame = at_level[1] - at_level[0], deepest = at_level[0];
        map(region, STACK, PROT_NONE);
        char *lower = end - (LEVELS - 4) * frame;
        size_t bytes = ((size_t)(lower - region) + PAGE - 1) / PAGE * PAGE;
        map(region, bytes, PROT_READ | PROT_WRITE);
        run_fiber(lower, 4);
        need(at_level[0] == deepest, "the same stack pointer");
        map(region, STACK, PROT_NONE);
        usleep(500);
    }
}

/* ---- pages of the own stack ---------------------------------------------------------------------
 */

/* At the stack pointer of `go_down(LEVELS)`, but from here, with pages in between that must not be
 * read. */
static OPAQUE void above_guard(size_t bytes)
{
    char *area = __builtin_alloca(bytes);
    char *guard = (char *)(((uintptr_t)area + bytes / 2) / PAGE * PAGE);
    __asm__ volatile("" ::"r"(area) : "memory");
    need(mprotect(guard, 2 * PAGE, PROT_NONE) == 0, "mprotect");
    go_down(0);
    need(mprotect(guard, 2 * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
}

static void *guarded(void *argument)
{
    size_t bytes = 5 * PAGE;
    go_down(LEVELS);
    uintptr_t deepest = at_level[0];
    above_guard(bytes);
    bytes += at_level[0] - deepest;
    for (turn = 0; turn < 400; turn++) {
        go_down(LEVELS);
        above_guard(bytes);
        need(at_level[0] == deepest, "the same stack pointer");
        usleep(500);
    }
    return argument;
}

static void guarded_both(void)
{
    pthread_t thread;
    guarded(NULL);
    need(pthread_create(&thread, NULL, guarded, NULL) == 0 && pthread_join(thread, NULL) == 0,
         "thread");
}

/* How a page gets unreadable right above the frames that allocate. */
struct guarding {
    bool by_other;         /* another thread makes it so */
    bool allocates_before; /* nothing is known yet of where the stack lies, then */
    unsigned rounds;       /* of 5 ms and more, while it is unreadable */
};

/* What another thread is to do. Atomic; `start` NULL: nothing. */
static struct {
    char *start;
    int protection;
} wanted;

static void protect(char *page, int protection, bool by_other)
{
    if (!by_other) {
        need(mprotect(page, PAGE, protection) == 0, "mprotect");
        return;
    }
    wanted.protection = protection;
    __atomic_store_n(&wanted.start, page, __ATOMIC_RELEASE);
    while (__atomic_load_n(&wanted.start, __ATOMIC_ACQUIRE))
        usleep(100);
}

/* The page begins where the frames end that this one calls. */
static void *guarded_from_the_first(void *argument)
{
    const struct guarding *how = argument;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    char *area = __builtin_alloca(PAGE), *guard;
    area = __builtin_alloca((uintptr_t)area % PAGE + 2 * PAGE);
    guard = (char *)(((uintptr_t)area + PAGE - 1) / PAGE * PAGE);
    need(guard - area < 64 && (uintptr_t)guard + PAGE < here, "a page between frames");
    if (how->allocates_before)
        visit_all();
    protect(guard, PROT_NONE, how->by_other);
    for (unsigned i = 0; i < how->rounds; i++)
        visit_all();
    protect(guard, PROT_READ | PROT_WRITE, how->by_other);
    return argument;
}

static void run_guarded(struct guarding how, unsigned times)
{
    pthread_t thread;
    for (unsigned i = 0; i < times; i++) {
        need(pthread_create(&thread, NULL, guarded_from_the_first, &how) == 0, "thread");
        for (unsigned todo = how.by_other ? 2 : 0; todo > 0; usleep(100)) {
            char *start = __atomic_load_n(&wanted.start, __ATOMIC_ACQUIRE);
            if (!start)
                continue;
            need(mprotect(start, PAGE, wanted.protection) == 0, "mprotect");
            __atomic_store_n(&wanted.start, NULL, __ATOMIC_RELEASE);
            todo--;
        }
        need(pthread_join(thread, NULL) == 0, "thread");
    }
}

static void early(void)
{
    usleep(200000); /* for heaptally to find out where stacks lie */
    run_guarded((struct guarding){.rounds = 20}, 3);
}

static void other(void)
{
    usleep(200000);
    run_guarded((struct guarding){.by_other = true, .rounds = 20}, 3);
}

static void late(void)
{
    run_guarded((struct guarding){.by_other = true, .allocates_before = true, .rounds = 200}, 1);
}

/* ---- code made at run time ----------------------------------------------------------------------
 */

typedef void code(unsigned path);

/* A function with a frame of so many bytes (8 more than a multiple of 16) that calls `visit`; it
 * returns to the same place whatever the frame's size. */
static code *make_code(unsigned char *at, uint32_t frame)
{
    uintptr_t target = (uintptr_t)visit;
    unsigned char *p = at;
    memcpy(p, "\x48\x81\xec", 3); /* sub $frame, %rsp */
    memcpy(p += 3, &frame, 4);
    memcpy(p += 4, "\x48\xb8", 2); /* mov $target, %rax */
    memcpy(p += 2, &target, 8);
    memcpy(p += 8, "\xff\xd0\x48\x81\xc4", 5); /* call *%rax; add $frame, %rsp */
    memcpy(p += 5, &frame, 4);
    p[4] = 0xc3; /* ret */
    code *made;
    memcpy(&made, &at, sizeof made);
    return made;
}

static OPAQUE void call_left(code *made, unsigned path)
{
    made(path);
    __asm__ volatile("# left" ::: "memory");
}

static OPAQUE void call_right(code *made, unsigned path)
{
    made(path);
    __asm__ volatile("# right" ::: "memory");
}

static void made(void)
{
    unsigned char *page = (void *)map(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (unsigned i = 0; i < 400; i++) {
        code *function = make_code(page, 8 + 16 * (i % 5));
        for (unsigned path = 0; path < 20; path++)
            (path % 3 ? call_left : call_right)(function, path * 77 + i);
        usleep(500);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"clones", clones}, {"raw", raw},     {"fibers", fibers}, {"guarded", guarded_both},
             {"early", early},   {"other", other}, {"late", late},     {"made", made}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        cases[i].run();
        printf("%lu\n", blocks);
        return 0;
    }
    return 2;
}
