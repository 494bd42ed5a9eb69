#include "tag.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include "heaptally/snapshot_format.h"
#include "internal_heap.h"

#define MAX_TAGS_USED (HT_TAGS - HT_TAGS / 8) /* beyond, probing would become slow */

static struct ht_tag_entry *entries; /* HT_TAGS of them */
struct ht_scope ht_scopes[HT_TAGS];
static _Atomic uint32_t used;
static uint32_t other;

bool ht_tag_begin(void)
{
    if (entries)
        return true;
    entries = ht_heap_alloc(HT_TAGS * sizeof *entries, 64);
    if (entries)
        other = ht_tag_intern("[other]", 7, HTL_TAG_OTHER);
    return entries;
}

static uint32_t hash_of(const char *name, size_t length)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return hash;
}

/* Waits for another thread that is writing this entry, which takes it a moment, or longer where it
 * was preempted: so this one sleeps, and a thread of lower priority gets its turn. A writer is
 * never what a signal handler interrupted (see claim). Bounded all the same: then the name gets a
 * second id. */
static bool becomes_ready(struct ht_tag_entry *entry)
{
    const struct timespec pause = {0, 50000};
    for (int i = 0; i < 20000; i++) {
        if (__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) == 2)
            return true;
        if (i > 100)
            nanosleep(&pause, NULL);
    }
    return false;
}

/* Signals wait while the entry is half written. `scope`: what the id will stand for, NULL for
 * itself. */
static bool claim(struct ht_tag_entry *entry, const char *name, size_t length, uint32_t hash,
                  uint16_t kind, const struct ht_scope *scope)
{
    uint32_t empty = 0;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool claimed = __atomic_compare_exchange_n(&entry->state, &empty, 1, false, __ATOMIC_ACQUIRE,
                                               __ATOMIC_RELAXED);
    if (claimed) {
        entry->hash = hash;
        entry->kind = kind;
        entry->length = (uint16_t)length;
        memcpy(entry->name, name, length);
        uint16_t id = (uint16_t)(entry - entries);
        ht_scopes[id] = scope ? *scope : (struct ht_scope){.owner = id};
        __atomic_store_n(&entry->state, 2, __ATOMIC_RELEASE);
        used++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return claimed;
}

/* The id of an entry, made where there is none; `full` where there is no place for it. */
static uint32_t intern(const char *name, size_t length, uint16_t kind, const struct ht_scope *scope,
                       uint32_t full)
{
    uint32_t hash = hash_of(name, length), index = hash % HT_TAGS;
    for (unsigned probe = 0; probe < HT_TAGS; probe++, index = (index + 1) % HT_TAGS) {
        if (index == 0)
            continue;
        struct ht_tag_entry *entry = &entries[index];
        if (__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) == 0) {
            if (used >= MAX_TAGS_USED) {
                __atomic_fetch_add(&ht_oddities.truncated, 1, __ATOMIC_RELAXED);
                return full;
            }
            if (claim(entry, name, length, hash, kind, scope))
                return index;
        }
        if (becomes_ready(entry) && entry->hash == hash && entry->length == length &&
            memcmp(entry->name, name, length) == 0)
            return index;
    }
    return full;
}

uint32_t ht_tag_intern(const char *name, size_t length, uint16_t kind)
{
    if (!entries || length == 0)
        return 0;
    if (length > HT_TAG_NAME_MAX) {
        length = HT_TAG_NAME_MAX;
        /* Never in the middle of a UTF-8 character, of which 3 bytes at most follow the first. */
        while (length > HT_TAG_NAME_MAX - 3 && ((unsigned char)name[length] & 0xc0) == 0x80)
            length--;
    }
    return intern(name, length, kind, NULL, other);
}

uint32_t ht_scope_intern(uint32_t owner, uint32_t region)
{
    if (!entries || region == 0)
        return owner;
    const struct ht_scope scope = {(uint16_t)owner, (uint16_t)region};
    char key[1 + sizeof scope] = ""; /* no name begins with a zero byte */
    memcpy(key + 1, &scope, sizeof scope);
    return intern(key, sizeof key, 0, &scope, owner);
}

struct ht_tag_entry *ht_tag(uint32_t id)
{
    if (id == 0 || id >= HT_TAGS || __atomic_load_n(&entries[id].state, __ATOMIC_ACQUIRE) != 2)
        return NULL;
    return &entries[id];
}

uint32_t ht_tag_count(void)
{
    return used;
}

static void count(uint32_t id, uint64_t *counter, uint32_t what)
{
    if (!(__atomic_load_n(&entries[id].counted, __ATOMIC_RELAXED) & what))
        __atomic_fetch_or(&entries[id].counted, what, __ATOMIC_RELAXED);
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

void ht_tag_count_instantiation(uint32_t id)
{
    if (ht_tag(id))
        count(id, &entries[id].instantiations, HT_TAG_COUNTS_INSTANTIATIONS);
}

void ht_tag_count_cycle(uint32_t id)
{
    if (ht_tag(id))
        count(id, &entries[id].cycles, HT_TAG_COUNTS_CYCLES);
}
