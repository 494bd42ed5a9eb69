/*
 * A program as a child: what it is sent reaches it, and how it ends is passed on.
 */
#ifndef HEAPTALLY_ANALYZER_SUPERVISE_H
#define HEAPTALLY_ANALYZER_SUPERVISE_H

#include <sys/types.h>

/*
 * Forks, calls `become(argument)` in the child, which replaces itself or returns an exit status,
 * and waits until it has ended. Meanwhile signals that somebody sent to this process are sent on;
 * those of the terminal reach the child by themselves. If the child is stopped, this process stops
 * too, and wakes it when it is woken.
 *
 * Returns the status as of waitpid and sets `*child`; -1 with errno where there is no child. All
 * signals stay blocked.
 */
int ht_supervise(int (*become)(void *argument), void *argument, pid_t *child);

/* Ends this process as `status` of waitpid says: by the same signal, or with the same code. */
_Noreturn void ht_end_like(int status);

#endif
