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
 * program's thread never grows anything: where the table is full for it, it gets HT_INTERN_FULL and
 * makes do with less detail.
 *
 * Twice: of two threads that insert the same key while a new segment is being published, one may
 * not see the segment that the other uses, and the key gets two ids. From then on the later one is
 * found. Everything behind ids adds up by key at the end, so this costs a slot and nothing else.
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

/* Where a key would like to stand, unless its table has it otherwise; the segments take as many
 * bits of it as they need. */
static inline uint32_t ht_intern_home(uint64_t key)
{
    return (uint32_t)((key ^ key >> 40) * UINT64_C(0x9E3779B97F4A7C15) >>
                      32); /* the top bits too */
}

/* Looks for a key in a segment: whether it is there, `*probe` places from its home. Where it is
 * not, that is the first empty place, or HT_INTERN_PROBES. */
static inline bool ht_intern_search(const struct ht_intern *table, unsigned s, uint64_t key,
                                    uint32_t home, unsigned *probe)
{
    const uint64_t *slots = table->segments[s].slots;
    uint32_t mask = table->segments[s].size - 1;
    for (*probe = 0; *probe < HT_INTERN_PROBES; ++*probe) {
        uint64_t found = __atomic_load_n(slots + (size_t)((home + *probe) & mask) * table->stride,
                                         __ATOMIC_RELAXED);
        if (found == key)
            return true;
        if (found == 0)
            return false;
    }
    return false;
}

static inline uint32_t ht_intern_id(const struct ht_intern_segment *segment, uint32_t place)
{
    return segment->base + (place & (segment->size - 1));
}

/* Inserts a key that was not found, from the first place on that was empty. */
static inline uint32_t ht_intern_insert(struct ht_intern *table, struct ht_intern_segment *segment,
                                        uint64_t key, uint32_t place, unsigned probes)
{
    for (; probes > 0; probes--, place++) {
        uint64_t *slot = segment->slots + (size_t)(place & (segment->size - 1)) * table->stride;
        uint64_t found = 0;
        bool mine = __atomic_compare_exchange_n(slot, &found, key, false, __ATOMIC_ACQ_REL,
                                                __ATOMIC_ACQUIRE);
        if (mine)
            segment->used++;
        if (mine || found == key)
            return ht_intern_id(segment, place);
    }
    if (!segment->crowded)
        segment->crowded = true;
    return HT_INTERN_FULL;
}

/* Fetches what a search of a segment begins with. */
static inline void ht_intern_fetch(const struct ht_intern *table, unsigned s, uint32_t home)
{
    const struct ht_intern_segment *segment = &table->segments[s];
    __builtin_prefetch(segment->slots + (size_t)(home & (segment->size - 1)) * table->stride);
}

/* The same in all segments: for keys of which several are going to be asked for. */
static inline void ht_intern_fetch_all(const struct ht_intern *table, uint32_t home)
{
    for (unsigned s = 0;
         s < HT_INTERN_SEGMENTS && __atomic_load_n(&table->segments[s].slots, __ATOMIC_ACQUIRE);
         s++)
        ht_intern_fetch(table, s, home);
}

/*
 * The id of `key` (not 0), which is inserted where it is new and `insert` says so; or
 * HT_INTERN_FULL. `home` is where it would like to stand: the same for a key each time. Any thread,
 * signal handlers too; no lock, no system call.
 *
 * The last segment is searched first: it has room for more keys than all others, and every new one
 * is in it. What the others will be asked for is fetched meanwhile.
 */
static inline uint32_t ht_intern_at(struct ht_intern *table, uint64_t key, uint32_t home,
                                    bool insert)
{
    unsigned laid = 0, free, probe;
    for (; laid < HT_INTERN_SEGMENTS &&
           __atomic_load_n(&table->segments[laid].slots, __ATOMIC_ACQUIRE);
         laid++)
        if (laid > 0)
            ht_intern_fetch(table, laid - 1, home);
    if (laid == 0)
        return HT_INTERN_FULL;
    struct ht_intern_segment *last = &table->segments[laid - 1];
    if (ht_intern_search(table, laid - 1, key, home, &free))
        return ht_intern_id(last, home + free);
    for (unsigned s = laid - 1; s-- > 0;)
        if (ht_intern_search(table, s, key, home, &probe))
            return ht_intern_id(&table->segments[s], home + probe);
    return insert ? ht_intern_insert(table, last, key, home + free, HT_INTERN_PROBES - free)
                  : HT_INTERN_FULL;
}

/* The same for a key that says itself where it would like to stand. */
static inline uint32_t ht_intern(struct ht_intern *table, uint64_t key, bool insert)
{
    return ht_intern_at(table, key, ht_intern_home(key), insert);
}

/* The earliest of the ids of a key, which the table has: the same for ever, and the least. */
uint32_t ht_intern_first(const struct ht_intern *table, uint64_t key);

/* Lays segment 0. False without memory. */
bool ht_intern_begin(struct ht_intern *table);

/* Whether the last segment is half full or crowded, and there is another one to be laid. */
bool ht_intern_wants_room(const struct ht_intern *table);

/* Lays the next segment where it is wanted; true if one was laid. Monitor only. */
bool ht_intern_grow(struct ht_intern *table);

/* How many keys there are. */
uint32_t ht_intern_used(const struct ht_intern *table);

/* How many segments are laid. */
unsigned ht_intern_segments(const struct ht_intern *table);

#endif
