/*
 * The monitor's side of captures: walks on in the copied stack, finds the rules that are missing,
 * publishes them, and says which real site each provisional site turned out to be.
 */
#ifndef HEAPTALLY_UNWIND_H
#define HEAPTALLY_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

/* Called for every capture that was worked off: `provisional` (0: none was given) is `site`. */
typedef void ht_unwind_done(uint32_t provisional, uint32_t site);

/* Gets ready to unwind; false, said once, where libunwind cannot be had: then stacks end at the
 * immediate call site. Monitor thread. */
bool ht_unwind_begin(void);

/* Finds the rules that captures ask for, and leaves the rest for later: for whoever has much to do
 * at a time. Costs next to nothing where there are none. */
void ht_unwind_answer(void);

/* Works off all captures that are ready: how many. Each slot gets its next provisional id from
 * `take`, which returns 0 for none. Monitor thread, or who stands in for it. */
unsigned ht_unwind_drain(ht_unwind_done *done, uint32_t (*take)(void));

/* Gives every free slot that has none a provisional id from `take`. */
void ht_unwind_stock(uint32_t (*take)(void));

#endif
