#include "aggregate.h"

#include <string.h>

#include "internal_heap.h"
#include "site_table.h"
#include "tag_rules.h"
#include "unwind.h"

#define MAX_TRIES 4 /* looks at a site that keeps moving, before its last figures are kept */

struct ht_sums ht_sums;

static struct ht_site_view *views[HT_RANGES]; /* parallel to ht_total_ranges */
static struct ht_tag_view *tag_views;
static uint32_t site_capacity;
static uint32_t *free_provisionals; /* ids that may be handed out */
static uint32_t free_provisional_count;
static uint32_t *folded; /* provisional ids that are handed out and resolved */
static uint32_t folded_count;

static inline struct ht_site_view *view_of(uint32_t site)
{
    unsigned range = 0;
    while (site - ht_total_ranges[range].base >= ht_total_ranges[range].size)
        range++;
    if (!views[range]) {
        views[range] = ht_heap_alloc(ht_total_ranges[range].size * sizeof **views, 64);
        if (!views[range])
            return NULL;
    }
    return &views[range][site - ht_total_ranges[range].base];
}

struct ht_site_view *ht_site_view(uint32_t site)
{
    return view_of(site);
}

struct ht_tag_view *ht_tag_view(uint32_t tag)
{
    return &tag_views[tag];
}

bool ht_aggregate_begin(void)
{
    site_capacity = 4096;
    ht_sums.sites = ht_heap_alloc(site_capacity * sizeof *ht_sums.sites, 16);
    tag_views = ht_heap_alloc(HT_TAGS * sizeof *tag_views, 16);
    free_provisionals = ht_heap_alloc(HT_PROVISIONALS * sizeof *free_provisionals, 16);
    folded = ht_heap_alloc(HT_PROVISIONALS * sizeof *folded, 16);
    if (!ht_sums.sites || !tag_views || !free_provisionals || !folded)
        return false;
    ht_aggregate_tick_done();
    for (uint32_t i = 0; i < HT_PROVISIONALS; i++)
        free_provisionals[i] = HT_PROVISIONAL_BASE + HT_PROVISIONALS - 1 - i;
    free_provisional_count = HT_PROVISIONALS;
    return true;
}

/* ---- which sites there are ----------------------------------------------------------------------
 */

/* Takes a site into the list; NULL without memory, then it is tried again later. */
static struct ht_site_view *use_site(uint32_t site)
{
    struct ht_site_view *view = view_of(site);
    if (!view || view->used)
        return view;
    if (ht_sums.site_count == site_capacity) {
        uint32_t *larger = ht_heap_alloc(2 * site_capacity * sizeof *larger, 16);
        if (!larger)
            return NULL;
        memcpy(larger, ht_sums.sites, site_capacity * sizeof *larger);
        ht_heap_free(ht_sums.sites);
        ht_sums.sites = larger;
        site_capacity *= 2;
    }
    ht_sums.sites[ht_sums.site_count++] = site;
    view->used = true;
    view->canonical = site;
    view->low_bytes = view->floor_bytes = UINT64_MAX;
    return view;
}

/* Whose the allocations of a site are, and which promise they broke. */
static void take_scope(struct ht_site_view *view, uint32_t scope, uint32_t stack)
{
    view->tag = ht_scope_owner(scope) ? ht_scope_owner(scope) : ht_rules_tag(stack);
    view->region = ht_scope_region(scope);
}

/* False where it is too early: the site is so new that its frames are not described. */
static bool use_stack_site(uint32_t site)
{
    uint32_t stack = ht_site_stack(site);
    uint32_t first = ht_intern(&ht_sites, ht_intern_key(&ht_sites, site), false);
    if (!ht_rules_described(stack) || (first < site && !use_stack_site(first)))
        return false;
    struct ht_site_view *view = use_site(site);
    if (!view)
        return false;
    if (first < site) /* the key has two ids: the earlier one stands for both */
        view->canonical = first;
    view->fallback = ht_stack_root(stack) == HT_STACK_FALLBACK;
    take_scope(view, ht_site_tag(site), stack);
    view->construct = ht_rules_construct(stack);
    return true;
}

