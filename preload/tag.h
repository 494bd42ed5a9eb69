/*
 * The names of tags. A tag's id is its place in a fixed open-addressed table and is also the id of
 * the site that stands for "this tag, call site unknown". Id 0 is no tag; when the table is full,
 * new names get the id of "[other]".
 *
 * Names are inserted by any thread, without a lock; a name never changes or goes away.
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
    uint16_t kind; /* enum htl_tag_kind: how it first came up */
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

/* The id of a name of at most HT_TAG_NAME_MAX bytes (what is longer is cut at a character). */
uint32_t ht_tag_intern(const char *name, size_t length, uint16_t kind);

/* The entry of an id, or NULL if nothing is there (yet). */
struct ht_tag_entry *ht_tag(uint32_t id);

/* How many names there are. */
uint32_t ht_tag_count(void);

/* One instantiation or cycle more. */
void ht_tag_count_instantiation(uint32_t id);
void ht_tag_count_cycle(uint32_t id);

#endif
