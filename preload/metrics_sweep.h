/*
 * Metrics of processes that were killed: their files would be exported for ever. Whoever writes
 * metrics into a directory removes those that nobody will write again.
 *
 * Each file begins with a comment that says whose it is: pid, start time and pid namespace. It is
 * removed when there is no such process; where that cannot be found out from here (another
 * namespace, another machine), when it has not been written for an hour. Removed are only regular
 * files of our own user, under our kind of name, with our kind of beginning; a living process whose
 * file was taken away all the same writes it again.
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_METRICS_SWEEP_H
#define HEAPTALLY_METRICS_SWEEP_H

#include <stddef.h>

/* The comment that a file of this process begins with, a line with its newline. */
void ht_metrics_sign(char *out, size_t size);

/* Tells this process's pid namespace from others that write into the same directory, where the pid
 * alone does not; 0 in the machine's first, or where it cannot be found out. */
unsigned long long ht_metrics_namespace(void);

/* Removes what is left of others from `directory`. */
void ht_metrics_sweep(const char *directory);

#endif
