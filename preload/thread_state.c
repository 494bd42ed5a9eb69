#include "thread_state.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "capture_ring.h"
#include "counters.h"
#include "internal_heap.h"
#include "module_map.h"
#include "raw_io.h"
#include "stack_bounds.h"

/* The states that threads without one of their own point at; only `busy` is ever read, and no more
 * than that is there. */
#define ROW(busy) [(busy) >> HT_BUSY_AT]
static uint64_t busy_only[][8] __attribute__((aligned(64))) = {
    ROW(HT_UNBORN) = {HT_UNBORN},
    ROW(HT_BEGINNING) = {HT_BEGINNING},
    ROW(HT_ENDED) = {HT_ENDED},
    ROW(HT_INTERNAL) = {HT_INTERNAL},
};

static struct ht_thread *without_state(enum ht_busy busy)
{
    return (struct ht_thread *)(void *)busy_only ROW(busy);
}

__thread struct ht_thread *ht_self __attribute__((tls_model("initial-exec"))) =
    (struct ht_thread *)(void *)busy_only ROW(HT_UNBORN);
__thread uint64_t ht_self_tag_key __attribute__((tls_model("initial-exec")));
struct ht_thread *ht_threads;

/* The first threads of a process are its main loops: they begin with room for many stacks. The
 * others stay, with everything and with what the heap adds, within a 48 KB block: five of these
 * make up what it maps at a time. */
#define ROOMY_THREADS 4
#define ROOMY_WORDS   (14u << 10)
#define ROOMY_TREE    11u
#define MODEST_WORDS  1152u
#define MODEST_TREE   8u
_Static_assert(sizeof(struct ht_thread) + 8 * MODEST_WORDS + (4 << MODEST_TREE) + 80 <= 48 << 10,
               "one block");

bool ht_main_thread_ended;
uint64_t ht_last_blocked;
static pid_t process; /* whose threads these are: others may share our memory, after vfork, say */
static pthread_key_t farewell_key;
static bool farewell_key_made;
static _Atomic unsigned threads_made;

static void empty(int32_t *index, unsigned bits)
{
    for (unsigned i = 0; i < 1u << bits; i++)
        __atomic_store_n(&index[i], 0, __ATOMIC_RELAXED);
}

void ht_thread_forget_stacks(struct ht_thread *thread)
{
    struct ht_memo_room *room = __atomic_load_n(&thread->memo_room, __ATOMIC_ACQUIRE);
    empty(thread->memo_index, HT_MEMO_INDEX_BITS);
    empty(ht_memo_tree(room), room->tree_bits);
    for (unsigned i = 0; i < HT_CALLER_WAYS << HT_CALLER_BITS; i++)
        __atomic_store_n(&thread->callers[i / HT_CALLER_WAYS].ways[i % HT_CALLER_WAYS].key, 0,
                         __ATOMIC_RELAXED);
}

/* Left may be: half a memo record, stacks that were just being noted, a cell that is on its way to
 * the totals and would seem to move for ever, and a rule that the monitor was about to be asked
 * for. */
void ht_thread_mend(struct ht_thread *thread)
{
    ht_thread_forget_stacks(thread);
    thread->walk_log.kept = 0;
    ht_cells_mend(thread);
    ht_capture_abandon(thread->tid, thread->asking);
    thread->asking = 0;
    __asm__ volatile("" ::: "memory");
    thread->busy = 0;
}

/* What the end of the process has to go by once the main thread is gone. */
static void note_end(const struct ht_thread *thread)
{
    uint64_t blocked;
    if (thread->tid == getpid())
        __atomic_store_n(&ht_main_thread_ended, true, __ATOMIC_RELAXED);
    if (__atomic_load_n(&ht_main_thread_ended, __ATOMIC_RELAXED) &&
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &blocked, sizeof blocked) == 0)
        __atomic_store_n(&ht_last_blocked, blocked, __ATOMIC_RELAXED);
}

