#include "aggregate.h"

#include <string.h>
#include <time.h>

#include "capture_ring.h"
#include "internal_heap.h"
#include "site_table.h"
#include "stack_cache.h"
#include "tag_rows.h"
#include "tag_rules.h"
#include "unwind.h"

#define WIDE_TRIES 2u /* passes over all sites, while any of them keeps moving */
#define NARROW_TRIES                                                                               \
    16u /* looks at one such site alone, before its figures are taken as they are */
#define NARROW_SITES 64u  /* sites that are looked at alone; the others have their turn later */
#define LAST_NAPS    200u /* at most, at the last look, for who is in the middle of moving */
#define LAST_NAP_NS  500000

struct ht_sums ht_sums;

/* A site in the list, as a look goes through it: two lines of cache, one after the other. */
struct place {
    uint64_t next[HT_FIGURES];  /* cells and totals of this id, while a look is under way */
    uint64_t raw[HT_FIGURES];   /* the same at the last look at which they stood still */
    uint64_t spent[HT_FIGURES]; /* the part of raw that is not told of, modulo 2^64 */
    const struct ht_total *total;
    struct ht_site_view *view;
    uint32_t finished; /* of the total, when the look began */
    bool moving;       /* its figures changed hands during the look */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct place) == 128, "two lines of cache a site");

/*
 * The list of sites is laid in chunks as it grows, which are never moved: it takes as much memory
 * as there are sites, however large the ranges of their ids are.
 */
#define CHUNK_SITES 256u
struct chunk {
    struct place places[CHUNK_SITES];
    struct ht_site_view views[CHUNK_SITES];
};
static struct chunk *chunks[HT_SITE_LIMIT / CHUNK_SITES]; /* parallel to ht_sums.sites */
_Static_assert(HT_SITE_LIMIT % CHUNK_SITES == 0, "there is room for every site");
static uint32_t site_capacity; /* of ht_sums.sites */

/* By id: where a site is in the list, counted from 1; 0 where it is not. Parallel to
 * ht_total_ranges, and NULL as long as no site of a range is in the list. */
static uint32_t *numbers[HT_RANGES];

static struct ht_tag_rows tag_views = {.row_bytes = sizeof(struct ht_tag_view)};
static struct ht_tag_view no_tag_view = {.low_bytes = UINT64_MAX}; /* of tags that are not known */
static uint32_t *free_provisionals;                                /* ids that may be handed out */
static uint32_t free_provisional_count;
static uint32_t *folded; /* provisional ids that are handed out and resolved */
static uint32_t folded_count;

/* The ids that the table of tags has given out, and 0 first: the others need not be gone through.
 */
static uint16_t known_tags[HT_TAGS] = {0};
static uint32_t known_tag_count = 1;

static inline struct place *place_at(uint32_t i)
{
    return &chunks[i / CHUNK_SITES]->places[i % CHUNK_SITES];
}

struct ht_site_view *ht_site_view_at(uint32_t i)
{
    return &chunks[i / CHUNK_SITES]->views[i % CHUNK_SITES];
}

/* Where the number of a site stands; NULL where no site of its range is in the list. */
static inline uint32_t *number_of(uint32_t site)
{
    unsigned range = 0;
    while (site - ht_total_ranges[range].base >= ht_total_ranges[range].size)
        range++;
    return numbers[range] ? &numbers[range][site - ht_total_ranges[range].base] : NULL;
}

static inline struct ht_site_view *view_of(uint32_t site)
{
    const uint32_t *number = number_of(site);
    if (!number || !*number)
        return NULL;
    return ht_site_view_at(*number - 1);
}

struct ht_site_view *ht_site_view(uint32_t site)
{
    return view_of(site);
}

struct ht_tag_view *ht_tag_view(uint32_t tag)
{
    struct ht_tag_view *view = ht_tag_row(&tag_views, tag);
    return view && view->known ? view : &no_tag_view;
}

