/*
 * Remembered stacks against a model: random stacks of made-up functions, walked by rules; a thread
 * with a memo of a few records, overwritten all the time. What is found must be the stack that a
 * plain walk gives, each time.
 */
#include "../../preload/stack_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define FUNCTIONS 24
#define WORDS     400
#define MAX_STEPS 14 /* deep enough for two groups of words beyond the near ones */

/* A made-up function: how large its frame is, and whether its CFA hangs on the frame pointer. */
struct function {
    uintptr_t pc;
    unsigned frame; /* words */
    enum { BY_SP, BY_FP, OUTERMOST, NO_RULE } kind;
    bool saves_fp; /* at CFA - 16 */
};

static struct function functions[FUNCTIONS];
static uint64_t stack[WORDS] __attribute__((aligned(16)));

static void make_functions(uint64_t *random)
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        struct function *f = &functions[i];
        f->pc = 0x400000 + 64 * i;
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
        uint32_t frame = ht_intern(&ht_frames, f->pc, true);
        *ht_frame_rule(frame) = unwind_rule_pack(&rule);
    }
}

/* Lays frames outwards from word `at`, and says of which functions; the rest of the stack keeps
 * what earlier stacks left there. Returns the frame pointer at entry. */
static uintptr_t lay(uint64_t *random, unsigned at, unsigned *walked, unsigned *count)
{
    unsigned function = 2 + (unsigned)(support_random(random) % (FUNCTIONS - 2));
    uintptr_t entry_fp = (uintptr_t)&stack[at + 40];
    uint64_t *fp_place = NULL; /* where the frame pointer of now will be restored from */
    stack[at - 1] = functions[function].pc;
    *count = 0;
    for (;;) {
        const struct function *f = &functions[function];
        walked[(*count)++] = function;
        if (f->kind == OUTERMOST || f->kind == NO_RULE)
            return entry_fp;
        unsigned frame = f->frame + (f->kind == BY_FP ? (unsigned)(support_random(random) % 5) : 0);
        unsigned cfa = at + frame;
        if (f->kind == BY_FP) { /* the frame pointer in force must lead to the CFA */
            uintptr_t fp = (uintptr_t)&stack[cfa - 2];
            if (fp_place)
                *fp_place = fp;
            else
                entry_fp = fp;
        }
        if (f->saves_fp)
            fp_place = &stack[cfa - 2];
        bool last = *count >= MAX_STEPS || cfa + 60 > WORDS;
        function = last ? (unsigned)(support_random(random) % 2)
                        : 2 + (unsigned)(support_random(random) % (FUNCTIONS - 2));
        stack[cfa - 1] = functions[function].pc;
        at = cfa;
    }
}

