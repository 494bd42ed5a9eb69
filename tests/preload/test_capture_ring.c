/* Asking the monitor: slots, who has them, and in which order captures are answered. */
#include "../../preload/capture_ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "../../preload/frame_table.h"
#include "../../preload/site_table.h"
#include "../../preload/stack_cache.h"
#include "../../preload/unwind.h"
#include "support.h"

START_TEST(every_free_slot_is_found)
{
    support_begin();
    for (unsigned i = 0; i < HT_CAPTURE_FIRST; i++)
        ck_assert_ptr_nonnull(ht_capture_claim(1));
    ck_assert_ptr_null(ht_capture_claim(1));
    ck_assert_uint_eq(ht_capture_taken_count(), HT_CAPTURE_FIRST);
    ht_capture_give_back(21);
    ck_assert_uint_eq(ht_capture_taken_count(), HT_CAPTURE_FIRST - 1);
    ck_assert_ptr_eq(ht_capture_claim(1), ht_captures[21]);
    ht_capture_grow();
    ck_assert_uint_eq(ht_capture_count, 2 * HT_CAPTURE_FIRST);
    for (unsigned i = 0; i < HT_CAPTURE_FIRST; i++)
        ck_assert_ptr_nonnull(ht_capture_claim(2));
    ht_capture_abandon(1, 0); /* that thread never came to an end with them */
    ck_assert_uint_eq(ht_capture_taken_count(), HT_CAPTURE_FIRST);
}
END_TEST

/* Asks for the rule of `pc`, as a thread does. */
static void ask(uintptr_t pc, uint32_t fallback)
{
    struct ht_capture *capture = ht_capture_claim(1);
    if (!capture)
        return;
    capture->frames[0] = ht_frame_intern(pc);
    *ht_frame_rule(capture->frames[0]) = HT_RULE_PENDING;
    capture->frame_count = 1;
    capture->stack_bytes = 0;
    capture->at = (struct ht_walk){.pc = pc, .sp = 4096};
    capture->generation = ht_memo_generation;
    capture->fallback = fallback;
    capture->tag = 0;
    __atomic_store_n(&capture->state, HT_CAPTURE_READY, __ATOMIC_RELEASE);
}

static uint64_t rule_at(uintptr_t pc)
{
    return *ht_frame_rule(ht_intern(&ht_frames, pc, false));
}

static uint32_t no_provisional(void)
{
    return 0;
}

#define UNKNOWN_CODE 0x10000u /* in no module */
static unsigned drained, unanswered;

/* While one capture is worked off, others come: they have their rule before the next is. */
static void ask_again(uint32_t provisional, uint32_t site)
{
    (void)provisional, (void)site;
    if (drained)
        unanswered += rule_at(UNKNOWN_CODE + 16 * drained) == HT_RULE_PENDING;
    drained++;
    ask(UNKNOWN_CODE + 16 * drained, 0);
}

START_TEST(new_ones_are_answered_before_old_ones_are_gone_through)
{
    support_begin();
    for (unsigned i = 0; i < 5; i++)
        ask(UNKNOWN_CODE - 16 * i, 0);
    unsigned told = ht_unwind_drain(ask_again, no_provisional);
    printf("%u captures worked off in one turn\n", told);
    ck_assert_uint_eq(told, drained);
    ck_assert_uint_eq(unanswered, 0);
    /* All that were there, and not for ever: somebody else may want the gate. */
    for (unsigned i = 0; i < 5; i++)
        ck_assert_uint_ne(rule_at(UNKNOWN_CODE - 16 * i), HT_RULE_PENDING);
    ck_assert_uint_ge(told, 5);
    ck_assert_uint_le(told, 2 * HT_CAPTURE_SLOTS);
}
END_TEST

/* ---- rules that nobody has asked for yet --------------------------------------------------------
 */

static uint32_t used(unsigned segment)
{
    return ht_frames.segments[segment].used;
}

/* Fills a segment, the last, up to `count` frames. */
static void fill(unsigned segment, uint32_t count)
{
    static uintptr_t pc = 0x100000;
    while (used(segment) < count)
        ht_frame_intern(pc += 16);
}

