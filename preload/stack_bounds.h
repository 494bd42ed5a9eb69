/*
 * Where a thread's own stack lies, so that a capture may copy beyond the page it starts in.
 *
 * Nothing that libc offers for this can be used inside malloc: pthread_getattr_np takes a lock
 * and allocates while it holds it. The main thread's stack is known from the loader. For others the
 * monitor looks up the mapping that holds the thread's control block, which glibc puts at the top
 * of the stack; until then copies end at the page.
 */
#ifndef HEAPTALLY_STACK_BOUNDS_H
#define HEAPTALLY_STACK_BOUNDS_H

#include <stdint.h>

#include "thread_state.h"

/* The calling thread's bounds, if it is the main thread. */
void ht_stack_bounds_main(struct ht_thread *thread);

/* Looks up the threads that have none, at most ten times a second. Monitor thread. */
void ht_stack_bounds_learn(uint64_t now_ns);

#endif
