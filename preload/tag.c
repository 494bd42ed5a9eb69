#include "tag.h"

#include <string.h>

#include "heaptally/snapshot_format.h"
#include "internal_heap.h"

#define MAX_TAGS_USED (HT_TAGS - HT_TAGS / 8) /* beyond, probing would become slow */

/* Entries come in parts, which are laid one after the other. There are some more in all than can
 * have ids, for threads that are just at it. */
#define PARTS        4u
#define PART_ENTRIES ((MAX_TAGS_USED + 64) / PARTS)

#define ENTRY_SHIFT 32
#define HASH_SHIFT  48

uint64_t ht_scopes[HT_TAGS];
static struct ht_tag_entry *parts[PARTS];
static uint32_t laid;               /* entries that there are; raised once they are (release) */
static struct ht_tag_entry no_name; /* of the pairs */
static _Atomic uint32_t used;
static uint32_t other;

/* What is looked for: a name, or where `length` is 0 a pair, which is all in `word`. */
struct wanted {
    const char *name;
    size_t length;
    uint32_t hash;
    uint16_t kind;
    uint64_t word;
};

static bool lay_part(void)
{
    struct ht_tag_entry *part = ht_heap_alloc(PART_ENTRIES * sizeof *part, 64);
    if (!part)
        return false;
    parts[laid / PART_ENTRIES] = part;
    __atomic_store_n(&laid, laid + PART_ENTRIES, __ATOMIC_RELEASE);
    return true;
}

bool ht_tag_begin(void)
{
    if (laid)
        return true;
    /* All of them: a name that finds no room would be counted as another's. */
    while (laid < PARTS * PART_ENTRIES && lay_part())
        ;
    if (laid)
        other = ht_tag_intern("[other]", 7, HTL_TAG_OTHER);
    return laid;
}

void ht_tag_grow(void)
{
    if (laid && laid < PARTS * PART_ENTRIES)
        lay_part();
}

static struct ht_tag_entry *entry_at(uint32_t i)
{
    return &parts[i / PART_ENTRIES][i % PART_ENTRIES];
}

static uint32_t hash_of(const char *name, size_t length)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return hash;
}

/* The entry that the word of an id refers to, NULL for a pair. */
static struct ht_tag_entry *entry_of(uint64_t word)
{
    uint32_t place = (uint16_t)(word >> ENTRY_SHIFT);
    return place ? entry_at(place - 1) : NULL;
}

static bool is_wanted(uint64_t word, const struct wanted *wanted)
{
    if (wanted->length == 0)
        return word == wanted->word;
    const struct ht_tag_entry *entry = entry_of(word);
    return entry && word >> HASH_SHIFT == wanted->hash >> 16 && entry->length == wanted->length &&
           memcmp(entry->name, wanted->name, wanted->length) == 0;
}

/* An entry that is nobody's: its place. UINT32_MAX where there is none: more names have
 * come at once than the monitor keeps room for, or threads that were ended in here have used them
 * up. */
