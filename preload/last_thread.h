/*
 * The end of a process whose main thread ended by pthread_exit.
 *
 * Such a process ends with the last of its threads, which then runs the exit handlers, on its own
 * stack and with the signals that it lets through. The monitor would always be that last thread,
 * with a small stack and without signals: so where it is the only one left, it starts one that has
 * what a thread of the program has, which waits for it to be gone and returns.
 */
#ifndef HEAPTALLY_LAST_THREAD_H
#define HEAPTALLY_LAST_THREAD_H

#include <stdbool.h>

/* Whether all threads of the program have ended; `others` is how many there are beside the calling
 * one that are not the program's. */
bool ht_last_thread_wanted(int others);

/*
 * Starts it: it calls `wait`, with all signals blocked and as heaptally's own work, and then ends
 * the process. Where it cannot be started, the calling thread gets its signals, and ends the
 * process when it returns. With all signals blocked.
 */
void ht_last_thread_start(void (*wait)(void));

#endif
