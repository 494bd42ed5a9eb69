/*
 * Two threads, one of which stands still after each of its instructions, while the other does all
 * that it has to do, or stands still in turn: an allocation whose stack is new, against memory that
 * is made unreadable and against modules that go away, while the thread moves to a larger room.
 *
 * The processor's trap flag stops after each instruction; each place is tried in a process of its
 * own, so that all begin alike.
 */
#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../../preload/internal_heap.h"
#include "../../preload/thread_state.h"
#include "memo_model.h"
#include "support.h"

#define TRAP_FLAG 0x100
#define AT        290u /* words of the stack below the caller's frame: there are few above */
#define ROOM      400u /* words */
#define LARGER    1000u
#define TREE_BITS 9u

/* ---- one instruction after the other ------------------------------------------------------------
 */

static __thread unsigned steps_left;
static __thread bool was_stopped;
static __thread void (*deed)(void);

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

/* Does `what`, and after so many instructions of it `meanwhile`; false if there are not so many. */
static bool run_stopped(unsigned steps, void (*what)(void), void (*meanwhile)(void))
{
    steps_left = steps;
    deed = meanwhile;
    __asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" ::"i"(TRAP_FLAG) : "memory", "cc");
    what();
    __asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" ::"i"(~TRAP_FLAG) : "memory", "cc");
    return was_stopped;
}

/* The same, and then `check`, which says whether all is well: 0, 1 if not, 2 if there were not so
 * many instructions. */
static int try_once(unsigned steps, void (*what)(void), void (*meanwhile)(void),
                    bool (*check)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(!run_stopped(steps, what, meanwhile) ? 2 : check() ? 0 : 1);
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        ck_abort_msg("stopped after %u instructions: status %#x", steps, status);
    return WEXITSTATUS(status);
}

static void try_all(unsigned stride, void (*what)(void), void (*meanwhile)(void),
                    bool (*check)(void))
{
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGTRAP, &action, NULL);
    unsigned steps = 0, wrong = 0, first = 0;
    for (int status = 0; status != 2; steps += stride) {
        status = try_once(steps, what, meanwhile, check);
        first = status == 1 && !wrong ? steps : first;
        wrong += status == 1;
    }
    printf("stopped at every %u of %u instructions\n", stride, steps);
    ck_assert_uint_gt(steps, 500);
    if (wrong)
        ck_abort_msg("wrong %u times, first after %u instructions", wrong, first);
}

/* ---- a thread, and an allocation that is new to it ----------------------------------------------
 */

#define SEED 4711

static pthread_t other;
static struct ht_thread *thread;
static const ht_entry entry = (ht_entry)&memo_stack[AT - 2];

/* The functions, also once their frames have died. */
static void publish(void)
{
    uint64_t random = SEED;
    memo_functions(&random);
}

/* The thread knows its stack; a larger room is there to which it has not moved yet. */
static void lay(void)
{
    uint64_t random = 7;
    unsigned laid[HT_MAX_DEPTH], count;
    support_begin();
    publish();
    thread = memo_thread(ROOM, ht_heap_alloc);
    thread->stack_low = (uintptr_t)memo_stack;
    thread->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
    size_t larger = sizeof *thread->larger_room + ht_memo_room_bytes(LARGER, TREE_BITS);
    thread->larger_room = ht_heap_alloc(larger, _Alignof(struct ht_memo_room));
    thread->larger_room->words = LARGER;
    thread->larger_room->tree_bits = TREE_BITS;
    thread->taken = 1;
    thread->next = ht_threads;
    ht_threads = thread;
    memo_stack[AT - 2] = memo_lay(&random, AT, laid, &count);
    ck_assert_uint_ge(count, 5);
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

static _Atomic bool has_lost;
static bool lost_meanwhile;

static void *lose(void *argument)
{
    ht_threads_lose((uintptr_t)&memo_stack[AT + 10], (uintptr_t)&memo_stack[AT + 20]);
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

static bool finds_quickly(void)
{
    return memo_quick(thread, entry) != HT_NO_SITE;
}

/* From then on nothing of the stack is read but in order, one word after the other. */
static bool nothing_is_read_at_once(void)
{
    pthread_join(other, NULL);
    bool good = !lost_meanwhile && !finds_quickly();
    allocate();
    return good && !finds_quickly();
}

START_TEST(walks_against_memory_made_unreadable)
{
    lay();
    try_all(97, allocate, lose_on_another, nothing_is_read_at_once);
}
END_TEST

/* ---- modules that go away
 * ------------------------------------------------------------------------
 */

#define ROUND (1u << HT_MEMO_GENERATION_BITS) /* so many, and keys are what they were */

static void go_away(unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        ht_memo_next_generation();
}

/* Once round, the indexes emptied; and functions of other modules are where those were. */
static void all_go_away(void)
{
    ht_frames_kill(MEMO_CODE, MEMO_CODE_END, 1);
    publish();
    go_away(ROUND);
}

static bool is_of_what_is_there(uint32_t site)
{
    uint32_t stack = ht_site_stack(site);
    for (; stack >= HT_STACK_ROOTS; stack = ht_stack_outer(stack))
        if (ht_intern_key(&ht_frames, ht_stack_frame(stack)) & HT_FRAME_DEAD)
            return false;
    return true;
}

static bool only_what_is_there_is_found(void)
{
    uint32_t quick = memo_quick(thread, entry);
    uint32_t site = ht_memo_find_with_care(thread, entry, 0);
    return (quick == HT_NO_SITE || is_of_what_is_there(quick)) &&
           (site == HT_NO_SITE || is_of_what_is_there(site));
}

START_TEST(walks_against_modules_that_go_away)
{
    lay();
    try_all(97, allocate, all_go_away, only_what_is_there_is_found);
}
END_TEST

/* The indexes are being emptied when the thread goes on and moves to the larger room, and are
 * emptied to the end after it has. */

static sem_t stands_still, goes_on;
static unsigned emptying_steps;

static void stand_still(void)
{
    sem_post(&stands_still);
    sem_wait(&goes_on);
}

static void *empty_indexes(void *argument)
{
    if (!run_stopped(emptying_steps, ht_memo_next_generation, stand_still))
        sem_post(&stands_still);
    return argument;
}

static void empty_indexes_in_part(void)
{
    pthread_create(&other, NULL, empty_indexes, NULL);
    sem_wait(&stands_still);
}

/* What was remembered before would be found again once keys are what they were; they are not
 * emptied on the way there. */
static bool nothing_is_found(void)
{
    sem_post(&goes_on);
    pthread_join(other, NULL);
    go_away(ROUND - 1);
    return thread->memo_room == thread->larger_room && !finds_quickly() &&
           ht_memo_find_with_care(thread, entry, 0) == HT_NO_SITE;
}

START_TEST(emptying_against_moves_to_a_larger_room)
{
    lay();
    sem_init(&stands_still, 0, 0);
    sem_init(&goes_on, 0, 0);
    go_away(ROUND - 1); /* the next time they are emptied */
    for (emptying_steps = 5; emptying_steps < 10000; emptying_steps += 1300)
        try_all(809, allocate, empty_indexes_in_part, nothing_is_found);
}
END_TEST

SUPPORT_MAIN("interleaved", walks_against_memory_made_unreadable,
             walks_against_modules_that_go_away, emptying_against_moves_to_a_larger_room)