/* The sites that stand for a tag alone: id 0 is what had no tag either. */
static void use_tag_sites(void)
{
    static uint32_t seen;
    uint32_t tags = ht_tag_count();
    if (tags == seen)
        return;
    seen = tags;
    for (uint32_t tag = 0; tag < HT_TAGS; tag++) {
        struct ht_site_view *view = tag == 0 || ht_tag(tag) ? use_site(tag) : NULL;
        if (!view)
            continue;
        view->fallback = true;
        take_scope(view, tag, HT_STACK_TAG_ONLY);
    }
}

static void use_new_stack_sites(void)
{
    static uint32_t seen;
    uint32_t used = 0;
    unsigned segments = ht_intern_segments(&ht_sites);
    for (unsigned s = 0; s < segments; s++)
        used += ht_sites.segments[s].used;
    if (used == seen)
        return;
    bool all = true;
    for (unsigned s = 0; s < segments; s++) {
        struct ht_intern_segment *segment = &ht_sites.segments[s];
        for (uint32_t i = 0; i < segment->size; i++) {
            if (!__atomic_load_n(&segment->slots[i], __ATOMIC_ACQUIRE))
                continue;
            struct ht_site_view *view = view_of(segment->base + i);
            if (view && !view->used && !use_stack_site(segment->base + i))
                all = false;
        }
    }
    if (all)
        seen = used;
}

static uint32_t take_provisional(void)
{
    return free_provisional_count ? free_provisionals[--free_provisional_count] : 0;
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

/* Provisional ids whose blocks are all gone are free for the next captures. */
static void recycle_provisionals(void)
{
    if (free_provisional_count > HT_PROVISIONALS / 2)
        return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < folded_count; i++) {
        struct ht_site_view *view = view_of(folded[i]);
        const uint64_t *raw = view->raw, *spent = view->spent;
        bool gone = raw[HT_ALLOCATED_BLOCKS] != spent[HT_ALLOCATED_BLOCKS] &&
                    raw[HT_ALLOCATED_BLOCKS] == raw[HT_FREED_BLOCKS] &&
                    raw[HT_ALLOCATED_BYTES] == raw[HT_FREED_BYTES];
        struct ht_site_view *target = view_of(view->canonical);
        if (!gone || !target) {
            folded[kept++] = folded[i];
            continue;
        }
        for (unsigned f = 0; f < HT_FIGURES; f++) {
            target->spent[f] -= raw[f] - spent[f]; /* what it keeps from others is negative spent */
            view->spent[f] = raw[f];
        }
        view->canonical = folded[i];
        free_provisionals[free_provisional_count++] = folded[i];
    }
    folded_count = kept;
}

unsigned ht_aggregate_discover(void)
{
    ht_site_grow();
    recycle_provisionals();
    unsigned drained = ht_unwind_drain(fold);
    ht_unwind_stock(take_provisional);
    ht_rules_describe_frames();
    return drained;
}

/* ---- one look -----------------------------------------------------------------------------------
 */

/* What a thread had in its cells at one moment. */
struct cell_copy {
    struct ht_cell cells[HT_CELLS];
    uint32_t sites[HT_CELLS];
    unsigned count;
};

/* Copies the cells of a thread that have a site. Most threads use few of them, and the rest need
 * not be fetched from their memory. */
static void copy_cells(const struct ht_thread *thread, struct cell_copy *copy)
{
    copy->count = 0;
    for (unsigned w = 0; w < HT_CELLS / 64; w++) {
        uint64_t used = __atomic_load_n(&thread->used_cells[w], __ATOMIC_RELAXED);
        for (; used; used &= used - 1, copy->count++) {
            unsigned i = 64 * w + (unsigned)__builtin_ctzll(used);
            for (unsigned f = 0; f < HT_FIGURES; f++)
                copy->cells[copy->count].figures[f] =
                    __atomic_load_n(&thread->cells[i].figures[f], __ATOMIC_RELAXED);
            copy->sites[copy->count] = __atomic_load_n(&thread->cell_sites[i], __ATOMIC_RELAXED);
        }
    }
}