/* Lays the figures of a tag. False without memory: then it is not known yet. */
static bool know_tag(uint32_t tag)
{
    struct ht_tag_view *view = ht_tag_row_lay(&tag_views, tag);
    if (!view)
        return false;
    if (!view->known)
        view->low_bytes = UINT64_MAX;
    view->known = true;
    return true;
}

static uint32_t take_provisional(void)
{
    return free_provisional_count ? free_provisionals[--free_provisional_count] : 0;
}

bool ht_aggregate_begin(void)
{
    site_capacity = 1024;
    ht_sums.sites = ht_heap_alloc(site_capacity * sizeof *ht_sums.sites, 16);
    free_provisionals = ht_heap_alloc(HT_PROVISIONALS * sizeof *free_provisionals, 16);
    folded = ht_heap_alloc(HT_PROVISIONALS * sizeof *folded, 16);
    if (!ht_sums.sites || !free_provisionals || !folded || !know_tag(0))
        return false;
    ht_sums.tags = known_tags + 1;
    ht_sums.low_bytes = UINT64_MAX;
    for (uint32_t i = 0; i < HT_PROVISIONALS; i++)
        free_provisionals[i] = HT_PROVISIONAL_BASE + HT_PROVISIONALS - 1 - i;
    free_provisional_count = HT_PROVISIONALS;
    if (!ht_memo_unanswered) /* stacks are asked about before the monitor's first turn */
        ht_unwind_stock(take_provisional);
    return true;
}

/* ---- which sites there are ----------------------------------------------------------------------
 */

/* Room for one more site in the list. False without memory. */
static bool grow_list(void)
{
    struct chunk **chunk = &chunks[ht_sums.site_count / CHUNK_SITES];
    if (!*chunk && !(*chunk = ht_heap_alloc_lasting(sizeof **chunk)))
        return false;
    if (ht_sums.site_count < site_capacity)
        return true;
    uint32_t *sites = ht_heap_alloc(2 * site_capacity * sizeof *sites, 16);
    if (!sites)
        return false;
    memcpy(sites, ht_sums.sites, site_capacity * sizeof *sites);
    ht_heap_free(ht_sums.sites);
    ht_sums.sites = sites;
    site_capacity *= 2;
    return true;
}

/* The place for the number of a site, see number_of; laid where it is not there. NULL without
 * memory. */
static uint32_t *lay_number(uint32_t site)
{
    unsigned range = 0;
    while (site - ht_total_ranges[range].base >= ht_total_ranges[range].size)
        range++;
    if (!numbers[range])
        numbers[range] = ht_heap_alloc_lasting(ht_total_ranges[range].size * sizeof **numbers);
    return number_of(site);
}

