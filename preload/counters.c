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
    struct ht_total *totals = ht_heap_alloc((size_t)r->size * sizeof *totals, 64);
    __atomic_store_n(&r->totals, totals, __ATOMIC_RELEASE);
    return totals;
}

static void add(uint64_t *figure, uint64_t value)
{
    if (value)
        __atomic_fetch_add(figure, value, __ATOMIC_RELAXED);
}

/* Moves the figures of a cell to the totals of its site, which it keeps. */
static void move_to_totals(struct ht_cell *cell, uint32_t site)
{
    if (site == HT_NO_SITE)
        return;
    struct ht_total *total = ht_total(site);
    __atomic_fetch_add(&total->started, 1, __ATOMIC_ACQ_REL);
    for (unsigned i = 0; i < HT_FIGURES; i++) {
        add(&total->figures[i], cell->figures[i]);
        __atomic_store_n(&cell->figures[i], 0, __ATOMIC_RELEASE); /* after `started` */
    }
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
    sequence_step(thread);
    move_to_totals(&thread->cells[index], thread->cell_sites[index]);
    __atomic_store_n(&thread->cell_sites[index], site, __ATOMIC_RELEASE); /* emptied before */
    uint64_t *used = &thread->used_cells[index / 64];
    __atomic_store_n(used, *used | UINT64_C(1) << index % 64, __ATOMIC_RELAXED);
    sequence_step(thread);
}

void ht_cells_evict_all(struct ht_thread *thread)
{
    sequence_step(thread);
    for (unsigned i = 0; i < HT_CELLS; i++) {
        move_to_totals(&thread->cells[i], thread->cell_sites[i]);
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
