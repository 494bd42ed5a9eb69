/*
 * Whether a thread has left its counting for good is told by the way from where it allocates now to
 * where its stack begins: ways of made-up functions, some of which prove it, and some of which are
 * those of a handler or a fiber that goes back. Rules that are missing on the way are asked for.
 */
#include <pthread.h>
#include <string.h>

#include "../../preload/stack_bounds.h"
#include "../../preload/stack_cache.h"
#include "../../preload/unwind.h"
#include "../../preload/walk_step.h"
#include "support.h"

#define CODE    0xa00000u
#define WORDS   16384u
#define ENTRY   2000u /* word of the stack at which the caller's frame begins */
#define DEEPEST 12u   /* frames of a way, at most */

static uint64_t stack[WORDS] __attribute__((aligned(16)));

/* How far in libc calls a thread's function: the outermost frame of a stack lies further out. */
static void *find_out(void *argument)
{
    ht_stack_bounds_begin(HT_CALLERS_SP());
    return argument;
}

/* A thread whose stack that is, and that is counting at a word of it. */
static struct ht_thread *thread_counting_at(unsigned word)
{
    static struct ht_thread thread;
    pthread_t other;
    support_begin();
    ck_assert_int_eq(pthread_create(&other, NULL, find_out, NULL), 0);
    pthread_join(other, NULL);
    thread.stack_low = (uintptr_t)stack;
    thread.stack_high = (uintptr_t)(stack + WORDS);
    thread.busy = (uintptr_t)&stack[word];
    thread.tid = 77;
    return &thread;
}

static uintptr_t code_of(unsigned function)
{
    return CODE + 64 * function;
}

static void set_rule(unsigned function, struct unwind_rule rule)
{
    *ht_frame_rule(ht_frame_intern(code_of(function))) = unwind_rule_pack(&rule);
}

/* Lays frames of so many words from ENTRY outwards, 0 at the end; the last function calls from
 * where `end` says. Every function but that has a rule. */
static ht_entry lay_way(const unsigned *frames, enum unwind_kind end)
{
    unsigned at = ENTRY, function = 0;
    memset(stack, 0, sizeof stack);
    stack[at - 1] = code_of(0);
    for (; frames[function]; function++) {
        struct unwind_rule rule = {.kind = UNWIND_STEP, .cfa_offset = (int)frames[function] * 8};
        set_rule(function, rule);
        at += frames[function];
        stack[at - 1] = code_of(function + 1);
    }
    set_rule(function, (struct unwind_rule){.kind = (uint8_t)end});
    return (ht_entry)&stack[ENTRY - 2];
}

#define TO_THE_END (WORDS - ENTRY - 8) /* words: where a stack begins */

START_TEST(the_way_tells)
{
    static const struct {
        const char *what;
        unsigned counted_at, frames[DEEPEST];
        enum unwind_kind end;
        bool over;
    } ways[] = {
        {"from a frame further out", ENTRY - 1, {50, TO_THE_END - 50}, UNWIND_END, false},
        {"from the lowest address", 0, {50, TO_THE_END - 50}, UNWIND_END, false},
        {"in new small frames", ENTRY + 60, {50, 20, TO_THE_END - 70}, UNWIND_END, true},
        {"in the innermost of them", ENTRY, {50, 20, TO_THE_END - 70}, UNWIND_END, true},
        {"a frame that may hold a fiber", ENTRY + 80, {50, 20, TO_THE_END - 70}, UNWIND_END, false},
        {"one just as large", ENTRY + 60, {50, 64, TO_THE_END - 114}, UNWIND_END, false},
        {"one just smaller", ENTRY + 60, {50, 63, TO_THE_END - 113}, UNWIND_END, true},
        {"above the outermost frame", WORDS - 4, {50, TO_THE_END - 50}, UNWIND_END, false},
        {"a fiber's way, within the stack", ENTRY, {50, TO_THE_END - 4000}, UNWIND_END, false},
        {"by way of a handler", ENTRY, {50, TO_THE_END - 50}, UNWIND_SIGNAL, false},
        {"by way of unknown code", ENTRY, {50, TO_THE_END - 50}, UNWIND_NONE, false},
    };
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct ht_thread *thread = thread_counting_at(ways[i].counted_at);
        ht_entry entry = lay_way(ways[i].frames, ways[i].end);
        ck_assert_msg(ht_counting_is_over(thread, entry) == ways[i].over, "%s", ways[i].what);
        thread->stack_low = HT_NEVER_KNOWN;
        ck_assert_msg(!ht_counting_is_over(thread, entry), "%s: never known", ways[i].what);
        thread->stack_low = (uintptr_t)&stack[ENTRY + 1];
        ck_assert_msg(!ht_counting_is_over(thread, entry), "%s: elsewhere", ways[i].what);
        memset(stack, 0, sizeof stack);
    }
    ck_assert_uint_eq(ht_capture_taken_count(), 0);
}
END_TEST

