#include "counters.h"

#include "internal_heap.h"

struct ht_total_range ht_total_ranges[HT_RANGES] = {
    {NULL, 0, HT_TAGS},
    {NULL, HT_PROVISIONAL_BASE, HT_PROVISIONALS},
    {NULL, HT_SITE_BASE, HT_SITE_SEGMENT_0},
    {NULL, HT_SITE_BASE_1, HT_SITE_SEGMENT_1},
    {NULL, HT_SITE_BASE_2, HT_SITE_SEGMENT_2},
    {NULL, HT_SITE_BASE_3, HT_SITE_SEGMENT_3},
};

struct ht_oddities ht_oddities;

bool ht_totals_lay(unsigned range)
{
    struct ht_total_range *r = &ht_total_ranges[range];
    if (r->totals)
        return true;
    struct ht_total *totals = ht_heap_alloc_lasting((size_t)r->size * sizeof *totals);
    __atomic_store_n(&r->totals, totals, __ATOMIC_RELEASE);
    return totals;
}

/*
 * Moves one figure. A signal handler may strike at any instruction and never come back, so what is
 * under way is written down first; ht_cells_mend then tells by the total whether it was added: that
 * has either grown by the value since, or by less, by what others have added. (If others have added
 * as much or more by then, the figure is taken for moved: it was, but where the signal struck right
 * before the instruction that adds. No more can be had without a second word in each total.)
 */
static void move_figure(struct ht_thread *thread, uint64_t *from, uint64_t *to)
{
    uint64_t value = *from;
    if (!value)
        return;
    struct ht_moving *moving = &thread->moving;
    uint64_t before = __atomic_load_n(to, __ATOMIC_RELAXED);
    moving->from = from;
    moving->to = to;
    do {
        moving->before = before;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        moving->value = value;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    } while (!__atomic_compare_exchange_n(to, &before, before + value, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    __atomic_store_n(from, 0, __ATOMIC_RELEASE); /* after `started` */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    moving->value = 0;
}

/* Moves the figures of a cell to the totals of its site, which it keeps. */
static void move_to_totals(struct ht_thread *thread, struct ht_cell *cell, uint32_t site)
{
    if (site == HT_NO_SITE)
        return;
    struct ht_total *total = ht_total(site);
    __atomic_fetch_add(&total->started, 1, __ATOMIC_ACQ_REL);
    thread->moving.finished = &total->finished;
    for (unsigned i = 0; i < HT_FIGURES; i++)
        move_figure(thread, &cell->figures[i], &total->figures[i]);
    thread->moving.finished = NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_fetch_add(&total->finished, 1, __ATOMIC_ACQ_REL);
}

static void sequence_step(struct ht_thread *thread)
{
    __atomic_store_n(&thread->sequence, thread->sequence + 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void ht_cell_evict(struct ht_thread *thread, uint32_t site)
{
    unsigned index = ht_cell_of(site);
    ht_cell_fetch(thread, site);
    sequence_step(thread);
    move_to_totals(thread, &thread->cells[index], thread->cell_sites[index]);
    __atomic_store_n(&thread->cell_sites[index], site, __ATOMIC_RELEASE); /* emptied before */
    uint64_t *used = &thread->used_cells[index / 64];
    __atomic_store_n(used, *used | UINT64_C(1) << index % 64, __ATOMIC_RELAXED);
    sequence_step(thread);
}

bool ht_cells_mend(struct ht_thread *thread)
{
    struct ht_moving *moving = &thread->moving;
    bool halfway = thread->sequence & 1;
    if (moving->value && *moving->from == moving->value &&
        __atomic_load_n(moving->to, __ATOMIC_RELAXED) - moving->before >= moving->value)
        __atomic_store_n(moving->from, 0, __ATOMIC_RELAXED);
    moving->value = 0;
    if (moving->finished)
        __atomic_fetch_add(moving->finished, 1, __ATOMIC_ACQ_REL);
    moving->finished = NULL;
    if (halfway)
        sequence_step(thread);
    return halfway;
}

void ht_cells_evict_all(struct ht_thread *thread)
{
    sequence_step(thread);
    for (unsigned i = 0; i < HT_CELLS; i++) {
        move_to_totals(thread, &thread->cells[i], thread->cell_sites[i]);
        __atomic_store_n(&thread->cell_sites[i], HT_NO_SITE, __ATOMIC_RELAXED);
    }
    for (unsigned i = 0; i < HT_CELLS / 64; i++)
        __atomic_store_n(&thread->used_cells[i], 0, __ATOMIC_RELAXED);
    sequence_step(thread);
}

void ht_totals_settle(void)
{
    for (unsigned r = 0; r < HT_RANGES; r++)
        for (uint32_t i = 0; ht_total_ranges[r].totals && i < ht_total_ranges[r].size; i++)
            ht_total_ranges[r].totals[i].finished = ht_total_ranges[r].totals[i].started;
}

void ht_count_shared(uint32_t site, enum ht_figure bytes_figure, uint64_t bytes)
{
    struct ht_total *total = ht_total(site);
    __atomic_fetch_add(&total->figures[bytes_figure], bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&total->figures[bytes_figure + 1], 1, __ATOMIC_RELAXED);
}

void ht_count_move(uint32_t from, uint32_t to, uint64_t bytes)
{
    /* The one after the other, so that the block is seen twice rather than not at all. */
    ht_count_shared(to, HT_ALLOCATED_BYTES, bytes);
    ht_count_shared(from, HT_FREED_BYTES, bytes);
}
