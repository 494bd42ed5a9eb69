#include "usable_size.h"

#include "internal_heap.h"
#include "real_alloc.h"

uint16_t ht_usable_by_request[HT_USABLE_REQUEST / 8 + 1];
uint8_t *ht_usable_by_page;

bool ht_usable_begin(void)
{
    ht_usable_by_page = ht_heap_alloc(HT_GUESSES, 64);
    return ht_usable_by_page;
}

size_t ht_usable_learn(void *p, size_t request)
{
    size_t usable = ht_real.malloc_usable_size(p) & ~(size_t)7; /* a seal is at a multiple of 8 */
    if (ht_real.nallocx && request <= HT_USABLE_REQUEST && usable - request < HT_USABLE_SURPLUS &&
        ht_real.nallocx(request, 0) == usable)
        __atomic_store_n(&ht_usable_by_request[request / 8], (uint16_t)usable, __ATOMIC_RELAXED);
    return usable;
}

void ht_usable_note(const void *p, size_t usable)
{
    if (!ht_usable_by_page)
        return;
    uint8_t *noted = &ht_usable_by_page[(uintptr_t)p / HT_GUESS_PAGE % HT_GUESSES];
    uint8_t less = (uint8_t)((HT_GUESS_PAGE - usable) / HT_GUESS_UNIT);
    if (usable % HT_GUESS_UNIT || usable - 1 >= HT_GUESS_PAGE || *noted == less)
        return;
    __atomic_store_n(noted, less, __ATOMIC_RELAXED);
}
