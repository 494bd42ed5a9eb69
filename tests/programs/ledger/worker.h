/*
 * One thread's share of the ledger's work: slots that hold blocks, scopes that are open, and the
 * random steps on them. Who touches what:
 *
 *   slots, open scopes   the worker's own thread only
 *   handler_slots        the signal handler on the worker's thread only
 *   mailbox              any thread, under its mutex
 *   window               written by the worker's thread, read by its handler
 *
 * All of it is static or mapped memory: the ledger never asks the allocator it is testing.
 */
#ifndef LEDGER_WORKER_H
#define LEDGER_WORKER_H

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <pthread.h>

#include "heaptally.h"
#include "slots.h"

constexpr int worker_slots = 600, handler_slot_count = 24, mailbox_slots = 128, scope_depth = 8;

struct worker {
    uint64_t random;
    struct slot slots[worker_slots];
    int tag; /* of the innermost open scope, TAG_NONE without one */
    int depth;
    struct {
        heaptally_token outer; /* what ends the scope */
        int tag;               /* `tag` before it */
    } scopes[scope_depth];
    struct slot handler_slots[handler_slot_count];
    uint64_t handler_random;
    volatile sig_atomic_t window; /* nonzero: the thread is outside the allocator */
    unsigned long handled;        /* signals whose handler allocated or freed */
    unsigned long wrong_errno;
    pthread_mutex_t lock;
    struct slot mailbox[mailbox_slots];
    int mailbox_used;
};

/* Makes all tags known to heaptally. Call once, before any worker. */
void tags_prepare();

/* Prepares `w`, whose memory is zero. */
void worker_prepare(struct worker *w, uint64_t seed);

/* `steps` random steps on the calling thread, which becomes the owner of `w`. Scopes left open are
   closed at the end. */
void worker_run(struct worker *w, int steps);

/* Frees or keeps each slot at random, and the handler's; what is kept stays in the book. The
   owner's thread must have ended, or be the caller. */
void worker_clear_some(struct worker *w);

/* What a signal does on the thread that owns `w`: one allocation, resize or release in the
   handler's slots, under the handler's own tag, if that is safe at this moment. */
void worker_on_signal(struct worker *w);

/* Hands a block over to `w`; false if its mailbox is full. */
bool worker_post(struct worker *w, const struct slot *s);

/* The pool of workers that blocks are handed to. Set before any worker runs. */
extern struct worker *workers;
extern thread_local struct worker *worker_here __attribute__((tls_model("initial-exec")));

#endif
