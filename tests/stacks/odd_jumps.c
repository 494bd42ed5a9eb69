/*
 * Counting that is left halfway. A thread allocates with the processor's trap flag set, so that a
 * handler runs after each instruction; after so many within heaptally's library it leaves by
 * siglongjmp, or ends the thread. Each instruction of the ways through counting has its turn. In
 * between, blocks are allocated through the stacks of tree.h, of SIZE_OF(path) bytes: these must be
 * counted exactly, and with their full stacks.
 *
 *   odd_jumps known      leaves by siglongjmp, from one stack, after each instruction
 *   odd_jumps new        leaves from stacks that are new each time, which also moves cells
 *   odd_jumps beside     the same, in a handler on a stack of its own
 *   odd_jumps cancelled  the handler ends the thread, one thread after the other
 *   odd_jumps returns    the handler allocates, on a stack of its own above, and goes back
 *   odd_jumps fibers     the handler changes to a fiber, which allocates and goes back
 *   odd_jumps preempted  what is interrupted is a fiber on a stack among the frames of the thread's
 *                        own; the handler changes back to that, which allocates and goes back
 *   odd_jumps tight      the same with a fiber's stack that is as small as can be, and the handler
 *                        on one of its own
 *   odd_jumps below      the same with a fiber's stack that lies on the thread's own, further in
 *                        than all its frames
 *   odd_jumps afresh     leaves once by siglongjmp, and goes on in functions alone that were never
 *                        seen before
 *   odd_jumps early      the same before anything is known of any function: right at the start
 *   odd_jumps held       in processes of their own, whose first tick comes while a handler runs
 *                        that has interrupted libc, freeing with a lock of its threads held; it
 *                        allocates
 *
 * Where it leaves once, it goes on for a while; with a second argument, on a thread of its own.
 *
 * Beneath heaptally must lie an allocator that may be left at any moment: see
 * signal_safe_allocator.c. Prints how many blocks were allocated in the tree.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "tree.h"

#define DEPTH         9
#define PATHS         (1u << DEPTH)
#define SIZE_OF(path) (1000 + (size_t)(path))
#define TRAP_FLAG     0x100
#define PAST_TICK_US  250000 /* the interval is 100 ms */
#define PAGE          4096

static unsigned long blocks;

static void visit(unsigned path)
{
    __atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED);
    free(tree_left(path % PATHS, DEPTH, SIZE_OF(path % PATHS)));
}

/* ---- one instruction after the other ------------------------------------------------------------
 */

static enum { JUMP, END_THREAD, ALLOCATE, CHANGE_FIBER, LEAVE_FIBER, HOLD } deed;
static uintptr_t library_low, library_high;
static unsigned steps_left; /* until the deed is done */
static unsigned long deeds;
static sigjmp_buf back;
static ucontext_t interrupted, fiber, home;

static void trapped(int signal, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t at = (uintptr_t)registers[REG_RIP];
    (void)signal;
    (void)info;
    if (at < library_low || at >= library_high || steps_left-- > 0)
        return;
    registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    deeds++;
    switch (deed) {
    case JUMP:
        siglongjmp(back, 1);
    case END_THREAD:
        pthread_exit(NULL);
    case ALLOCATE:
        visit((unsigned)deeds);
        break;
    case CHANGE_FIBER:
        swapcontext(&interrupted, &fiber);
        break;
    case LEAVE_FIBER:
        swapcontext(&interrupted, &home);
        break;
    case HOLD:
        usleep(PAST_TICK_US);
        free(malloc(1));
        break;
    }
}

static inline void trap(bool on)
{
    if (on)
        __asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" ::"i"(TRAP_FLAG) : "memory", "cc");
    else
        __asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" ::"i"(~TRAP_FLAG) : "memory", "cc");
}