/* A plain walk, without memory: the functions, innermost first. */
static unsigned model(unsigned at, uintptr_t fp, unsigned *walked)
{
    uintptr_t pc = stack[at - 1], sp = (uintptr_t)&stack[at];
    unsigned count = 0;
    while (count < HT_MAX_DEPTH) {
        const struct function *f = &functions[(pc - 0x400000) / 64];
        ck_assert(pc >= 0x400000 && f < functions + FUNCTIONS && pc == f->pc);
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

static struct ht_thread *make_thread(uint32_t memo_words)
{
    size_t size = sizeof(struct ht_thread) + memo_words * 8;
    struct ht_thread *thread = aligned_alloc(16, (size + 15) & ~(size_t)15);
    memset(thread, 0, size);
    thread->memo_words = memo_words;
    thread->busy = HT_COUNTING;
    return thread;
}

static void check_site(uint32_t site, const unsigned *walked, unsigned count, uint32_t tag)
{
    ck_assert_uint_eq(ht_site_tag(site), tag);
    uint32_t node = ht_site_stack(site), frames[HT_MAX_DEPTH];
    ck_assert_uint_eq(ht_stack_root(node), functions[walked[count - 1]].kind == OUTERMOST
                                               ? HT_STACK_WHOLE
                                               : HT_STACK_CUT);
    unsigned depth = 0;
    for (; node >= HT_STACK_ROOTS; node = ht_stack_outer(node))
        frames[depth++] = ht_stack_frame(node);
    ck_assert_uint_eq(depth, count);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(ht_frame_pc(frames[i]), functions[walked[i]].pc);
}

/* Random stacks all differ: no more rounds than the table of stacks has room for. */
static void stress(bool known_stack, uint32_t memo_words, unsigned rounds)
{
    uint64_t random = 12345 + memo_words;
    support_begin();
    make_functions(&random);
    struct ht_thread *thread = make_thread(memo_words);
    if (known_stack) {
        thread->stack_low = (uintptr_t)stack;
        thread->stack_high = thread->thread_pointer = (uintptr_t)(stack + WORDS);
    }
    unsigned hits = 0, quick_hits = 0;
    for (unsigned i = 0; i < rounds; i++) {
        unsigned laid[HT_MAX_DEPTH], walked[HT_MAX_DEPTH], count;
        /* Few places and few tags, so that records collide and stale words match in part. */
        unsigned at = 10 + 2 * (unsigned)(support_random(&random) % 3);
        uint32_t tag = (uint32_t)(support_random(&random) % 3);
        uintptr_t fp = lay(&random, at, laid, &count);
        for (unsigned again = 0; again < 4; again++) {
            if (again == 2) { /* one word of the stack is another now */
                unsigned word = at + (unsigned)(support_random(&random) % 60);
                unsigned f = (unsigned)(support_random(&random) % FUNCTIONS);
                uint64_t old = stack[word];
                bool is_return = old >= 0x400000 && old < 0x400000 + 64 * FUNCTIONS;
                if (!is_return)
                    continue;
                /* A function of the same frame: the walk goes on to a stack that is whole. */
                if (functions[(old - 0x400000) / 64].kind != functions[f].kind ||
                    functions[(old - 0x400000) / 64].frame != functions[f].frame ||
                    functions[(old - 0x400000) / 64].saves_fp != functions[f].saves_fp)
                    continue;
                stack[word] = functions[f].pc;
            }
            stack[at - 2] = fp;
            ht_entry entry = (ht_entry)&stack[at - 2];
            uint32_t remembered = ht_memo_find_with_care(thread, entry, tag);
            ht_thread_set_tag(thread, tag);
            const struct ht_memo_record *quick = ht_memo_find(thread, entry);
            uint32_t site = ht_site_find(thread, entry, tag);
            hits += remembered != HT_NO_SITE;
            if (remembered != HT_NO_SITE)
                ck_assert_uint_eq(remembered, site);
            if (quick)
                ck_assert_uint_eq(quick->site, site);
            quick_hits += quick != NULL;
            check_site(site, walked, model(at, fp, walked), tag);
        }
        ht_site_grow();
        if (i % 1000 == 999)
            ht_memo_next_generation();
    }
    printf("%u of %u found in a memo of %u words\n", hits, 4 * rounds, memo_words);
    ck_assert_uint_gt(hits, rounds / 2);
    if (known_stack)
        ck_assert_uint_gt(quick_hits, rounds / 3);
    else
        ck_assert_uint_eq(quick_hits, 0);
}

START_TEST(small_ring_known_stack)
{
    stress(true, 96, 4000);
}
END_TEST

START_TEST(small_ring_unknown_stack)
{
    stress(false, 96, 4000);
}
END_TEST

START_TEST(larger_ring)
{
    stress(true, 3584, 4000);
}
END_TEST

/* Whether or not it is quicker here: that the processor can. */
START_TEST(gathered_words)
{
    if (!__builtin_cpu_supports("avx2")) {
        printf("SKIP: this processor does not gather\n");
        return;
    }
    ht_gathers = true;
    stress(true, 3584, 4000);
}
END_TEST

START_TEST(generations_void_what_was_remembered)
{
    uint64_t random = 99;
    unsigned laid[HT_MAX_DEPTH], count;
    support_begin();
    make_functions(&random);
    struct ht_thread *thread = make_thread(1000);
    uintptr_t fp = lay(&random, 10, laid, &count);
    stack[8] = fp;
    ht_entry entry = (ht_entry)&stack[8];
    uint32_t site = ht_site_find(thread, entry, 1);
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 1), site);
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 2), HT_NO_SITE);
    ht_memo_next_generation();
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 1), HT_NO_SITE);
    ck_assert_uint_eq(ht_site_find(thread, entry, 1), site);
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 1), site);
    /* All the way round: the key of that record is what a new one would have again. */
    thread->next = ht_threads;
    ht_threads = thread;
    for (unsigned i = 0; i < 1u << HT_MEMO_GENERATION_BITS; i++)
        ht_memo_next_generation();
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 1), HT_NO_SITE);
    ck_assert_uint_eq(ht_site_find(thread, entry, 1), site);
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 1), site);
    ht_threads = thread->next;
}
END_TEST

/* An unknown frame is asked for once; while that is awaited, and when the ring is full, the
 * immediate return address has to do. */
START_TEST(unknown_frames_are_captured)
{
    uint64_t random = 7;
    support_begin();
    make_functions(&random);
    struct ht_thread *thread = make_thread(1000);
    memset(stack, 0, sizeof stack);
    thread->stack_low = (uintptr_t)stack;
    thread->stack_high = thread->thread_pointer = (uintptr_t)(stack + WORDS);
    ht_captures[0].provisional = HT_PROVISIONAL_BASE + 5;
    for (unsigned i = 0; i < HT_CAPTURE_SLOTS + 3; i++) {
        stack[9] = 0x900000 + 16 * i;
        uint32_t site = ht_site_find(thread, (ht_entry)&stack[8], 3);
        if (i == 0) {
            ck_assert_uint_eq(site, HT_PROVISIONAL_BASE + 5);
            ck_assert(ht_site_exists(site));
            ck_assert(!ht_site_exists(site + 1));
        } else {
            ck_assert_uint_eq(ht_stack_root(ht_site_stack(site)), HT_STACK_FALLBACK);
        }
        uint32_t again = ht_site_find(thread, (ht_entry)&stack[8], 3);
        ck_assert_uint_eq(ht_stack_root(ht_site_stack(again)), HT_STACK_FALLBACK);
        uint64_t rule = *ht_frame_rule(ht_intern(&ht_frames, stack[9], false));
        ck_assert_uint_eq(rule, i < HT_CAPTURE_SLOTS ? HT_RULE_PENDING : 0);
    }
    ck_assert_uint_eq(ht_captures[0].stack_bytes, (WORDS - 10) * 8);
    /* A fork: what waits to be worked off stays so, what nobody works on is asked for again. */
    ht_captures[1].state = HT_CAPTURE_FILLING;
    ht_capture_after_fork();
    unsigned pending = 0;
    for (unsigned i = 0; i < HT_CAPTURE_SLOTS; i++)
        pending += *ht_frame_rule(ht_intern(&ht_frames, 0x900000 + 16 * i, false)) != 0;
    ck_assert_uint_eq(pending, HT_CAPTURE_SLOTS - 1);
    ck_assert_uint_eq(ht_captures[1].state, HT_CAPTURE_FREE);
}
END_TEST

SUPPORT_MAIN("memo", small_ring_known_stack, small_ring_unknown_stack, larger_ring, gathered_words,
             generations_void_what_was_remembered, unknown_frames_are_captured)
