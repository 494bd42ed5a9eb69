/*
 * Where the calling thread's own stack lies: from its stack pointer to the end of that, all is
 * mapped and stays so.
 *
 * The mapping around it says nothing: neighbours that allow the same are one line in the kernel's
 * list. And what libc offers cannot be used inside malloc: pthread_getattr_np takes a lock and
 * allocates while it holds it. But what it reads stands in the thread's own control block: where
 * the stack's memory begins, its size, and how much of that is guard, one word after the other.
 * Where in the control block is found out once, on a thread of which libc has been asked; until
 * then, and where it is not found, no bounds are known but those of the main thread, whose stack
 * the loader knows.
 */
#ifndef HEAPTALLY_STACK_BOUNDS_H
#define HEAPTALLY_STACK_BOUNDS_H

#include <stdbool.h>
#include <stdint.h>

/* Finds out, on a thread of ours that has a guard, as threads have unless they ask for none.
 * `began` is the stack pointer with which libc called the function of that thread. Any number of
 * times. Allocates. */
void ht_stack_bounds_begin(uintptr_t began);

/* The lowest address of the calling thread's stack, whose control block is at its end; 0 where that
 * is not known, and on the main thread. */
uintptr_t ht_stack_bounds_low(void);

/* The end of the main thread's stack, and an address below it down to which nothing else is. */
uintptr_t ht_stack_bounds_main(uintptr_t *low);

/*
 * Whether the outermost frame of a stack that ends at `high`, of the main thread or of one of
 * libc's, has the stack pointer `sp`: only the code that begins the process, or the thread, and
 * libc's that it calls, lie as far out. False where that is not known. A stack that was laid out
 * among the frames of that one, a fiber's say, begins further in.
 */
bool ht_stack_begins_at(uintptr_t high, uintptr_t sp);

#endif