/* Takes a site into the list; NULL without memory, then it is tried again later. */
static struct ht_site_view *use_site(uint32_t site)
{
    struct ht_site_view *view = view_of(site);
    if (view)
        return view;
    uint32_t *number = lay_number(site);
    if (!number || !grow_list()) { /* what is counted there is not told of */
        __atomic_fetch_add(&ht_oddities.truncated, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    uint32_t i = ht_sums.site_count;
    view = ht_site_view_at(i);
    *view = (struct ht_site_view){
        .canonical = site, .place = i, .low_bytes = UINT64_MAX, .floor_bytes = UINT64_MAX};
    *place_at(i) = (struct place){.total = ht_total(site), .view = view};
    ht_sums.sites[i] = site;
    ht_sums.site_count = i + 1;
    *number = i + 1;
    return view;
}

/* Whose the allocations of a site are, and which promise they broke. */
static void take_scope(struct ht_site_view *view, uint32_t scope, uint32_t stack)
{
    view->tag = ht_scope_owner(scope) ? ht_scope_owner(scope) : ht_rules_tag(stack);
    view->region = (uint16_t)ht_scope_region(scope);
}

/* False where it is too early: the site is so new that its frames are not described. */
static bool use_stack_site(uint32_t site)
{
    uint32_t canonical = ht_site_canonical(site), stack = ht_site_stack(site);
    if (!canonical || !ht_rules_described(stack) ||
        (canonical != site && !use_stack_site(canonical)))
        return false;
    struct ht_site_view *view = use_site(site);
    if (!view)
        return false;
    view->canonical = canonical;
    view->fallback = ht_stack_is_fallback(stack);
    take_scope(view, ht_site_tag(site), stack);
    view->construct = (uint16_t)ht_rules_construct(stack);
    return true;
}

/* The sites that stand for a tag alone: id 0 is what had no tag either. */
static void use_tag_sites(void)
{
    static uint32_t seen;
    uint32_t tags = ht_tag_count();
    if (tags == seen)
        return;
    bool all = true;
    for (uint32_t tag = 0; tag < HT_TAGS; tag++) {
        if (tag != 0 && !ht_tag(tag))
            continue;
        struct ht_site_view *view = use_site(tag);
        if (!view) {
            all = false;
            continue;
        }
        view->fallback = true;
        take_scope(view, tag, HT_STACK_TAG_ONLY);
    }
    if (all)
        seen = tags;
}

#define BETWEEN_ANSWERS 64u /* sites that are taken in before captures are looked after again */

static void use_new_stack_sites(void)
{
    static uint32_t seen = HT_SITE_BASE; /* all before are in the list */
    uint32_t end = ht_sites_end(), taken_in = 0;
    bool all = true;
    for (uint32_t site = seen; site < end; site++) {
        if (!view_of(site)) {
            all = use_stack_site(site) && all;
            if (++taken_in % BETWEEN_ANSWERS == 0)
                ht_unwind_answer();
        }
        if (all)
            seen = site + 1;
    }
}

/* A capture was worked off: its provisional site is `site` from now on (which is taken in by the
 * search for new sites that follows, once its frames are described). */
static void fold(uint32_t provisional, uint32_t site)
{
    if (!provisional)
        return;
    struct ht_site_view *view = use_site(provisional);
    if (!view)
        return;
    view->canonical = site;
    folded[folded_count++] = provisional;
}

/* Where the figures of a site go in the end: what a capture was resolved to may itself be the later
 * one of two ids of a key. HT_NO_SITE while that one is not in the list yet. */
static uint32_t root_of(const struct ht_site_view *view)
{
    uint32_t site = view->canonical;
    for (;;) {
        const struct ht_site_view *target = view_of(site);
        if (!target)
            return HT_NO_SITE;
        if (target->canonical == site)
            return site;
        site = target->canonical;
    }
}

static bool looked; /* since provisional ids were last gone through: else nothing is new */

/* Provisional ids whose blocks are all gone are free for the next captures. */
static void recycle_provisionals(void)
{
    if (!looked || free_provisional_count > HT_PROVISIONALS / 2)
        return;
    looked = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < folded_count; i++) {
        struct ht_site_view *view = view_of(folded[i]);
        uint64_t *raw = place_at(view->place)->raw, *spent = place_at(view->place)->spent;
        bool gone = raw[HT_ALLOCATED_BLOCKS] != spent[HT_ALLOCATED_BLOCKS] &&
                    raw[HT_ALLOCATED_BLOCKS] == raw[HT_FREED_BLOCKS] &&
                    raw[HT_ALLOCATED_BYTES] == raw[HT_FREED_BYTES];
        uint32_t root = gone ? root_of(view) : HT_NO_SITE;
        if (root == HT_NO_SITE) {
            folded[kept++] = folded[i];
            continue;
        }
        struct place *target = place_at(view_of(root)->place);
        for (unsigned f = 0; f < HT_FIGURES; f++) {
            target->spent[f] -= raw[f] - spent[f]; /* what it keeps from others is negative spent */
            spent[f] = raw[f];
        }
        view->canonical = folded[i];
        free_provisionals[free_provisional_count++] = folded[i];
    }
    folded_count = kept;
}

unsigned ht_aggregate_answer(void)
{
    ht_memo_expect_answers();
    ht_site_grow();
    ht_tag_grow();
    recycle_provisionals();
    bool crowded = ht_capture_taken_count() >= ht_capture_count / 2;
    unsigned drained = ht_unwind_drain(fold, take_provisional);
    if (crowded)
        ht_capture_grow();
    ht_unwind_stock(take_provisional);
    return drained;
}

void ht_aggregate_describe(void)
{
    ht_rules_describe_frames();
}

/* ---- one look -----------------------------------------------------------------------------------
 */

/* One cell that a thread uses, and for which site in the list. */
struct held {
    uint32_t place;
    uint16_t cell;
};

/*
 * A state in the list of threads, and which sites its cells were of at `sequence`: as long as that
 * stands, no cell has changed hands, and the figures are all that need be read.
 */
struct watched {
    const struct ht_thread *thread;
    struct held *held;
    uint32_t sequence;
    uint16_t count, capacity;
    bool known; /* what is held is all that the thread had at `sequence` */
};

static struct watched *watched; /* newest last */
static uint32_t watched_count, watched_capacity;

static bool watch(const struct ht_thread *thread)
{
    if (watched_count == watched_capacity) {
        uint32_t capacity = watched_capacity ? 2 * watched_capacity : 64;
        struct watched *larger = ht_heap_alloc(capacity * sizeof *larger, 16);
        if (!larger)
            return false;
        if (watched_count)
            memcpy(larger, watched, watched_count * sizeof *larger);
        ht_heap_free(watched);
        watched = larger;
        watched_capacity = capacity;
    }
    watched[watched_count++] = (struct watched){.thread = thread};
    return true;
}

/* Takes in the states that are new: they stand before the newest one that is known. False without
 * memory: then nothing can be said of what they count. */
static bool watch_new_threads(void)
{
    static const struct ht_thread *newest;
    const struct ht_thread *head = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    uint32_t before = watched_count;
    for (const struct ht_thread *thread = head; thread != newest; thread = thread->next)
        if (!watch(thread)) {
            watched_count = before;
            return false;
        }
    newest = head;
    return true;
}

static void add_figures_to(uint64_t *sum, const uint64_t *figures)
{
    for (unsigned f = 0; f < HT_FIGURES; f++)
        sum[f] += figures[f];
}

/* What was freed is read first, see enum ht_figure. */
static inline void load_figures(uint64_t *into, const uint64_t *figures)
{
    for (unsigned f = 0; f < HT_FIGURES; f++)
        into[f] = __atomic_load_n(&figures[f], __ATOMIC_RELAXED);
}

/* The lines that reading a thread's cells will need. */
static void fetch_cells(const struct watched *w)
{
    for (unsigned i = 0; i < w->count; i++)
        __builtin_prefetch(&w->thread->cells[w->held[i].cell]);
}

/* Adds the cells of a thread in which none has changed hands since they were last gone through;
 * false, and nothing is added, where one has. */
static bool add_known_cells(const struct watched *w)
{
    static uint64_t copy[HT_CELLS][HT_FIGURES];
    const struct ht_thread *thread = w->thread;
    if (!w->known || __atomic_load_n(&thread->sequence, __ATOMIC_ACQUIRE) != w->sequence)
        return false;
    for (unsigned i = 0; i < w->count; i++)
        load_figures(copy[i], thread->cells[w->held[i].cell].figures);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&thread->sequence, __ATOMIC_RELAXED) != w->sequence)
        return false;
    for (unsigned i = 0; i < w->count; i++)
        add_figures_to(place_at(w->held[i].place)->next, copy[i]);
    return true;
}

