#include "top_sites.h"

#include "aggregate.h"
#include "detect.h"
#include "internal_heap.h"
#include "site_table.h"

#define LEAST_TICKS 16u /* between two reviews */

/* Places are laid by the group, once there is a site for them: the first `laid` are there. */
#define GROUP_SITES 8u
static struct ht_top_site *groups[HT_TOP_SITES / GROUP_SITES];
static uint32_t laid;
static uint64_t start; /* CLOCK_MONOTONIC, ns */
static uint64_t ticks, next_review, next_due;

static struct ht_top_site *place_at(uint32_t i)
{
    return &groups[i / GROUP_SITES][i % GROUP_SITES];
}

/* A group, with the histories of its places behind it; false without memory. */
static bool lay_group(void)
{
    size_t bytes = ht_history_bytes(HT_TOP_SITE_POINTS);
    struct ht_top_site *group = ht_heap_alloc(GROUP_SITES * (sizeof *group + bytes), 16);
    if (!group)
        return false;
    char *histories = (char *)(group + GROUP_SITES);
    for (uint32_t i = 0; i < GROUP_SITES; i++)
        group[i].history = ht_history_init(histories + i * bytes, HT_TOP_SITE_POINTS);
    groups[laid / GROUP_SITES] = group;
    laid += GROUP_SITES;
    return true;
}

void ht_top_sites_restart(uint64_t start_ns)
{
    start = start_ns;
    ticks = 0;
    next_review = 1;
    next_due = 2 * LEAST_TICKS;
    for (uint32_t i = 0; i < laid; i++)
        place_at(i)->site = 0;
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct ht_site_view *view = ht_site_view_at(i);
        view->floor_bytes = UINT64_MAX;
        view->last_floor_bytes = view->score = 0;
    }
}

const struct ht_top_site *ht_top_site(uint32_t i)
{
    return i < laid && place_at(i)->site ? place_at(i) : NULL;
}

/* Site 0 stands for all of which nothing is known: it is nobody's leak, and 0 is a free place. */
static bool may_be_top(uint32_t site)
{
    const struct ht_site_view *view = ht_site_view(site);
    return site != 0 && view->canonical == site && !ht_site_is_provisional(site) && view->tag != 0;
}

/* ---- feeding ------------------------------------------------------------------------------------
 */

static void feed(struct ht_top_site *top, const struct ht_moment *moment)
{
    const struct ht_site_view *view = ht_site_view(top->site);
    uint64_t low = ht_lowest(view->low_bytes, &view->now), live = ht_live_bytes(&view->now);
    struct htl_history_point point = {
        .t_ns = moment->monotonic_ns - start,
        .low_bytes = low,
        .high_bytes = live > low ? live : low,
        .allocated_bytes = view->now.allocated_bytes,
        .allocated_blocks = view->now.allocated_blocks,
        .freed_blocks = view->now.freed_blocks,
        .instantiations = ht_tag_instantiations(view->tag),
        .cycles = ht_tag_cycles(view->tag),
    };
    struct ht_trend_sample sample = {
        .time_ns = moment->monotonic_ns,
        .low_bytes = low,
        .live_blocks = ht_live_blocks(&view->now),
        .allocated_bytes = point.allocated_bytes,
        .instantiations = point.instantiations,
        .cycles = point.cycles,
    };
    ht_history_append(top->history, &point);
    ht_detect_push(&top->trend, &sample);
}

/* ---- who they are -------------------------------------------------------------------------------
 */

/* How far the floor has risen since the review before, and half of what was known before. */
static void score(struct ht_site_view *view)
{
    uint64_t floor =
        view->floor_bytes == UINT64_MAX ? ht_live_bytes(&view->now) : view->floor_bytes;
    uint64_t risen = floor > view->last_floor_bytes ? floor - view->last_floor_bytes : 0;
    view->score = view->score / 2 + risen;
    view->last_floor_bytes = floor;
    view->floor_bytes = UINT64_MAX;
}

static struct ht_top_site *place_of(uint32_t site)
{
    for (uint32_t i = 0; i < laid; i++)
        if (place_at(i)->site == site)
            return place_at(i);
    return NULL;
}

/* A place for a site with this score: a free one, else that of the lowest score below it. */
static struct ht_top_site *place_for(uint64_t wanted)
{
    struct ht_top_site *lowest = NULL;
    uint64_t least = wanted;
    for (uint32_t i = 0; i < HT_TOP_SITES; i++) {
        if (i == laid && !lay_group())
            break;
        struct ht_top_site *place = place_at(i);
        if (place->site == 0)
            return place;
        uint64_t here = ht_site_view(place->site)->score;
        if (here < least) {
            least = here;
            lowest = place;
        }
    }
    return lowest;
}

static void settle(struct ht_top_site *top, uint32_t site)
{
    struct ht_trend_settings settings = ht_detect_settings();
    top->site = site;
    ht_trend_init(&top->trend, &settings);
    ht_history_clear(top->history);
}

static void review(void)
{
    for (uint32_t i = 0; i < ht_sums.site_count; i++)
        score(ht_site_view_at(i));
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        uint32_t site = ht_sums.sites[i];
        uint64_t its = ht_site_view_at(i)->score;
        if (its == 0 || !may_be_top(site) || place_of(site))
            continue;
        struct ht_top_site *place = place_for(its);
        if (place)
            settle(place, site);
    }
}

void ht_top_sites_tick(const struct ht_moment *moment)
{
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct ht_site_view *view = ht_site_view_at(i);
        uint64_t low = ht_lowest(view->low_bytes, &view->now);
        if (low < view->floor_bytes)
            view->floor_bytes = low;
    }
    if (++ticks >= next_review) {
        review();
        next_review = ticks + (ticks / 5 > LEAST_TICKS ? ticks / 5 : LEAST_TICKS);
    }
    for (uint32_t i = 0; i < laid; i++)
        if (place_at(i)->site)
            feed(place_at(i), moment);
}

bool ht_top_sites_are_due(void)
{
    if (ticks < next_due)
        return false;
    next_due = 2 * ticks;
    return true;
}

/* ---- for a tag ----------------------------------------------------------------------------------
 */

uint32_t ht_top_site_of_tag(uint32_t tag)
{
    uint32_t best = 0;
    double highest = -1;
    for (uint32_t i = 0; i < laid; i++) {
        const struct ht_top_site *top = place_at(i);
        if (!top->site || ht_site_view(top->site)->tag != tag)
            continue;
        /* A leak is worth more than any growth that is none. */
        double worth = (double)ht_site_view(top->site)->score;
        if (top->trend.samples && ht_trend_is_leak(&top->trend)) {
            struct ht_trend_verdict verdict;
            ht_trend_judge(&top->trend, top->trend.last_ns, -1, HT_TREND_WATCH, &verdict);
            worth = 1e18 + (verdict.bytes_per_hour > 0 ? verdict.bytes_per_hour : 0) * 1e6;
        }
        if (worth > highest) {
            highest = worth;
            best = top->site;
        }
    }
    return best;
}
