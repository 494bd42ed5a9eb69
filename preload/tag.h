/*
 * The names of tags. A tag's id is its place in a fixed open-addressed table and is also the id of
 * the site that stands for "this tag, call site unknown". Id 0 is no tag; when the table is full,
 * new names get the id of "[other]".
 *
 * A *scope* is what a thread is in: an owner's tag, and the no-allocation region that it promised
 * to allocate nothing in. Without a region a scope's id is its owner's. With one, the pair has an
 * id of its own from the same table: so an allocation in a region is counted in sites of its own,
 * and the malloc path knows nothing of regions. A region is known by the id of its name.
 *
 *   "pid" has id 7, "step" id 9:   in pid              scope 7   = (7, 0)
 *                                  in pid, in step     scope 412 = (7, 9)
 *                                  in no tag, in step  scope 88  = (0, 9)
 *
 * Entries are inserted by any thread, without a lock; they never change or go away.
 */
#ifndef HEAPTALLY_TAG_H
#define HEAPTALLY_TAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"

#define HT_TAG_NAME_MAX 127

struct ht_tag_entry {
    uint32_t state; /* 0 empty, 1 being written, 2 ready (release) */
    uint32_t hash;
    uint16_t kind; /* enum htl_tag_kind: how it first came up; 0 where it is no name */
    uint16_t length;
    uint32_t counted;        /* HT_TAG_COUNTS_*: which of the two below mean anything */
    uint64_t instantiations; /* atomic add */
    uint64_t cycles;         /* atomic add */
    char name[HT_TAG_NAME_MAX + 1];
};

#define HT_TAG_COUNTS_INSTANTIATIONS 1u
#define HT_TAG_COUNTS_CYCLES         2u

/* Lays the table. False without memory. */
bool ht_tag_begin(void);

/* What the id of a scope stands for; of a name: the name itself as owner, and no region. */
struct ht_scope {
    uint16_t owner;  /* tag, 0 for none */
    uint16_t region; /* name of the region, 0 for none */
};
_Static_assert(HT_TAGS <= UINT16_MAX, "a tag fits 16 bits");
extern struct ht_scope ht_scopes[HT_TAGS]; /* by id; written before the id is given out */

/* The id of a name of at most HT_TAG_NAME_MAX bytes (what is longer is cut at a character). */
uint32_t ht_tag_intern(const char *name, size_t length, uint16_t kind);

/* The id of a scope. Where the table is full the region is lost, and the owner kept. */
uint32_t ht_scope_intern(uint32_t owner, uint32_t region);

/* The owner and the region of a scope, given by its id (below HT_TAGS). Any thread. */
static inline uint32_t ht_scope_owner(uint32_t id)
{
    return ht_scopes[id].owner;
}

static inline uint32_t ht_scope_region(uint32_t id)
{
    return ht_scopes[id].region;
}

/* The scope of `owner` in the region, if any, of the scope `id`: what it takes to open a scope. */
static inline uint32_t ht_scope_with_owner(uint32_t id, uint32_t owner)
{
    uint32_t region = ht_scope_region(id);
    return region ? ht_scope_intern(owner, region) : owner;
}

/* The entry of an id, or NULL if nothing is there (yet). */
struct ht_tag_entry *ht_tag(uint32_t id);

/* How many entries there are. */
uint32_t ht_tag_count(void);

/* One instantiation or cycle more. */
void ht_tag_count_instantiation(uint32_t id);
void ht_tag_count_cycle(uint32_t id);

#endif
