/*
 * Calling the program back for each alert (heaptally_set_alert_callback).
 *
 * The program's function runs on a thread of its own, which is the program's as far as counting
 * goes and is started when the function is registered: so it may block, allocate, and call anything
 * of heaptally.h. The monitor leaves alerts in a ring of 16 and never waits; where
 * the ring is full since the function does not return, alerts are dropped, and that is said.
 * Exceptions end in a wrapper that the header compiles into the program (`invoke`).
 *
 * A function is called by one thread at a time, in the order of the alerts.
 *
 * When the process ends, no call begins once exit has come to where the function was registered (or
 * to libraries' destructors, where a constructor registered it at least a tick before), and one
 * that runs has a second to return: so nothing that existed by then is used after it was destroyed.
 * What alerts there are later, those of the last word too, go to the other sinks only.
 */
#ifndef HEAPTALLY_CALLBACK_H
#define HEAPTALLY_CALLBACK_H

#include <stdbool.h>

#include "alert.h"
#include "heaptally.h"

/* Calls `function`, and lets no C++ exception out: 1 where it caught one, else 0. */
typedef int ht_callback_invoke(heaptally_alert_function *function,
                               const struct heaptally_alert *alert, void *user);

/*
 * Registers a function in place of the one before; NULL for none. What it is called with are alerts
 * from now on. Afterwards the old function is not called any more: one that is running is waited
 * for, for a second, then the answer is -EBUSY (it is not called again all the same). Any thread,
 * the function's own too. 0 or -errno: -EAGAIN or -ENOMEM where no thread can be started, or the
 * process is ending.
 */
int ht_callback_set(ht_callback_invoke *invoke, heaptally_alert_function *function, void *user);

/* Takes an alert to be passed on. The monitor; never waits for the program. */
void ht_callback_deliver(const struct ht_alert *alert);

/* Once a tick, before its alerts: keeps the end of the process in sight. The monitor. */
void ht_callback_tick(void);

/* Puts an alert into the form that the program sees. `out->size` is set to the whole. */
void ht_callback_translate(const struct ht_alert *alert, struct heaptally_alert *out);

/* 1 while there is a thread, else 0. */
int ht_callback_threads(void);

/* Ends the thread if it is idle; ht_callback_resume starts it again where it had been running. */
void ht_callback_pause(void);
void ht_callback_resume(void);

/* The process ends: no call begins any more, and one that runs is waited for, for a second, unless
 * this is its thread. Any thread; again and again. Does nothing in a child made around libc. */
void ht_callback_close(void);

/* Lets the thread end as soon as the function returns; does not wait. */
void ht_callback_end(void);

/* Held across a fork, so that libc's exit handlers are not being changed meanwhile. */
void ht_callback_lock_exit(void);
void ht_callback_unlock_exit(void);

/* In the child of a fork, which has no such thread: nothing is registered. */
void ht_callback_forget(void);

#endif
