#include "lifecycle.h"

#include <dlfcn.h>
#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "aggregate.h"
#include "alert.h"
#include "alert_sinks.h"
#include "arch.h"
#include "callback.h"
#include "capture_ring.h"
#include "control.h"
#include "fork.h"
#include "internal_heap.h"
#include "module_map.h"
#include "monitor.h"
#include "options.h"
#include "prometheus.h"
#include "raw_io.h"
#include "real_alloc.h"
#include "snapshot_write.h"
#include "stack_cache.h"
#include "surface.h"
#include "tag_rules.h"
#include "thresholds.h"
#include "track.h"

#define ALL_OF_THEM UINTPTR_MAX

static enum { UNBOOTED, BOOTING, BOOTED } stage;
static uint64_t probation_ends;    /* CLOCK_MONOTONIC, ns */
static uint64_t usually_blocked;   /* signals, by the thread on which it began */
static bool for_good;              /* dormant, never to count again */
static bool stopped;               /* by request; written by the holder of the gate after start */
static _Atomic uintptr_t confined; /* the last thread whose system calls were, ALL_OF_THEM, or 0 */
static bool unanswered_for_good;   /* no monitor will ever end the probation */

static void sleep_for_good(void)
{
    __atomic_store_n(&for_good, true, __ATOMIC_RELAXED);
    ht_slow_add(HT_SLOW_DORMANT);
}

bool ht_is_dormant(void)
{
    return __atomic_load_n(&for_good, __ATOMIC_RELAXED);
}

bool ht_boot(void)
{
    if (stage == BOOTED)
        return true;
    if (stage == BOOTING)
        return false;
    stage = BOOTING;
    ht_log_begin();
    if (!ht_real_resolve()) {
        stage = UNBOOTED;
        return false;
    }
    if (getauxval(AT_SECURE)) {
        sleep_for_good();
    } else if (ht_real.sizes_unknown) {
        sleep_for_good();
        ht_say("the program's allocator has no malloc_usable_size of its own; the program goes on "
               "unwatched");
    } else if (!ht_tag_begin() || !ht_site_begin() || !ht_capture_begin()) {
        sleep_for_good();
        ht_say("no memory for its tables; the program goes on unwatched");
    } else if (ht_thread_setup() != 0) {
        sleep_for_good();
        ht_say("no key for thread-specific data is left; the program goes on unwatched");
    }
    if (!ht_real.chunk_layout_known && !ht_real.sizes_unknown)
        ht_slow_add(HT_SLOW_ALLOCATOR |
                    (ht_real.blocks_guarded || !ht_usable_begin() ? HT_SLOW_GUARDED : 0));
    stage = BOOTED;
    return true;
}

bool ht_thread_arrives(void)
{
    if (ht_fork_happened())
        sleep_for_good();
    if (ht_slow & HT_SLOW_DORMANT)
        return false;
    ht_thread_begin();
    return true;
}

/* ---- who is watched -----------------------------------------------------------------------------
 */

/* Whether this is the process that the user started, not one that it started in turn. The first
 * one leaves a note for the others in the environment. */
static bool is_first_process(void)
{
    const char *root = getenv("HEAPTALLY_ROOT");
    if (root)
        return atoi(root) == getpid();
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("HEAPTALLY_ROOT", pid, 1);
    return true;
}

static bool is_wanted(bool first)
{
    const char *only = ht_settings.text[HT_OPT_ONLY];
    const struct ht_module *program = ht_module(0);
    if (only && program && fnmatch(only, program->base, 0) != 0 &&
        fnmatch(only, program->unwind.file.path ? program->unwind.file.path : "", 0) != 0)
        return false;
    return first || !ht_settings.value[HT_OPT_NO_CHILDREN];
}

static uint64_t coarse_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return (uint64_t)time.tv_sec * HT_SECOND + (uint64_t)time.tv_nsec;
}

/* The signals that the calling thread blocks; a bit for each, as the kernel has them. */
static uint64_t blocked_signals(void)
{
    uint64_t blocked = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof blocked);
    return blocked;
}

static void begin_probation(void)
{
    usually_blocked = blocked_signals();
    probation_ends = coarse_now() + ht_settings.value[HT_OPT_INTERVAL];
    ht_slow_add(HT_SLOW_PROBATION);
}

#define HANDLER_LIMIT (1 * HT_SECOND)   /* a handler that takes longer is not waited for */
#define HANDLER_LOOKS (HT_SECOND / 100) /* from one look to the next, meanwhile */

/*
 * Whether a handler of a signal may be running that has interrupted libc: it may hold the lock that
 * a new thread needs, and the handler would wait for what it keeps from going on. A handler has its
 * own signal blocked. So may a thread have at all times, for which this is no reason: hence the
 * limit.
 */
static bool may_be_in_handler(uint64_t now)
{
    static uint64_t next_look;
    if (now >= probation_ends + HANDLER_LIMIT)
        return false;
    if (now < __atomic_load_n(&next_look, __ATOMIC_RELAXED))
        return true;
    bool may_be = blocked_signals() & ~usually_blocked;
    if (may_be)
        __atomic_store_n(&next_look, now + HANDLER_LOOKS, __ATOMIC_RELAXED);
    return may_be;
}

/* Nobody will answer captures: allocations go on by their callers alone, and do not ask. */
static void stay_on_probation(void)
{
    __atomic_store_n(&unanswered_for_good, true, __ATOMIC_RELAXED);
    ht_slow_add(HT_SLOW_PROBATION);
}

