/*
 * What a walk takes over from the one before, against a machine that calls made-up functions and
 * returns from them, down a stack that keeps what earlier calls left there: the stack that is found
 * must be the machine's, each time.
 */
#include <string.h>

#include "../../preload/stack_cache.h"
#include "../../preload/walk_step.h"
#include "memo_model.h"
#include "support.h"

#define DEPTH  20
#define ROUNDS 40000u

/* Few functions and few sizes: different stacks then look the same in part, stale words included.
 */
enum { OUTERMOST, NO_RULE, KEEPS_FP, SAVES_FP, BY_FP, BY_FP_TOO, FUNCTIONS };
static const unsigned frame_words[FUNCTIONS] = {0, 0, 3, 4, 3, 5};

static uintptr_t pc_of(unsigned function)
{
    return 0x700000 + 64 * function;
}

static void make_functions(void)
{
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        struct unwind_rule rule = {.kind = UNWIND_STEP, .cfa_offset = 8 * (int)frame_words[f]};
        if (f >= BY_FP) {
            rule.cfa_base = UNWIND_CFA_RBP;
            rule.cfa_offset = 16;
        }
        if (f >= SAVES_FP) {
            rule.rbp_kind = UNWIND_RBP_AT_CFA;
            rule.rbp_offset = -16;
        }
        if (f <= NO_RULE)
            rule = (struct unwind_rule){.kind = f == OUTERMOST ? UNWIND_END : UNWIND_NONE};
        *ht_frame_rule(ht_intern(&ht_frames, pc_of(f), true)) = unwind_rule_pack(&rule);
    }
}

static struct {
    unsigned depth;
    struct frame {
        unsigned function, sp; /* sp: a word of the stack */
        uintptr_t fp_before;   /* the caller's frame pointer */
    } frames[DEPTH];
    uintptr_t fp;
} machine;

static struct frame *innermost(void)
{
    return &machine.frames[machine.depth - 1];
}

/* What a function without a frame pointer keeps in that register; it may look like one. */
static uintptr_t any_value(uint64_t *random)
{
    unsigned kind = (unsigned)(support_random(random) % 16);
    return kind < 12    ? kind
           : kind == 15 ? UINT64_MAX
                        : (uintptr_t)&memo_stack[MEMO_WORDS - 9 * kind];
}

static void call(unsigned function, uint64_t *random)
{
    unsigned caller_sp = innermost()->sp;
    memo_stack[caller_sp - 1] = pc_of(innermost()->function);
    machine.frames[machine.depth++] =
        (struct frame){function, caller_sp - frame_words[function], machine.fp};
    if (function >= SAVES_FP)
        memo_stack[caller_sp - 2] = machine.fp;
    if (function >= BY_FP)
        machine.fp = (uintptr_t)&memo_stack[caller_sp - 2];
    else if (function == SAVES_FP)
        machine.fp = any_value(random);
}

static void call_any(uint64_t *random)
{
    if (machine.depth == 0)
        machine.frames[machine.depth++] = (struct frame){
            support_random(random) % 8 == 0 ? NO_RULE : OUTERMOST, MEMO_WORDS - 2, 0};
    else
        call(KEEPS_FP + (unsigned)(support_random(random) % (FUNCTIONS - KEEPS_FP)), random);
}

static void come_back(void)
{
    machine.fp = innermost()->fp_before;
    machine.depth--;
}

/* The innermost function goes on: has a larger or a smaller frame, or another value in the register
 * that others have their frame pointer in. */
static void go_on(uint64_t *random)
{
    struct frame *frame = innermost();
    if (frame->function >= BY_FP)
        frame->sp = (unsigned)((machine.fp - (uintptr_t)memo_stack) / 8) + 2 -
                    frame_words[frame->function] - (unsigned)(support_random(random) % 5);
    else if (frame->function == SAVES_FP)
        machine.fp = any_value(random);
}

/* Two functions end and are called again, the outer one in a frame that begins elsewhere and ends
 * where it did: but for what the frame pointers say, the stack looks the same. */
static void call_again(uint64_t *random)
{
    const struct frame inner = machine.frames[machine.depth - 1];
    const struct frame outer = machine.frames[machine.depth - 2];
    come_back();
    come_back();
    go_on(random);
    call(outer.function, random);
    if (outer.function >= BY_FP && innermost()->sp > outer.sp)
        innermost()->sp = outer.sp;
    call(inner.function, random);
}

