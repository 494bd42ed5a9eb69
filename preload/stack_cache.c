#include "stack_cache.h"

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

void ht_memo_expect_answers(void)
{
    if (__atomic_load_n(&ht_memo_unanswered, __ATOMIC_RELAXED))
        __atomic_store_n(&ht_memo_unanswered, false, __ATOMIC_SEQ_CST);
}

/* ---- finding ------------------------------------------------------------------------------------
 */

/* Whether a word of the stack is `value`. If not, `hash` takes in which one it is and what it is.
 */
static bool is_word(ht_entry entry, uint64_t distance, uint64_t value, uint32_t *hash)
{
    uint64_t word = *(const uint64_t *)((const char *)entry + distance);
    if (word == value)
        return true;
    *hash = (*hash + (uint32_t)distance + (uint32_t)word) * 0x85EBCA6Bu;
    return false;
}

/* Nothing is known of what is mapped beyond the first word that differs. */
static bool is_of(const struct ht_memo_record *record, ht_entry entry, uint32_t *hash)
{
    const uint64_t *values = record->values;
    const size_t word = sizeof *values;
    if (!is_word(entry, HT_ENTRY_PC_AT * word, *values++, hash))
        return false;
    for (uint64_t i = 0, near = record->near; i < 4; i++, near >>= 16)
        if (!is_word(entry, (uint16_t)near * word, *values++, hash))
            return false;
    for (unsigned i = 0; i < HT_MEMO_ALONE - 4; i++)
        if (!is_word(entry, record->more[i] * word, *values++, hash))
            return false;
    for (const struct ht_word_group *group = record->far; group < ht_memo_far_end(record); group++)
        for (unsigned i = 0; i < HT_WORD_GROUP; i++)
            if (!is_word(entry, group->distances[i], group->values[i], hash))
                return false;
    return true;
}

/* Neighbouring tags have different ones, too. */
static uint32_t tree_hash(ht_entry entry, uint64_t key)
{
    return ht_memo_hash(entry) + ((uint32_t)(key >> HT_MEMO_TAG_AT) << 19);
}

/* Goes down the tree to the record of a stack. NULL where there is none; `slot` is where it would
 * be looked for. */