static void not_told(uint32_t provisional, uint32_t site)
{
    ck_abort_msg("site %u was told for %u", site, provisional);
}

static uint32_t none_to_take(void)
{
    ck_abort_msg("a provisional site was taken");
}

/* What may have been interrupted finds everything as it was. */
START_TEST(a_missing_rule_is_asked_for)
{
    static const unsigned frames[DEEPEST] = {50, 20, TO_THE_END - 70};
    struct ht_thread *thread = thread_counting_at(ENTRY), before;
    ht_entry entry = lay_way(frames, UNWIND_END);
    uint32_t frame = ht_frame_intern(code_of(1));
    uint64_t *rule = ht_frame_rule(frame), known = *rule;
    struct ht_capture *interrupted = ht_capture_claim(thread->tid); /* it is filling this one */
    interrupted->provisional = HT_PROVISIONAL_BASE + 3;
    ht_captures[1]->provisional = HT_PROVISIONAL_BASE + 4;
    thread->asking = frame;
    for (unsigned i = 0; i < 2; i++) { /* unknown; asked for by whoever was interrupted */
        *rule = i ? HT_RULE_PENDING : 0;
        before = *thread;
        ht_memo_await_answers();
        ck_assert(!ht_counting_is_over(thread, entry));
        ck_assert_uint_eq(ht_capture_taken_count(), 1); /* nobody would answer */
        ht_memo_expect_answers();
        for (unsigned again = 0; again < 3; again++)
            ck_assert(!ht_counting_is_over(thread, entry));
        ck_assert_uint_eq(ht_capture_taken_count(), 2);
        ck_assert(ht_capture_brings(frame));
        ck_assert_uint_eq(*rule, i ? HT_RULE_PENDING : 0);
        ck_assert_mem_eq(thread, &before, sizeof before);
        ck_assert_uint_eq(interrupted->state, ht_capture_filled_by(thread->tid));
        ck_assert_uint_eq(ht_captures[1]->at.sp, (uintptr_t)&stack[ENTRY + 50]);
        ck_assert_uint_eq(ht_captures[1]->stack_bytes, HT_CAPTURE_BYTES);
        ck_assert_mem_eq(ht_captures[1]->stack, &stack[ENTRY + 50], HT_CAPTURE_BYTES);
        /* The monitor says what it is; no site comes of it. */
        ck_assert_uint_eq(ht_unwind_drain(not_told, none_to_take), 1);
        ck_assert_uint_ne(*rule, 0);
        ck_assert_uint_ne(*rule, HT_RULE_PENDING);
        ck_assert_uint_eq(ht_captures[1]->provisional, HT_PROVISIONAL_BASE + 4);
        ck_assert_uint_eq(ht_capture_taken_count(), 1);
    }
    *rule = known; /* what a module would have said */
    ck_assert(ht_counting_is_over(thread, entry));
    ht_capture_abandon(thread->tid, thread->asking); /* as mending does */
    ck_assert_uint_eq(ht_capture_taken_count(), 0);
}
END_TEST

SUPPORT_MAIN("left_counting", the_way_tells, a_missing_rule_is_asked_for)
