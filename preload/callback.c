#include "callback.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "heaptally/units.h"
#include "raw_io.h"
#include "thread_state.h"

#define CALLBACK_PENDING 16u
#define STACK_BYTES      ((size_t)256 << 10) /* all of it is resident under mlockall */
#define WAIT_FOR_RETURN  HT_SECOND

/* Whoever starts the thread or waits for its end. Taken before `lock`. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below; held for moments */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct {
    ht_callback_invoke *invoke;
    heaptally_alert_function *function;
    void *user;
    struct ht_alert pending[CALLBACK_PENDING];
    unsigned first, count;
    pthread_t thread;
    bool running, stop;
    bool to_join;     /* `thread` has been started and not been waited for; by who holds `life` */
    unsigned pauses;  /* who wants the thread away at present */
    bool resumes;     /* it is to be there again once nobody does */
    bool calling;     /* the function is running, since `called` */
    bool said_threw;  /* of the function that is registered */
    uint64_t ticks;   /* since it was registered */
    bool guard_due;   /* the exit handler is to be put last once more */
    bool closed;      /* the process ends */
    pid_t process;    /* in which a function was registered; 0: in none */
    uint64_t dropped; /* since the function was called last */
    struct timespec called;
} state;

/* ---- the end of the process ---------------------------------------------------------------------
 *
 * exit runs its handlers, and with them destructors of static objects, in the reverse order of
 * registration. One of ours that is registered when the function is set runs before all that
 * existed by then is destroyed. It is named by a handle of its own, so that libc forgets it, and
 * uses its place again, when another takes its place.
 */
extern int __cxa_atexit(void (*function)(void *), void *argument, void *handle);
extern int __cxa_at_quick_exit(void (*function)(void *), void *handle);
extern void __cxa_finalize(void *handle);

static char exit_handle;
/* Held while libc's list of exit handlers is changed, and by who forks: libc's own lock on the list
 * would stay closed in the child. Nothing but the heap lock is taken while it is held. */
static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool replacing; /* by `replacer`: our handler is called because it is taken out */
static pthread_t replacer;

static void close_at_exit(void *argument)
{
    (void)argument;
    if (!(replacing && pthread_equal(replacer, pthread_self())))
        ht_callback_close();
}

/* Makes our exit handler the one that runs first of all that are registered. The lock is held. */
static void guard_exit(void)
{
    struct ht_thread *previous = ht_internal_begin();
    pthread_mutex_lock(&registering);
    replacer = pthread_self();
    replacing = true;
    __cxa_finalize(&exit_handle);
    replacing = false;
    __cxa_atexit(close_at_exit, NULL, &exit_handle);
    __cxa_at_quick_exit(close_at_exit, &exit_handle);
    pthread_mutex_unlock(&registering);
    ht_internal_end(previous);
}

void ht_callback_lock_exit(void)
{
    pthread_mutex_lock(&registering);
}

void ht_callback_unlock_exit(void)
{
    pthread_mutex_unlock(&registering);
}

/* ---- the thread ---------------------------------------------------------------------------------
 */

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

void ht_callback_translate(const struct ht_alert *alert, struct heaptally_alert *out)
{
    memset(out, 0, sizeof *out);
    out->size = sizeof *out;
    out->number = alert->number;
    out->timestamp = (double)alert->realtime_ns * 1e-9;
    out->value_mb = alert->value_mb;
    out->threshold_mb = alert->threshold_mb;
    out->rss_mb = alert->rss_mb;
    out->growth_mb = alert->growth_mb;
    copy_text(out->kind, sizeof out->kind, ht_alert_kind_name(alert->kind));
    copy_text(out->state, sizeof out->state, ht_alert_state_name(alert->state));
    copy_text(out->severity, sizeof out->severity, ht_alert_severity_name(alert->severity));
    copy_text(out->tag, sizeof out->tag, alert->tag_name);
    copy_text(out->message, sizeof out->message, alert->message);
}

/* Passes the oldest alert on. The lock is held, but not while the function runs. */
static void call(void)
{
    struct heaptally_alert alert;
    ht_callback_translate(&state.pending[state.first], &alert);
    state.first = (state.first + 1) % CALLBACK_PENDING;
    state.count--;
    ht_callback_invoke *invoke = state.invoke;
    heaptally_alert_function *function = state.function;
    void *user = state.user;
    state.calling = true;
    state.dropped = 0;
    clock_gettime(CLOCK_MONOTONIC, &state.called);
    pthread_mutex_unlock(&lock);
    bool threw = invoke(function, &alert, user) != 0;
    pthread_mutex_lock(&lock);
    bool news = threw && !state.said_threw;
    state.said_threw |= threw;
    state.calling = false;
    pthread_cond_broadcast(&changed);
    if (!news)
        return;
    pthread_mutex_unlock(&lock);
    ht_say("the alert callback threw an exception; it was caught, and the program goes on");
    pthread_mutex_lock(&lock);
}

