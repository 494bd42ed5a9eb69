#include "monitor.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "aggregate.h"
#include "alert.h"
#include "callback.h"
#include "conditions.h"
#include "control.h"
#include "credentials.h"
#include "detect.h"
#include "heaptally/units.h"
#include "internal_heap.h"
#include "last_thread.h"
#include "lifecycle.h"
#include "module_map.h"
#include "moment.h"
#include "options.h"
#include "prometheus.h"
#include "raw_io.h"
#include "snapshot_write.h"
#include "stack_bounds.h"
#include "surface.h"
#include "thread_state.h"
#include "top_sites.h"
#include "track.h"
#include "unwind.h"

#define STACK_BYTES    ((size_t)128 << 10)
#define POLL_NEXT      (HT_MILLISECOND / 10) /* right after a new stack, where cores are to spare */
#define POLL_BURST     HT_MILLISECOND /* no longer, while new stacks come one after the other */
#define POLL_SHORT     (2 * HT_MILLISECOND)
#define POLL_LONGEST   (250 * HT_MILLISECOND)
#define BURST          (50 * HT_MILLISECOND) /* how long after a new stack others are expected */
#define EAGER          HT_SECOND             /* and how long polls stay short */
#define DESCRIBE_EVERY (40 * HT_MILLISECOND) /* at most */
#define AHEAD_EVERY    (5 * HT_MILLISECOND)  /* at most */
#define LOOKS_A_TICK   4u /* looks at the counters in each tick, at random moments */
#define ADVANCE        (50 * HT_MILLISECOND) /* work on new stacks that may come before its rest */
#define REST_STEADY    19u /* times the last turn, in no hurry: a twentieth of a core */
#define REST_AHEAD     3u  /* the same where it has to be done in any case, rather now than later */
#define PARK_FINAL     (2 * HT_SECOND)

#define CREDENTIALS_EVERY   (500 * HT_MILLISECOND)
#define CREDENTIALS_CHANGED (20 * HT_MILLISECOND) /* while they are being changed */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static bool started;          /* somebody has figures to write at the end */
static _Atomic bool finished; /* by the holder of the gate; so are the next two */
static bool opened;
static bool counting = true;
static _Atomic bool gave_up; /* the thread has ended by itself, for good; by itself */

/* Whoever starts the thread, ends it and waits for it. Taken before the gate, never while holding
 * it, and with signals blocked: a handler may come here as well. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread;
static _Atomic bool running;            /* there is a thread to wait for; by the holder of `life` */
static unsigned pauses;                 /* who wants it away at present; the same */
static bool resumes;                    /* it is to be there again once nobody does; the same */
static bool began_late;                 /* the first tick is due soon; before there is a thread */
static _Atomic uint32_t stop_requested; /* also the futex to sleep on */

/* What threads of the program ask for. A job that several ask for at once is done once. */
static struct {
    _Atomic uint32_t wanted; /* by any thread */
    _Atomic uint32_t done;   /* how many of those; by the monitor; also a futex */
    _Atomic int result;      /* of the last */
} jobs[HT_JOBS];

/* When things are due; the monitor thread only. It stands while the thread is away: a program that
 * sends it away all the time has its ticks all the same. */
static struct {
    bool planned;
    uint64_t poll, poll_wait, last_new_stack;
    uint64_t description, ahead, look, tick, sync, credentials;
    uint64_t served; /* when the control socket last was */
    bool waits;      /* nothing is done before `credentials` */
    bool one_core;   /* all that the thread may run on: what it takes, the program may lack */
    uint64_t debt, debt_at; /* rest that is owed for work on new stacks, and when it was so much */
    uint64_t random;
} due;

/* ---- time ---------------------------------------------------------------------------------------
 */

/* Sleeps while `*word` is `value`, no longer than until the deadline. */
static void wait_while(_Atomic uint32_t *word, uint32_t value, uint64_t deadline)
{
    uint64_t now = ht_now_ns();
    if (deadline <= now)
        return;
    uint64_t wait = deadline - now;
    struct timespec time = {(time_t)(wait / HT_SECOND), (long)(wait % HT_SECOND)};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &time, NULL, 0);
}