/* Brings what a thread has counted to the totals, once it counts no more. */
static void settle(struct ht_thread *thread)
{
    if (ht_is_counting(thread->busy)) /* it was cancelled there, say */
        ht_thread_mend(thread);
    thread->busy = HT_COUNTING;
    ht_cells_evict_all(thread);
}

/* Runs at the end of a thread, among the destructors of other libraries, which may allocate and
 * free: so the state is given back only in the last round of destructors. */
static void farewell(void *argument)
{
    struct ht_thread *thread = argument;
    if (++thread->farewells < 4 && pthread_setspecific(farewell_key, thread) == 0)
        return;
    ht_self = without_state(HT_ENDED);
    ht_modules_thread_ends();
    note_end(thread);
    settle(thread);
    thread->mortal = false;
    __atomic_store_n(&thread->taken, 0, __ATOMIC_RELEASE);
}

int ht_thread_setup(void)
{
    process = getpid();
    int error = farewell_key_made ? 0 : pthread_key_create(&farewell_key, farewell);
    farewell_key_made = error == 0;
    return -error;
}

static struct ht_thread *recycle(void)
{
    struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    for (; thread; thread = thread->next) {
        uint32_t free = 0;
        if (!__atomic_load_n(&thread->taken, __ATOMIC_RELAXED) &&
            __atomic_compare_exchange_n(&thread->taken, &free, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return thread;
    }
    return NULL;
}

/* Writes down that the calling thread is the owner. */
static void name_owner(struct ht_thread *thread)
{
    thread->tid = (pid_t)syscall(SYS_gettid);
    thread->named_at = &ht_self;
}

enum { TAKEN = 1, BEING_SETTLED = 2 };

/* States that are there before any is sought that can be inherited, and how many are looked at. */
#define MANY_STATES 64u
#define LOOKED_AT   8u

/*
 * Whether the storage of the thread that had a state still names it. That may be gone by now: the
 * kernel is asked to compare, half of the pointer, which is as good; none waits there.
 */
static bool is_named(const struct ht_thread *thread)
{
    uint32_t half = (uint32_t)(uintptr_t)thread;
    return syscall(SYS_futex, thread->named_at, FUTEX_CMP_REQUEUE_PRIVATE, 0, NULL,
                   thread->named_at, half) == 0 ||
           (errno != EAGAIN && errno != EFAULT);
}

/*
 * Whether the thread that has a state ended without giving it back, and no other has it with the
 * storage: that may be shared, by a creator who waits meanwhile, or go from one to the next. (Two
 * that allocate at the same time have storage of their own each, since the allocator beneath keeps
 * there what is one thread's.) Where the number of the thread has come round to another, or what
 * was storage stays as it is, the state is not found to be left, and kept.
 */
static bool is_left(const struct ht_thread *thread)
{
    return __atomic_load_n(&thread->mortal, __ATOMIC_ACQUIRE) &&
           syscall(SYS_tkill, thread->tid, 0) != 0 && errno == ESRCH && !is_named(thread);
}

/* Claims a state that was left; false where it was not, or another thread was first. */
static bool claim_left(struct ht_thread *thread)
{
    uint32_t taken = TAKEN;
    if (__atomic_load_n(&thread->taken, __ATOMIC_ACQUIRE) != TAKEN || !is_left(thread) ||
        !__atomic_compare_exchange_n(&thread->taken, &taken, BEING_SETTLED, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return false;
    if (is_left(thread)) /* still: it may have been given to another meanwhile */
        return true;
    taken = BEING_SETTLED;
    __atomic_compare_exchange_n(&thread->taken, &taken, TAKEN, false, __ATOMIC_RELEASE,
                                __ATOMIC_RELAXED);
    return false;
}

/*
 * Takes over the state of a thread that ended without libc hearing of it, by exit(2), and so
 * without a farewell: where such threads come and go for ever, there are not ever more states. A
 * few are looked at each time, all of them in turn. The number of such a thread is given out again
 * only after all others: while its state is settled, it is nobody's.
 */
static struct ht_thread *inherit(void)
{
    static struct ht_thread *last;
    if (getpid() != process) /* whose numbers need not be known here */
        return NULL;
    struct ht_thread *thread = __atomic_load_n(&last, __ATOMIC_RELAXED);
    for (unsigned i = 0; threads_made >= MANY_STATES && i < LOOKED_AT; i++) {
        thread =
            thread && thread->next ? thread->next : __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
        __atomic_store_n(&last, thread, __ATOMIC_RELAXED);
        if (!claim_left(thread))
            continue;
        settle(thread);
        name_owner(thread); /* before it is no longer being settled */
        __atomic_store_n(&thread->taken, TAKEN, __ATOMIC_RELEASE);
        return thread;
    }
    return NULL;
}

static struct ht_thread *make(void)
{
    bool early = threads_made++ < ROOMY_THREADS;
    uint32_t words = early ? ROOMY_WORDS : MODEST_WORDS;
    uint32_t tree_bits = early ? ROOMY_TREE : MODEST_TREE;
    struct ht_thread *thread = ht_heap_alloc(sizeof *thread + ht_memo_room_bytes(words, tree_bits),
                                             _Alignof(struct ht_thread));
    if (!thread)
        return NULL;
    thread->first_room.words = words;
    thread->first_room.tree_bits = tree_bits;
    thread->memo_room = &thread->first_room;
    for (unsigned i = 0; i < HT_CELLS; i++)
        thread->cell_sites[i] = HT_NO_SITE;
    thread->taken = 1;
    thread->next = __atomic_load_n(&ht_threads, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&ht_threads, &thread->next, thread, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return thread;
}

/* Of the memory below the end of a thread's stack, that up to `end` may be unreadable. */
static void note_lost(struct ht_thread *thread, uintptr_t end)
{
    uintptr_t before = __atomic_load_n(&thread->lost_to, __ATOMIC_RELAXED);
    while (before < end && !__atomic_compare_exchange_n(&thread->lost_to, &before, end, false,
                                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
}

/* Where a stack that begins at `low` can be read from: what is lost further in is none of it. */
static uintptr_t readable_from(const struct ht_thread *thread, uintptr_t low)
{
    uintptr_t lost_to = __atomic_load_n(&thread->lost_to, __ATOMIC_SEQ_CST);
    return lost_to > low ? lost_to : low;
}

/* Unless they were taken in before. Whoever notes a loss looks at the lower one afterwards, and
 * here it is the other way round: so one of the two sees the other. */
static void take_bounds(struct ht_thread *thread, uintptr_t low, uintptr_t high)
{
    uintptr_t taken = 0, now = readable_from(thread, low);
    while (__atomic_compare_exchange_n(&thread->stack_low, &taken, now, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED) &&
           readable_from(thread, low) > now) {
        taken = now;
        now = readable_from(thread, low);
    }
    __atomic_store_n(&thread->stack_high, high, __ATOMIC_SEQ_CST);
}

void ht_thread_find_bounds(struct ht_thread *thread)
{
    uintptr_t low = thread->stack_high ? 0 : ht_stack_bounds_low();
    if (low)
        take_bounds(thread, low, thread->thread_pointer);
}

void ht_thread_find_main_bounds(struct ht_thread *thread)
{
    uintptr_t low, high = ht_stack_bounds_main(&low);
    if (thread->tid == getpid())
        take_bounds(thread, low, high);
}

bool ht_thread_see_bounds(const struct ht_thread *thread, uintptr_t *low, uintptr_t *high)
{
    *low = thread->stack_low;
    *high = thread->stack_high;
    if (!*high && *low != HT_NEVER_KNOWN) {
        *low = ht_stack_bounds_low();
        *high = thread->thread_pointer;
        if (*low)
            *low = readable_from(thread, *low);
    }
    return *low && *low != HT_NEVER_KNOWN;
}

static bool is_taken(const struct ht_thread *thread)
{
    return __atomic_load_n(&thread->taken, __ATOMIC_ACQUIRE);
}

#define NAPS   200u /* at most, for another thread */
#define NAP_NS 500000

/*
 * A thread that is counting may be reading the stack that it has just lost, or remember what it
 * read: waits until it has done with that. Bounded, since a handler may have interrupted it there
 * and wait for us in turn. The barrier is for the thread, which has none between saying that it
 * counts and looking where its stack lies.
 */
static void await_end_of_counting(const struct ht_thread *thread)
{
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    const struct timespec nap = {.tv_nsec = NAP_NS};
    uint64_t busy = __atomic_load_n(&thread->busy, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < NAPS && ht_is_counting(busy) && is_taken(thread) &&
                         __atomic_load_n(&thread->busy, __ATOMIC_ACQUIRE) == busy;
         i++)
        syscall(SYS_nanosleep, &nap, NULL);
}

/* Where the stack of a thread ends whose bounds are known; the end may just be being taken in. */
static uintptr_t end_of_stack(const struct ht_thread *thread)
{
    uintptr_t high = __atomic_load_n(&thread->stack_high, __ATOMIC_SEQ_CST);
    return high ? high : __atomic_load_n(&thread->thread_pointer, __ATOMIC_RELAXED);
}

/* The stack of a thread, which began at `low`, does so at `now`, or is no longer known. Nothing
 * else is written: who has just seen that it was goes by where it ends. */
static void lose(struct ht_thread *thread, uintptr_t low, uintptr_t now)
{
    if (!__atomic_compare_exchange_n(&thread->stack_low, &low, now, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
        return;                      /* meanwhile it is that of another thread */
    ht_thread_forget_stacks(thread); /* first: whoever begins to count now finds none of it */
    if (thread == ht_self)
        return;
    await_end_of_counting(thread);
    ht_thread_forget_stacks(thread);
}

/* A stack pointer above what is lost has it below itself, where stacks grow to: a guard. Else it is
 * among the thread's own frames, and of all that lies between these nothing can be said any more.
 */
static void lose_own(uintptr_t start, uintptr_t end)
{
    struct ht_thread *thread = ht_self;
    bool is_guard = (uintptr_t)__builtin_frame_address(0) >= end;
    if (!ht_thread_has_scope(thread)) /* one that gets a state looks then, see take_stack */
        return;
    uintptr_t low = thread->stack_low;
    if (low && end > low && start < end_of_stack(thread))
        lose(thread, low, is_guard ? end : HT_NEVER_KNOWN);
}

/* What is lost may be of a stack whose bounds are not known yet: its end is. To those that lie
 * above it, it makes no difference. */
static void lose_unknown(uintptr_t start, uintptr_t end)
{
    struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    for (; thread; thread = thread->next)
        if (is_taken(thread) && start < __atomic_load_n(&thread->thread_pointer, __ATOMIC_RELAXED))
            note_lost(thread, end);
}

void ht_threads_lose(uintptr_t start, uintptr_t end)
{
    int saved = errno;
    lose_unknown(start, end); /* first: from then on it is one that is known, or gets known so */
    lose_own(start, end);
    struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    for (; thread; thread = thread->next) {
        uintptr_t low = __atomic_load_n(&thread->stack_low, __ATOMIC_SEQ_CST);
        if (thread != ht_self && is_taken(thread) && low && end > low &&
            start < end_of_stack(thread))
            lose(thread, low, HT_NEVER_KNOWN);
    }
    errno = saved;
}

#define PAGE ((uintptr_t)4096)

/* Where bounds are not known: no stack is believed to be larger, and no more of one is looked
 * through. */
#define UNKNOWN_STACK_LIMIT  ((uintptr_t)64 << 20)
#define UNKNOWN_FRAMES_LIMIT ((uintptr_t)256 << 10)

/* From where on all that the frames of the calling thread take up can be read, or is not looked at,
 * if they lie on the stack of libc's that ends at `end`; else 0. Before the thread had a state,
 * nobody noted what was made unreadable of them, be it by another thread. */
static uintptr_t frames_lost_to(uintptr_t end)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), low = ht_stack_bounds_low();
    if (here >= end || here < (low ? low : end - UNKNOWN_STACK_LIMIT))
        return 0; /* it is on another stack, of which nothing is claimed */
    bool all = low || end - here <= UNKNOWN_FRAMES_LIMIT;
    uintptr_t last = (all ? here : end - UNKNOWN_FRAMES_LIMIT) / PAGE * PAGE; /* not looked at */
    for (uintptr_t page = (end - 1) / PAGE * PAGE; page > last; page -= PAGE)
        if (!ht_is_readable(page))
            return page + PAGE;
    return all ? 0 : last + PAGE;
}

/* Records rest on the bounds of the stack they are of: a thread on another one begins anew. The
 * same control block and the same bounds are a stack that libc had kept. Other threads see first
 * where it ends: what they make unreadable from then on, they note. */
static void take_stack(struct ht_thread *thread)
{
    uintptr_t pointer = (uintptr_t)pthread_self(), low = thread->stack_low;
    bool same = thread->thread_pointer == pointer;
    __atomic_store_n(&thread->stack_high, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&thread->stack_low, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&thread->lost_to, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&thread->thread_pointer, pointer, __ATOMIC_SEQ_CST);
    thread->memo_laps = 0;
    thread->walk_log.kept = 0;
    note_lost(thread, frames_lost_to(pointer));
    ht_thread_find_bounds(thread);
    if (!same || thread->stack_low != low)
        ht_thread_forget_stacks(thread);
}

static bool begin(void)
{
    ht_self = without_state(HT_BEGINNING);
    struct ht_thread *thread = recycle();
    if (!thread)
        thread = inherit();
    if (!thread)
        thread = make();
    if (!thread) {
        ht_self = without_state(HT_ENDED);
        return false;
    }
    ht_thread_set_tag(0);
    thread->farewells = 0;
    take_stack(thread);
    name_owner(thread);
    __atomic_store_n(&thread->mortal, getpid() == process, __ATOMIC_RELEASE);
    if (farewell_key_made)
        pthread_setspecific(farewell_key, thread);
    thread->busy = 0;
    ht_self = thread;
    return true;
}

/* With signals blocked: a handler's scope needs the state, and there is none half-made. */
bool ht_thread_begin(void)
{
    int saved = errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool made = begin();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return made;
}

struct ht_thread *ht_internal_begin(void)
{
    struct ht_thread *previous = ht_self;
    ht_self = without_state(HT_INTERNAL);
    return previous;
}

void ht_internal_end(struct ht_thread *previous)
{
    ht_self = previous;
}

bool ht_thread_after_fork(void)
{
    process = getpid();
    ht_main_thread_ended = false;
    bool others = false, torn = false;
    for (struct ht_thread *thread = ht_threads; thread; thread = thread->next) {
        if (thread == ht_self || !thread->taken)
            continue;
        others = true;
        torn |= ht_cells_mend(thread);
        ht_cells_evict_all(thread);
        thread->walk_log.kept = 0; /* it may have been in the middle of writing it */
        ht_thread_forget_stacks(thread);
        thread->mortal = false;
        thread->taken = 0;
    }
    if (torn) /* else the site that was being moved would seem to move for ever */
        ht_totals_settle();
    if (ht_thread_has_scope(ht_self)) /* a handler may have forked in the middle of counting */
        ht_self->tid = getpid(); /* the only thread; a call that may be refused (seccomp) less */
    return others;
}
