#include "stack_cache.h"

#include <string.h>

#include "heaptally/options.h"

uint64_t ht_memo_generation;
uint64_t ht_memo_mark = HT_MEMO_MARK;
int ht_stacks_mode = HT_STACKS_FULL;

static uint64_t mark_of(uint64_t generation)
{
    uint64_t bits = generation & ((1u << HT_MEMO_GENERATION_BITS) - 1);
    return HT_MEMO_MARK | bits << HT_MEMO_GENERATION_AT;
}

static void empty_all_indexes(void)
{
    struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    for (; thread; thread = thread->next)
        ht_thread_forget_stacks(thread);
}

void ht_memo_next_generation(void)
{
    uint64_t mark = mark_of(ht_memo_generation + 1);
    __atomic_store_n(&ht_memo_generation, ht_memo_generation + 1, __ATOMIC_SEQ_CST);
    if (mark == HT_MEMO_MARK)
        empty_all_indexes();
    __atomic_store_n(&ht_memo_mark, mark, __ATOMIC_SEQ_CST);
}

bool ht_memo_unanswered;

void ht_memo_await_answers(void)
{
    __atomic_store_n(&ht_memo_unanswered, true, __ATOMIC_SEQ_CST);
}

/* In this order: whoever remembers a return address alone looks at the mark afterwards. */
void ht_memo_expect_answers(void)
{
    if (!__atomic_load_n(&ht_memo_unanswered, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&ht_memo_unanswered, false, __ATOMIC_SEQ_CST);
    empty_all_indexes();
}

/* ---- finding ------------------------------------------------------------------------------------
 */

/* Whether a word of the stack is `value`. If not, `hash` takes in which one it is and what it is.
 */
static bool is_word(ht_entry entry, uint32_t distance, uint64_t value, uint32_t *hash)
{
    uint64_t word = *(const uint64_t *)((const char *)entry + distance);
    if (word == value)
        return true;
    *hash = (*hash + distance + (uint32_t)word) * 0x85EBCA6Bu;
    return false;
}

static bool are_words(ht_entry entry, const uint32_t *distances, const uint64_t *values,
                      unsigned count, uint32_t *hash)
{
    for (unsigned i = 0; i < count; i++)
        if (!is_word(entry, distances[i], values[i], hash))
            return false;
    return true;
}

/* Nothing is known of what is mapped beyond the first word that differs. */
static bool is_of(const struct ht_memo_record *record, ht_entry entry, uint32_t *hash)
{
    unsigned far = record->far_bytes / sizeof *record->far;
    return is_word(entry, HT_ENTRY_PC_DISTANCE, record->values[0], hash) &&
           are_words(entry, record->distances, record->values + 1, HT_MEMO_ALONE, hash) &&
           are_words(entry, record->far, ht_memo_far_values(record), far, hash);
}

/* Goes down the tree to the record of a stack. NULL where there is none; `slot` is where it would
 * be looked for. */
static const struct ht_memo_record *descend(struct ht_thread *thread, ht_entry entry, uint64_t key,
                                            int32_t **slot)
{
    int32_t *tree = ht_memo_tree(thread->memo_room);
    uint32_t hash = ht_memo_hash(entry, key), bits = thread->memo_room->tree_bits;
    for (unsigned turn = 0; turn < HT_MEMO_TURNS; turn++) {
        *slot = &tree[ht_memo_place(hash, bits)];
        const struct ht_memo_record *record = ht_memo_record_at(thread, **slot);
        if ((record->key & ~HT_MEMO_CARE) != key)
            return NULL;
        /* Where the stack has got known since, a new record will allow the quick way. */
        if ((record->key & HT_MEMO_CARE) && ht_is_own_stack(thread, ht_entry_sp(entry)))
            return NULL;
        ht_cell_fetch(thread, record->site); /* it will be counted, while words are compared */
        if (is_of(record, entry, &hash))
            return record;
    }
    return NULL; /* the last one has to give way */
}

/* Has a slot of an index lead to a record, unless modules went away since `generation`. In this
 * order for the processor, too: whoever empties the indexes raises the generation first. */
static void lead_to(const struct ht_memo_record *record, int32_t *slot, struct ht_thread *thread,
                    uint64_t generation)
{
    int32_t place = (int32_t)((const uint64_t *)(const void *)record - (uint64_t *)(void *)thread);
    if (__atomic_load_n(slot, __ATOMIC_RELAXED) == place)
        return;
    __atomic_store_n(slot, place, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ht_memo_generation, __ATOMIC_SEQ_CST) != generation)
        __atomic_store_n(slot, 0, __ATOMIC_RELAXED);
}

uint32_t ht_memo_find_with_care(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uint64_t generation = __atomic_load_n(&ht_memo_generation, __ATOMIC_ACQUIRE);
    uint64_t mark = __atomic_load_n(&ht_memo_mark, __ATOMIC_ACQUIRE); /* as in ht_memo_find */
    uint64_t key = ht_memo_key(entry, ht_memo_tag_key(tag), mark);
    int32_t *slot;
    const struct ht_memo_record *record = descend(thread, entry, key, &slot);
    if (!record)
        return HT_NO_SITE;
    if (record->key & HT_MEMO_CARE)
        ht_thread_find_bounds(thread); /* then the next comes here no more */
    else if (mark == mark_of(generation))
        lead_to(record, ht_memo_slot(thread, entry, key), thread, generation);
    return record->site;
}

/* ---- remembering --------------------------------------------------------------------------------
 */

/* Far below 2^31, so that two of them are no word with bit 63 set. */
#define MAX_DISTANCE ((uintptr_t)1 << 30)

