/*
 * A lock-free table that gives small integers to 64-bit keys, for ever: the same key has the same
 * id as long as the process lives (but see "twice" below). Frames, stacks and sites are three of
 * these.
 *
 * A key lives in one of a few segments, each an open-addressed array; its id is the segment's base
 * plus its index, so that one compare-and-swap of one word both finds the place and publishes the
 * id. A segment is never moved: the monitor lays the next, larger one (ht_intern_grow) once the
 * last is half full, or crowded: a key found no place within the probes (of tables that are nearly
 * half full one in five has such a key, and if they fill no further it would never get one). A
 * program's thread never grows anything: where the table is full for
 * it, it gets HT_INTERN_FULL and makes do with less detail.
 *
 * Twice: of two threads that insert the same key while a new segment is being published, one may
 * not see the segment that the other uses, and the key gets two ids. Everything behind ids adds up
 * by key at the end, so this costs a slot and nothing else.
 *
 *   segment 0: base 4, size 8, keys [0, a, 0, 0, b, 0, 0, 0]   a has id 5, b has id 8
 *   segment 1: base 12, size 32, keys [...]                    the next key goes here
 */
#ifndef HEAPTALLY_INTERN_H
#define HEAPTALLY_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HT_INTERN_SEGMENTS 4
#define HT_INTERN_PROBES   48
#define HT_INTERN_FULL     UINT32_MAX

struct ht_intern_segment {
    uint64_t *slots;       /* `size` slots of `stride` words; the first word is the key, 0 empty.
                              NULL until the monitor lays the segment (release) */
    uint32_t base;         /* id of index 0 */
    uint32_t size;         /* a power of two */
    _Atomic uint32_t used; /* keys inserted */
    _Atomic bool crowded;  /* a key found no place here */
};

struct ht_intern {
    uint32_t stride; /* words a slot; what follows the key belongs to the owner of the table */
    struct ht_intern_segment segments[HT_INTERN_SEGMENTS];
};

static inline struct ht_intern_segment *ht_intern_segment(struct ht_intern *table, uint32_t id)
{
    struct ht_intern_segment *segment = table->segments;
    while (id - segment->base >= segment->size)
        segment++;
    return segment;
}

/* The slot of an id that the table has given out. Any thread. */
static inline uint64_t *ht_intern_slot(struct ht_intern *table, uint32_t id)
{
    struct ht_intern_segment *segment = ht_intern_segment(table, id);
    return segment->slots + (size_t)(id - segment->base) * table->stride;
}

static inline uint64_t ht_intern_key(struct ht_intern *table, uint32_t id)
{
    return __atomic_load_n(ht_intern_slot(table, id), __ATOMIC_RELAXED);
}

/*
 * The id of `key` (not 0), which is inserted where it is new and `insert` says so; or
 * HT_INTERN_FULL. Any thread, signal handlers too; no lock, no system call.
 */
static inline uint32_t ht_intern(struct ht_intern *table, uint64_t key, bool insert)
{
    uint64_t hash = (key ^ key >> 40) * UINT64_C(0x9E3779B97F4A7C15); /* the top bits count too */
    for (unsigned s = 0; s < HT_INTERN_SEGMENTS; s++) {
        struct ht_intern_segment *segment = &table->segments[s];
        uint64_t *slots = __atomic_load_n(&segment->slots, __ATOMIC_ACQUIRE);
        if (!slots)
            break;
        bool last = insert && (s + 1 == HT_INTERN_SEGMENTS ||
                               !__atomic_load_n(&segment[1].slots, __ATOMIC_RELAXED));
        uint32_t mask = segment->size - 1, index = (uint32_t)(hash >> 32) & mask;
        for (unsigned probe = 0; probe < HT_INTERN_PROBES; probe++, index = (index + 1) & mask) {
            uint64_t *slot = slots + (size_t)index * table->stride;
            uint64_t found = __atomic_load_n(slot, __ATOMIC_RELAXED);
            if (found == 0 && last &&
                __atomic_compare_exchange_n(slot, &found, key, false, __ATOMIC_ACQ_REL,
                                            __ATOMIC_ACQUIRE)) {
                segment->used++;
                return segment->base + index;
            }
            if (found == key)
                return segment->base + index;
            if (found == 0)
                break;
        }
        if (last && !segment->crowded)
            segment->crowded = true;
    }
    return HT_INTERN_FULL;
}

/* Lays segment 0. False without memory. */
bool ht_intern_begin(struct ht_intern *table);

/* Whether the last segment is half full or crowded, and there is another one to be laid. */
bool ht_intern_wants_room(const struct ht_intern *table);

/* Lays the next segment where it is wanted; true if one was laid. Monitor only. */
bool ht_intern_grow(struct ht_intern *table);

/* How many segments are laid. */
unsigned ht_intern_segments(const struct ht_intern *table);

#endif
