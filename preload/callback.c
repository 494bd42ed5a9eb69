#include "callback.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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
    uint64_t dropped; /* since the function was called last */
    struct timespec called;
} state;

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
    if (threw && !state.said_threw)
        ht_say("the alert callback threw an exception; it was caught, and the program goes on");
    state.said_threw |= threw;
    state.calling = false;
    pthread_cond_broadcast(&changed);
}

/* However the thread ends: a function may leave by pthread_exit. */
static void has_ended(bool *in_order)
{
    if (!*in_order)
        pthread_mutex_lock(&lock);
    state.running = state.calling = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void *callback_main(void *argument)
{
    bool in_order __attribute__((cleanup(has_ended))) = false;
    pthread_mutex_lock(&lock);
    while (!state.stop && state.running) { /* in the child of a fork neither */
        if (state.count && state.function)
            call();
        else
            pthread_cond_wait(&changed, &lock);
    }
    in_order = true; /* and with the lock held */
    return argument;
}

/* Starts the thread: 0 or -errno. Both locks are held. The program's signals go to its own threads,
 * and its scheduling is not inherited. */
static int start_thread(void)
{
    pthread_attr_t attributes;
    struct sched_param normal = {0};
    sigset_t all, before;
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
    state.said_threw = false;
    bool start = function && !state.running;
    state.resumes = start && state.pauses;
    int error = start && !state.pauses ? start_thread() : 0;
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

static void drop(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (state.dropped++ == 0)
        ht_say("the alert callback has not returned for %lld s; alerts are not passed on until it "
               "does",
               (long long)(now.tv_sec - state.called.tv_sec));
}

void ht_callback_deliver(const struct ht_alert *alert)
{
    pthread_mutex_lock(&lock);
    if (state.function && state.running) {
        if (state.count == CALLBACK_PENDING) {
            drop();
        } else {
            state.pending[(state.first + state.count++) % CALLBACK_PENDING] = *alert;
            pthread_cond_broadcast(&changed);
        }
    }
    pthread_mutex_unlock(&lock);
}

int ht_callback_threads(void)
{
    pthread_mutex_lock(&lock);
    int threads = state.running;
    pthread_mutex_unlock(&lock);
    return threads;
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
    memset(&state, 0, sizeof state);
}