/* The words of a record one after the other: the entry's frame pointer, then those of the walk from
 * the innermost on, then repetitions of the last. */
struct pen {
    const struct ht_finding *finding;
    const struct ht_stack_word *next; /* behind the one that comes next */
    uintptr_t address, value;         /* the one that came last */
    uintptr_t furthest, bits; /* of all so far: the largest distance, all bits that are set */
    bool at_fp;               /* the entry's frame pointer comes next */
};

static inline uint32_t next_word(struct pen *pen, uint64_t *value)
{
    const struct ht_finding *finding = pen->finding;
    if (pen->at_fp) {
        pen->at_fp = false;
        pen->address = (uintptr_t)finding->entry;
        pen->value = ht_entry_fp(finding->entry);
    } else if (pen->next != finding->words) {
        pen->next--;
        pen->address = pen->next->address;
        pen->value = pen->next->value;
    }
    uintptr_t distance = pen->address - (uintptr_t)finding->entry;
    pen->furthest = distance > pen->furthest ? distance : pen->furthest;
    pen->bits |= pen->value;
    *value = pen->value & (HT_ADDRESS_LIMIT - 1); /* whatever comes of it: no bit 63 */
    return (uint32_t)distance & INT32_MAX;
}

enum {
    DISTANCES = HT_MEMO_GROUP * sizeof(uint32_t), /* of a group, in bytes */
    VALUES = HT_MEMO_GROUP * sizeof(uint64_t),
};

/* How many bytes a record has between its distances and its values, if it stands at `at`. */
static unsigned gap_at(const void *at, unsigned groups)
{
    uintptr_t end = (uintptr_t)at + sizeof(struct ht_memo_record) + groups * DISTANCES;
    return groups ? (unsigned)(-end % VALUES) : 0;
}

/* Moves to the larger room, if there is one by now. */
static void move_if_larger(struct ht_thread *thread)
{
    struct ht_memo_room *larger = __atomic_load_n(&thread->larger_room, __ATOMIC_ACQUIRE);
    if (!larger || larger == thread->memo_room)
        return;
    __atomic_store_n(&thread->memo_laps, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->memo_room, larger, __ATOMIC_RELEASE);
    thread->memo_next = 0;
}

/* Where the next record goes, of so many groups. No byte is left between records: an older record
 * whose key stood there would seem to be whole. */
static struct ht_memo_record *take_room(struct ht_thread *thread, unsigned groups)
{
    size_t bytes = sizeof(struct ht_memo_record) + groups * (DISTANCES + VALUES);
    move_if_larger(thread);
    if (thread->memo_room->words - thread->memo_next < (bytes + VALUES) / sizeof(uint64_t)) {
        thread->memo_next = 0;
        __atomic_store_n(&thread->memo_laps, thread->memo_laps + 1, __ATOMIC_RELAXED);
    }
    void *room = thread->memo_room->ring + thread->memo_next;
    thread->memo_next += (unsigned)((bytes + gap_at(room, groups)) / sizeof(uint64_t));
    return room;
}

/* How many groups a record of so many words needs. */
static unsigned groups_of(unsigned words)
{
    return words <= HT_MEMO_ALONE ? 0 : (words - HT_MEMO_ALONE + HT_MEMO_GROUP - 1) / HT_MEMO_GROUP;
}

/* The groups: all distances, and then all values. */
static void write_groups(struct ht_memo_record *record, unsigned groups, struct pen *pen)
{
    unsigned gap = gap_at(record, groups);
    char *end = (char *)record->far + groups * DISTANCES;
    memset(end, 0, gap); /* nor is there a key of an older record here */
    uint64_t *values = (void *)(end + gap);
    for (unsigned i = 0; i < groups * HT_MEMO_GROUP; i++)
        record->far[i] = next_word(pen, &values[i]);
    record->far_values = groups * DISTANCES + gap;
    record->far_bytes = groups * DISTANCES;
}

/* Writes the record, its key last, and makes it findable. */
void ht_memo_remember(struct ht_thread *thread, const struct ht_finding *finding)
{
    unsigned words = finding->count + finding->uses_fp, groups = groups_of(words);
    struct ht_memo_record *record = take_room(thread, groups);
    uintptr_t entry = (uintptr_t)finding->entry, pc = ht_entry_pc(finding->entry);
    *record = (struct ht_memo_record){
        .site = finding->site,
        .enough = words > HT_MEMO_NEAR ? HT_MEMO_LONG : HT_NEAR_SAME,
        .values = {pc},
        .place = ht_cell_place(finding->site),
    };
    struct pen pen = {.finding = finding,
                      .next = finding->words + finding->count,
                      .address = entry + HT_ENTRY_PC_DISTANCE, /* where it is cut at once */
                      .value = pc,
                      .at_fp = finding->uses_fp};
    for (unsigned i = 0; i < HT_MEMO_ALONE; i++)
        record->distances[i] = next_word(&pen, &record->values[1 + i]);
    if (groups)
        write_groups(record, groups, &pen);
    if (pen.furthest > MAX_DISTANCE || pen.bits >> HT_ADDRESS_BITS)
        return;                        /* without a key it is no record */
    __asm__ volatile("" ::: "memory"); /* should this be left halfway, there is no key */
    uint64_t key =
        ht_memo_key(finding->entry, ht_memo_tag_key(finding->tag), mark_of(finding->generation));
    record->key = key | (finding->known_stack ? 0 : HT_MEMO_CARE);
    int32_t *slot;
    if (!descend(thread, finding->entry, key, &slot))
        lead_to(record, slot, thread, finding->generation);
    lead_to(record, ht_memo_slot(thread, finding->entry, key), thread, finding->generation);
}