/* What is interrupted: one of many ways to the same allocation. */
static OPAQUE void disturbed(unsigned bits, unsigned depth)
{
    if (depth > 0 && bits % 2) {
        disturbed(bits / 2, depth - 1);
        __asm__ volatile("# right" ::: "memory"); /* else the two calls would become one */
    } else if (depth > 0) {
        disturbed(bits / 2, depth - 1);
        __asm__ volatile("# left" ::: "memory");
    }
    if (depth == 0) {
        trap(true);
        void *p = malloc(24 + bits % 8);
        trap(false);
        free(p);
    }
    NO_TAIL_CALL();
}

/* Interrupts an allocation after `steps` instructions; false if it did not take as many. */
static OPAQUE bool disturb(unsigned steps, unsigned way, unsigned depth)
{
    unsigned long before = deeds;
    steps_left = steps;
    if (sigsetjmp(back, 1) == 0)
        disturbed(way, depth);
    trap(false);
    return deeds > before;
}

static void visit_some(unsigned from, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        visit((from + i) * 77);
}

/* The same on the fiber. If it is interrupted, this thread allocates before that goes on. */
static unsigned fiber_way, fiber_depth;

static void disturbed_fiber(void)
{
    for (;;) {
        disturbed(fiber_way, fiber_depth);
        swapcontext(&fiber, &home);
    }
}

static OPAQUE bool disturb_fiber(unsigned steps, unsigned way, unsigned depth)
{
    unsigned long before = deeds;
    steps_left = steps;
    fiber_way = way;
    fiber_depth = depth;
    swapcontext(&home, &fiber);
    if (deeds == before)
        return false;
    visit_some(steps * 3, 20);
    swapcontext(&home, &interrupted);
    return true;
}

/* An allocation on a stack that is remembered takes fewer instructions than this; whether all of
 * those here are at one time depends on where they lie. */
#define REMEMBERED 500u
#define FINE       5u

/* One instruction after the other, in steps of `stride` and finer ones where all ways go, no more
 * than so many, and no more once none of the ways has as many. */
static void disturb_all(unsigned most, unsigned stride, bool same_way)
{
    unsigned longest = 0, fine = stride < FINE ? stride : FINE;
    for (unsigned steps = 0; steps < most && steps <= longest + 1500;
         steps += steps < REMEMBERED ? fine : stride) {
        visit(steps);
        unsigned way = same_way ? 3 : 3 + steps * 7;
        if (deed == LEAVE_FIBER ? disturb_fiber(steps, way, way % 4) : disturb(steps, way, way % 4))
            longest = steps;
        visit_some(steps * 5, 40);
    }
    fprintf(stderr, "%lu times, %u instructions at most\n", deeds, longest);
}

/* ---- how the handler goes on --------------------------------------------------------------------
 */

#define MANY        (1u << 30)
#define DEEP_ENOUGH 2

static unsigned needed; /* instructions, by the allocation that is interrupted */

/* All cells of the thread hold figures of the tree, so that one of them has to be moved: that is
 * among the last things that an allocation does. And the tree has driven out what was remembered of
 * the way to `disturbed`, so that it takes as many instructions each time. */
static void *counting_thread(void *argument)
{
    visit_some(0, PATHS);
    disturb(MANY, (unsigned)(uintptr_t)argument, DEEP_ENOUGH);
    needed = MANY - steps_left;
    return NULL;
}

/* Ends while it allocates, so many instructions before that would have been done. */
static void *disturbed_thread(void *argument)
{
    unsigned left = (unsigned)(uintptr_t)argument;
    visit_some(0, PATHS);
    if (left < needed)
        disturb(needed - left, left, DEEP_ENOUGH);
    return NULL;
}

static void run_thread(void *(*function)(void *), uintptr_t argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, (void *)argument) == 0)
        pthread_join(thread, NULL);
}

static void cancelled(void)
{
    for (unsigned way = 0; way < 24; way++) {
        run_thread(counting_thread, way);
        usleep(5000); /* for the stacks to get known */
    }
    for (uintptr_t left = 0; left < 2000; left += left < 300 ? 1 : 31)
        run_thread(disturbed_thread, left);
}

static void fiber_main(void)
{
    for (unsigned i = 0;; i++) {
        visit(i * 77);
        swapcontext(&fiber, &interrupted);
    }
}

/* How long the last cases go on. */
#define ROUNDS   400u
#define ROUND_US 2000

