/*
 * Ledger: what a kind of controller holds on the heap, by the program's own arithmetic.
 *
 * Every allocation and every release of a controller is entered here by the code that makes it, in
 * requested bytes. So at the end of a run the ledger is the truth that a watchdog's figures are
 * held to, to the byte. A realloc is entered as the release of the old block and a new one.
 * One ledger per kind of controller, used by one thread. It never allocates.
 */
#ifndef CONTROLLERS_LEDGER_H
#define CONTROLLERS_LEDGER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct ledger {
    const char *name;
    uint64_t live_bytes, live_blocks;           /* held now */
    uint64_t allocated_bytes, allocated_blocks; /* since the start */
    uint64_t peak_bytes;                        /* the most that was live at once */
    uint64_t instantiations;                    /* controllers constructed */
    uint64_t cycles;                            /* control steps computed */
    uint64_t lost_rows;                         /* history rows dropped for want of memory */
};

/* One block more of `bytes`; nothing if `block` is NULL, that is, if its allocation failed. */
static inline void ledger_allocated(struct ledger *ledger, const void *block, size_t bytes)
{
    if (!block)
        return;
    ledger->live_bytes += bytes;
    ledger->allocated_bytes += bytes;
    ledger->live_blocks++;
    ledger->allocated_blocks++;
    if (ledger->live_bytes > ledger->peak_bytes)
        ledger->peak_bytes = ledger->live_bytes;
}

/* One block of `bytes` less; nothing if `block` is NULL. */
static inline void ledger_released(struct ledger *ledger, const void *block, size_t bytes)
{
    if (!block)
        return;
    ledger->live_bytes -= bytes;
    ledger->live_blocks--;
}

/*
 * Writes `count` ledgers as JSON, with the names that heaptally's report has for the same figures.
 * A negative errno if the stream reports an error, else 0.
 */
int ledger_write_json(FILE *out, const struct ledger *const ledgers[], size_t count);

#endif
