#include "stack_cache.h"

#include <string.h>
#include <sys/auxv.h>

#include "heaptally/options.h"

uint64_t ht_memo_generation;
uint64_t ht_memo_mark = HT_MEMO_MARK;
int ht_stacks_mode = HT_STACKS_FULL;

static uint64_t mark_of(uint64_t generation)
{
    uint64_t bits = generation & ((1u << HT_MEMO_GENERATION_BITS) - 1);
    return HT_MEMO_MARK | bits << HT_MEMO_GENERATION_AT;
}

/* Place 0 is the start of the thread's state, which is no record. The owner may write at the same
 * time: then the one or the other entry stands, and both are good. */
static void empty_all_indexes(void)
{
    struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE);
    for (; thread; thread = thread->next)
        for (unsigned i = 0; i < 1u << HT_MEMO_INDEX_BITS; i++)
            __atomic_store_n(&thread->memo_index[i], 0, __ATOMIC_RELAXED);
}

void ht_memo_next_generation(void)
{
    uint64_t mark = mark_of(ht_memo_generation + 1);
    __atomic_store_n(&ht_memo_generation, ht_memo_generation + 1, __ATOMIC_SEQ_CST);
    if (mark == HT_MEMO_MARK)
        empty_all_indexes();
    __atomic_store_n(&ht_memo_mark, mark, __ATOMIC_SEQ_CST);
}

/* Whether `sp` lies in the thread's own stack, as far as that is known. */
static bool is_own_stack(const struct ht_thread *thread, uintptr_t sp)
{
    return sp < thread->stack_high && sp >= thread->stack_low;
}

static bool word_equal(ht_entry entry, uint32_t distance, uint64_t value)
{
    return *(const uint64_t *)((const char *)entry + distance) == value;
}

static bool all_equal(ht_entry entry, const uint32_t *distances, const uint64_t *values,
                      unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!word_equal(entry, distances[i], values[i]))
            return false;
    return true;
}

/* Nothing is known of what is mapped beyond the first word that differs. */
static bool words_equal_in_order(ht_entry entry, const struct ht_memo_record *record)
{
    unsigned far = record->far_bytes / sizeof *record->far;
    return word_equal(entry, HT_ENTRY_PC_DISTANCE, record->values[0]) &&
           all_equal(entry, record->distances, record->values + 1, far ? 1 : HT_MEMO_NEAR) &&
           all_equal(entry, record->far, ht_memo_far_values(record), far);
}

uint32_t ht_memo_find_with_care(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uint64_t key = ht_memo_key(entry, ht_memo_tag_key(tag), ht_memo_mark);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* as in ht_memo_find */
    const struct ht_memo_record *record = ht_memo_at(thread, entry, key);
    if ((record->key & ~(HT_MEMO_CARE | HT_MEMO_LONG)) != key)
        return HT_NO_SITE;
    /* Where the stack has got known since, a new record will allow the quick way. */
    if (record->key & HT_MEMO_CARE) {
        if (is_own_stack(thread, ht_entry_sp(entry)))
            return HT_NO_SITE;
        ht_thread_find_bounds(thread); /* then the next comes here no more */
    }
    return words_equal_in_order(entry, record) ? record->site : HT_NO_SITE;
}

/* On a stack whose extent is unknown a frame is not believed to be larger than this. */
#define MAX_UNKNOWN_REACH ((uintptr_t)1 << 20)

/* A memo record in the making; its words gather in the thread's scratch space. */
struct memo {
    struct ht_thread *thread;
    uint64_t generation; /* ht_memo_generation when the walk began */
    ht_entry entry;
    uintptr_t limit;  /* addresses from here on are not read */
    unsigned words;   /* so far */
    bool known_stack; /* all up to the limit stays mapped as long as the thread lives */
    bool uses_fp;     /* the frame pointer at entry is among the words */
    bool fits;        /* every word could be written down */
    uintptr_t
        fp_from; /* where the walk's frame pointer was restored from, 0: it is that at entry */
    uintptr_t fp_value;
};

static void memo_begin(struct memo *memo, struct ht_thread *thread, ht_entry entry)
{
    uintptr_t sp = ht_entry_sp(entry);
    ht_thread_find_bounds(thread);
    bool known = is_own_stack(thread, sp);
    *memo = (struct memo){
        .thread = thread,
        .generation = __atomic_load_n(&ht_memo_generation, __ATOMIC_ACQUIRE),
        .entry = entry,
        .limit = known ? thread->stack_high : sp + MAX_UNKNOWN_REACH,
        .known_stack = known,
        .fits = true,
    };
}