/* The lock is held. */
static void note_end(void)
{
    state.running = state.calling = false;
    pthread_cond_broadcast(&changed);
}

/* The thread ends out of order: a function may leave by pthread_exit. */
static void has_left(void *mark)
{
    (void)mark;
    pthread_mutex_lock(&lock);
    note_end();
    pthread_mutex_unlock(&lock);
}

/* A key whose destructor tells of it: a cleanup of the C language would take the unwinder of
 * libgcc, a library that the program may not have. */
static pthread_key_t left_key;

static void *callback_main(void *argument)
{
    pthread_setspecific(left_key, &state);
    pthread_mutex_lock(&lock);
    while (!state.stop && state.running) { /* in the child of a fork neither */
        if (state.guard_due && state.function && !state.closed) {
            state.guard_due = false;
            guard_exit();
        }
        if (state.count && state.function && !state.closed)
            call();
        else
            pthread_cond_wait(&changed, &lock);
    }
    note_end();
    pthread_setspecific(left_key, NULL);
    pthread_mutex_unlock(&lock);
    return argument;
}

/* Starts the thread: 0 or -errno. Both locks are held. The program's signals go to its own threads,
 * and its scheduling is not inherited. */
static int start_thread(void)
{
    pthread_attr_t attributes;
    struct sched_param normal = {0};
    sigset_t all, before;
    static bool key_made;
    if (!key_made && pthread_key_create(&left_key, has_left) != 0)
        return -EAGAIN;
    key_made = true;
    struct ht_thread *previous = ht_internal_begin();
    if (state.to_join) /* it left by itself and is as good as gone */
        pthread_join(state.thread, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, SCHED_OTHER);
    pthread_attr_setschedparam(&attributes, &normal);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    state.stop = false;
    int error = pthread_create(&state.thread, &attributes, callback_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    state.running = state.to_join = error == 0;
    if (state.running)
        pthread_setname_np(state.thread, "heaptally-call");
    ht_internal_end(previous);
    return -error;
}

/* ---- from outside -------------------------------------------------------------------------------
 */

/* Waits until the function has returned; false when that takes too long, or if this is the thread
 * it runs on. The lock is held. */
static bool wait_for_return(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(WAIT_FOR_RETURN / HT_SECOND);
    while (state.calling)
        if (pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
            return !state.calling;
    return true;
}

/* A thread that ended in here would leave a lock closed, and so would a handler that asks again. */
struct quiet {
    int cancellation;
    sigset_t signals;
};

static struct quiet quiet_begin(void)
{
    struct quiet quiet;
    sigset_t all;
    sigfillset(&all);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &quiet.cancellation);
    pthread_sigmask(SIG_SETMASK, &all, &quiet.signals);
    return quiet;
}

static void quiet_end(const struct quiet *quiet)
{
    pthread_sigmask(SIG_SETMASK, &quiet->signals, NULL);
    pthread_setcancelstate(quiet->cancellation, NULL);
}

/* Whether this is the thread that calls the function. */
static bool is_own_thread(void)
{
    pthread_mutex_lock(&lock);
    bool own = state.running && pthread_equal(pthread_self(), state.thread);
    pthread_mutex_unlock(&lock);
    return own;
}

/* The lock is held, and `life` unless this is the own thread. Where the thread is wanted away it is
 * started when it no longer is. */
static int put_in_place(ht_callback_invoke *invoke, heaptally_alert_function *function, void *user)
{
    state.invoke = invoke;
    state.function = function;
    state.user = user;
    state.first = state.count = 0;
    state.said_threw = state.guard_due = false;
    state.ticks = 0;
    clock_gettime(CLOCK_MONOTONIC,
                  &state.called); /* how long it has not returned counts from here */
    __atomic_store_n(&state.process, getpid(), __ATOMIC_RELAXED);
    if (function)
        guard_exit();
    bool start = function && !state.running;
    state.resumes = start && state.pauses;
    int error = function && state.closed ? -EAGAIN : start && !state.pauses ? start_thread() : 0;
    if (error)
        state.function = NULL;
    return error;
}

int ht_callback_set(ht_callback_invoke *invoke, heaptally_alert_function *function, void *user)
{
    struct quiet quiet = quiet_begin();
    bool own = is_own_thread();
    if (!own)
        pthread_mutex_lock(&life);
    pthread_mutex_lock(&lock);
    int error = put_in_place(invoke, function, user);
    if (!own)
        pthread_mutex_unlock(&life); /* before waiting: the function may want it */
    if (!error && !own && state.running && !wait_for_return())
        error = -EBUSY;
    pthread_mutex_unlock(&lock);
    quiet_end(&quiet);
    return error;
}

/*
 * Where the function was registered by a library's constructor, libc had not registered the
 * destructors of libraries yet: ours would run after them. It does so before main, nobody tells
 * when; so our handler is put last again at ticks 1, 2, 4, 8 and so on.
 */
void ht_callback_tick(void)
{
    pthread_mutex_lock(&lock);
    uint64_t tick = ++state.ticks;
    state.guard_due |= (tick & (tick - 1)) == 0;
    if (state.guard_due && state.function)
        pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void ht_callback_deliver(const struct ht_alert *alert)
{
    struct timespec now;
    bool first_dropped = false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&lock);
    if (state.function && state.running && !state.closed) {
        if (state.count == CALLBACK_PENDING) {
            first_dropped = state.dropped++ == 0;
        } else {
            state.guard_due |= state.ticks == 0; /* an alert before the first tick since then */
            state.pending[(state.first + state.count++) % CALLBACK_PENDING] = *alert;
            pthread_cond_broadcast(&changed);
        }
    }
    long long seconds = now.tv_sec - state.called.tv_sec;
    pthread_mutex_unlock(&lock);
    if (first_dropped)
        ht_say("the alert callback has not returned for %lld s; alerts are not passed on until it "
               "does",
               seconds);
}

int ht_callback_threads(void)
{
    pthread_mutex_lock(&lock);
    int threads = state.running;
    pthread_mutex_unlock(&lock);
    return threads;
}

/* Takes the lock, unless that takes too long: a signal handler that calls exit may have struck who
 * holds it. */
static bool lock_in_time(void)
{
    static const struct timespec moment = {0, (long)HT_MILLISECOND};
    for (unsigned left = WAIT_FOR_RETURN / HT_MILLISECOND; pthread_mutex_trylock(&lock) != 0;
         left--)
        if (left == 0 || nanosleep(&moment, NULL) != 0)
            return false;
    return true;
}

void ht_callback_close(void)
{
    if (__atomic_load_n(&state.process, __ATOMIC_RELAXED) != getpid())
        return;
    struct quiet quiet = quiet_begin();
    if (lock_in_time()) {
        bool first = !state.closed;
        state.closed = true;
        state.count = 0;
        if (first && state.running && !pthread_equal(pthread_self(), state.thread))
            wait_for_return();
        pthread_mutex_unlock(&lock);
    }
    quiet_end(&quiet);
}

void ht_callback_end(void)
{
    pthread_mutex_lock(&lock);
    state.stop = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Ends the thread and waits for it, unless it is this one, or in a function that does not return.
 * `life` is held. */
static void end_thread(void)
{
    pthread_mutex_lock(&lock);
    bool idle = state.to_join && wait_for_return();
    if (idle) {
        state.stop = true;
        state.resumes |= state.running;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (!idle)
        return;
    struct ht_thread *previous = ht_internal_begin();
    pthread_join(state.thread, NULL);
    state.to_join = false;
    ht_internal_end(previous);
}

void ht_callback_pause(void)
{
    struct quiet quiet = quiet_begin();
    if (!is_own_thread()) { /* with it, there are two threads at least: nothing would be gained */
        pthread_mutex_lock(&life);
        pthread_mutex_lock(&lock);
        state.pauses++;
        pthread_mutex_unlock(&lock);
        end_thread();
        pthread_mutex_unlock(&life);
    }
    quiet_end(&quiet);
}

void ht_callback_resume(void)
{
    struct quiet quiet = quiet_begin();
    if (!is_own_thread()) {
        pthread_mutex_lock(&life);
        pthread_mutex_lock(&lock);
        bool last = state.pauses && --state.pauses == 0; /* none in a child forked in between */
        if (last && state.resumes && state.function && !state.running && start_thread() != 0)
            state.function = NULL;
        state.resumes &= !last;
        pthread_mutex_unlock(&lock);
        pthread_mutex_unlock(&life);
    }
    quiet_end(&quiet);
}

void ht_callback_forget(void)
{
    pthread_mutex_init(&life, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&changed, NULL);
    pthread_mutex_init(&registering, NULL); /* a fork that did not get the gate does not hold it */
    replacing = false;
    memset(&state, 0, sizeof state);
}
