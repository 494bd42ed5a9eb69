/*
 * From the first allocation to the last: what is set up when, and what ends it.
 *
 *   boot         at the first allocation, often before any constructor has run: the allocator
 *                beneath is looked up, the tables of the malloc path are laid; counting begins
 *   constructor  settings are read; the process is watched, put on probation or left alone
 *   probation    a process that another watched one started: it is counted, but has no thread and
 *                no file until it has lived for one tick and allocates again (eight times at
 *                most after a burst), or asks. For good where no monitor can be had
 *   watched      monitor thread and file are there
 *   stopped      by --dormant or by request: there is a monitor thread, but nothing new is counted
 *                and no tick is taken until it is started. What was counted is counted out
 *   dormant      the same for good: AT_SECURE, --only, --no-children, no memory, or a monitor whose
 *                user is no longer the program's
 *   final        the destructor or quick_exit has taken the last figures
 */
#ifndef HEAPTALLY_LIFECYCLE_H
#define HEAPTALLY_LIFECYCLE_H

#include <stdbool.h>

/* Makes sure that the process is booted; false while that is under way on this very thread. */
bool ht_boot(void);

/* Makes the state of the calling thread where it has none. False in a dormant process; one that was
 * copied without our handlers (_Fork, raw clone) becomes dormant, since another thread may have
 * held a lock when it was copied. */
bool ht_thread_arrives(void);

/* Ends the probation of a process that has lived long enough, and has the monitor started: by the
 * calling thread, with system calls and libc's locks, unless that may be in a handler of a signal;
 * then a later call does, a second later at most. Called by allocations and questions while
 * HT_SLOW_PROBATION is set; keeps errno. True where the last call was a few milliseconds ago at
 * most, so that who allocates that often need not ask each time. */
bool ht_probation(void);

/* The kernel refuses system calls of the calling thread from now on, or kills the process for them:
 * a process that is not watched so far never is, and stays on probation; this thread ends the watch
 * by nothing of its own, and what it forks is left alone. Makes no system call. */
void ht_lifecycle_confined(void);

/* The same is about to happen to all threads, those of ours too: the last figures are written, the
 * file is ended, and the process is dormant for good. With system calls, and libc's locks; keeps
 * errno. */
void ht_lifecycle_confines_all(void);

/*
 * Counting begins (again): baselines and trends as from now, and the file is opened if it is not.
 * Or it ends until then: a last tick is written, nothing new is counted, what was counted is
 * counted out. 0, also where there is nothing to do; -EPERM in a process that is dormant for good.
 * The caller holds the gate.
 */
int ht_watch_set(bool on);

/* Whether counting is stopped by request, and could be started. */
bool ht_watch_is_stopped(void);

/* The process is dormant for good from now on, and says why: a last tick is written, the socket is
 * closed. The monitor, while it holds the gate. */
void ht_watch_give_up(const char *why);

/* Whether this process is dormant for good. */
bool ht_is_dormant(void);

/* In the child of a fork. `safe`: the monitor was parked, so that its locks are free. */
void ht_lifecycle_after_fork(bool safe);

#endif