/* Far below 2^31, so that two of them are no word with bit 63 set. */
#define MAX_DISTANCE ((uintptr_t)1 << 30)

static void memo_word(void *context, uintptr_t address, uintptr_t word)
{
    struct memo *memo = context;
    uintptr_t distance = address - (uintptr_t)memo->entry;
    if (distance > MAX_DISTANCE || address % 8 || word >> HT_ADDRESS_BITS ||
        memo->words == HT_SCRATCH_WORDS) {
        memo->fits = false;
        return;
    }
    memo->thread->scratch_values[memo->words] = word;
    memo->thread->scratch_distances[memo->words++] = (uint32_t)distance;
}

static void memo_fp_used(void *context)
{
    struct memo *memo = context;
    if (memo->fp_from)
        memo_word(memo, memo->fp_from, memo->fp_value);
    else if (!memo->uses_fp)
        memo_word(memo, (uintptr_t)memo->entry, ht_entry_fp(memo->entry));
    memo->uses_fp |= !memo->fp_from;
}

static void memo_fp_moved(void *context, uintptr_t address, uintptr_t value)
{
    struct memo *memo = context;
    memo->fp_from = address;
    memo->fp_value = value;
}

static bool memo_read(void *context, uintptr_t address, uintptr_t *word)
{
    struct memo *memo = context;
    if (address < ht_entry_sp(memo->entry) || address + sizeof *word > memo->limit || address % 8)
        return false;
    *word = *(const uintptr_t *)address;
    return true;
}

/* Where the program's own code is entered, and no later than where the frame that it makes ends. */
#define ENTRY_CODE_BYTES 64u

/*
 * Words that need no comparing: a stack that ends in the program's entry code ends in
 *   main, libc's caller of main, libc's start function, entry code
 * and the last two calls are made once in the life of the process. So if main returns to where it
 * did, which is compared, the two return addresses further out are what they were.
 */
static unsigned constant_words(const struct memo *memo, uintptr_t outermost_pc)
{
    static uintptr_t entry_code;
    if (!entry_code)
        entry_code = getauxval(AT_ENTRY);
    const uint64_t *values = memo->thread->scratch_values;
    bool ends_there = outermost_pc - entry_code < ENTRY_CODE_BYTES && memo->words > 2 &&
                      values[memo->words - 1] == outermost_pc;
    return ends_there ? 2 : 0;
}

/* How many groups of words a record needs; the words are filled up to that many. Those that are
 * missing are repetitions of the last. */
static unsigned fill_up(struct ht_thread *thread, unsigned words, ht_entry entry)
{
    uint64_t *values = thread->scratch_values;
    uint32_t *distances = thread->scratch_distances;
    if (words == 0) { /* cut at once */
        values[0] = ht_entry_pc(entry);
        distances[words++] = HT_ENTRY_PC_DISTANCE;
    }
    unsigned groups = words <= HT_MEMO_NEAR ? 0 : (words - 1 + HT_MEMO_GROUP - 1) / HT_MEMO_GROUP;
    unsigned wanted = groups ? 1 + groups * HT_MEMO_GROUP : HT_MEMO_NEAR;
    for (; words < wanted; words++) {
        values[words] = values[words - 1];
        distances[words] = distances[words - 1];
    }
    return groups;
}

enum {
    DISTANCES = HT_MEMO_GROUP * sizeof(uint32_t), /* of a group, in bytes */
    VALUES = HT_MEMO_GROUP * sizeof(uint64_t),    /* a line of the cache, if it stands at one */
};

/* How many bytes a record has between its distances and its values, if it stands at `at`. */
static unsigned gap_at(const void *at, unsigned groups)
{
    uintptr_t end = (uintptr_t)at + sizeof(struct ht_memo_record) + groups * DISTANCES;
    return groups ? (unsigned)(-end % VALUES) : 0;
}

/* Where the next record goes, of so many groups. No byte is left between records: an older record
 * whose key stood there would seem to be whole. */
static struct ht_memo_record *take_room(struct ht_thread *thread, unsigned groups)
{
    size_t bytes = sizeof(struct ht_memo_record) + groups * (DISTANCES + VALUES);
    if (thread->memo_words - thread->memo_next < (bytes + VALUES) / sizeof(uint64_t))
        thread->memo_next = 0;
    void *room = thread->memo + thread->memo_next;
    thread->memo_next += (unsigned)((bytes + gap_at(room, groups)) / sizeof(uint64_t));
    return room;
}