static void sleep_until(uint64_t deadline)
{
    wait_while(&stop_requested, 0, deadline);
}

/* A moment within a span, so that looks do not fall into step with the program. */
static uint64_t jitter(uint64_t span)
{
    due.random ^= due.random << 13;
    due.random ^= due.random >> 7;
    due.random ^= due.random << 17;
    return span ? due.random % span : 0;
}

/* ---- the loop -----------------------------------------------------------------------------------
 */

/* New stacks come: what is not answered yet costs detail all the while. */
static bool in_burst(uint64_t now)
{
    return now - due.last_new_stack < BURST;
}

static void plan_poll(uint64_t now, unsigned new_stacks)
{
    if (new_stacks)
        due.last_new_stack = now;
    if (new_stacks)
        due.poll_wait = due.one_core ? POLL_BURST : POLL_NEXT;
    else if (in_burst(now))
        due.poll_wait = due.poll_wait < POLL_BURST / 2 ? 2 * due.poll_wait : POLL_BURST;
    else if (now - due.last_new_stack < EAGER)
        due.poll_wait = POLL_SHORT;
    else if (due.poll_wait < POLL_LONGEST)
        due.poll_wait *= 2;
    due.poll = now + due.poll_wait;
}

/* However many sites and threads there are, the monitor takes no more than a share of one core:
 * what took long is not done again before a multiple of that time. It is the thread's own time that
 * counts: on a busy machine it waits long for its turn, and must not wait for that again. */
static uint64_t at_the_earliest(uint64_t planned, uint64_t cpu_began, uint64_t rest)
{
    uint64_t earliest = ht_now_ns() + (ht_thread_cpu_ns() - cpu_began) * rest;
    return planned > earliest ? planned : earliest;
}

/* The same while new stacks come: half of a core, but ahead of its rest as much as most programs
 * ever need, where they have other cores meanwhile. */
static uint64_t after_rest_owed(uint64_t planned, uint64_t cpu_began)
{
    uint64_t now = ht_now_ns(), took = ht_thread_cpu_ns() - cpu_began;
    uint64_t rested = now - due.debt_at, advance = due.one_core ? 0 : ADVANCE;
    rested = rested > took ? rested - took : 0;
    due.debt = (due.debt > rested ? due.debt - rested : 0) + took;
    due.debt_at = now;
    uint64_t earliest = now + (due.debt > advance ? due.debt - advance : 0);
    return planned > earliest ? planned : earliest;
}

/* Tells of the regions in which something was allocated that promised nothing would be. */
static void check_promises(const struct ht_moment *moment)
{
    for (uint32_t i = 0; i < ht_sums.tag_count; i++) {
        uint32_t region = ht_sums.tags[i];
        const struct ht_tag_view *view = ht_tag_view(region);
        if (view->forbidden_blocks > 0)
            ht_conditions_no_alloc(region, view->forbidden_blocks, view->forbidden_bytes,
                                   view->forbidden_site, moment);
    }
}

/* Looks at the counters, and writes a tick where one is due. */
static void look(uint64_t now)
{
    uint64_t interval = ht_settings.value[HT_OPT_INTERVAL], began = ht_thread_cpu_ns();
    bool tick = now >= due.tick;
    ht_aggregate_look(tick ? HT_LOOK_TICK : HT_LOOK_SAMPLE);
    if (tick) {
        struct ht_moment moment = ht_moment_now();
        ht_detect_tick(&moment);
        ht_top_sites_tick(&moment);
        ht_callback_tick();
        check_promises(&moment);
        ht_conditions_tick(&moment);
        ht_surface_publish();
        ht_snapshot_tick(false, 0);
        ht_prometheus_tick(&moment);
        due.tick += interval;
        if (due.tick <= now) /* fell behind: ticks are not made up for */
            due.tick = now + interval;
        due.tick = at_the_earliest(due.tick, began, REST_STEADY);
    }
    due.look = now + (tick ? 0 : interval / LOOKS_A_TICK / 2) + jitter(interval / LOOKS_A_TICK);
    due.look = at_the_earliest(due.look, began, REST_STEADY);
}

