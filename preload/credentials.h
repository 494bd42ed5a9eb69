/*
 * Whose name the monitor works in. A thread that changes its user by libc changes all threads; by
 * the bare system call it changes itself alone, and a monitor that stayed behind would open,
 * rename and remove files with rights that the program has just given up.
 *
 * Threads: the monitor.
 */
#ifndef HEAPTALLY_CREDENTIALS_H
#define HEAPTALLY_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How the calling thread's users and groups compare with the main thread's.
 *
 *   SAME      alike, or it cannot be found out
 *   CHANGING  they differ, as they do for a moment while libc changes one thread after the other:
 *             nothing may be done now; ask again soon
 *   FOREIGN   they have differed for a second
 */
enum ht_credentials { HT_CREDENTIALS_SAME, HT_CREDENTIALS_CHANGING, HT_CREDENTIALS_FOREIGN };

/* Compares; `now` in ns, CLOCK_MONOTONIC. Reads two small files of /proc. */
enum ht_credentials ht_credentials_look(uint64_t now);

/* Whether two texts of /proc/TASK/status, which may be cut at their ends, name the same users and
 * groups, as far as both go. */
bool ht_credentials_alike(const char *status_a, const char *status_b);

/* In the child of a fork: what was seen in the parent does not count. */
void ht_credentials_forget(void);

#endif