/* Reads one cell: whose it is, with figures that are that site's. Where the cell is being moved
 * they may be wrong, but then the site is found to be moving in the end (see counters.h).
 * HT_NO_SITE where nobody's, or another's each time. */
static uint32_t read_cell(const struct ht_thread *thread, unsigned cell, uint64_t *figures)
{
    uint32_t site = __atomic_load_n(&thread->cell_sites[cell], __ATOMIC_ACQUIRE);
    for (unsigned tries = 0; tries < NARROW_TRIES && site != HT_NO_SITE; tries++) {
        load_figures(figures, thread->cells[cell].figures);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        uint32_t then = __atomic_load_n(&thread->cell_sites[cell], __ATOMIC_ACQUIRE);
        if (then == site)
            return site;
        site = then;
    }
    return HT_NO_SITE;
}

/* Notes one more cell; without memory the thread is gone through in full each time. */
static bool hold(struct watched *w, uint32_t place, unsigned cell)
{
    if (w->count == w->capacity) {
        uint16_t capacity = (uint16_t)(w->capacity ? 2 * w->capacity : 16);
        struct held *larger = ht_heap_alloc(capacity * sizeof *larger, 16);
        if (!larger)
            return false;
        if (w->count)
            memcpy(larger, w->held, w->count * sizeof *larger);
        ht_heap_free(w->held);
        w->held = larger;
        w->capacity = capacity;
    }
    w->held[w->count++] = (struct held){place, (uint16_t)cell};
    return true;
}