static void say_if_memory_is_short(void)
{
    static bool said;
    if (said || !ht_heap_was_refused())
        return;
    said = true;
    ht_say("own memory: the system gives no more (%.1f MB are in use); what is new is missing from "
           "the figures until it does. Raise the limit on locked memory (ulimit -l), or on "
           "address space (ulimit -v)",
           (double)ht_heap_mapped() / HT_MB);
}

/* Finds out about new frames, now and then: the program does not wait for it, as it does for rules,
 * but a look does for what has not been found by then. */
static void describe(void)
{
    uint64_t began = ht_thread_cpu_ns();
    ht_aggregate_describe();
    due.description = at_the_earliest(ht_now_ns() + DESCRIBE_EVERY, began, REST_STEADY);
}

/* Writes new stacks of a program that makes very many: else all of them would be left to the tick,
 * or to the end of the process, which waits for it. */
static void write_ahead(void)
{
    uint64_t began = ht_thread_cpu_ns();
    ht_snapshot_ahead();
    due.ahead = at_the_earliest(ht_now_ns() + AHEAD_EVERY, began, REST_AHEAD);
}

/* One turn of work; the gate is held. */
static void work(uint64_t now)
{
    uint64_t began = ht_thread_cpu_ns();
    unsigned new_stacks = ht_aggregate_answer();
    ht_modules_settle(now);
    plan_poll(now, new_stacks);
    due.poll = in_burst(now) ? after_rest_owed(due.poll, began)
                             : at_the_earliest(due.poll, began, REST_STEADY);
    if (now >= due.description)
        describe();
    if (counting && (now >= due.tick || now >= due.look))
        look(now);
    if (counting && now >= due.ahead)
        write_ahead();
    say_if_memory_is_short();
}

/* When there is work next, apart from the control socket. */
static uint64_t next_work(void)
{
    uint64_t next = due.poll < due.tick ? due.poll : due.tick;
    if (!__atomic_load_n(&counting, __ATOMIC_RELAXED))
        return due.poll;
    return due.look < next ? due.look : next;
}

static uint64_t next_deadline(void)
{
    if (due.waits)
        return due.credentials;
    uint64_t work = next_work(), control = ht_control_due();
    return work < control ? work : control;
}

/* Does what threads of the program wait for. */
static void carry_out_jobs(void)
{
    for (unsigned i = 0; i < HT_JOBS; i++) {
        uint32_t wanted = jobs[i].wanted;
        if (wanted == jobs[i].done)
            continue;
        jobs[i].result = ht_carry_out((enum ht_job)i);
        jobs[i].done = wanted;
        syscall(SYS_futex, &jobs[i].done, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    }
}

/* Whether there may be work in the name of this thread. The gate is held. Where it is another's
 * than the program's, the process is dormant from now on. */
static bool may_work(uint64_t now)
{
    if (now < due.credentials)
        return !due.waits;
    enum ht_credentials credentials = ht_credentials_look(now);
    due.waits = credentials != HT_CREDENTIALS_SAME;
    due.credentials = now + (due.waits ? CREDENTIALS_CHANGED : CREDENTIALS_EVERY);
    if (credentials == HT_CREDENTIALS_FOREIGN) {
        gave_up = true;
        ht_watch_give_up("credentials: the program's main thread has become another user or group "
                         "without heaptally's thread, which cannot follow; nothing more is "
                         "counted. Change users by libc's setresuid, which changes all threads");
    }
    return !due.waits;
}

/* What is due now; the gate is held. */
static void take_turn(void)
{
    uint64_t now = ht_now_ns();
    if (!may_work(now))
        return;
    if (now >= next_work())
        work(now);
    if (now - due.served >= POLL_SHORT || now >= ht_control_due()) { /* takes system calls */
        due.served = now;
        ht_control_serve(now);
    }
    carry_out_jobs();
}

/* The caller holds the gate. */
static void open_file(void)
{
    if (opened)
        return;
    opened = true;
    struct ht_moment moment = ht_moment_now();
    ht_detect_restart(&moment);
    ht_conditions_restart(&moment);
    ht_surface_publish();
    ht_snapshot_open();
}

/* At the beginning of each thread, which may have the credentials of whoever started it. */
static void begin_plan(uint64_t now)
{
    cpu_set_t cores;
    due.one_core = sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) == 1;
    due.credentials = now;
    due.waits = false;
    if (due.planned)
        return;
    due.planned = true;
    due.random = now | 1;
    due.poll = due.look = due.last_new_stack = now;
    due.poll_wait = POLL_BURST;
    due.tick = now + ht_settings.value[HT_OPT_INTERVAL] / (began_late ? LOOKS_A_TICK : 1);
    due.sync = now + ht_settings.value[HT_OPT_SYNC];
}

