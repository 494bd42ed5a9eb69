/* See memo_model.h. */
#include "../../preload/walk_step.h"
#include "memo_model.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define FUNCTIONS 24
#define MAX_STEPS 18 /* deep enough for three groups of words beyond the near ones */

/*
 * So many rounds of one test. What is laid is drawn anew in one of FRESH, else it is one of POOL
 * that come again and again, when other records have taken parts of theirs: new stacks are no more
 * than the tables have room for.
 */
#define ROUNDS 15000u
#define FRESH  4u
#define POOL   250u

/* A made-up function: how large its frame is, and whether its CFA hangs on the frame pointer. */
struct function {
    uintptr_t pc;
    unsigned frame; /* words */
    enum { BY_SP, BY_FP, OUTERMOST, NO_RULE } kind;
    bool saves_fp; /* at CFA - 16 */
};

static struct function functions[FUNCTIONS];
uint64_t memo_stack[MEMO_WORDS] __attribute__((aligned(16)));

void memo_functions(uint64_t *random)
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        struct function *f = &functions[i];
        f->pc = MEMO_CODE + 64 * i;
        f->kind = i == 0 ? OUTERMOST : i == 1 ? NO_RULE : i % 4 == 3 ? BY_FP : BY_SP;
        f->saves_fp = f->kind == BY_FP || i % 3 == 0;
        f->frame = 2 + (unsigned)(support_random(random) % 6);
        struct unwind_rule rule = {.kind = UNWIND_STEP, .cfa_offset = (int)f->frame * 8};
        if (f->kind == BY_FP) {
            rule.cfa_base = UNWIND_CFA_RBP;
            rule.cfa_offset = 16;
        }
        if (f->saves_fp) {
            rule.rbp_kind = UNWIND_RBP_AT_CFA;
            rule.rbp_offset = -16;
        }
        if (f->kind == OUTERMOST)
            rule = (struct unwind_rule){.kind = UNWIND_END};
        if (f->kind == NO_RULE)
            rule = (struct unwind_rule){.kind = UNWIND_NONE};
        uint32_t frame = ht_frame_intern(f->pc);
        *ht_frame_rule(frame) = unwind_rule_pack(&rule);
    }
}

uintptr_t memo_lay(uint64_t *random, unsigned at, unsigned *walked, unsigned *count)
{
    unsigned function = 2 + (unsigned)(support_random(random) % (FUNCTIONS - 2));
    uintptr_t entry_fp = (uintptr_t)&memo_stack[at + 40];
    uint64_t *fp_place = NULL; /* where the frame pointer of now will be restored from */
    memo_stack[at - 1] = functions[function].pc;
    *count = 0;
    for (;;) {
        const struct function *f = &functions[function];
        walked[(*count)++] = function;
        if (f->kind == OUTERMOST || f->kind == NO_RULE)
            return entry_fp;
        unsigned frame = f->frame + (f->kind == BY_FP ? (unsigned)(support_random(random) % 5) : 0);
        unsigned cfa = at + frame;
        if (f->kind == BY_FP) { /* the frame pointer in force must lead to the CFA */
            uintptr_t fp = (uintptr_t)&memo_stack[cfa - 2];
            if (fp_place)
                *fp_place = fp;
            else
                entry_fp = fp;
        }
        if (f->saves_fp)
            fp_place = &memo_stack[cfa - 2];
        bool last = *count >= MAX_STEPS || cfa + 60 > MEMO_WORDS;
        function = last ? (unsigned)(support_random(random) % 2)
                        : 2 + (unsigned)(support_random(random) % (FUNCTIONS - 2));
        memo_stack[cfa - 1] = functions[function].pc;
        at = cfa;
    }
}

/* A plain walk, without memory: the functions, innermost first. */
static unsigned model(unsigned at, uintptr_t fp, unsigned *walked)
{
    uintptr_t pc = memo_stack[at - 1], sp = (uintptr_t)&memo_stack[at];
    unsigned count = 0;
    while (count < HT_MAX_DEPTH) {
        const struct function *f = &functions[(pc - MEMO_CODE) / 64];
        if (pc < MEMO_CODE || f >= functions + FUNCTIONS || pc != f->pc)
            ck_abort_msg("the model walked to %#lx, which is no function", (unsigned long)pc);
        walked[count++] = (unsigned)(f - functions);
        if (f->kind == OUTERMOST || f->kind == NO_RULE)
            break;
        uintptr_t cfa = f->kind == BY_FP ? fp + 16 : sp + f->frame * 8;
        if (f->saves_fp)
            fp = *(uintptr_t *)(cfa - 16);
        pc = *(uintptr_t *)(cfa - 8);
        sp = cfa;
    }
    return count;
}

struct ht_thread *memo_thread(uint32_t memo_words, void *allocate(size_t bytes, size_t alignment))
{
    const uint32_t tree_bits = 9;
    size_t size = sizeof(struct ht_thread) + ht_memo_room_bytes(memo_words, tree_bits);
    struct ht_thread *thread = allocate((size + 63) & ~(size_t)63, _Alignof(struct ht_thread));
    memset(thread, 0, size);
    thread->memo_room = &thread->first_room;
    thread->first_room.words = memo_words;
    thread->first_room.tree_bits = tree_bits;
    thread->busy = HT_COUNTING;
    return thread;
}