static void run(uint64_t *random)
{
    for (unsigned turns = 1 + (unsigned)(support_random(random) % 5); turns > 0; turns--) {
        unsigned what = (unsigned)(support_random(random) % 16);
        if (machine.depth == 0 || (what < 7 && machine.depth < DEPTH))
            call_any(random);
        else if (what < 12)
            come_back();
        else if (what < 14 && machine.depth > 3)
            call_again(random);
        else
            go_on(random);
    }
    if (machine.depth == 0)
        call_any(random);
}

/* The machine's stack, and the very node that whoever knows all of its frames finds. */
static void check_stack(uint32_t stack)
{
    unsigned left = machine.depth, count = 0;
    uint32_t frames[DEPTH], node = stack;
    for (; stack >= HT_STACK_ROOTS; stack = ht_stack_outer(stack)) {
        ck_assert_uint_gt(left, 0);
        uintptr_t pc = pc_of(machine.frames[--left].function);
        frames[count] = ht_stack_frame(stack);
        ck_assert_uint_eq(ht_frame_pc(frames[count++]), pc);
    }
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(ht_stack_intern(stack, frames, count), node);
    ck_assert_uint_eq(stack, machine.frames[0].function == NO_RULE ? HT_STACK_CUT : HT_STACK_WHOLE);
}

/* Allocates; forgets what is remembered before, now and then: then there is a walk. */
static uint32_t allocate(struct ht_thread *thread, bool forget)
{
    const struct frame *frame = innermost();
    memo_stack[frame->sp - 1] = pc_of(frame->function);
    memo_stack[frame->sp - 2] = machine.fp;
    if (forget)
        ht_thread_forget_stacks(thread);
    return ht_site_find(thread, (ht_entry)&memo_stack[frame->sp - 2], 1);
}

static unsigned play(bool known_stack)
{
    uint64_t random = 4242;
    unsigned taken_over = 0;
    support_begin();
    make_functions();
    struct ht_thread *thread = memo_thread(15000, memo_heap);
    if (known_stack) {
        thread->stack_low = (uintptr_t)memo_stack;
        thread->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        run(&random);
        /* What is taken over keeps this mark, which no walk looks at. */
        thread->walk_log.steps[0].fp = 12345;
        uint32_t site = allocate(thread, i % 8);
        taken_over += i % 8 && thread->walk_log.steps[0].fp == 12345;
        if (ht_site_stack(site) >= HT_STACK_ROOTS) /* else the tables are full */
            check_stack(ht_site_stack(site));
        ht_site_grow();
        if (i % 100 == 99)
            ht_memo_next_generation();
    }
    ck_assert_uint_eq(ht_oddities.truncated, 0);
    return taken_over;
}

START_TEST(known_stack)
{
    ck_assert_uint_gt(play(true), ROUNDS / 2);
}
END_TEST

/* Nothing of it may be read again, but frames have the same stacks as long as they are the same. */
START_TEST(unknown_stack)
{
    ck_assert_uint_eq(play(false), 0);
}
END_TEST

/* Deeper than stacks are remembered: the frames that are left depend on where the walk begins. */
START_TEST(too_deep)
{
    static uint64_t deep[4 * HT_MAX_DEPTH];
    support_begin();
    make_functions();
    struct ht_thread *thread = memo_thread(15000, memo_heap);
    thread->stack_low = (uintptr_t)deep;
    thread->stack_high = (uintptr_t)(deep + 4 * HT_MAX_DEPTH);
    for (unsigned turn = 0; turn < 16; turn++) {
        unsigned depth = HT_MAX_DEPTH - 4 + (turn < 8 ? turn : 15 - turn);
        unsigned sp = 4 * HT_MAX_DEPTH - 2;
        deep[sp - 1] = pc_of(OUTERMOST);
        for (unsigned i = 1; i < depth; i++)
            deep[(sp -= frame_words[KEEPS_FP]) - 1] = pc_of(KEEPS_FP);
        ht_thread_forget_stacks(thread);
        uint32_t stack = ht_site_stack(ht_site_find(thread, (ht_entry)&deep[sp - 2], 0));
        unsigned frames = 0;
        for (; stack >= HT_STACK_ROOTS; stack = ht_stack_outer(stack))
            frames++;
        ck_assert_uint_eq(frames, depth < HT_MAX_DEPTH ? depth : HT_MAX_DEPTH);
        ck_assert_uint_eq(stack, depth <= HT_MAX_DEPTH ? HT_STACK_WHOLE : HT_STACK_CUT);
    }
}
END_TEST

SUPPORT_MAIN("walk_log", known_stack, unknown_stack, too_deep)
