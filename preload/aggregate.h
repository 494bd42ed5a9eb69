/*
 * Adding up: one pass over all cells and totals gives the figures of every site and every tag at
 * one moment. See counters.h for how a moving figure is kept from being seen twice or not at all.
 *
 * Provisional sites, and ids that a key got twice, are folded into the site they stand for (its
 * `canonical`): readers of the result see each (stack, tag) once. Figures here are of the whole
 * run; a provisional id that was used again contributes what it has gained since.
 *
 * Threads: the monitor only, or who stands in for it.
 */
#ifndef HEAPTALLY_AGGREGATE_H
#define HEAPTALLY_AGGREGATE_H

#include "counters.h"
#include "heaptally/snapshot_format.h"
#include "tag.h"

/* What each look needs of a site comes first, in one line of cache; then what a tick needs. */
struct ht_site_view {
    struct htl_figures now;     /* with everything that was folded in */
    uint64_t low_bytes;         /* lowest live bytes at the samples since the last tick */
    uint32_t canonical;         /* where the figures go; itself for most */
    uint32_t tag;               /* effective tag */
    uint16_t region;            /* no-allocation region that it was in, or 0 */
    uint16_t construct;         /* tag whose instantiations its blocks are, or 0 */
    uint32_t place;             /* in the list of sites */
    bool fallback;              /* known by return address or tag only */
    uint32_t written_tag;       /* as last written to the file, 0: never */
    struct htl_figures written; /* as last written to the file */
    uint64_t floor_bytes;       /* top_sites.c: lowest of the lows since the last review */
    uint64_t last_floor_bytes;  /* top_sites.c: the same of the review before */
    uint64_t score;             /* top_sites.c: how it has grown lately */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct ht_site_view) == 128, "two lines of cache a site");

struct ht_tag_view {
    struct htl_figures now, written;
    uint64_t low_bytes;   /* lowest live bytes at the samples since the last tick */
    uint64_t peak_bytes;  /* highest at any look */
    uint64_t constructed; /* instantiations by --construct */
    uint64_t written_instantiations, written_cycles;
    /* Of the no-allocation region of this name: what was allocated in it. */
    uint64_t forbidden_blocks, forbidden_bytes;
    uint64_t written_forbidden_blocks;
    uint32_t forbidden_site; /* where most of them were, of those with a stack if there are any */
    bool known;              /* is in the list of tags, or 0 */
    bool used;               /* had figures or counts at some time */
};

struct ht_sums {
    struct htl_figures total, fallback;
    uint64_t low_bytes;  /* of the total: lowest live bytes at the samples since the last tick */
    uint64_t peak_bytes; /* of the total: highest live bytes at any look */
    uint32_t *sites;     /* ids in use, canonical or not */
    uint32_t site_count;
    const uint16_t *tags; /* ids that the table of tags has given out, rising; not 0 */
    uint32_t tag_count;
};
extern struct ht_sums ht_sums;

/* Makes the first tables. False without memory. */
bool ht_aggregate_begin(void);

/* Works off captures. Returns how many. */
unsigned ht_aggregate_answer(void);

/* Describes new frames, as each look does first: what was done before, it need not wait for. A pass
 * over a large table, and over symbols where rules need names. */
void ht_aggregate_describe(void);

/* Why the counters are looked at. */
enum ht_look {
    HT_LOOK_SAMPLE, /* at a moment of chance: its live bytes count for the lowest of the tick */
    HT_LOOK_TICK,   /* at the regular moment of a tick: they do not, unless there was no sample */
    HT_LOOK_LAST,   /* the same, and none follows: waits for a thread that was stopped in the middle
                       of moving figures, a tenth of a second at most */
};

/*
 * Adds everything up. The lowest live bytes of a tick are those of its samples: what is looked at
 * in step with the clock turns a regular sawtooth into a slow ramp.
 */
void ht_aggregate_look(enum ht_look why);

/* Begins a new tick: no sample of it has been taken. */
void ht_aggregate_tick_done(void);

/* What is known of a site; NULL where it is not in the list of sites. Never moves. */
struct ht_site_view *ht_site_view(uint32_t site);

/* The same of the i-th site in the list: for who goes through it, sooner found. Never NULL. */
struct ht_site_view *ht_site_view_at(uint32_t i);

/* What is known of a tag. Never NULL: of ids that are not in the list of tags there are only
 * zeros, which nothing is to be written to. */
struct ht_tag_view *ht_tag_view(uint32_t tag);

/* Instantiations and cycles of a tag, HTL_UNKNOWN where they are not counted. */
uint64_t ht_tag_instantiations(uint32_t tag);
uint64_t ht_tag_cycles(uint32_t tag);

static inline uint64_t ht_live_bytes(const struct htl_figures *figures)
{
    uint64_t live = figures->allocated_bytes - figures->freed_bytes;
    return (int64_t)live < 0 ? 0 : live; /* a free was seen before its allocation */
}

/* A `low_bytes` of above, which is what was live at the last look where no sample was taken yet. */
static inline uint64_t ht_lowest(uint64_t low_bytes, const struct htl_figures *now)
{
    return low_bytes == UINT64_MAX ? ht_live_bytes(now) : low_bytes;
}

static inline uint64_t ht_live_blocks(const struct htl_figures *figures)
{
    uint64_t live = figures->allocated_blocks - figures->freed_blocks;
    return (int64_t)live < 0 ? 0 : live;
}

#endif