/* What may take long and needs nothing that others change: not under the gate. */
static void work_outside(void)
{
    if (!due.waits && !gave_up)
        ht_prometheus_sweep();
    if (ht_now_ns() >= due.sync) {
        ht_snapshot_sync();
        due.sync = ht_now_ns() + ht_settings.value[HT_OPT_SYNC];
    }
}

/* Waits until the threads of ours are gone: on the one that ends the process. */
static void wait_for_our_threads(void)
{
    ht_callback_pause();
    ht_callback_end(); /* where its function had not returned yet */
    pthread_mutex_lock(&life);
    if (running)
        pthread_join(thread, NULL);
    running = false;
    pthread_mutex_unlock(&life);
}

static void *monitor_main(void *argument)
{
    (void)argument;
    struct ht_thread *outside = ht_internal_begin();
    begin_plan(ht_now_ns());
    ht_stack_bounds_begin(HT_CALLERS_SP());
    pthread_mutex_lock(&gate);
    if (!stop_requested && counting)
        open_file();
    ht_heap_many_begin(); /* the loader allocates a lot */
    if (!stop_requested && ht_settings.value[HT_OPT_STACKS] == HT_STACKS_FULL)
        ht_unwind_begin();
    ht_heap_many_end();
    pthread_mutex_unlock(&gate);
    while (!stop_requested && !gave_up) {
        sleep_until(next_deadline());
        pthread_mutex_lock(&gate);
        if (!stop_requested && !finished)
            take_turn();
        pthread_mutex_unlock(&gate);
        if (ht_last_thread_wanted(ht_callback_threads())) {
            ht_last_thread_start(wait_for_our_threads);
            break;
        }
        work_outside();
    }
    ht_internal_end(outside); /* where no other could be started, this is the last thread */
    return NULL;
}

/* ---- starting and stopping ----------------------------------------------------------------------
 */

/* The thread's own signals are blocked, the program's scheduling is not inherited. */
static int create_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    struct sched_param normal = {0};
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, SCHED_OTHER);
    pthread_attr_setschedparam(&attributes, &normal);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, monitor_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    running = error == 0;
    if (running)
        pthread_setname_np(thread, "heaptally");
    return -error;
}

/* Starts the thread, if there shall be one: 0 or -errno. The caller holds `life`. */
static int start_thread(void)
{
    if (running || gave_up)
        return 0;
    stop_requested = 0;
    if (finished) { /* by ht_monitor_final, which says so before it asks for the stop */
        stop_requested = 1;
        return 0;
    }
    int error = create_thread();
    if (error)
        ht_say("the monitor thread cannot be started (%s); figures are taken at the end only",
               ht_error_words(-error));
    return error;
}

/* Heaptally's own work on a thread of the program. It begins after the last signal and ends before
 * the next: what a handler allocates is the program's. */
