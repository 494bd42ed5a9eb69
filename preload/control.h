/*
 * The control socket: how a running process is asked and told (heaptally/control_protocol.h).
 *
 * It is served by the monitor between its other work and never waits for anybody: every descriptor
 * is non-blocking, clients are few, requests are short, answers have a limit, and whoever is slow,
 * idle or talks nonsense loses the connection.
 *
 *   looking in   Without clients the monitor looks at the socket whenever it wakes for its own
 *                work, at most 250 ms apart: one accept. It is not woken by connections: that
 *                would take a descriptor to sleep on, and to write to when the monitor shall stop,
 *                and no descriptor is safely ours in a process that closes and reuses whatever it
 *                finds (an eventfd cannot even be told from the program's own). While clients are
 *                there the monitor wakes for them too: every 2 ms when they talk, every 20 ms when
 *                they are silent, and always so that it rests four times as long as it worked.
 *   descriptors  High numbers, close-on-exec. Before each use a descriptor is checked to be the
 *                socket that we put there. One that is gone is forgotten; a listening socket that
 *                is gone, or belongs to a user that the process no longer is, is made anew.
 *   a child      of a fork has copies: it closes them, and makes its own socket with its own
 *                monitor, when it has lived for a tick.
 *
 * Threads: the monitor, or who holds the gate.
 */
#ifndef HEAPTALLY_CONTROL_H
#define HEAPTALLY_CONTROL_H

#include <stdint.h>

/* Remembers what the environment says about directories. Once, in the constructor. */
void ht_control_begin(void);

/* One turn: makes the socket where there is none, takes in clients, reads, answers, writes.
 * `now` in ns, CLOCK_MONOTONIC. */
void ht_control_serve(uint64_t now);

/* When the next turn is due; UINT64_MAX without clients. */
uint64_t ht_control_due(void);

/* Removes the socket and ends all connections; the next turn makes a new one. */
void ht_control_end(void);

/* In the child of a fork: lets go of the parent's socket and clients. */
void ht_control_forget(void);

#endif
