/*
 * Which module an address belongs to, also after the module has gone.
 *
 * The map is brought up to date from the loader's list by ht_modules_refresh: on the monitor
 * thread when it meets new frames, and on any thread that calls dlclose, before and after, so that
 * what vanishes is known for what it was. Entries are never removed: a module that was unloaded
 * stays, closed, for the reports.
 *
 * One mutex guards the map; it is a leaf: nothing that takes the loader's lock is called while it
 * is held. A list that is older than what the map knows already is thrown away and read again, a
 * few times.
 *
 * Between the moment at which the loader unmaps a module and the one at which the map gets to know
 * of it, another thread may load something else to its address and allocate there. So from before a
 * dlclose to after it, whatever it may take away is in doubt (frame_table.h), and what was
 * remembered before is void: what is allocated there meanwhile is counted by tag alone. Nothing
 * takes away the program and the libraries that it started with.
 *
 * Not every dlclose comes to an end that is seen: a destructor may leave it by a jump, end its
 * thread, or never return, and a fork's child has only one of the threads. A jump shows at the
 * thread's next dlclose, which is no deeper in the stack; the end of the thread and the fork are
 * told. What is left is given up after 10 to 20 seconds. Where the doubt does not end with a
 * dlclose, the monitor reads the list once more before it trusts. One risk is taken there: a call
 * that comes back after it was given up, or that a fiber made beside another's on one thread, may
 * have unmapped something that is not known to be gone until the call has returned.
 */
#ifndef HEAPTALLY_MODULE_MAP_H
#define HEAPTALLY_MODULE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "unwind_rule.h"

#define HT_MODULE_NONE UINT32_MAX

struct ht_module {
    uint32_t id;    /* place in the map */
    uint32_t flags; /* HTL_MODULE_* of heaptally/snapshot_format.h */
    uint32_t generation;
    struct unwind_module
        unwind;         /* file, load bias, extent; pointers into this entry's own memory */
    const char *soname; /* "" where there is none */
    const char *base;   /* file name without directories, as the loader was given it */
    bool stays;         /* the loader had it before the program began: never unloaded */
    uint32_t default_tag;
    bool written; /* monitor: is in the snapshot file */
};

/* Adds a glob on base names (or sonames) whose modules are not to be blamed; before the first
 * refresh. The text must live for ever. */
void ht_modules_skip(const char *glob, size_t length);

/* Reads the loader's list. `force`: also where nothing seems to have changed. Takes the loader's
 * lock; allocates from the internal heap only (the caller is HT_INTERNAL). */
void ht_modules_refresh(bool force);

/* Around the loader's dlclose, on the thread that calls it, with signals blocked; may be nested.
 * Forced refreshes. `frame`: of the function that calls the loader's. */
void ht_modules_unload_begins(uintptr_t frame);
void ht_modules_unload_ended(uintptr_t frame);

/* The calling thread ends, perhaps inside a dlclose. */
void ht_modules_thread_ends(void);

/* In the child of a fork, after ht_modules_unlock: what other threads had begun is over. */
void ht_modules_after_fork(void);

/* Takes away doubt that no end of a dlclose will. The monitor, every now and then; may refresh.
 * `now`: CLOCK_MONOTONIC, nanoseconds. */
void ht_modules_settle(uint64_t now);

/* The module that holds the call that returns to `pc`, or NULL. Entries live for ever. */
struct ht_module *ht_module_of(uintptr_t pc);

/* The module with this id, or NULL beyond the last. */
struct ht_module *ht_module(uint32_t id);

/*
 * From here to the release no other thread closes modules: frames that are made in between are
 * still there, with all that is known of them, to die with their module. Waits for a thread that is
 * just closing some; held while one stack is walked, or new frames get their modules. Never while
 * holding it: ht_modules_refresh, a fork, and nothing else that takes the loader's lock: a program
 * may call dlclose where it holds that.
 */
void ht_modules_hold(void);
void ht_modules_release(void);

/* Around a fork: nobody is inside the map. */
void ht_modules_lock(void);
void ht_modules_unlock(void);

#endif
