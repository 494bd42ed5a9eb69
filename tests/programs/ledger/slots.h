/*
 * Blocks in slots: filled by a random way, checked, resized, released, each step entered into the
 * book. No function here keeps a state of its own: all may run on any thread, and in a signal
 * handler wherever the allocator beneath may.
 */
#ifndef LEDGER_SLOTS_H
#define LEDGER_SLOTS_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "calls.h"

/* How the ledger runs, from the command line. Set before any thread starts. */
struct ledger_settings {
    uint64_t seed = 1;
    int workers = 4;
    int steps = 60000;        /* of each worker */
    int visitors = 120;       /* short-lived threads */
    bool pvalloc = true;      /* the allocator beneath has one */
    bool huge = true;         /* it survives to be asked for more than there can be */
    bool adopting = false;    /* blocks are moved to other tags as they are */
    bool signal_safe = false; /* the allocator beneath may be interrupted anywhere */
};
extern ledger_settings settings;

/* Blocks that were not aligned as asked for: some allocators are wrong here by themselves. */
extern std::atomic<unsigned long> misaligned;

/* A block and all that the book and a check of its content need. Empty while `block` is NULL. */
struct slot {
    unsigned char *block;
    size_t size, align;
    const allocate_call *call;
    int tag;
    unsigned char pattern;
};

uint64_t random_next(uint64_t *state);

/* Says what is wrong and ends the program with status 3. Async-signal-safe. */
[[noreturn]] void ledger_fail(const char *what);

/* One block more in the empty slot `s` under `tag`, which must be the open scope's. */
void slot_fill(uint64_t *random, struct slot *s, int tag);

/* Checks the content of `s` and releases it. Fails the program if anything was overwritten. */
void slot_release(uint64_t *random, struct slot *s);

/* 0 to a MB, mostly less than 300. */
size_t random_size(uint64_t *random);

/* True if the slot holds a block that realloc may take. */
bool slot_resizable(const struct slot *s);

/* Resizes the block, also to nothing, while the scope `open_tag` is open (TAG_NONE: none). */
void slot_resize(uint64_t *random, struct slot *s, int open_tag);

#endif