/* Adds the cells of a thread to `next` of their sites; false if it kept moving cells. */
static bool add_cells(const struct ht_thread *thread)
{
    static struct cell_copy copy;
    for (int tries = 0;; tries++) {
        uint32_t before = __atomic_load_n(&thread->sequence, __ATOMIC_ACQUIRE);
        copy_cells(thread, &copy);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && before == __atomic_load_n(&thread->sequence, __ATOMIC_RELAXED))
            break;
        if (tries == 100)
            return false;
    }
    for (unsigned i = 0; i < copy.count; i++) {
        if (copy.sites[i] == HT_NO_SITE)
            continue;
        struct ht_site_view *view = view_of(copy.sites[i]);
        for (unsigned f = 0; view && f < HT_FIGURES; f++)
            view->next[f] += copy.cells[i].figures[f];
    }
    return true;
}

/* One try: figures into `raw` wherever they are consistent; how many sites were not. */
static unsigned try_look(void)
{
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        uint32_t site = ht_sums.sites[i];
        struct ht_site_view *view = view_of(site);
        memset(view->next, 0, sizeof view->next);
        view->finished = __atomic_load_n(&ht_total(site)->finished, __ATOMIC_ACQUIRE);
    }
    for (struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE); thread;
         thread = thread->next)
        if (!add_cells(thread))
            return ht_sums.site_count;
    unsigned moving = 0;
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        uint32_t site = ht_sums.sites[i];
        struct ht_site_view *view = view_of(site);
        struct ht_total *total = ht_total(site);
        for (unsigned f = 0; f < HT_FIGURES; f++)
            view->next[f] += __atomic_load_n(&total->figures[f], __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&total->started, __ATOMIC_RELAXED) == view->finished)
            memcpy(view->raw, view->next, sizeof view->raw);
        else
            moving++;
    }
    return moving;
}

static void add_to(struct htl_figures *sum, const uint64_t *raw, const uint64_t *spent)
{
    sum->allocated_bytes += raw[HT_ALLOCATED_BYTES] - spent[HT_ALLOCATED_BYTES];
    sum->allocated_blocks += raw[HT_ALLOCATED_BLOCKS] - spent[HT_ALLOCATED_BLOCKS];
    sum->freed_bytes += raw[HT_FREED_BYTES] - spent[HT_FREED_BYTES];
    sum->freed_blocks += raw[HT_FREED_BLOCKS] - spent[HT_FREED_BLOCKS];
}

static void add_figures(struct htl_figures *sum, const struct htl_figures *figures)
{
    sum->allocated_bytes += figures->allocated_bytes;
    sum->allocated_blocks += figures->allocated_blocks;
    sum->freed_bytes += figures->freed_bytes;
    sum->freed_blocks += figures->freed_blocks;
}