/* Leaves for good in the middle of counting: in half as many instructions as an allocation takes on
 * another stack. What is remembered by its return address alone takes few, of which not all are
 * counting: so a little more and less than half is tried as well, each on a stack of its own. The
 * first of all takes longer, since nothing is known of the place. */
static OPAQUE void leave(void)
{
    disturb(MANY, 2, DEEP_ENOUGH);
    disturb(MANY, 5, DEEP_ENOUGH);
    unsigned taken = MANY - steps_left;
    for (unsigned part = 4; part < 13; part += 2)
        disturb(taken * part / 16, part / 2, 3);
    NO_TAIL_CALL();
}

static OPAQUE void go_on(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        visit_some(i * 5, 40);
        usleep(ROUND_US);
    }
}

static void *leave_afresh(void *argument)
{
    free(malloc(1)); /* a thread's first one cannot be disturbed: signals are blocked */
    for (unsigned i = 0; i < 8; i++) { /* so that the functions of what is left are known */
        usleep(ROUND_US * 10);
        disturb(MANY, i, 3);
    }
    leave();
    go_on();
    return argument;
}

static void *leave_refused(void *argument)
{
    char area[4 * PAGE];
    uintptr_t page = ((uintptr_t)area + PAGE) / PAGE * PAGE;
    const struct {
        uintptr_t start;
        size_t bytes;
    } refused[] = {{page + 1, PAGE}, {page, SIZE_MAX}, {page, SIZE_MAX - PAGE}};
    free(malloc(1));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (mprotect((void *)refused[i].start, refused[i].bytes, PROT_NONE) == 0)
            return NULL;
    return leave_afresh(argument);
}

static void *leave_early(void *argument)
{
    free(malloc(1));
    leave();
    go_on();
    return argument;
}

static void begin_fiber(void (*function)(void), char *area, size_t bytes)
{
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = area;
    fiber.uc_stack.ss_size = bytes;
    makecontext(&fiber, function, 0);
}

static void use_handlers_stack(char *area, size_t bytes)
{
    stack_t stack = {.ss_sp = area, .ss_size = bytes};
    if (!area)
        stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
}

/* A handler's stack, or a fiber's, that lies among the frames of this thread's own. */
static OPAQUE void with_stack_of_its_own(void)
{
    static char elsewhere[64 << 10];
    char within[64 << 10];
    memset(within, 0, sizeof within);
    if (deed == CHANGE_FIBER)
        begin_fiber(fiber_main, elsewhere, sizeof elsewhere);
    else if (deed == LEAVE_FIBER)
        begin_fiber(disturbed_fiber, within, sizeof within);
    else
        use_handlers_stack(within, sizeof within);
    disturb_all(6000, 13, false);
    use_handlers_stack(NULL, 0);
    __asm__ volatile("" ::"r"(within) : "memory");
}

#define SMALLEST 1280 /* bytes, in which an allocation can be interrupted */

static OPAQUE void with_smallest_fiber(void)
{
    static char handlers[64 << 10];
    char within[SMALLEST];
    memset(within, 0, sizeof within);
    begin_fiber(disturbed_fiber, within, sizeof within);
    use_handlers_stack(handlers, sizeof handlers);
    disturb_all(6000, 13, false);
    use_handlers_stack(NULL, 0);
    __asm__ volatile("" ::"r"(within) : "memory");
}

/* None of our frames reaches as far down. */
static OPAQUE void with_fiber_below(void)
{
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)63) - (128 << 10);
    begin_fiber(disturbed_fiber, (char *)end - (64 << 10), 64 << 10);
    disturb_all(6000, 13, false);
}

/* More than libc keeps of the stacks of threads that ended: it frees what belongs to this one at
 * once, and holds the lock meanwhile that every new thread needs. */
#define STACK_NOT_KEPT ((size_t)48 << 20)

#define HELD    24u     /* processes, one for every third instruction */
#define HANG_US 5000000 /* they take 0.3 s */

static bool hung;

static void *no_more(void *argument)
{
    return argument;
}

