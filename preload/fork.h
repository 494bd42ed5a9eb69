/*
 * Forking. The parent's monitor is parked while the process forks, so that the child does not
 * inherit a lock that the monitor holds: heaptally's own, the loader's, or stdio's. If it does not
 * come to a safe point in time, the fork goes on and the child stays dormant.
 *
 * What other threads had counted stays counted in the child, whose copies of their blocks are
 * there; only what they were in the middle of is lost.
 *
 * A child that was made around libc (_Fork, raw clone) runs none of our handlers; a page that the
 * kernel wipes in children tells it from the process that made it.
 */
#ifndef HEAPTALLY_FORK_H
#define HEAPTALLY_FORK_H

#include <stdbool.h>

/* Registers the handlers. 0 or -errno. */
int ht_fork_setup(void);

/* Whether this process is a copy that no handler has run in. */
bool ht_fork_happened(void);

/* The same, and also for a child that shares the memory of its parent, as after vfork. A system
 * call. */
bool ht_in_copied_process(void);

#endif
