/*
 * Metrics of processes that were killed: their files would be exported for ever. Whoever writes
 * metrics into a directory removes those that nobody will write again.
 *
 * Each file begins with a comment that says whose it is: pid, start time, pid namespace, and
 * the machine's boot id. It is removed when there is no such process; where that cannot be found
 * out from here (another namespace, another machine, a boot before this one), when it has not been
 * written for an hour. Removed are only regular files of our own user, under our kind of name, with
 * our kind of beginning; a living process whose file was taken away all the same writes it again.
 *
 * Threads: signing, the monitor or who holds the gate; sweeping, one at a time, needs no gate.
 */
#ifndef HEAPTALLY_METRICS_SWEEP_H
#define HEAPTALLY_METRICS_SWEEP_H

#include <stdbool.h>
#include <stddef.h>

/* The comment that a file of this process begins with, a line with its newline. */
void ht_metrics_sign(char *out, size_t size);

/* Tells this process's pid namespace from others that write into the same directory, where the pid
 * alone does not; 0 in the machine's first, or where it cannot be found out. */
unsigned long long ht_metrics_namespace(void);

/*
 * Removes what is left of others from `directory`, but looks into some dozens of files only,
 * however many there are. `*skip`: how many of our kind need not be looked at again; 0 at first, it
 * is carried on. Returns whether that was all.
 */
bool ht_metrics_sweep(const char *directory, unsigned *skip);

#endif