/*
 * Adds the cells of a thread one by one, and notes whose they are. A site that is not in the list
 * yet will be by a later look: then the thread has to be gone through again.
 */
static void add_cells(struct watched *w)
{
    const struct ht_thread *thread = w->thread;
    uint32_t sequence = __atomic_load_n(&thread->sequence, __ATOMIC_ACQUIRE);
    bool known = !(sequence & 1);
    uint64_t figures[HT_FIGURES];
    w->count = 0;
    for (unsigned word = 0; word < HT_CELLS / 64; word++) {
        uint64_t used = __atomic_load_n(&thread->used_cells[word], __ATOMIC_RELAXED);
        for (; used; used &= used - 1) {
            unsigned cell = 64 * word + (unsigned)__builtin_ctzll(used);
            uint32_t site = read_cell(thread, cell, figures);
            struct ht_site_view *view = site != HT_NO_SITE ? view_of(site) : NULL;
            if (view) {
                add_figures_to(place_at(view->place)->next, figures);
                known &= hold(w, view->place, cell);
            } else {
                known &= site == HT_NO_SITE;
            }
        }
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    w->sequence = sequence;
    w->known = known && __atomic_load_n(&thread->sequence, __ATOMIC_RELAXED) == sequence;
}

static void add_all_cells(void)
{
    for (uint32_t i = 0; i < watched_count; i++) {
        if (i + 1 < watched_count)
            fetch_cells(&watched[i + 1]);
        if (i + 2 < watched_count)
            __builtin_prefetch(&watched[i + 2].thread->sequence);
        if (!add_known_cells(&watched[i]))
            add_cells(&watched[i]);
    }
}

#define AHEAD 16u /* places whose totals and views are fetched before they are needed */

static void begin_places(void)
{
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        if (i + AHEAD < ht_sums.site_count)
            __builtin_prefetch(place_at(i + AHEAD)->total);
        struct place *place = place_at(i);
        memset(place->next, 0, sizeof place->next);
        place->finished = __atomic_load_n(&place->total->finished, __ATOMIC_ACQUIRE);
    }
}

/* Adds the totals; whether the site stood still since its place began. */
static bool finish_place(struct place *place)
{
    uint64_t figures[HT_FIGURES];
    load_figures(figures, place->total->figures);
    add_figures_to(place->next, figures);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&place->total->started, __ATOMIC_RELAXED) == place->finished;
}

