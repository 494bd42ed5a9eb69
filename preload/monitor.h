/*
 * The monitor thread: everything slow happens here, at SCHED_OTHER, with signals blocked.
 *
 * The gate is held while the monitor works and free while it sleeps. Whoever takes the gate
 * (fork, the end of the process) finds the monitor at a safe point: outside the loader, outside
 * heaptally's heap, with no record half-written.
 */
#ifndef HEAPTALLY_MONITOR_H
#define HEAPTALLY_MONITOR_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "answers.h"

/* Opens the snapshot file now; the thread does it where this was not called, since it takes more
 * stack than a thread of the program may have. While only one thread exists. */
void ht_monitor_open(void);

/* Makes ht_monitor_final take figures and write the file although no thread was started. */
void ht_monitor_take_up(void);

/* Starts the thread. Any thread; 0 or -errno. `late`: the process has gone a tick unwatched, so
 * that its figures are written soon, not after another tick. */
int ht_monitor_start(bool late);

/* Ends the thread and waits for it; ht_monitor_resume starts it again where it had been running.
 * Any number of threads may do so at once: it stays away until the last has resumed it. */
void ht_monitor_pause(void);
void ht_monitor_resume(void);

/*
 * Counting is stopped or started on request; the caller holds the gate, or is alone. Stopping takes
 * a last look and writes a tick where a file is open; from then on there are neither. Starting
 * takes baselines and begins all trends, and opens the file where there is none.
 */
void ht_monitor_stop_counting(void);
void ht_monitor_start_counting(void);

/* Takes the gate, waiting at most `wait_ns`: false on timeout. */
bool ht_monitor_park(uint64_t wait_ns);
void ht_monitor_unpark(void);

/* Takes the last figures and ends the file; the monitor does nothing more. Does nothing in a
 * process that has no monitor. */
void ht_monitor_final(uint32_t end_reason);

/* In the child of a fork, which has no monitor thread. */
void ht_monitor_after_fork(void);

/* Has the monitor carry out a job and waits for that: its result, or -EAGAIN where it has not come
 * to it in time. Any thread. */
int ht_monitor_request(enum ht_job job, uint64_t wait_ns);

/* What the monitor is asked to do between two turns; the caller holds the gate. The first: false
 * where there is no file or it cannot be written. */
bool ht_monitor_snapshot(void);
void ht_monitor_reset_baseline(void);
void ht_monitor_settings_changed(void);

/* The same after a change of the warm-up: it begins now, and all trends with it. */
void ht_monitor_warmup_changed(void);

/*
 * A thread of the program that looks at what the monitor has, or has it do something: its
 * allocations are heaptally's own, signals are blocked, and the gate is held until it leaves.
 * False, with nothing to leave, where the process is not watched (yet) or the monitor is busy for
 * longer than `wait_ns`.
 */
struct ht_visit {
    struct ht_thread *previous;
    sigset_t signals, pending;
    int cancellation;
};
bool ht_monitor_visit(struct ht_visit *visit, uint64_t wait_ns);
void ht_monitor_leave(const struct ht_visit *visit);

#endif