/* Whether freeing took as many instructions. */
static bool hold(unsigned steps)
{
    pthread_t thread;
    pthread_attr_t attributes;
    free(malloc(1));
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_NOT_KEPT);
    if (pthread_create(&thread, &attributes, no_more, NULL) != 0)
        return false;
    usleep(20000); /* for it to end */
    steps_left = steps;
    trap(true);
    pthread_join(thread, NULL);
    trap(false);
    return deeds > 0;
}

/* Processes that hang are ended, and are no deeds. */
static void hold_all(void)
{
    pid_t children[HELD];
    for (unsigned i = 0; i < HELD; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(!hold(3 * i));
    }
    usleep(HANG_US);
    for (unsigned i = 0; i < HELD; i++) {
        int status;
        bool hangs = waitpid(children[i], &status, WNOHANG) == 0;
        if (hangs && kill(children[i], SIGKILL) == 0 && waitpid(children[i], &status, 0) > 0)
            hung = true;
        deeds += !hangs && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
}

static int find_library(void)
{
    Dl_info info;
    if (!dladdr((void *)(uintptr_t)malloc, &info) || !strstr(info.dli_fname, "heaptally"))
        return 3; /* nothing to disturb */
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long low, high;
        char how[8];
        if (sscanf(line, "%lx-%lx %7s", &low, &high, how) == 3 && how[2] == 'x' &&
            (uintptr_t)malloc >= low && (uintptr_t)malloc < high) {
            library_low = low;
            library_high = high;
        }
    }
    if (maps)
        fclose(maps);
    return library_low ? 0 : 3;
}

static const struct {
    const char *name;
    int deed, flags;
    void *(*leaves_once)(void *);
} cases[] = {{"known", JUMP, 0, NULL},
             {"new", JUMP, 0, NULL},
             {"beside", JUMP, SA_ONSTACK, NULL},
             {"cancelled", END_THREAD, 0, NULL},
             {"returns", ALLOCATE, SA_ONSTACK, NULL},
             {"fibers", CHANGE_FIBER, 0, NULL},
             {"preempted", LEAVE_FIBER, 0, NULL},
             {"tight", LEAVE_FIBER, SA_ONSTACK, NULL},
             {"below", LEAVE_FIBER, 0, NULL},
             {"afresh", JUMP, 0, leave_afresh},
             {"refused", JUMP, 0, leave_refused},
             {"early", JUMP, 0, leave_early},
             {"held", HOLD, 0, NULL}};

int main(int argc, char **argv)
{
    size_t which = 0;
    const size_t count = sizeof cases / sizeof *cases;
    while (argc > 1 && which < count && strcmp(argv[1], cases[which].name) != 0)
        which++;
    if (argc < 2 || which == count || find_library())
        return 2;
    void *(*leaves_once)(void *) = cases[which].leaves_once;
    /* So that the stacks of the tree are known. */
    for (unsigned i = 0; i < 5 && !leaves_once; i++) {
        visit_some(0, PATHS);
        usleep(20000);
    }
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    action.sa_flags |= cases[which].flags;
    deed = cases[which].deed;
    sigaction(SIGTRAP, &action, NULL);
    if (leaves_once && argc > 2)
        run_thread(leaves_once, 0);
    else if (leaves_once)
        leaves_once(NULL);
    else if (deed == END_THREAD)
        cancelled();
    else if (deed == HOLD)
        hold_all();
    else if (strcmp(cases[which].name, "tight") == 0)
        with_smallest_fiber();
    else if (strcmp(cases[which].name, "below") == 0)
        with_fiber_below();
    else if (deed == CHANGE_FIBER || deed == LEAVE_FIBER || cases[which].flags)
        with_stack_of_its_own();
    else if (strcmp(cases[which].name, "known") == 0)
        disturb_all(500, 1, true);
    else
        disturb_all(6000, 13, false);
    if (!leaves_once)
        visit_some(0, 10 * PATHS);
    fprintf(stderr, "%lu deeds\n", deeds);
    printf("%lu\n", blocks);
    return hung || deeds < (leaves_once || deed == HOLD ? 3 : 30);
}
