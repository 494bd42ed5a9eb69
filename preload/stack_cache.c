#include "stack_cache.h"

#include <string.h>

#include "heaptally/options.h"

uint64_t ht_generation;
int ht_stacks_mode = HT_STACKS_FULL;

/* On a stack whose extent is unknown a frame is not believed to be larger than this. */
#define MAX_UNKNOWN_REACH ((uintptr_t)1 << 20)

/* A memo record in the making: words go straight to their place in the ring. */
struct memo {
    struct ht_thread *thread;
    uintptr_t sp;     /* at entry */
    uintptr_t fp;     /* at entry */
    uintptr_t limit;  /* addresses from here on are not read */
    uint64_t *record; /* header of the record */
    unsigned words;   /* so far */
    bool uses_fp;     /* the frame pointer at entry matters */
    bool fits;        /* every word could be written down */
    uintptr_t
        fp_from; /* where the walk's frame pointer was restored from, 0: it is that at entry */
    uintptr_t fp_value;
};

/* Begins a record where there is room for the longest; destroys what stood there, front first, so
 * that no older record is left half overwritten. */
static void memo_begin(struct memo *memo, struct ht_thread *thread, ht_entry entry)
{
    uint32_t longest = 4 + HT_MEMO_MAX_WORDS;
    if (thread->memo_words - thread->memo_next < longest)
        thread->memo_next = 0;
    uintptr_t sp = ht_entry_sp(entry);
    bool known = sp >= thread->stack_low && sp < thread->stack_high;
    *memo = (struct memo){
        .thread = thread,
        .sp = sp,
        .fp = ht_entry_fp(entry),
        .limit = known ? thread->stack_high : sp + MAX_UNKNOWN_REACH,
        .record = thread->memo + thread->memo_next,
        .fits = true,
    };
    memset(memo->record, 0, 4 * sizeof *memo->record);
}

/* The words follow the longest header; they are moved up if the frame pointer is not needed. */
static void memo_word(void *context, uintptr_t address, uintptr_t word)
{
    struct memo *memo = context;
    uintptr_t distance = (address - memo->sp) / 8 + 1;
    if (distance >= 0x8000 || address < memo->sp || address % 8 || word > HT_MEMO_VALUE ||
        memo->words == HT_MEMO_MAX_WORDS)
        memo->fits = false;
    else
        memo->record[4 + memo->words++] = (uint64_t)distance << HT_ADDRESS_BITS | word;
}

static void memo_fp_used(void *context)
{
    struct memo *memo = context;
    if (!memo->fp_from)
        memo->uses_fp = true;
    else
        memo_word(memo, memo->fp_from, memo->fp_value);
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
    if (address < memo->sp || address + sizeof *word > memo->limit || address % 8)
        return false;
    *word = *(const uintptr_t *)address;
    return true;
}

/* Makes the record findable. */
static void memo_end(struct memo *memo, uint32_t site, ht_entry entry, uint32_t tag)
{
    if (!memo->fits)
        return;
    struct ht_thread *thread = memo->thread;
    uint64_t *record = memo->record;
    uint64_t a = ht_memo_a(ht_entry_pc(entry)), b = ht_memo_b(memo->sp, tag);
    if (memo->uses_fp)
        record[3] = memo->fp;
    else
        memmove(record + 3, record + 4, memo->words * sizeof *record);
    record[2] = (uint64_t)memo->uses_fp << 63 | (uint64_t)memo->words << 32 | site;
    record[1] = b;
    record[0] = a;
    *ht_memo_slot(thread, a, b) = (uint32_t)(record - thread->memo);
    thread->memo_next = (uint32_t)(record - thread->memo) + 3 + memo->uses_fp + memo->words;
}

/* How far outwards from `sp` the stack may be copied: to its end where that is known, else to the
 * end of the page. */
static uintptr_t copy_limit(const struct ht_thread *thread, uintptr_t sp, bool *by_page)
{
    uintptr_t low = __atomic_load_n(&thread->stack_low, __ATOMIC_ACQUIRE);
    *by_page = !(low && sp >= low && sp < thread->stack_high);
    return *by_page ? (sp | 4095) + 1 : thread->stack_high;
}

/* Asks the monitor to go on from the unknown frame, the last of `frames`; the provisional site of
 * the allocation, or `fallback`. */
static uint32_t capture(struct ht_thread *thread, const uint32_t *frames, unsigned count,
                        const struct ht_walk *at, uint32_t fallback, uint32_t tag)
{
    struct ht_capture *slot = ht_capture_claim();
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
    slot->at = *at;
    slot->tag = tag;
    slot->fallback = fallback;
    if (by_page)
        thread->wants_bounds = true;
    uint32_t provisional = slot->provisional;
    if (provisional)
        ht_provisional_tags[provisional - HT_PROVISIONAL_BASE] = (uint16_t)tag;
    __atomic_store_n(&slot->state, HT_CAPTURE_READY, __ATOMIC_RELEASE);
    return provisional ? provisional : fallback;
}

/* The rule of a frame, or 0 or HT_RULE_PENDING: 0 to the one caller that has to see to it. */
static uint64_t rule_or_claim(uint32_t frame)
{
    uint64_t *slot = ht_frame_rule(frame), rule = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (rule == 0)
        __atomic_compare_exchange_n(slot, &rule, HT_RULE_PENDING, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    return rule;
}

uint32_t ht_site_walk(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uintptr_t first_pc = ht_entry_pc(entry);
    if (ht_stacks_mode == HT_STACKS_OFF)
        return tag;

    struct memo memo;
    memo_begin(&memo, thread, entry);
    const struct ht_stepper stepper = {memo_read, memo_word, memo_fp_used, memo_fp_moved, &memo};
    struct ht_walk walk = {first_pc, ht_entry_sp(entry), ht_entry_fp(entry), true};
    uint32_t frames[HT_MAX_DEPTH], root = HT_STACK_CUT;
    unsigned count = 0;
    enum ht_step step = HT_STEP_GOES_ON;
    while (step == HT_STEP_GOES_ON && count < HT_MAX_DEPTH) {
        uint32_t frame = ht_intern(&ht_frames, walk.pc, true);
        if (frame == HT_INTERN_FULL)
            return ht_site_fallback(first_pc, tag);
        frames[count++] = frame;
        if (ht_stacks_mode == HT_STACKS_SITE)
            break;
        uint64_t rule = rule_or_claim(frame);
        if (rule == 0)
            return capture(thread, frames, count, &walk, ht_site_fallback(first_pc, tag), tag);
        if (rule == HT_RULE_PENDING)
            return ht_site_fallback(first_pc, tag);
        step = ht_walk_step(&walk, rule, &stepper);
    }
    if (step == HT_STEP_WHOLE)
        root = HT_STACK_WHOLE;
    uint32_t stack = ht_stack_intern(root, frames, count);
    if (stack == HT_INTERN_FULL)
        return ht_site_fallback(first_pc, tag);
    uint32_t site = ht_site_intern(stack, tag);
    memo_end(&memo, site, entry, tag);
    return site;
}
