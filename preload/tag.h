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
 * One word says what an id is, and is written once, by one compare-and-swap; it never changes or
 * goes away:
 *
 *   bits  0..15  owner          of a name: its own id
 *        16..31  region, 0 for none
 *        32..47  of a name: where its entry is + 1; 0 for a pair
 *        48..63  of a name: the upper bits of its hash
 *
 * The entry of a name is written before that, where nobody else looks. So any thread inserts, in
 * the malloc path and in signal handlers too: no lock, no system call, and nobody waits for anybody
 * else, be it a thread that was preempted or ended half-way.
 */
#ifndef HEAPTALLY_TAG_H
#define HEAPTALLY_TAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"

#define HT_TAG_NAME_MAX 127

struct ht_tag_entry {
    uint32_t taken; /* by compare-and-swap: 1 for ever, once the entry has an id */
    uint16_t kind;  /* enum htl_tag_kind: how it first came up; 0 where it is no name */
    uint16_t length;
    uint32_t counted;        /* HT_TAG_COUNTS_*: which of the two below mean anything */
    uint64_t instantiations; /* atomic add */
    uint64_t cycles;         /* atomic add */
    char name[HT_TAG_NAME_MAX + 1];
};

#define HT_TAG_COUNTS_INSTANTIATIONS 1u
#define HT_TAG_COUNTS_CYCLES         2u

/* Lays the table, or as much of it as there is memory for. False without any. */
bool ht_tag_begin(void);

/* Lays room for more names where there was no memory for all. Monitor only. */
void ht_tag_grow(void);

_Static_assert(HT_TAGS <= UINT16_MAX, "a tag fits 16 bits");
extern uint64_t ht_scopes[HT_TAGS]; /* by id: see above; 0 while there is none */

/* The id of a name of at most HT_TAG_NAME_MAX bytes (what is longer is cut at a character). Any
 * thread, signal handlers too; no lock, no system call. */
uint32_t ht_tag_intern(const char *name, size_t length, uint16_t kind);

/* The id of a scope; the same holds. Where the table is full the region is lost, and the owner
 * kept. */
uint32_t ht_scope_intern(uint32_t owner, uint32_t region);

/* The owner and the region of a scope, given by its id (below HT_TAGS). Any thread. */
static inline uint32_t ht_scope_owner(uint32_t id)
{
    return (uint16_t)__atomic_load_n(&ht_scopes[id], __ATOMIC_RELAXED);
}

static inline uint32_t ht_scope_region(uint32_t id)
{
    return (uint16_t)(__atomic_load_n(&ht_scopes[id], __ATOMIC_RELAXED) >> 16);
}

/* The scope of `owner` in the region, if any, of the scope `id`: what it takes to open a scope. */
static inline uint32_t ht_scope_with_owner(uint32_t id, uint32_t owner)
{
    uint32_t region = ht_scope_region(id);
    return region ? ht_scope_intern(owner, region) : owner;
}

/* The entry of an id, or NULL if nothing is there (yet). All pairs share one, of kind 0. */
struct ht_tag_entry *ht_tag(uint32_t id);

/* How many entries there are. */
uint32_t ht_tag_count(void);

/* One instantiation or cycle more. */
void ht_tag_count_instantiation(uint32_t id);
void ht_tag_count_cycle(uint32_t id);

#endif