/* One try: figures into `raw` of all sites that stood still; how many did not. */
static uint32_t try_look(void)
{
    uint32_t moving = 0;
    begin_places();
    add_all_cells();
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct place *place = place_at(i);
        if (i + AHEAD < ht_sums.site_count)
            __builtin_prefetch(place_at(i + AHEAD)->view, 1); /* of the sums that follow */
        place->moving = !finish_place(place);
        if (!place->moving)
            memcpy(place->raw, place->next, sizeof place->raw);
        moving += place->moving;
    }
    return moving;
}

enum rest { STILL, MOVING, UNREADABLE };

/* Looks at one site alone, which takes a moment only. The totals come first here: what is moved
 * meanwhile is missed rather than seen twice. */
static enum rest look_narrowly(struct place *place, uint32_t site)
{
    uint64_t figures[HT_FIGURES];
    unsigned cell = (unsigned)ht_cell_of(site);
    bool half_moved = false; /* what a thread holds may be in the totals already */
    place->finished = __atomic_load_n(&place->total->finished, __ATOMIC_ACQUIRE);
    load_figures(place->next, place->total->figures);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < watched_count; i++) {
        const struct ht_thread *thread = watched[i].thread;
        if (__atomic_load_n(&thread->cell_sites[cell], __ATOMIC_RELAXED) != site)
            continue;
        uint32_t sequence = __atomic_load_n(&thread->sequence, __ATOMIC_ACQUIRE);
        bool read = read_cell(thread, cell, figures) == site;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!read || __atomic_load_n(&thread->sequence, __ATOMIC_RELAXED) != sequence)
            return UNREADABLE;
        half_moved |= sequence & 1;
        add_figures_to(place->next, figures);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&place->total->started, __ATOMIC_RELAXED) == place->finished)
        return STILL;
    return half_moved ? UNREADABLE : MOVING;
}

static inline void at_least(uint64_t *figure, uint64_t value)
{
    if (*figure < value)
        *figure = value;
}

/* None falls. What was freed must have been allocated, even where that was missed. */
static void raise_figures(uint64_t *raw, const uint64_t *next)
{
    for (unsigned f = HT_ALLOCATED_BYTES; f <= HT_ALLOCATED_BLOCKS; f++) {
        unsigned freed = f - HT_ALLOCATED_BYTES + HT_FREED_BYTES;
        at_least(&raw[f], next[f]);
        at_least(&raw[freed], next[freed] < raw[f] ? next[freed] : raw[f]);
    }
}

/* The figures of a site that moves: exact, and true, where it can be found at rest for a moment.
 * Where it never is, what was moved during a narrow look is missing, until the next: that much,
 * rather than figures that stand still for ever. None falls, and none is too high. */
static bool catch_figures(struct place *place, uint32_t site)
{
    for (unsigned tries = 0; tries < NARROW_TRIES; tries++) {
        enum rest rest = look_narrowly(place, site);
        if (rest == MOVING)
            raise_figures(place->raw, place->next);
        if (rest != STILL)
            continue;
        memcpy(place->raw, place->next, sizeof place->raw);
        return true;
    }
    return false;
}

/* Sites that change hands all the time, as two do that a thread counts in one cell by turns. And
 * those of a thread that lost the processor in the middle, or ends while the process does: if none
 * of them gets its turn later, it is waited for. */
static void look_at_moving(uint32_t moving, bool last)
{
    static uint32_t next; /* where the last search ended: each gets its turn */
    const struct timespec nap = {.tv_nsec = LAST_NAP_NS};
    uint32_t left = last || moving < NARROW_SITES ? moving : NARROW_SITES;
    unsigned naps = last ? LAST_NAPS : 0;
    for (uint32_t seen = 0; left > 0 && seen < ht_sums.site_count; seen++, next++) {
        if (next >= ht_sums.site_count)
            next = 0;
        if (!place_at(next)->moving)
            continue;
        while (!catch_figures(place_at(next), ht_sums.sites[next]) && naps > 0) {
            naps--;
            nanosleep(&nap, NULL);
        }
        left--;
    }
}