void *memo_heap(size_t bytes, size_t alignment)
{
    return aligned_alloc(alignment, bytes);
}

/* Plain comparisons: libcheck's write to a file each time. */
static void check_site(uint32_t site, const unsigned *walked, unsigned count, uint32_t tag)
{
    if (ht_site_tag(site) != tag)
        ck_abort_msg("site of tag %u, not %u", ht_site_tag(site), tag);
    bool whole = functions[walked[count - 1]].kind == OUTERMOST;
    uint32_t node = ht_site_stack(site), frames[HT_MAX_DEPTH];
    if (ht_stack_root(node) != (whole ? HT_STACK_WHOLE : HT_STACK_CUT))
        ck_abort_msg("root %u of a stack that is %s", ht_stack_root(node), whole ? "whole" : "cut");
    unsigned depth = 0;
    for (; node >= HT_STACK_ROOTS && depth < HT_MAX_DEPTH; node = ht_stack_outer(node))
        frames[depth++] = ht_stack_frame(node);
    if (depth != count)
        ck_abort_msg("%u frames, not %u", depth, count);
    for (unsigned i = 0; i < count; i++)
        if (ht_frame_pc(frames[i]) != functions[walked[i]].pc)
            ck_abort_msg("frame %u is function %#lx, not %#lx", i,
                         (unsigned long)ht_frame_pc(frames[i]),
                         (unsigned long)functions[walked[i]].pc);
}

/*
 * Makes one word of the stack at `at` another function's; false where that is no such word. The
 * function has the same frame: the walk goes on to a stack that is whole.
 */
static bool change_a_word(uint64_t *random, unsigned at)
{
    unsigned word = at + (unsigned)(support_random(random) % 60);
    const struct function *new = &functions[support_random(random) % FUNCTIONS];
    uint64_t pc = memo_stack[word];
    if (pc < MEMO_CODE || pc >= MEMO_CODE + 64 * FUNCTIONS)
        return false;
    const struct function *old = &functions[(pc - MEMO_CODE) / 64];
    if (old->kind != new->kind || old->frame != new->frame || old->saves_fp != new->saves_fp)
        return false;
    memo_stack[word] = new->pc;
    return true;
}

struct hits {
    unsigned careful, quick;
};

/* One allocation: all ways to its site must agree with each other and with the model. */
static void allocate(struct ht_thread *thread, unsigned at, uintptr_t fp, uint32_t tag,
                     struct hits *hits)
{
    unsigned walked[HT_MAX_DEPTH];
    ht_entry entry = (ht_entry)&memo_stack[at - 2];
    uint32_t remembered = ht_memo_find_with_care(thread, entry, tag);
    ht_thread_set_tag(tag);
    uint32_t quick = memo_quick(thread, entry);
    uint32_t site = ht_site_find(thread, entry, tag);
    if (ht_stack_root(ht_site_stack(site)) == HT_STACK_FALLBACK) { /* its place is crowded */
        ht_site_grow();
        site = ht_site_find(thread, entry, tag);
    }
    if (remembered != HT_NO_SITE && remembered != site)
        ck_abort_msg("remembered site %u, walked to %u", remembered, site);
    if (quick != HT_NO_SITE && quick != site)
        ck_abort_msg("found site %u, walked to %u", quick, site);
    hits->careful += remembered != HT_NO_SITE;
    hits->quick += quick != HT_NO_SITE;
    check_site(site, walked, model(at, fp, walked), tag);
}

/* Few places and few tags, so that records collide and stale words match in part. */
static void play_round(struct ht_thread *thread, uint64_t *random, struct hits *hits)
{
    unsigned laid[HT_MAX_DEPTH], count;
    unsigned at = 10 + 2 * (unsigned)(support_random(random) % 3);
    uint32_t tag = (uint32_t)(support_random(random) % 3);
    uintptr_t fp = memo_lay(random, at, laid, &count);
    for (unsigned again = 0; again < 4; again++) {
        if (again == 2 && !change_a_word(random, at))
            continue;
        memo_stack[at - 2] = fp;
        allocate(thread, at, fp, tag, hits);
    }
}

void memo_stress(bool known_stack, uint32_t memo_words)
{
    uint64_t random = 12345 + memo_words;
    support_begin();
    memo_functions(&random);
    struct ht_thread *thread = memo_thread(memo_words, memo_heap);
    if (known_stack) {
        thread->stack_low = (uintptr_t)memo_stack;
        thread->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
    }
    struct hits hits = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool fresh = support_random(&random) % FRESH == 0;
        uint64_t again = 1 + support_random(&random) % POOL;
        play_round(thread, fresh ? &random : &again, &hits);
        ht_site_grow();
        if (i % 1000 == 999)
            ht_memo_next_generation();
    }
    printf("%u of %u found in a memo of %u words\n", hits.careful, 4 * ROUNDS, memo_words);
    ck_assert_uint_gt(hits.careful, ROUNDS / 2);
    if (known_stack)
        ck_assert_uint_gt(hits.quick, ROUNDS / 3);
    else
        ck_assert_uint_eq(hits.quick, 0);
}