/* The groups: all distances, and then all values. */
static void write_groups(struct ht_thread *thread, struct ht_memo_record *record, unsigned groups)
{
    unsigned gap = gap_at(record, groups);
    char *end = (char *)record->far + groups * DISTANCES;
    memcpy(record->far, thread->scratch_distances + 1, groups * DISTANCES);
    memset(end, 0, gap); /* nor is there a key of an older record here */
    memcpy(end + gap, thread->scratch_values + 1, groups * VALUES);
    record->far_values = groups * DISTANCES + gap;
    record->far_bytes = groups * DISTANCES;
}

/* Writes the record, its key last, and makes it findable. */
static void memo_end(struct memo *memo, uint32_t site, uint32_t tag, uintptr_t outermost_pc)
{
    struct ht_thread *thread = memo->thread;
    if (!memo->fits)
        return;
    unsigned words = memo->words - constant_words(memo, outermost_pc);
    unsigned groups = fill_up(thread, words, memo->entry);
    struct ht_memo_record *record = take_room(thread, groups);
    *record = (struct ht_memo_record){
        .site = site,
        .values = {ht_entry_pc(memo->entry)},
        .place = ht_cell_place(site),
    };
    memcpy(record->values + 1, thread->scratch_values, sizeof record->values - sizeof(uint64_t));
    memcpy(record->distances, thread->scratch_distances, sizeof record->distances);
    if (groups)
        write_groups(thread, record, groups);
    __asm__ volatile("" ::: "memory"); /* should this be left halfway, there is no key */
    uint64_t key = ht_memo_key(memo->entry, ht_memo_tag_key(tag), mark_of(memo->generation));
    record->key = key | (memo->known_stack ? 0 : HT_MEMO_CARE) | (groups ? HT_MEMO_LONG : 0);
    uint32_t *slot = ht_memo_slot(thread, memo->entry, key);
    /* In this order for the processor, too: whoever empties the index raises the generation first.
     */
    __atomic_store_n(slot, (uint32_t)((char *)record - (char *)thread), __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ht_memo_generation, __ATOMIC_SEQ_CST) != memo->generation)
        __atomic_store_n(slot, 0, __ATOMIC_RELAXED);
}

/* How far outwards from `sp` the stack may be copied: to its end where that is known, else to the
 * end of the page that holds the last word known to be there, just below `sp`. */
static uintptr_t copy_limit(const struct ht_thread *thread, uintptr_t sp, bool *by_page)
{
    *by_page = !is_own_stack(thread, sp);
    return *by_page ? ((sp - 1) | 4095) + 1 : thread->stack_high;
}

/* Asks the monitor to go on from the unknown frame, the last of `frames`; the provisional site of
 * the allocation, or `fallback`. */
