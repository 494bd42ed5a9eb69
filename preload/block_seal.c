#include "block_seal.h"

#include "internal_heap.h"

_Atomic size_t ht_largest_usable = 65536;

void ht_seal_note_large(size_t usable)
{
    size_t largest = ht_largest_usable;
    while (usable > largest &&
           !__atomic_compare_exchange_n((size_t *)&ht_largest_usable, &largest, usable, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

bool ht_block_is_own(const void *p)
{
    return ht_bootstrap_owns(p) || ht_heap_owns(p);
}