static uint32_t take_entry(uint32_t hash)
{
    uint32_t count = __atomic_load_n(&laid, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t free = 0, place = (hash + i) % count;
        if (__atomic_compare_exchange_n(&entry_at(place)->taken, &free, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return place;
    }
    return UINT32_MAX;
}

static void give_back(struct ht_tag_entry *entry)
{
    if (entry)
        __atomic_store_n(&entry->taken, 0, __ATOMIC_RELEASE);
}

/* The entry of a name that has no id yet, and the word for it at `id`. NULL where there is none. */
static struct ht_tag_entry *write_entry(const struct wanted *wanted, uint32_t id, uint64_t *word)
{
    uint32_t place = take_entry(wanted->hash);
    if (place == UINT32_MAX)
        return NULL;
    struct ht_tag_entry *entry = entry_at(place);
    entry->kind = wanted->kind;
    entry->length = (uint16_t)wanted->length;
    memcpy(entry->name, wanted->name, wanted->length);
    entry->name[wanted->length] = '\0';
    *word =
        id | (uint64_t)(place + 1) << ENTRY_SHIFT | (uint64_t)(wanted->hash >> 16) << HASH_SHIFT;
    return entry;
}

/* Gives `id` to what is wanted, unless something else has it: then `found` is that. False where
 * there is no room. */
static bool claim(uint32_t id, const struct wanted *wanted, uint64_t *found)
{
    struct ht_tag_entry *entry = NULL;
    uint64_t word = wanted->word;
    if (used >= MAX_TAGS_USED || (wanted->length && !(entry = write_entry(wanted, id, &word))))
        return false;
    *found = 0;
    if (__atomic_compare_exchange_n(&ht_scopes[id], found, word, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        used++;
        *found = word;
    } else {
        give_back(entry);
    }
    return true;
}

/* The id of what is wanted, made where there is none; `full` where there is no place for it. */
static uint32_t intern(const struct wanted *wanted, uint32_t full)
{
    uint32_t id = wanted->hash % HT_TAGS;
    for (unsigned probe = 0; probe < HT_TAGS; probe++, id = (id + 1) % HT_TAGS) {
        if (id == 0)
            continue;
        uint64_t found = __atomic_load_n(&ht_scopes[id], __ATOMIC_ACQUIRE);
        if (found == 0 && !claim(id, wanted, &found))
            break;
        if (is_wanted(found, wanted))
            return id;
    }
    __atomic_fetch_add(&ht_oddities.truncated, 1, __ATOMIC_RELAXED);
    return full;
}

uint32_t ht_tag_intern(const char *name, size_t length, uint16_t kind)
{
    if (!laid || length == 0)
        return 0;
    if (length > HT_TAG_NAME_MAX) {
        length = HT_TAG_NAME_MAX;
        /* Never in the middle of a UTF-8 character, of which 3 bytes at most follow the first. */
        while (length > HT_TAG_NAME_MAX - 3 && ((unsigned char)name[length] & 0xc0) == 0x80)
            length--;
    }
    const struct wanted wanted = {
        .name = name, .length = length, .hash = hash_of(name, length), .kind = kind};
    return intern(&wanted, other);
}

uint32_t ht_scope_intern(uint32_t owner, uint32_t region)
{
    if (!laid || region == 0)
        return owner;
    const uint64_t word = owner | (uint64_t)region << 16;
    return intern(&(struct wanted){.word = word, .hash = hash_of((const char *)&word, 4)}, owner);
}

struct ht_tag_entry *ht_tag(uint32_t id)
{
    uint64_t word = id < HT_TAGS ? __atomic_load_n(&ht_scopes[id], __ATOMIC_ACQUIRE) : 0;
    if (word == 0)
        return NULL;
    return word >> ENTRY_SHIFT ? entry_of(word) : &no_name;
}

uint32_t ht_tag_count(void)
{
    return used;
}

enum { INSTANTIATION, CYCLE };

/* One more of what; pairs count nothing. */
static void count(uint32_t id, int what)
{
    struct ht_tag_entry *entry = ht_tag(id);
    if (!entry || entry == &no_name)
        return;
    uint32_t flag = what == CYCLE ? HT_TAG_COUNTS_CYCLES : HT_TAG_COUNTS_INSTANTIATIONS;
    if (!(__atomic_load_n(&entry->counted, __ATOMIC_RELAXED) & flag))
        __atomic_fetch_or(&entry->counted, flag, __ATOMIC_RELAXED);
    __atomic_fetch_add(what == CYCLE ? &entry->cycles : &entry->instantiations, 1,
                       __ATOMIC_RELAXED);
}

void ht_tag_count_instantiation(uint32_t id)
{
    count(id, INSTANTIATION);
}

void ht_tag_count_cycle(uint32_t id)
{
    count(id, CYCLE);
}