static uint32_t capture(const struct memo *memo, const uint32_t *frames, unsigned count,
                        const struct ht_walk *at, uint32_t fallback, uint32_t tag)
{
    struct ht_thread *thread = memo->thread;
    struct ht_capture *slot = ht_capture_claim(thread->tid);
    if (!slot) {
        uint64_t pending = HT_RULE_PENDING;
        __atomic_compare_exchange_n(ht_frame_rule(frames[count - 1]), &pending, 0, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        return fallback;
    }
    bool by_page;
    uintptr_t limit = copy_limit(thread, at->sp, &by_page);
    uintptr_t bytes = limit - at->sp;
    slot->stack_bytes = bytes < HT_CAPTURE_BYTES ? (uint32_t)bytes : HT_CAPTURE_BYTES;
    memcpy(slot->stack, (const void *)at->sp, slot->stack_bytes);
    memcpy(slot->frames, frames, count * sizeof *frames);
    slot->frame_count = count;
    slot->generation = memo->generation;
    slot->at = *at;
    slot->tag = tag;
    slot->fallback = fallback;
    uint32_t provisional = slot->provisional;
    if (provisional)
        ht_provisional_tags[provisional - HT_PROVISIONAL_BASE] =
            (uint16_t)(tag | HT_PROVISIONAL_USED);
    __atomic_store_n(&slot->state, HT_CAPTURE_READY, __ATOMIC_RELEASE);
    thread->asking = 0;
    return provisional ? provisional : fallback;
}

/* The rule of a frame, or 0 or HT_RULE_PENDING: 0 to the one caller that has to see to it. */
static uint64_t rule_or_claim(struct ht_thread *thread, uint32_t frame)
{
    uint64_t *slot = ht_frame_rule(frame), rule = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (rule == 0) {
        thread->asking = frame;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        __atomic_compare_exchange_n(slot, &rule, HT_RULE_PENDING, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
    return rule;
}

/* ht_stack_intern for a thread that has just come from a stack much like this one: deep programs
 * change their innermost frames only, and each node that is looked up is a cache miss. */
static uint32_t intern_stack(struct ht_thread *thread, uint32_t root, const uint32_t *frames,
                             unsigned count)
{
    unsigned same = 0, known = thread->last_root == root ? thread->last_count : 0;
    uint32_t stack = root;
    while (same < count && same < known && thread->last_frames[same] == frames[count - 1 - same])
        stack = thread->last_stacks[same++];
    thread->last_root = root;
    for (; same < count; same++) {
        uint32_t frame = frames[count - 1 - same];
        thread->last_count = same; /* so far both arrays are of this stack */
        stack = ht_stack_push(stack, frame);
        if (stack == HT_INTERN_FULL)
            return stack;
        thread->last_frames[same] = frame;
        thread->last_stacks[same] = stack;
    }
    thread->last_count = count;
    return stack;
}

/* ---- entries that were left
 * -----------------------------------------------------------------------
 */

struct own_stack {
    uintptr_t low, high;
};

static bool read_own_stack(void *context, uintptr_t address, uintptr_t *word)
{
    const struct own_stack *stack = context;
    if (address < stack->low || address + sizeof *word > stack->high || address % 8)
        return false;
    *word = *(const uintptr_t *)address;
    return true;
}

/* Frames that the way to the outermost one may have. */
#define MAX_WAY_OUT 1024u

/* Writes nothing of the thread's: it may run in a handler while the thread beneath is counting
 * after all. */
bool ht_counting_is_over(struct ht_thread *thread, ht_entry entry)
{
    uintptr_t sp = ht_entry_sp(entry);
    if (!is_own_stack(thread, sp) || !is_own_stack(thread, (uintptr_t)thread->busy))
        return false;
    struct own_stack stack = {sp, thread->stack_high};
    const struct ht_stepper stepper = {read_own_stack, ht_ignore_word, ht_ignore_fp, ht_ignore_word,
                                       &stack};
    struct ht_walk walk = {ht_entry_pc(entry), sp, ht_entry_fp(entry), true};
    enum ht_step step = HT_STEP_GOES_ON;
    for (unsigned count = 0; step == HT_STEP_GOES_ON && count < MAX_WAY_OUT; count++) {
        uint32_t frame = ht_frame_intern(walk.pc);
        uint64_t rule =
            frame == HT_INTERN_FULL ? 0 : __atomic_load_n(ht_frame_rule(frame), __ATOMIC_ACQUIRE);
        if (rule == 0 || rule == HT_RULE_PENDING)
            return false;
        step = ht_walk_step(&walk, rule, &stepper);
    }
    return step == HT_STEP_WHOLE && walk.sp == thread->stack_root;
}

/* ---- walking
 * --------------------------------------------------------------------------------------
 */

uint32_t ht_site_walk(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uintptr_t first_pc = ht_entry_pc(entry);
    if (ht_stacks_mode == HT_STACKS_OFF)
        return tag;

    struct memo memo;
    memo_begin(&memo, thread, entry);
    const struct ht_stepper stepper = {memo_read, memo_word, memo_fp_used, memo_fp_moved, &memo};
    struct ht_walk walk = {first_pc, ht_entry_sp(entry), ht_entry_fp(entry), true};
    uint32_t *frames = thread->scratch_frames, root = HT_STACK_CUT;
    unsigned count = 0;
    enum ht_step step = HT_STEP_GOES_ON;
    while (step == HT_STEP_GOES_ON && count < HT_MAX_DEPTH) {
        uint32_t frame = ht_frame_intern(walk.pc);
        if (frame == HT_INTERN_FULL)
            return ht_site_fallback(first_pc, tag);
        frames[count++] = frame;
        if (ht_stacks_mode == HT_STACKS_SITE)
            break;
        uint64_t rule = rule_or_claim(thread, frame);
        if (rule == 0)
            return capture(&memo, frames, count, &walk, ht_site_fallback(first_pc, tag), tag);
        if (rule == HT_RULE_PENDING)
            return ht_site_fallback(first_pc, tag);
        step = ht_walk_step(&walk, rule, &stepper);
    }
    if (step == HT_STEP_WHOLE)
        root = HT_STACK_WHOLE;
    if (root == HT_STACK_WHOLE && memo.known_stack && walk.sp > thread->stack_root)
        thread->stack_root = walk.sp;
    uint32_t stack = intern_stack(thread, root, frames, count);
    if (stack == HT_INTERN_FULL)
        return ht_site_fallback(first_pc, tag);
    uint32_t site = ht_site_intern(stack, tag);
    memo_end(&memo, site, tag, root == HT_STACK_WHOLE ? walk.pc : 0);
    return site;
}