static void own_work_begin(struct ht_visit *work)
{
    sigset_t all;
    /* A thread that ended in the middle would leave the gate closed. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &work->cancellation);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &work->signals);
    sigpending(&work->pending);
    work->previous = ht_internal_begin();
}

/* A write that the file size limit forbids has raised a signal, which the program must not get. */
static void own_work_end(const struct ht_visit *work)
{
    static const struct timespec at_once = {0, 0};
    sigset_t ours;
    ht_internal_end(work->previous);
    sigemptyset(&ours);
    sigaddset(&ours, SIGXFSZ);
    if (!sigismember(&work->pending, SIGXFSZ))
        sigtimedwait(&ours, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &work->signals, NULL);
    pthread_setcancelstate(work->cancellation, NULL);
}

void ht_monitor_open(void)
{
    struct ht_visit work;
    own_work_begin(&work);
    started = true;
    open_file();
    own_work_end(&work);
}

void ht_monitor_take_up(void)
{
    started = true;
}

int ht_monitor_start(bool late)
{
    struct ht_visit work;
    int error = 0;
    own_work_begin(&work);
    pthread_mutex_lock(&life);
    started = true;
    began_late = late;
    if (pauses)
        resumes = true; /* the last of those who wanted it away starts it */
    else
        error = start_thread();
    pthread_mutex_unlock(&life);
    own_work_end(&work);
    return error;
}

static void wake(void)
{
    stop_requested = 1;
    syscall(SYS_futex, &stop_requested, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void ht_monitor_pause(void)
{
    struct ht_visit work;
    own_work_begin(&work);
    pthread_mutex_lock(&life);
    pauses++;
    /* Where it does not come out of the loader, this thread may be what it waits for. */
    if (running && ht_monitor_park(PARK_FINAL)) {
        wake();
        ht_monitor_unpark();
        pthread_join(thread, NULL);
        running = false;
        resumes = true;
    }
    pthread_mutex_unlock(&life);
    own_work_end(&work);
}

void ht_monitor_resume(void)
{
    struct ht_visit work;
    own_work_begin(&work);
    pthread_mutex_lock(&life);
    if (pauses && --pauses == 0 && resumes) { /* a child forked in between has none */
        resumes = false;
        start_thread();
    }
    pthread_mutex_unlock(&life);
    own_work_end(&work);
}

bool ht_monitor_park(uint64_t wait_ns)
{
    if (pthread_mutex_trylock(&gate) == 0)
        return true;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(ns / HT_SECOND);
    until.tv_nsec = (long)(ns % HT_SECOND);
    return pthread_mutex_clocklock(&gate, CLOCK_MONOTONIC, &until) == 0;
}

void ht_monitor_unpark(void)
{
    pthread_mutex_unlock(&gate);
}

/* ---- counting, on request -----------------------------------------------------------------------
 */

void ht_monitor_stop_counting(void)
{
    if (opened && counting) {
        struct ht_visit work;
        struct ht_moment moment = ht_moment_now();
        own_work_begin(&work);
        ht_aggregate_answer();
        ht_aggregate_look(HT_LOOK_TICK);
        ht_detect_tick(&moment);
        ht_snapshot_tick(false, 0);
        ht_prometheus_end(); /* no longer true */
        own_work_end(&work);
    }
    if (!opened) {
        struct ht_moment moment = ht_moment_now();
        ht_detect_restart(&moment); /* for whoever asks how much is resident */
    }
    __atomic_store_n(&counting, false, __ATOMIC_RELAXED);
}

void ht_monitor_start_counting(void)
{
    struct ht_visit work;
    own_work_begin(&work);
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_TICK);
    if (opened) {
        struct ht_moment moment = ht_moment_now();
        ht_aggregate_tick_done(); /* what was sampled before the pause is no part of this tick */
        ht_detect_restart(&moment);
        ht_top_sites_restart(ht_snapshot_start_ns());
        ht_conditions_restart(&moment);
        ht_snapshot_resumed();
    } else {
        open_file();
    }
    due.tick = ht_now_ns() + ht_settings.value[HT_OPT_INTERVAL];
    due.look = ht_now_ns();
    ht_surface_publish();
    __atomic_store_n(&counting, true, __ATOMIC_RELAXED);
    own_work_end(&work);
}

static void say_last_word(uint32_t end_reason)
{
    open_file();
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_LAST);
    struct ht_moment moment = ht_moment_now();
    check_promises(&moment); /* a short run breaks them as well as a long one */
    ht_snapshot_tick(true, end_reason);
    ht_prometheus_end();
    ht_control_end();
}

void ht_monitor_final(uint32_t end_reason)
{
    if (!started || finished)
        return;
    int saved = errno;
    struct ht_visit work;
    own_work_begin(&work);
    if (ht_monitor_park(PARK_FINAL)) {
        finished = true;
        if (counting || opened) /* else it was never started: there is nothing to say */
            say_last_word(end_reason);
        else
            ht_control_end();
        wake(); /* the thread has nothing left to do */
        ht_monitor_unpark();
    }
    own_work_end(&work);
    errno = saved;
}

void ht_monitor_after_fork(void)
{
    pthread_mutex_init(&gate, NULL);
    pthread_mutex_init(&life, NULL);
    started = opened = resumes = false;
    running = false;
    finished = false;
    gave_up = false;
    pauses = 0;
    stop_requested = 0;
    memset(jobs, 0, sizeof jobs);
    memset(&due, 0, sizeof due);
    ht_snapshot_forget();
    ht_detect_forget();
    ht_alert_forget();
    ht_prometheus_forget();
    ht_control_forget();
    ht_credentials_forget();
    ht_callback_forget();
    ht_surface_forget();
}

/* ---- what is asked of it ------------------------------------------------------------------------
 */

bool ht_monitor_snapshot(void)
{
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_TICK);
    return ht_snapshot_all();
}

