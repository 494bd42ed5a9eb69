/*
 * Counting: cells of the thread, and the shared totals behind them.
 *
 * The figures of a site are its totals plus the cells of all threads that hold it. A thread raises
 * its own cell; when another site needs the cell, the old figures move to the totals (eviction).
 * For a reader to add up without seeing a moving figure twice or not at all, an eviction
 *   - keeps the thread's `sequence` odd while a cell changes hands,
 *   - raises `started` of the total before, and `finished` after it has added,
 *   - empties the cell before it names the new site.
 * A reader notes `finished` of every total, reads all cells, each with the site that it was of
 * before and after, then reads the totals: a site is consistent if `started` now equals `finished`
 * then, since none of its cells was moved in between. A cell that was lent to another site and came
 * back while it was read had been moved, too. As long as a thread's `sequence` stands, its cells
 * are of the sites that they were of.
 *
 * Site ids are in ranges, each with an array of totals:
 *   0 .. HT_TAGS - 1               the tag alone is known; the id is the tag's (0: not even that)
 *   HT_PROVISIONAL_BASE ..         a stack that waits to be unwound
 *   HT_SITE_BASE ..                (stack, tag), see site_table.h: one after the other as they
 * come, so that a loop of few call sites has all of their cells close together, and none that two
 * of them have to share
 */
#ifndef HEAPTALLY_COUNTERS_H
#define HEAPTALLY_COUNTERS_H

#include "intern.h"
#include "thread_state.h"

#include "arch.h"

#define HT_TAGS             2048u
#define HT_PROVISIONAL_BASE HT_TAGS
#define HT_PROVISIONALS     2048u
#define HT_SITE_BASE        (HT_PROVISIONAL_BASE + HT_PROVISIONALS)
#define HT_SITE_SEGMENT_0   3072u
#define HT_SITE_SEGMENT_1   8192u
#define HT_SITE_SEGMENT_2   32768u
#define HT_SITE_SEGMENT_3   131072u
#define HT_SITE_BASE_1      (HT_SITE_BASE + HT_SITE_SEGMENT_0)
#define HT_SITE_BASE_2      (HT_SITE_BASE_1 + HT_SITE_SEGMENT_1)
#define HT_SITE_BASE_3      (HT_SITE_BASE_2 + HT_SITE_SEGMENT_2)
#define HT_SITE_LIMIT       (HT_SITE_BASE_3 + HT_SITE_SEGMENT_3)

struct ht_total {
    uint64_t figures[HT_FIGURES]; /* atomic add, any thread */
    uint32_t started, finished;   /* evictions into this total; atomic add, any thread */
};

struct ht_total_range {
    struct ht_total *totals; /* NULL until the monitor lays it (release) */
    uint32_t base, size;
};

enum {
    HT_RANGE_TAGS,
    HT_RANGE_PROVISIONAL,
    HT_RANGE_SITES,
    HT_RANGES = HT_RANGE_SITES + HT_INTERN_SEGMENTS
};
extern struct ht_total_range ht_total_ranges[HT_RANGES];

/* Lays the totals of a range. False without memory. */
bool ht_totals_lay(unsigned range);

static inline struct ht_total *ht_total(uint32_t site)
{
    struct ht_total_range *range = ht_total_ranges;
    while (site - range->base >= range->size)
        range++;
    return &range->totals[site - range->base];
}

/* The cell in which a thread counts a site, if it is the site's. */
static inline unsigned ht_cell_of(uint32_t site)
{
    return site & (HT_CELLS - 1);
}

/* Its place, 4 times its index: figures and owner are reached from it without more arithmetic. */
static inline uint64_t ht_cell_place(uint32_t site)
{
    uint64_t place = 4 * site & 4 * (HT_CELLS - 1);
#ifdef __clang__ /* which would mask the site anew for each use */
    __asm__("" : "+r"(place));
#endif
    return place;
}

static inline struct ht_cell *ht_cell(struct ht_thread *thread, uint64_t place)
{
    _Static_assert(sizeof(struct ht_cell) == 32, "4 times the index, times 8");
    return (struct ht_cell *)((char *)thread->cells + 8 * place);
}

static inline uint32_t *ht_cell_site(struct ht_thread *thread, uint64_t place)
{
    return (uint32_t *)((char *)thread->cell_sites + place);
}

/* Fetches what ht_cell_evict will need: the totals of another site that has the cell of `site`. */
static inline void ht_cell_fetch(struct ht_thread *thread, uint32_t site)
{
    uint32_t owner = *ht_cell_site(thread, ht_cell_place(site));
    if (owner == site || owner == HT_NO_SITE)
        return;
    const struct ht_total *total = ht_total(owner);
    __builtin_prefetch(total->figures, 1);
    __builtin_prefetch(&total->finished, 1); /* every second total lies in two lines */
}

/* Moves what the cell of `site` holds to the totals and gives it to `site`. The thread must be
 * HT_COUNTING. */
void ht_cell_evict(struct ht_thread *thread, uint32_t site);

/* Sees to an eviction that the thread has left halfway, for good: no figure is in both places
 * afterwards, or in neither. Whether there was one. */
bool ht_cells_mend(struct ht_thread *thread);

/* Moves all cells of a thread that no longer runs to the totals. */
void ht_cells_evict_all(struct ht_thread *thread);

/* Ends every eviction that was under way on a thread that is no more (in the child of a fork). */
void ht_totals_settle(void);

/* Raises two figures of `site` for `thread`, which must be HT_COUNTING. */
static inline void ht_count(struct ht_thread *thread, uint32_t site, enum ht_figure bytes_figure,
                            uint64_t bytes)
{
    uint32_t place = ht_cell_place(site);
    if (__builtin_expect(*ht_cell_site(thread, place) != site, 0))
        ht_cell_evict(thread, site);
    ht_add_owned(&ht_cell(thread, place)->figures[bytes_figure], bytes);
}

/* The same in the shared totals, for a caller that may not touch the thread's cells. */
void ht_count_shared(uint32_t site, enum ht_figure bytes_figure, uint64_t bytes);

/* Moves one live block of `bytes` from one site to another, as if it had been freed here and
 * allocated there: no figure ever falls. */
void ht_count_move(uint32_t from, uint32_t to, uint64_t bytes);

/* What could not be attributed, or not in detail. Atomic; any thread. */
struct ht_oddities {
    uint64_t foreign_frees, foreign_bytes, suspected_overruns, truncated;
};
extern struct ht_oddities ht_oddities;

#endif