/* ---- sums ---------------------------------------------------------------------------------------
 */

static void add_figures(struct htl_figures *sum, const struct htl_figures *figures)
{
    sum->allocated_bytes += figures->allocated_bytes;
    sum->allocated_blocks += figures->allocated_blocks;
    sum->freed_bytes += figures->freed_bytes;
    sum->freed_blocks += figures->freed_blocks;
}

static struct htl_figures figures_of(const struct place *place)
{
    const uint64_t *raw = place->raw, *spent = place->spent;
    return (struct htl_figures){
        .allocated_bytes = raw[HT_ALLOCATED_BYTES] - spent[HT_ALLOCATED_BYTES],
        .allocated_blocks = raw[HT_ALLOCATED_BLOCKS] - spent[HT_ALLOCATED_BLOCKS],
        .freed_bytes = raw[HT_FREED_BYTES] - spent[HT_FREED_BYTES],
        .freed_blocks = raw[HT_FREED_BLOCKS] - spent[HT_FREED_BLOCKS],
    };
}

static void sum_sites(void)
{
    bool others = false;
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct ht_site_view *view = place_at(i)->view;
        bool itself = view->canonical == ht_sums.sites[i];
        view->now = itself ? figures_of(place_at(i)) : (struct htl_figures){0};
        others |= !itself;
    }
    for (uint32_t i = 0; others && i < ht_sums.site_count; i++) {
        const struct ht_site_view *view = place_at(i)->view;
        uint32_t root = view->canonical == ht_sums.sites[i] ? HT_NO_SITE : root_of(view);
        if (root == HT_NO_SITE)
            continue;
        struct htl_figures figures = figures_of(place_at(i));
        add_figures(&view_of(root)->now, &figures);
    }
}

/* Adds a site to the region whose promise it breaks. */
static void add_forbidden(struct ht_tag_view *region, uint32_t site,
                          const struct ht_site_view *view)
{
    region->forbidden_blocks += view->now.allocated_blocks;
    region->forbidden_bytes += view->now.allocated_bytes;
    const struct ht_site_view *most =
        region->forbidden_site ? view_of(region->forbidden_site) : NULL;
    if (!most || (most->fallback && !view->fallback) ||
        (most->fallback == view->fallback &&
         most->now.allocated_blocks < view->now.allocated_blocks))
        region->forbidden_site = site;
}

/* An entry is ready before it is counted, and a thread may rest in between while others use the
 * tag: then there are new sites. */
static void list_tags(void)
{
    static uint32_t seen, sites_seen;
    uint32_t count = ht_tag_count();
    if (count == seen && ht_sums.site_count == sites_seen)
        return;
    seen = count;
    sites_seen = ht_sums.site_count;
    known_tag_count = 1;
    for (uint32_t tag = 1; tag < HT_TAGS; tag++) {
        if (!ht_tag(tag))
            continue;
        if (know_tag(tag))
            known_tags[known_tag_count++] = (uint16_t)tag;
        else /* tried again; until then its blocks count without a tag */
            seen = 0;
    }
    ht_sums.tag_count = known_tag_count - 1;
}

static void begin_tags(void)
{
    list_tags();
    for (uint32_t i = 0; i < known_tag_count; i++) {
        struct ht_tag_view *view = ht_tag_view(known_tags[i]);
        memset(&view->now, 0, sizeof view->now);
        view->constructed = 0;
        view->forbidden_blocks = view->forbidden_bytes = 0;
    }
}

/* UINT64_MAX is "no sample yet"; `only_first` leaves the lowest of earlier samples alone. */
static inline void lower(uint64_t *low, const struct htl_figures *figures, bool only_first)
{
    uint64_t live = ht_live_bytes(figures);
    if (live < *low && !(only_first && *low != UINT64_MAX))
        *low = live;
}