static void sum_sites(void)
{
    for (uint32_t i = 0; i < ht_sums.site_count; i++)
        memset(&view_of(ht_sums.sites[i])->now, 0, sizeof(struct htl_figures));
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct ht_site_view *view = view_of(ht_sums.sites[i]);
        add_to(&view_of(view->canonical)->now, view->raw, view->spent);
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

/* The ids that the table of tags has given out, and 0: the others need not be gone through. */
static uint16_t known_tags[HT_TAGS];
static uint32_t known_tag_count;

/* An entry is ready before it is counted: none that is counted is missed. */
static void list_tags(void)
{
    static uint32_t seen;
    uint32_t count = ht_tag_count();
    if (known_tag_count && count == seen)
        return;
    seen = count;
    known_tag_count = 0;
    for (uint32_t tag = 0; tag < HT_TAGS; tag++)
        if (tag == 0 || ht_tag(tag))
            known_tags[known_tag_count++] = (uint16_t)tag;
}

static void sum_tags(void)
{
    memset(&ht_sums.total, 0, sizeof ht_sums.total);
    memset(&ht_sums.fallback, 0, sizeof ht_sums.fallback);
    list_tags();
    for (uint32_t i = 0; i < known_tag_count; i++) {
        struct ht_tag_view *view = &tag_views[known_tags[i]];
        memset(&view->now, 0, sizeof view->now);
        view->constructed = 0;
        view->forbidden_blocks = view->forbidden_bytes = 0;
    }
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        const struct ht_site_view *view = view_of(ht_sums.sites[i]);
        /* A provisional id that stands for itself was just handed out: it counts once resolved. */
        if (view->canonical != ht_sums.sites[i] || ht_site_is_provisional(ht_sums.sites[i]))
            continue;
        add_figures(&ht_sums.total, &view->now);
        add_figures(&tag_views[view->tag].now, &view->now);
        tag_views[view->construct].constructed += view->now.allocated_blocks;
        if (view->region)
            add_forbidden(&tag_views[view->region], ht_sums.sites[i], view);
        if (view->fallback)
            add_figures(&ht_sums.fallback, &view->now);
    }
    for (uint32_t i = 0; i < known_tag_count; i++) {
        uint32_t tag = known_tags[i];
        struct ht_tag_view *view = &tag_views[tag];
        uint64_t live = ht_live_bytes(&view->now);
        if (live > view->peak_bytes)
            view->peak_bytes = live;
        if (view->now.allocated_blocks || (ht_tag(tag) && ht_tag(tag)->counted))
            view->used = true;
    }
    uint64_t live = ht_live_bytes(&ht_sums.total);
    if (live > ht_sums.peak_bytes)
        ht_sums.peak_bytes = live;
}

/* UINT64_MAX is "no sample yet"; `only_first` leaves the lowest of earlier samples alone. */
static void lower(uint64_t *low, const struct htl_figures *figures, bool only_first)
{
    uint64_t live = ht_live_bytes(figures);
    if (live < *low && !(only_first && *low != UINT64_MAX))
        *low = live;
}

static void keep_lowest(enum ht_look why)
{
    bool only_first = why == HT_LOOK_TICK;
    lower(&ht_sums.low_bytes, &ht_sums.total, only_first);
    for (uint32_t i = 0; i < known_tag_count; i++) {
        struct ht_tag_view *view = &tag_views[known_tags[i]];
        if (view->used)
            lower(&view->low_bytes, &view->now, only_first);
    }
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct ht_site_view *view = view_of(ht_sums.sites[i]);
        lower(&view->low_bytes, &view->now, only_first);
    }
}

void ht_aggregate_look(enum ht_look why)
{
    use_tag_sites();
    use_new_stack_sites(); /* a pass over a large table: not at every poll */
    for (int tries = 0; tries < MAX_TRIES && try_look() > 0; tries++)
        ;
    sum_sites();
    sum_tags();
    keep_lowest(why);
}

void ht_aggregate_tick_done(void)
{
    ht_sums.low_bytes = UINT64_MAX;
    for (uint32_t tag = 0; tag < HT_TAGS; tag++)
        tag_views[tag].low_bytes = UINT64_MAX;
    for (uint32_t i = 0; i < ht_sums.site_count; i++)
        view_of(ht_sums.sites[i])->low_bytes = UINT64_MAX;
}

uint64_t ht_tag_instantiations(uint32_t tag)
{
    const struct ht_tag_entry *entry = ht_tag(tag);
    if (!entry || !(entry->counted & HT_TAG_COUNTS_INSTANTIATIONS))
        return HTL_UNKNOWN;
    return __atomic_load_n(&entry->instantiations, __ATOMIC_RELAXED) + tag_views[tag].constructed;
}

uint64_t ht_tag_cycles(uint32_t tag)
{
    const struct ht_tag_entry *entry = ht_tag(tag);
    return entry && (entry->counted & HT_TAG_COUNTS_CYCLES)
               ? __atomic_load_n(&entry->cycles, __ATOMIC_RELAXED)
               : HTL_UNKNOWN;
}
