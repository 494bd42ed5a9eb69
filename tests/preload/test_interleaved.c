/*
 * Two threads, one of which does all that it does while the other stands still, after each
 * instruction of what that one does: an allocation whose stack is new, against memory that is made
 * unreadable, and against modules that go away; and the emptying of what is remembered, against an
 * allocation that moves to a larger room. The processor's trap flag stops after each instruction;
 * each stop is tried in a process of its own, so that all begin alike.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../../preload/thread_state.h"
#include "memo_model.h"
#include "support.h"

#define TRAP_FLAG 0x100
#define AT        10u /* words of the stack below the caller's frame */
#define ROOM      400u
#define LARGER    1000u

/* ---- one instruction after the other ------------------------------------------------------------
 */

static unsigned steps_left;
static bool was_stopped;
static void (*deed)(void);

static void trapped(int signal, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)signal;
    (void)info;
    if (steps_left-- > 0)
        return;
    registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    was_stopped = true;
    deed();
}

static void run_stopped(void (*what)(void))
{
    __asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" ::"i"(TRAP_FLAG) : "memory", "cc");
    what();
    __asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" ::"i"(~TRAP_FLAG) : "memory", "cc");
}

/* Does `what`, and after so many instructions of it `meanwhile`, and then `check`, which says
 * whether all is well. Exit status: 0, 1 if not, 2 if there were not so many instructions. */
static int try_once(unsigned steps, void (*what)(void), void (*meanwhile)(void),
                    bool (*check)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        steps_left = steps;
        deed = meanwhile;
        run_stopped(what);
        _exit(!was_stopped ? 2 : check() ? 0 : 1);
    }
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        ck_abort_msg("stopped after %u instructions: status %#x", steps, status);
    return WEXITSTATUS(status);
}

static void try_all(unsigned stride, void (*what)(void), void (*meanwhile)(void),
                    bool (*check)(void))
{
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    unsigned steps = 0, wrong = 0, first = 0;
    for (int status = 0; status != 2; steps += stride) {
        status = try_once(steps, what, meanwhile, check);
        first = status == 1 && !wrong ? steps : first;
        wrong += status == 1;
    }
    printf("stopped at every %u of %u instructions\n", stride, steps);
    ck_assert_uint_gt(steps, 200);
    if (wrong)
        ck_abort_msg("wrong %u times, first after %u instructions", wrong, first);
}

/* ---- a thread, and an allocation that is new to it ----------------------------------------------
 */

#define SEED 4711

static struct ht_thread *thread;
static const ht_entry entry = (ht_entry)&memo_stack[AT - 2];

/* The functions, also once their frames have died. */
static void publish(void)
{
    uint64_t random = SEED;
    memo_functions(&random);
}

/* The thread knows its stack, and another one that begins as the new one does. */
static void lay(void)
{
    uint64_t random = 7;
    unsigned laid[HT_MAX_DEPTH], count;
    support_begin();
    publish();
    thread = memo_thread(ROOM, memo_heap);
    thread->stack_low = (uintptr_t)memo_stack;
    thread->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
    thread->taken = 1;
    thread->next = ht_threads;
    ht_threads = thread;
    do
        memo_stack[AT - 2] = memo_lay(&random, AT, laid, &count);
    while (count < 8);
    thread->busy = 0;
}

static void allocate(void)
{
    thread->busy = (uint64_t)(uintptr_t)&memo_stack[AT - 2];
    __asm__ volatile("" ::: "memory");
    ht_site_find(thread, entry, 0);
    __asm__ volatile("" ::: "memory");
    thread->busy = 0;
}

/* ---- memory that is made unreadable -------------------------------------------------------------
 */

static pthread_t other;
static _Atomic bool has_lost;
static bool lost_meanwhile;

static void *lose(void *argument)
{
    ht_threads_lose((uintptr_t)&memo_stack[200], (uintptr_t)&memo_stack[300]);
    has_lost = true;
    return argument;
}

/* It may wait until the thread no longer looks at its stack. */
static void lose_on_another(void)
{
    pthread_create(&other, NULL, lose, NULL);
    for (unsigned i = 0; i < 8 && !has_lost; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    lost_meanwhile = has_lost && thread->busy;
}

/* From then on nothing of the stack is read but in order, one word after the other. */
static bool nothing_is_read_at_once(void)
{
    pthread_join(other, NULL);
    bool good = !lost_meanwhile && !ht_memo_find(thread, entry);
    allocate();
    return good && !ht_memo_find(thread, entry);
}

START_TEST(walks_against_memory_made_unreadable)
{
    lay();
    try_all(61, allocate, lose_on_another, nothing_is_read_at_once);
}
END_TEST

SUPPORT_MAIN("interleaved", walks_against_memory_made_unreadable)