static void nothing(uint32_t provisional, uint32_t site)
{
    (void)provisional, (void)site;
}

/* Asks about the call of this function; how many frames that makes beside its own. */
static __attribute__((noinline)) uint32_t made_by_asking(unsigned segment)
{
    uint32_t before = used(segment);
    ask((uintptr_t)__builtin_return_address(0), 0);
    ht_unwind_drain(nothing, no_provisional);
    return used(segment) - before - 1;
}

static volatile unsigned calls;
static __attribute__((noinline)) void call(unsigned by)
{
    calls += by;
}

/* Functions with calls of their own; none is like another, so that each is kept. */
#define FUNCTION(name, number)                                                                     \
    static __attribute__((noinline)) uint32_t name(unsigned segment)                               \
    {                                                                                              \
        call(number);                                                                              \
        call(number);                                                                              \
        uint32_t made = made_by_asking(segment);                                                   \
        call(number);                                                                              \
        return made;                                                                               \
    }
FUNCTION(first, 1)
FUNCTION(second, 2)
FUNCTION(third, 3)
FUNCTION(fourth, 4)

START_TEST(larger_tables_are_laid_for_what_is_needed)
{
    support_begin();
    ck_assert(ht_unwind_begin());
    uint32_t few = first(0);
    fill(0, ht_frames.segments[0].size * 7 / 8);
    uint32_t when_full = second(0);
    ck_assert(ht_intern_grow(&ht_frames));
    uint32_t then = third(1);
    fill(1, ht_frames.segments[1].size * 7 / 16);
    uint32_t before_half = fourth(1);
    printf("%u frames expected, %u in a full table, %u after it grew, %u before it would again\n",
           few, when_full, then, before_half);
    ck_assert_uint_ge(few, 3);
    ck_assert_uint_eq(when_full, 0);
    ck_assert_uint_ge(then, 3);
    ck_assert_uint_eq(before_half, 0);
    ck_assert(!ht_intern_wants_room(&ht_frames));
}
END_TEST

/* ---- many at once -------------------------------------------------------------------------------
 */

#define THREADS 6
#define ROUNDS  3000u
static _Atomic unsigned asked;
static _Atomic bool stop;
static unsigned answered;

static void *ask_much(void *argument)
{
    uintptr_t pc = 0x40000000 + ((uintptr_t)argument << 20);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct ht_capture *capture = ht_capture_claim((pid_t)(uintptr_t)argument);
        if (!capture) {
            sched_yield();
            continue;
        }
        capture->frames[0] = ht_frame_intern(pc + 16 * (i % 64));
        capture->frame_count = 1;
        capture->stack_bytes = 0;
        capture->at = (struct ht_walk){.pc = pc, .sp = 4096};
        capture->generation = ht_memo_generation + 1; /* void */
        capture->fallback = 77;
        asked++;
        __atomic_store_n(&capture->state, HT_CAPTURE_READY, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void count_it(uint32_t provisional, uint32_t site)
{
    (void)provisional;
    ck_assert_uint_eq(site, 77);
    answered++;
}

static void *work_off(void *argument)
{
    (void)argument;
    while (!stop) {
        ht_unwind_drain(count_it, no_provisional);
        ht_capture_grow();
        sched_yield();
    }
    return NULL;
}

START_TEST(none_is_forgotten_and_none_comes_twice)
{
    pthread_t threads[THREADS], monitor;
    support_begin();
    pthread_create(&monitor, NULL, work_off, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, ask_much, (void *)(i + 1));
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    stop = true;
    pthread_join(monitor, NULL);
    while (ht_unwind_drain(count_it, no_provisional))
        ;
    printf("%u asked in %u tries, %u answered\n", asked, THREADS * ROUNDS, answered);
    ck_assert_uint_gt(answered, 0);
    ck_assert_uint_eq(answered, asked);
    ck_assert_uint_eq(ht_capture_taken_count(), 0);
}
END_TEST

SUPPORT_MAIN("capture_ring", every_free_slot_is_found,
             new_ones_are_answered_before_old_ones_are_gone_through,
             larger_tables_are_laid_for_what_is_needed, none_is_forgotten_and_none_comes_twice)
