#include "intern.h"

#include "internal_heap.h"

static bool lay(struct ht_intern *table, unsigned s)
{
    struct ht_intern_segment *segment = &table->segments[s];
    uint64_t *slots =
        ht_heap_alloc_lasting((size_t)segment->size * table->stride * sizeof *segment->slots);
    __atomic_store_n(&segment->slots, slots, __ATOMIC_RELEASE);
    return slots;
}

bool ht_intern_begin(struct ht_intern *table)
{
    return table->segments[0].slots || lay(table, 0);
}

unsigned ht_intern_segments(const struct ht_intern *table)
{
    unsigned s = 0;
    while (s < HT_INTERN_SEGMENTS && table->segments[s].slots)
        s++;
    return s;
}

uint32_t ht_intern_used(const struct ht_intern *table)
{
    uint32_t used = 0;
    for (unsigned s = 0; s < HT_INTERN_SEGMENTS; s++)
        used += table->segments[s].used;
    return used;
}

bool ht_intern_wants_room(const struct ht_intern *table)
{
    unsigned laid = ht_intern_segments(table);
    if (laid == 0 || laid == HT_INTERN_SEGMENTS)
        return false;
    const struct ht_intern_segment *last = &table->segments[laid - 1];
    return last->used > last->size / 2 || last->crowded;
}

bool ht_intern_grow(struct ht_intern *table)
{
    return ht_intern_wants_room(table) && lay(table, ht_intern_segments(table));
}

uint32_t ht_intern_first(const struct ht_intern *table, uint64_t key)
{
    uint32_t home = ht_intern_home(key);
    unsigned laid = ht_intern_segments(table), probe;
    for (unsigned s = 0; s < laid; s++)
        if (ht_intern_search(table, s, key, home, &probe))
            return ht_intern_id(&table->segments[s], home + probe);
    return HT_INTERN_FULL;
}