/* Where what a tag owns is added to: in want of memory for it, to what nobody owns. */
static struct ht_tag_view *counted_by(uint32_t tag)
{
    struct ht_tag_view *view = ht_tag_view(tag);
    return view->known ? view : ht_tag_view(0);
}

/* Adds the sites up by tag, and keeps the lowest that was live at each. */
static void sum_by_tag(bool only_first)
{
    memset(&ht_sums.fallback, 0, sizeof ht_sums.fallback);
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct ht_site_view *view = place_at(i)->view;
        lower(&view->low_bytes, &view->now, only_first);
        /* A provisional id that stands for itself was just handed out: it counts once resolved. */
        if (view->canonical != ht_sums.sites[i] || ht_site_is_provisional(ht_sums.sites[i]))
            continue;
        add_figures(&counted_by(view->tag)->now, &view->now);
        if (view->construct)
            counted_by(view->construct)->constructed += view->now.allocated_blocks;
        if (view->region)
            add_forbidden(counted_by(view->region), ht_sums.sites[i], view);
        if (view->fallback)
            add_figures(&ht_sums.fallback, &view->now);
    }
}

/* The total: every site has one tag, or 0. */
static void sum_tags(bool only_first)
{
    memset(&ht_sums.total, 0, sizeof ht_sums.total);
    for (uint32_t i = 0; i < known_tag_count; i++) {
        uint32_t tag = known_tags[i];
        struct ht_tag_view *view = ht_tag_view(tag);
        add_figures(&ht_sums.total, &view->now);
        uint64_t live = ht_live_bytes(&view->now);
        if (live > view->peak_bytes)
            view->peak_bytes = live;
        if (view->now.allocated_blocks || (ht_tag(tag) && ht_tag(tag)->counted))
            view->used = true;
        if (view->used)
            lower(&view->low_bytes, &view->now, only_first);
    }
    uint64_t live = ht_live_bytes(&ht_sums.total);
    if (live > ht_sums.peak_bytes)
        ht_sums.peak_bytes = live;
    lower(&ht_sums.low_bytes, &ht_sums.total, only_first);
}

void ht_aggregate_look(enum ht_look why)
{
    ht_aggregate_describe(); /* sites of frames that are not described are not seen */
    use_tag_sites();
    use_new_stack_sites(); /* a pass over a large table: not at every poll */
    if (watch_new_threads()) {
        uint32_t moving = try_look();
        for (unsigned tries = 1; tries < WIDE_TRIES && moving > NARROW_SITES; tries++)
            moving = try_look();
        look_at_moving(moving, why == HT_LOOK_LAST);
    }
    ht_unwind_answer();
    sum_sites();
    ht_unwind_answer();
    begin_tags();
    sum_by_tag(why != HT_LOOK_SAMPLE);
    sum_tags(why != HT_LOOK_SAMPLE);
    looked = true;
}

void ht_aggregate_tick_done(void)
{
    ht_sums.low_bytes = UINT64_MAX;
    for (uint32_t i = 0; i < known_tag_count; i++)
        ht_tag_view(known_tags[i])->low_bytes = UINT64_MAX;
    for (uint32_t i = 0; i < ht_sums.site_count; i++)
        place_at(i)->view->low_bytes = UINT64_MAX;
}

uint64_t ht_tag_instantiations(uint32_t tag)
{
    const struct ht_tag_entry *entry = ht_tag(tag);
    if (!entry || !(entry->counted & HT_TAG_COUNTS_INSTANTIATIONS))
        return HTL_UNKNOWN;
    return __atomic_load_n(&entry->instantiations, __ATOMIC_RELAXED) +
           ht_tag_view(tag)->constructed;
}

uint64_t ht_tag_cycles(uint32_t tag)
{
    const struct ht_tag_entry *entry = ht_tag(tag);
    return entry && (entry->counted & HT_TAG_COUNTS_CYCLES)
               ? __atomic_load_n(&entry->cycles, __ATOMIC_RELAXED)
               : HTL_UNKNOWN;
}