bool ht_probation(void)
{
    static uint64_t last_look;
    if (confined || __atomic_load_n(&unanswered_for_good, __ATOMIC_RELAXED))
        return true;
    uint64_t now = coarse_now();
    if (now < probation_ends) {
        bool just_now = __atomic_load_n(&last_look, __ATOMIC_RELAXED) == now;
        if (!just_now)
            __atomic_store_n(&last_look, now, __ATOMIC_RELAXED);
        return just_now;
    }
    if (ht_in_copied_process()) /* between vfork and exec: the thread would be that process's */
        return false;
    int saved = errno;
    if (!may_be_in_handler(now) && ht_slow_remove(HT_SLOW_PROBATION) && !ht_is_dormant() &&
        ht_monitor_start(true) != 0)
        stay_on_probation();
    errno = saved;
    return false;
}

void ht_lifecycle_confined(void)
{
    confined = (uintptr_t)pthread_self();
}

static bool is_confined_here(void)
{
    return confined == ALL_OF_THEM || confined == (uintptr_t)pthread_self();
}

void ht_lifecycle_confines_all(void)
{
    int saved = errno;
    if (!ht_is_dormant()) {
        if (!(ht_slow & HT_SLOW_PROBATION))
            ht_say("the program has the kernel confine all its threads, and with them heaptally's: "
                   "the figures end here");
        ht_callback_close();
        ht_callback_pause();
        ht_monitor_final(HTL_END_DORMANT);
        ht_monitor_pause(); /* waits for the thread */
        sleep_for_good();
    }
    confined = ALL_OF_THEM;
    errno = saved;
}

/* ---- on request ---------------------------------------------------------------------------------
 */

static void begin_stopped(void)
{
    stopped = true;
    ht_slow_add(HT_SLOW_DORMANT);
    ht_monitor_stop_counting();
}

bool ht_watch_is_stopped(void)
{
    return stopped && !ht_is_dormant();
}

int ht_watch_set(bool on)
{
    if (ht_is_dormant())
        return -EPERM;
    if (on && stopped) {
        ht_monitor_start_counting(); /* the baseline, before anything new is counted */
        stopped = false;
        ht_slow_remove(HT_SLOW_DORMANT);
    } else if (!on && !stopped) {
        begin_stopped();
    }
    return 0;
}

void ht_watch_give_up(const char *why)
{
    if (!stopped)
        begin_stopped();
    sleep_for_good();
    ht_control_end();
    ht_say("%s", why);
}

/* ---- start and end ------------------------------------------------------------------------------
 */

static void finish(void)
{
    if (is_confined_here())
        return;
    if (ht_fork_happened() ||
        ht_in_copied_process()) /* after vfork, our variables are the parent's */
        return;
    /* It has lived for a tick without allocating since: it is watched all the same. */
    if ((ht_slow & HT_SLOW_PROBATION) && !(ht_slow & HT_SLOW_DORMANT) && !confined &&
        coarse_now() >= probation_ends) /* stopped, it would have nothing to write */
        ht_monitor_take_up();
    ht_callback_close();
    ht_monitor_final(HTL_END_EXIT);
}

static void pass_on(const struct ht_alert *alert)
{
    ht_surface_heard(alert);
    ht_callback_deliver(alert);
}

/* Everything that the monitor needs, short of its thread. */
static bool prepare(void)
{
    ht_rules_begin(&ht_settings);
    ht_thresholds_begin(&ht_settings);
    ht_alert_begin(&ht_settings);
    ht_prometheus_begin(&ht_settings);
    ht_alert_sinks_name_file(ht_snapshot_path());
    ht_alert_subscribe(pass_on);
    ht_control_begin();
    ht_modules_refresh(true);
    ht_real_late();
    return ht_aggregate_begin() && ht_fork_setup() == 0;
}

static void begin_watching(void)
{
    if (!stopped)
        ht_monitor_open();
    ht_monitor_start(false);
    if (stopped)
        ht_say("dormant; 'heaptally start %d' begins to count", (int)getpid());
    else if (ht_snapshot_path()[0])
        ht_say("counting; the snapshot is %s", ht_snapshot_path());
}

__attribute__((constructor)) static void start(void)
{
    int saved = errno;
    if (!ht_boot() || (ht_slow & HT_SLOW_DORMANT))
        return;
    struct ht_thread *previous = ht_internal_begin();
    ht_heap_many_begin();
    ht_arch_begin();
    ht_settings_read();
    ht_snapshot_begin();
    ht_stacks_mode = (int)ht_settings.value[HT_OPT_STACKS];
    bool first = is_first_process();
    if (!first)
        ht_memo_await_answers();
    bool ready = prepare();
    if (!ready || !is_wanted(first))
        sleep_for_good();
    else
        at_quick_exit(finish);
    if (ht_settings.value[HT_OPT_DORMANT])
        begin_stopped();
    ht_heap_many_end();
    ht_internal_end(previous);
    if (ht_self->busy == HT_UNBORN && !ht_is_dormant())
        ht_thread_begin();
    if (!ht_self->busy)
        ht_thread_find_main_bounds(ht_self);
    if (!ht_is_dormant()) {
        if (first)
            begin_watching();
        else
            begin_probation();
    }
    errno = saved;
}

__attribute__((destructor)) static void end(void)
{
    finish();
}

void ht_lifecycle_after_fork(bool safe)
{
    ht_monitor_after_fork();
    if (ht_is_dormant())
        return;
    if (!safe || ht_settings.value[HT_OPT_NO_CHILDREN] || is_confined_here()) {
        sleep_for_good();
        return;
    }
    confined = 0; /* which another thread was */
    unanswered_for_good = false;
    begin_probation();
}