int ht_monitor_request(enum ht_job job, uint64_t wait_ns)
{
    if (!running || finished || gave_up)
        return -EAGAIN;
    uint64_t deadline = ht_now_ns() + wait_ns;
    uint32_t mine = ++jobs[job].wanted, done;
    syscall(SYS_futex, &stop_requested, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    while ((int32_t)((done = jobs[job].done) - mine) < 0) {
        if (ht_now_ns() >= deadline)
            return -EAGAIN;
        wait_while(&jobs[job].done, done, deadline);
    }
    return jobs[job].result;
}

void ht_monitor_reset_baseline(void)
{
    struct ht_moment moment = ht_moment_now();
    ht_aggregate_look(HT_LOOK_TICK);
    ht_detect_reset_baseline(&moment);
    ht_surface_publish();
}

void ht_monitor_settings_changed(void)
{
    uint64_t now = ht_now_ns();
    due.tick = now + ht_settings.value[HT_OPT_INTERVAL];
    due.sync = now + ht_settings.value[HT_OPT_SYNC];
    ht_snapshot_settings();
    ht_surface_publish();
}

void ht_monitor_warmup_changed(void)
{
    if (opened && counting) { /* else all that begins when counting does */
        ht_aggregate_look(HT_LOOK_TICK);
        ht_aggregate_tick_done(); /* what was sampled so far is no part of the next tick */
        ht_detect_restart_trends();
        ht_top_sites_restart(ht_snapshot_start_ns());
        ht_snapshot_resumed();
    }
    ht_monitor_settings_changed();
}

bool ht_monitor_visit(struct ht_visit *visit, uint64_t wait_ns)
{
    own_work_begin(visit);
    bool open = started && ht_monitor_park(wait_ns);
    if (open && !opened) { /* nothing has been looked at yet */
        ht_monitor_unpark();
        open = false;
    }
    if (!open)
        own_work_end(visit);
    return open;
}

void ht_monitor_leave(const struct ht_visit *visit)
{
    ht_monitor_unpark();
    own_work_end(visit);
}