static const struct ht_memo_record *descend(struct ht_thread *thread, ht_entry entry, uint64_t key,
                                            int32_t **slot)
{
    int32_t *tree = ht_memo_tree(thread->memo_room);
    uint32_t hash = tree_hash(entry, key), bits = thread->memo_room->tree_bits;
    for (unsigned turn = 0; turn < HT_MEMO_TURNS; turn++) {
        *slot = &tree[ht_memo_mix(hash) >> (32 - bits)];
        const struct ht_memo_record *record = ht_memo_record_at(thread, **slot);
        if ((record->key & ~(HT_MEMO_CARE | HT_MEMO_LONG)) != key)
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
    uint64_t tag_key = ht_memo_tag_key(tag), key = ht_memo_key(entry, tag_key, mark);
    int32_t *slot;
    const struct ht_memo_record *record = descend(thread, entry, key, &slot);
    if (!record)
        return HT_NO_SITE;
    if (record->key & HT_MEMO_CARE)
        ht_thread_find_bounds(thread); /* then the next comes here no more */
    else if (mark == mark_of(generation))
        lead_to(record, ht_memo_slot(thread, entry, tag_key), thread, generation);
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
    uintptr_t distance, value;        /* of the one that came last */
    uintptr_t distances, values;      /* all bits that are set in any so far */
    uintptr_t furthest;               /* of all so far */
    bool at_fp;                       /* the entry's frame pointer comes next */
};

/* How far from the entry the next word is; that of the last again where there is none. */
static uintptr_t next_distance(const struct pen *pen)
{
    if (pen->at_fp)
        return 0;
    if (pen->next == pen->finding->words)
        return pen->distance;
    return pen->next[-1].address - (uintptr_t)pen->finding->entry;
}

static uint64_t value_again(const struct pen *pen)
{
    return pen->value & (HT_ADDRESS_LIMIT - 1); /* whatever comes of it: no bit 63 */
}

static uint64_t next_value(struct pen *pen)
{
    pen->distance = next_distance(pen);
    if (pen->at_fp)
        pen->value = ht_entry_fp(pen->finding->entry);
    else if (pen->next != pen->finding->words)
        pen->value = (--pen->next)->value;
    pen->at_fp = false;
    pen->furthest = pen->distance > pen->furthest ? pen->distance : pen->furthest;
    pen->distances |= pen->distance;
    pen->values |= pen->value;
    return value_again(pen);
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
    size_t bytes = sizeof(struct ht_memo_record) + groups * sizeof(struct ht_word_group);
    move_if_larger(thread);
    if (thread->memo_room->words - thread->memo_next < bytes / sizeof(uint64_t)) {
        thread->memo_next = 0;
        __atomic_store_n(&thread->memo_laps, thread->memo_laps + 1, __ATOMIC_RELAXED);
    }
    void *room = thread->memo_room->ring + thread->memo_next;
    thread->memo_next += (unsigned)(bytes / sizeof(uint64_t));
    return room;
}

static unsigned words_left(const struct pen *pen)
{
    return (unsigned)(pen->next - pen->finding->words) + pen->at_fp;
}

/* Words that stand in no group: as many as there is place for, up to the first that lies too far
 * out. How many there were. */
static unsigned write_alone(struct ht_memo_record *record, struct pen *pen)
{
    uint64_t at[HT_MEMO_ALONE];
    unsigned count = 0;
    for (unsigned i = 0; i < HT_MEMO_ALONE; i++) {
        bool fits = count == i && words_left(pen) > 0 &&
                    next_distance(pen) / sizeof(uint64_t) < HT_MEMO_REACH;
        count += fits;
        record->values[1 + i] = fits ? next_value(pen) : value_again(pen);
        at[i] = pen->distance / sizeof(uint64_t);
    }
    record->near = at[0] | at[1] << 16 | at[2] << 32 | at[3] << 48;
    for (unsigned i = 4; i < HT_MEMO_ALONE; i++)
        record->more[i - 4] = (uint16_t)at[i];
    return count;
}

static void write_groups(struct ht_word_group *group, const struct ht_word_group *end,
                         struct pen *pen)
{
    for (; group < end; group++)
        for (unsigned i = 0; i < HT_WORD_GROUP; i++) {
            group->values[i] = next_value(pen);
            group->distances[i] = (uint32_t)pen->distance & INT32_MAX;
        }
}

/* Writes the record, its key last, and makes it findable. */
void ht_memo_remember(struct ht_thread *thread, const struct ht_finding *finding)
{
    uintptr_t pc = ht_entry_pc(finding->entry);
    struct pen pen = {.finding = finding,
                      .next = finding->words + finding->count,
                      .distance = HT_ENTRY_PC_AT * sizeof(uint64_t), /* where it is cut at once */
                      .value = pc,
                      .at_fp = finding->uses_fp};
    struct ht_memo_record near = {.site = finding->site, .values = {pc & (HT_ADDRESS_LIMIT - 1)}};
    unsigned words = words_left(&pen), alone = write_alone(&near, &pen);
    unsigned groups = (words - alone + HT_WORD_GROUP - 1) / HT_WORD_GROUP;
    near.far_bytes = (uint16_t)(groups * sizeof *near.far);
    struct ht_memo_record *record = take_room(thread, groups);
    *record = near;
    write_groups(record->far, ht_memo_far_end(record), &pen);
    if (pen.furthest > MAX_DISTANCE || pen.distances % sizeof(uint64_t) ||
        (pen.values | pc) >> HT_ADDRESS_BITS)
        return;                        /* without a key it is no record */
    __asm__ volatile("" ::: "memory"); /* should this be left halfway, there is no key */
    uint64_t tag_key = ht_memo_tag_key(finding->tag);
    uint64_t key = ht_memo_key(finding->entry, tag_key, mark_of(finding->generation));
    bool is_long = words > HT_MEMO_NEAR || groups > 0;
    record->key = key | (finding->known_stack ? 0 : HT_MEMO_CARE) | (is_long ? HT_MEMO_LONG : 0);
    int32_t *slot;
    if (!descend(thread, finding->entry, key, &slot))
        lead_to(record, slot, thread, finding->generation);
    lead_to(record, ht_memo_slot(thread, finding->entry, tag_key), thread, finding->generation);
}

void ht_caller_remember(struct ht_thread *thread, ht_entry entry, uint32_t tag, uint32_t site,
                        uint64_t generation)
{
    if (ht_entry_pc(entry) >> HT_MEMO_GENERATION_AT)
        return; /* no key could tell it from another */
    uint64_t key = ht_caller_key(entry, ht_memo_tag_key(tag), mark_of(generation));
    unsigned way = thread->caller_next++ % HT_CALLER_WAYS;
    struct ht_caller *caller = &ht_caller_line(thread->callers, key)->ways[way];
    __atomic_store_n(&caller->key, 0, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* should this be left halfway, there is no key */
    caller->site = site;
    __atomic_store_n(&caller->key, key, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ht_memo_generation, __ATOMIC_SEQ_CST) != generation) /* as in lead_to */
        __atomic_store_n(&caller->key, 0, __ATOMIC_RELAXED);
}
