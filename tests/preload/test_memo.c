/*
 * A thread's memo: random stacks against the model (memo_model.h), generations that make it void,
 * and what is asked of the monitor.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "heaptally/options.h"
#include "../../preload/internal_heap.h"
#include "../../preload/memo_room.h"
#include "../../preload/stack_bounds.h"
#include "../../preload/walk_step.h"
#include "memo_model.h"
#include "support.h"

START_TEST(small_ring_known_stack)
{
    memo_stress(true, 96);
}
END_TEST

START_TEST(small_ring_unknown_stack)
{
    memo_stress(false, 96);
}
END_TEST

START_TEST(larger_ring)
{
    memo_stress(true, 3584);
}
END_TEST

START_TEST(generations_void_what_was_remembered)
{
    uint64_t random = 99;
    unsigned laid[HT_MAX_DEPTH], count;
    support_begin();
    memo_functions(&random);
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    uintptr_t fp = memo_lay(&random, 10, laid, &count);
    memo_stack[8] = fp;
    ht_entry entry = (ht_entry)&memo_stack[8];
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

#define AT 10 /* words of the stack below the caller's frame */

static uint64_t stacks[300][MEMO_WORDS]; /* as memory is when each allocates */
static uint32_t sites[300];

/* A thread with so much room, and so many stacks, none of which it knows yet. They have one return
 * address, or any. */
static struct ht_thread *lay_stacks(unsigned count, bool one_caller, uint32_t memo_words,
                                    void *allocate(size_t bytes, size_t alignment))
{
    uint64_t random = 5;
    unsigned laid[HT_MAX_DEPTH], frames;
    support_begin();
    memo_functions(&random);
    struct ht_thread *thread = memo_thread(memo_words, allocate);
    thread->stack_low = (uintptr_t)memo_stack;
    thread->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
    ht_thread_set_tag(0);
    for (unsigned i = 0; i < count; i++) {
        do {
            memset(memo_stack, 0, sizeof memo_stack);
            memo_stack[AT - 2] = memo_lay(&random, AT, laid, &frames);
        } while (one_caller && i > 0 && memo_stack[AT - 1] != stacks[0][AT - 1]);
        memcpy(stacks[i], memo_stack, sizeof memo_stack);
    }
    return thread;
}

/* One allocation on each stack. How many were remembered. */
static unsigned allocate_on_each(struct ht_thread *thread, unsigned count)
{
    ht_entry entry = (ht_entry)&memo_stack[AT - 2];
    unsigned remembered = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(memo_stack, stacks[i], sizeof memo_stack);
        uint32_t site = ht_memo_find_with_care(thread, entry, 0);
        remembered += site != HT_NO_SITE;
        if (site == HT_NO_SITE)
            site = ht_site_walk(thread, entry, 0);
        if (sites[i])
            ck_assert_uint_eq(site, sites[i]);
        sites[i] = site;
    }
    return remembered;
}

/* What everybody calls allocates at one depth for many callers: each of their stacks is remembered,
 * and what was found last is found the quick way. */
START_TEST(many_stacks_have_one_key)
{
    const unsigned count = 40;
    struct ht_thread *thread = lay_stacks(count, true, 3584, memo_heap);
    allocate_on_each(thread, count);
    for (unsigned i = 0; i < count; i++) {
        memcpy(memo_stack, stacks[i], sizeof memo_stack);
        ht_entry entry = (ht_entry)&memo_stack[AT - 2];
        ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 0), sites[i]);
        ck_assert_uint_eq(memo_quick(thread, entry), sites[i]);
    }
}
END_TEST

static void call_of_the_monitor(uint32_t all_sites)
{
    for (unsigned i = 0; i < 100; i++)
        ht_memo_rooms_grow(all_sites);
}

/* A thread whose ring is written over all the time gets a larger one in programs of many sites, and
 * then remembers what it forgot. */
START_TEST(room_grows_where_it_is_needed)
{
    const unsigned count = 300;
    /* Where threads' states really lie, whose rooms must not be too far off. */
    struct ht_thread *thread = lay_stacks(count, false, 1000, ht_heap_alloc);
    thread->taken = 1;
    thread->next = ht_threads;
    ht_threads = thread;
    call_of_the_monitor(100000);
    ck_assert_ptr_null(thread->larger_room); /* it has not asked for any yet */
    allocate_on_each(thread, count);
    ck_assert_uint_lt(allocate_on_each(thread, count), count / 2);
    call_of_the_monitor(100);
    ck_assert_ptr_null(thread->larger_room);
    call_of_the_monitor(100000);
    struct ht_memo_room *room = thread->larger_room;
    ck_assert_ptr_nonnull(room);
    allocate_on_each(thread, count);
    ck_assert_ptr_eq(thread->memo_room, room);
    ck_assert_uint_gt(allocate_on_each(thread, count), count * 9 / 10);
    call_of_the_monitor(100000);
    ck_assert_ptr_eq(thread->larger_room, room); /* in which there is room for all of them */

    thread->memo_laps = 5;
    call_of_the_monitor(100000);
    ck_assert_ptr_ne(thread->larger_room, room);
    ck_assert_uint_gt(thread->larger_room->words, room->words);
    room = thread->larger_room;
    thread->memo_laps = 7; /* it has not moved yet: one at a time */
    call_of_the_monitor(100000);
    ck_assert_ptr_eq(thread->larger_room, room);
    ht_thread_forget_stacks(thread);
    allocate_on_each(thread, count);
    ck_assert_ptr_eq(thread->memo_room, room);
    ck_assert_uint_eq(thread->memo_laps, 0);
    ck_assert_uint_gt(allocate_on_each(thread, count), count * 9 / 10);
    thread->memo_laps = 5; /* there is none larger */
    call_of_the_monitor(100000);
    ck_assert_ptr_eq(thread->larger_room, room);
    ht_threads = thread->next;
}
END_TEST

static uint64_t tall[100000]; /* a stack of large frames */

/* A thread that remembers a stack of `count` words, so far from the entry, which lies at `tall`. */
static struct ht_thread *remember_on_tall(const unsigned *at, unsigned count, bool known_stack)
{
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    struct ht_stack_word words[16];
    thread->stack_low = (uintptr_t)tall;
    thread->stack_high = (uintptr_t)(tall + sizeof tall / sizeof *tall);
    memset(tall, 0, sizeof tall);
    tall[1] = 0x400010;
    for (unsigned i = 0; i < count; i++) {
        tall[at[i]] = 0x400100 + 16 * i;
        words[count - 1 - i] = (struct ht_stack_word){(uintptr_t)&tall[at[i]], tall[at[i]]};
    }
    struct ht_finding finding = {.entry = (ht_entry)tall,
                                 .site = HT_SITE_BASE + 7,
                                 .generation = ht_memo_generation,
                                 .known_stack = known_stack,
                                 .words = words,
                                 .count = count};
    ht_memo_remember(thread, &finding);
    return thread;
}

/* A stack must be found, by either way, as long as its words are what they were. */
static void remember_words(const unsigned *at, unsigned count)
{
    const uint32_t site = HT_SITE_BASE + 7;
    struct ht_thread *thread = remember_on_tall(at, count, true);
    ht_entry entry = (ht_entry)tall;
    for (unsigned i = 0; i <= count; i++) {
        uint64_t *changed = i < count ? &tall[at[i]] : &tall[2], before = *changed;
        *changed ^= UINT64_C(1) << (i * 5 + 3);
        uint32_t expected = i < count ? HT_NO_SITE : site;
        ck_assert_uint_eq(memo_quick(thread, entry), expected);
        ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 0), expected);
        *changed = before;
    }
}

/* Places in a room are told in 32 bits. A thread whose state lies too far off for that goes
 * without, at no cost to others. */
START_TEST(a_thread_too_far_off_leaves_others_their_room)
{
    support_begin();
    struct ht_thread *far_off = memo_thread(1000, memo_heap);
    struct ht_thread *near = memo_thread(1000, ht_heap_alloc);
    far_off->taken = near->taken = 1;
    far_off->memo_laps = near->memo_laps = 5;
    far_off->next = ht_threads;
    ht_threads = far_off;
    for (unsigned i = 0; i < 10; i++)
        call_of_the_monitor(100000);
    near->next = ht_threads;
    ht_threads = near;
    call_of_the_monitor(100000);
    ck_assert_ptr_null(far_off->larger_room);
    ck_assert_ptr_nonnull(near->larger_room);
    ht_threads = far_off->next;
}
END_TEST

/* Few words of a record have place for a distance of any size. */
START_TEST(words_may_lie_far_out)
{
    static const unsigned outermost[] = {HT_MEMO_REACH - 1, HT_MEMO_REACH, 99999};
    support_begin();
    for (unsigned count = 1; count <= 12; count++)
        for (unsigned first_far = 0; first_far < count; first_far++)
            for (unsigned which = 0; which < 3; which++) {
                unsigned at[12];
                for (unsigned i = 0; i < count; i++)
                    at[i] = i < first_far ? 3 + 2 * i : outermost[which] - 2 * (count - 1 - i);
                remember_words(at, count);
            }
}
END_TEST

/* A record is of one stack pointer, whatever that is a multiple of: where the near words are the
 * same at another one, and the index still leads there, nothing is told of the words further out.
 */
START_TEST(another_stack_pointer_is_another_stack)
{
    static const unsigned at[] = {3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25};
    support_begin();
    for (unsigned count = 1; count <= 12; count++)
        for (unsigned offset = 1; offset < 256; offset++)
            for (unsigned known_stack = 0; known_stack < 2; known_stack++) {
                struct ht_thread *thread = remember_on_tall(at, count, known_stack);
                ht_entry entry = (ht_entry)tall;
                const void *there = (const char *)tall + offset;
                int32_t place = *ht_memo_slot(thread, entry, 0);
                memmove((char *)tall + offset, tall, at[4] * sizeof tall[0] + sizeof tall[0]);
                *ht_memo_slot(thread, there, 0) = place;
                ck_assert_uint_eq(memo_quick(thread, there), HT_NO_SITE);
                free(thread);
            }
}
END_TEST

/* The topmost word of all addresses is one that nobody may read: code that keeps a small number
 * where a caller keeps its frame pointer, and does not say so, leads there. */
START_TEST(small_numbers_are_no_frame_pointers)
{
    struct ht_thread *thread = lay_stacks(1, false, 1000, memo_heap);
    uintptr_t pc = 0x800000;
    struct unwind_rule rule = {.kind = UNWIND_STEP,
                               .cfa_base = UNWIND_CFA_RBP_DEREF,
                               .deref_offset = -8,
                               .cfa_offset = 16};
    *ht_frame_rule(ht_intern(&ht_frames, pc, true)) = unwind_rule_pack(&rule);
    memo_stack[AT - 1] = pc;
    for (unsigned known = 0; known < 2; known++)
        for (uintptr_t fp = 0; fp < 64; fp += 8) {
            memo_stack[AT - 2] = fp;
            thread->stack_high = known ? (uintptr_t)(memo_stack + MEMO_WORDS) : 0;
            uint32_t site = ht_site_find(thread, (ht_entry)&memo_stack[AT - 2], 0);
            ck_assert_uint_eq(ht_stack_root(ht_site_stack(site)), HT_STACK_CUT);
            ck_assert(!ht_counting_is_over(thread, (ht_entry)&memo_stack[AT - 2]));
        }
}
END_TEST

/* What found a table full is found whole once there is room. */
START_TEST(a_full_table_is_not_remembered)
{
    struct ht_thread *thread = lay_stacks(1, false, 1000, memo_heap);
    memcpy(memo_stack, stacks[0], sizeof memo_stack);
    ht_entry entry = (ht_entry)&memo_stack[AT - 2];
    const struct ht_intern_segment *segment = &ht_sites.segments[0];
    for (uint64_t key = 1; segment->used < segment->size; key++)
        ht_intern(&ht_sites, key << 40, true);
    ck_assert_uint_eq(ht_site_find(thread, entry, 0), 0);
    ht_site_grow();
    ck_assert_uint_ge(ht_site_find(thread, entry, 0), HT_SITE_BASE);
}
END_TEST

/* An unknown frame is asked for once; while that is awaited, and when the ring is full, the
 * immediate return address has to do. */
START_TEST(unknown_frames_are_captured)
{
    uint64_t random = 7;
    support_begin();
    memo_functions(&random);
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    memset(memo_stack, 0, sizeof memo_stack);
    thread->stack_low = (uintptr_t)memo_stack;
    thread->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
    ht_captures[0]->provisional = HT_PROVISIONAL_BASE + 5;
    for (unsigned i = 0; i < HT_CAPTURE_FIRST + 3; i++) {
        memo_stack[9] = 0x900000 + 16 * i;
        uint32_t site = ht_site_find(thread, (ht_entry)&memo_stack[8], 3);
        if (i == 0) {
            ck_assert_uint_eq(site, HT_PROVISIONAL_BASE + 5);
            ck_assert(ht_site_exists(site));
            ck_assert(!ht_site_exists(site + 1));
        } else {
            ck_assert_uint_eq(ht_stack_root(ht_site_stack(site)), HT_STACK_FALLBACK);
        }
        uint32_t again = ht_site_find(thread, (ht_entry)&memo_stack[8], 3);
        ck_assert_uint_eq(ht_stack_root(ht_site_stack(again)), HT_STACK_FALLBACK);
        uint64_t rule = *ht_frame_rule(ht_intern(&ht_frames, memo_stack[9], false));
        ck_assert_uint_eq(rule, i < HT_CAPTURE_FIRST ? HT_RULE_PENDING : 0);
    }
    ck_assert_uint_eq(ht_captures[0]->stack_bytes, (MEMO_WORDS - 10) * 8);
    /* A fork: what waits to be worked off stays so, what nobody works on is asked for again. */
    ht_captures[1]->state = HT_CAPTURE_FILLING;
    ht_capture_after_fork();
    unsigned pending = 0;
    for (unsigned i = 0; i < HT_CAPTURE_FIRST; i++)
        pending += *ht_frame_rule(ht_intern(&ht_frames, 0x900000 + 16 * i, false)) != 0;
    ck_assert_uint_eq(pending, HT_CAPTURE_FIRST - 1);
    ck_assert_uint_eq(ht_captures[1]->state, HT_CAPTURE_FREE);
}
END_TEST

/* The site of an allocation that is remembered by its return address, or HT_NO_SITE. */
static uint32_t by_caller(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uint32_t site;
    return ht_caller_find(thread, entry, ht_memo_tag_key(tag), &site) ? site : HT_NO_SITE;
}

/* While nobody answers, nobody is asked: an allocation is remembered by its return address,
 * wherever on the stack it stands. Nobody goes by that once somebody does. */
START_TEST(return_addresses_do_until_there_are_answers)
{
    uint64_t random = 7;
    support_begin();
    memo_functions(&random);
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    thread->stack_low = (uintptr_t)memo_stack;
    thread->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
    thread->next = ht_threads;
    ht_threads = thread;
    memset(memo_stack, 0, sizeof memo_stack);
    memo_stack[9] = 0x900000;
    ht_entry entry = (ht_entry)&memo_stack[8];
    ht_thread_set_tag(3);
    ht_memo_await_answers();
    uint32_t fallback = ht_site_find(thread, entry, 3);
    ck_assert_uint_eq(ht_stack_root(ht_site_stack(fallback)), HT_STACK_FALLBACK);
    ck_assert_uint_eq(by_caller(thread, entry, 3), fallback);
    uint64_t asked = *ht_frame_rule(ht_intern(&ht_frames, 0x900000, false));
    ck_assert_uint_eq(asked, 0);
    memo_stack[30] = 1; /* whoever the caller's caller is */
    memo_stack[29] = 0x900000;
    ck_assert_uint_eq(by_caller(thread, (ht_entry)&memo_stack[28], 3), fallback);
    ck_assert_uint_eq(by_caller(thread, entry, 4), HT_NO_SITE);
    memo_stack[9] = 0x900010;
    ck_assert_uint_eq(by_caller(thread, entry, 3), HT_NO_SITE);
    memo_stack[9] = 0x900000;
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 3), HT_NO_SITE);
    ht_memo_expect_answers();
    ht_captures[0]->provisional = HT_PROVISIONAL_BASE + 5;
    ck_assert_uint_eq(ht_site_find(thread, entry, 3), HT_PROVISIONAL_BASE + 5);
    ck_assert_uint_eq(ht_site_find(thread, entry, 3), fallback); /* while that is awaited */
    ck_assert_uint_eq(ht_memo_find_with_care(thread, entry, 3), HT_NO_SITE);
    ht_threads = thread->next;
}
END_TEST

/* What is remembered of callers is void once a module went away: another may have come to lie
 * there. So is what is found out meanwhile. */
START_TEST(unloads_void_what_was_remembered_of_callers)
{
    support_begin();
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    memo_stack[9] = 0x900000;
    ht_entry entry = (ht_entry)&memo_stack[8];
    ht_memo_await_answers();
    uint32_t site = ht_site_find(thread, entry, 0);
    ck_assert_uint_eq(by_caller(thread, entry, 0), site);
    uint64_t generation = ht_memo_generation;
    ht_memo_next_generation();
    ck_assert_uint_eq(by_caller(thread, entry, 0), HT_NO_SITE);
    ht_caller_remember(thread, entry, 0, site, generation);
    ck_assert_uint_eq(by_caller(thread, entry, 0), HT_NO_SITE);
    ck_assert_uint_eq(ht_site_find(thread, entry, 0), site);
    ck_assert_uint_eq(by_caller(thread, entry, 0), site);
    thread->next = ht_threads;
    ht_threads = thread;
    for (unsigned i = 0; i < 1u << HT_MEMO_GENERATION_BITS; i++) { /* its lowest bits come round */
        ht_memo_next_generation();
        ck_assert_uint_eq(by_caller(thread, entry, 0), HT_NO_SITE);
    }
    uint64_t long_ago = ht_memo_generation - (1u << HT_MEMO_GENERATION_BITS);
    ht_caller_remember(thread, entry, 0, site, long_ago);
    ck_assert_uint_eq(by_caller(thread, entry, 0), HT_NO_SITE);
    ht_threads = thread->next;
    ht_memo_expect_answers();
}
END_TEST

/* Many callers that have few places: each is found, or not, but never for another. */
START_TEST(callers_are_never_taken_for_others)
{
    enum { CALLERS = 1000 };
    support_begin();
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    ht_entry entry = (ht_entry)&memo_stack[8];
    unsigned found = 0;
    ht_memo_await_answers();
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < CALLERS; i++) {
            uint32_t tag = 2 + i % 3;
            memo_stack[9] = 0x900000 + 8 * (i / 3);
            uint32_t known = by_caller(thread, entry, tag);
            uint32_t site = ht_site_find(thread, entry, tag);
            ck_assert_uint_eq(ht_site_tag(site), tag);
            ck_assert_uint_eq(ht_frame_pc(ht_stack_frame(ht_site_stack(site))), memo_stack[9]);
            ck_assert(known == site || known == HT_NO_SITE);
            ck_assert_uint_eq(by_caller(thread, entry, tag), site);
            found += known == site;
        }
    ck_assert_uint_lt(found, CALLERS); /* there are fewer places */
    ht_memo_expect_answers();
}
END_TEST

/* Callers that share a line have it together, as many as there is room for. */
START_TEST(callers_of_one_line_are_all_remembered)
{
    support_begin();
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    ht_entry entry = (ht_entry)&memo_stack[8];
    uintptr_t pcs[HT_CALLER_WAYS];
    unsigned count = 0;
    ht_memo_await_answers();
    for (uintptr_t pc = 0x900000; count < HT_CALLER_WAYS; pc++) {
        memo_stack[9] = pc;
        uint64_t key = ht_caller_key(entry, 0, ht_memo_mark);
        if (ht_caller_line(thread->callers, key) == thread->callers)
            pcs[count++] = pc;
    }
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < count; i++) {
            memo_stack[9] = pcs[i];
            uint32_t known = by_caller(thread, entry, 0);
            uint32_t site = ht_site_find(thread, entry, 0);
            ck_assert_uint_eq(known, round ? site : HT_NO_SITE);
        }
    ht_memo_expect_answers();
}
END_TEST

/* Where no call site is told from another, the short way knows them all the same: by their tag. */
START_TEST(tags_are_remembered_without_stacks)
{
    support_begin();
    struct ht_thread *thread = memo_thread(1000, memo_heap);
    memset(memo_stack, 0, sizeof memo_stack);
    memo_stack[9] = 0x900000;
    ht_entry entry = (ht_entry)&memo_stack[8];
    ht_stacks_mode = HT_STACKS_OFF;
    for (uint32_t tag = 3; tag < 5; tag++) {
        ht_thread_set_tag(tag);
        ck_assert_uint_eq(memo_quick(thread, entry), HT_NO_SITE);
        ck_assert_uint_eq(ht_site_find(thread, entry, tag), tag);
        ck_assert_uint_eq(memo_quick(thread, entry), tag);
    }
    ht_stacks_mode = HT_STACKS_FULL;
    memo_stack[10] = 1; /* whoever the caller's caller is */
    ck_assert_uint_eq(memo_quick(thread, entry), 4);
}
END_TEST

#define REMEMBERED 12 /* a place that the index has */

static struct ht_thread *loser; /* counts on a stack of which a part is lost */
static bool lost;               /* that is done. Atomic */

/* What it had remembered is to be forgotten while it is still waited for; it takes a little longer
 * to come to an end, and remembers once more what it has read. Tells `argument` whether it was
 * waited for until then. */
static void *count_meanwhile(void *argument)
{
    bool *waited_for = argument;
    while (__atomic_load_n(&loser->memo_index[3], __ATOMIC_SEQ_CST) == REMEMBERED &&
           !__atomic_load_n(&lost, __ATOMIC_SEQ_CST))
        sched_yield();
    usleep(5000);
    *waited_for = !__atomic_load_n(&lost, __ATOMIC_SEQ_CST);
    __atomic_store_n(&loser->memo_index[3], REMEMBERED, __ATOMIC_SEQ_CST);
    __atomic_store_n(&loser->busy, 0, __ATOMIC_SEQ_CST);
    return NULL;
}

#define TRIES 10 /* it is not waited for very long, and the machine may be busy */

START_TEST(a_lost_stack_is_forgotten_before_it_is_waited_for_and_after)
{
    bool waited_for = false;
    support_begin();
    loser = memo_thread(1000, memo_heap);
    loser->taken = 1;
    loser->next = ht_threads;
    ht_threads = loser;
    for (unsigned i = 0; i < TRIES && !waited_for; i++) {
        pthread_t other;
        loser->stack_low = (uintptr_t)memo_stack;
        loser->stack_high = (uintptr_t)(memo_stack + MEMO_WORDS);
        loser->memo_index[3] = REMEMBERED;
        loser->busy = (uintptr_t)memo_stack;
        lost = false;
        ck_assert_int_eq(pthread_create(&other, NULL, count_meanwhile, &waited_for), 0);
        ht_threads_lose((uintptr_t)&memo_stack[100], (uintptr_t)&memo_stack[200]);
        int32_t left = __atomic_load_n(&loser->memo_index[3], __ATOMIC_SEQ_CST);
        __atomic_store_n(&lost, true, __ATOMIC_SEQ_CST);
        pthread_join(other, NULL);
        ck_assert_uint_eq(loser->stack_low, HT_NEVER_KNOWN);
        ck_assert(!waited_for || left == 0);
    }
    ck_assert(waited_for);
    ht_threads = loser->next;
}
END_TEST

/* Compares what the control block says with what libc says; `argument` is the lowest address of a
 * stack that the test has made, or NULL. */
static void *find_bounds(void *argument)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    ck_assert_int_eq(pthread_getattr_np(pthread_self(), &attributes), 0);
    ck_assert_int_eq(pthread_attr_getstack(&attributes, &low, &size), 0);
    pthread_attr_destroy(&attributes);
    ht_stack_bounds_begin(HT_CALLERS_SP());
    ck_assert_uint_eq(ht_stack_bounds_low(), (uintptr_t)low);
    if (argument)
        ck_assert_ptr_eq(low, argument);
    return NULL;
}

START_TEST(bounds_are_those_of_libc)
{
    static char own[256 << 10] __attribute__((aligned(4096)));
    pthread_t thread;
    pthread_attr_t attributes;
    ck_assert_uint_eq(ht_stack_bounds_low(), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, find_bounds, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(ht_stack_bounds_low(), 0); /* the main thread has no such words */
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, own, sizeof own);
    ck_assert_int_eq(pthread_create(&thread, &attributes, find_bounds, own), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
}
END_TEST

#define PAGE ((uintptr_t)4096)

struct loss {
    uintptr_t start, end;
};

static void *make_unreadable(void *argument)
{
    const struct loss *loss = argument;
    ht_threads_lose(loss->start, loss->end);
    return NULL;
}

/* From where on the calling thread's stack is known, if pages were made unreadable while it was
 * not. */
static uintptr_t known_from(uintptr_t start, uintptr_t end, bool by_other)
{
    struct ht_thread *thread = ht_self;
    struct loss loss = {start, end};
    uintptr_t low, high;
    pthread_t other;
    thread->stack_low = thread->stack_high = thread->lost_to = 0;
    if (by_other) {
        ck_assert_int_eq(pthread_create(&other, NULL, make_unreadable, &loss), 0);
        pthread_join(other, NULL);
    } else {
        ht_threads_lose(start, end);
    }
    ck_assert(ht_thread_see_bounds(thread, &low, &high));
    ht_thread_find_bounds(thread);
    ck_assert_uint_eq(thread->stack_low, low);
    ck_assert_uint_eq(thread->stack_high, high);
    ck_assert_uint_eq(high, (uintptr_t)pthread_self());
    return low;
}

#define DEEP ((size_t)300 << 10) /* further in than is looked for what cannot be read */

static __attribute__((noinline)) void begin_deep(void)
{
    char below[DEEP];
    __asm__ volatile("" ::"r"(below) : "memory");
    ck_assert(ht_thread_begin());
    __asm__ volatile("" ::"r"(below) : "memory");
}

static void *lose_before_it_is_known(void *argument)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), low, high;
    begin_deep();
    ck_assert(!ht_thread_see_bounds(ht_self, &low, &high));
    ht_stack_bounds_begin(HT_CALLERS_SP());
    ht_thread_find_bounds(ht_self);
    ck_assert(ht_is_own_stack(ht_self, here));
    ck_assert(!ht_is_own_stack(ht_self, here - DEEP));
    low = ht_stack_bounds_low();
    for (unsigned by_other = 0; by_other < 2; by_other++) {
        ck_assert_uint_eq(known_from(low - PAGE, low, by_other), low); /* another stack's, say */
        ck_assert_uint_eq(known_from(low - 200 * PAGE, low - 100 * PAGE, by_other), low);
        ck_assert_uint_eq(known_from(low - PAGE, low + PAGE, by_other), low + PAGE);
        ck_assert_uint_eq(known_from(low + 4 * PAGE, low + 5 * PAGE, by_other), low + 5 * PAGE);
        uintptr_t above = (high + PAGE) / PAGE * PAGE;
        ck_assert_uint_eq(known_from(above, above + PAGE, by_other), low);
        ck_assert_uint_gt(known_from(here / PAGE * PAGE, here / PAGE * PAGE + PAGE, by_other),
                          here);
    }
    return argument;
}

START_TEST(pages_lost_before_a_stack_is_known)
{
    pthread_t thread;
    support_begin();
    ck_assert_int_eq(pthread_create(&thread, NULL, lose_before_it_is_known, NULL), 0);
    pthread_join(thread, NULL);
}
END_TEST

SUPPORT_MAIN("memo", small_ring_known_stack, small_ring_unknown_stack, larger_ring,
             many_stacks_have_one_key, room_grows_where_it_is_needed,
             a_thread_too_far_off_leaves_others_their_room, words_may_lie_far_out,
             another_stack_pointer_is_another_stack, small_numbers_are_no_frame_pointers,
             a_full_table_is_not_remembered, generations_void_what_was_remembered,
             unknown_frames_are_captured, return_addresses_do_until_there_are_answers,
             unloads_void_what_was_remembered_of_callers, callers_are_never_taken_for_others,
             callers_of_one_line_are_all_remembered,
             a_lost_stack_is_forgotten_before_it_is_waited_for_and_after, bounds_are_those_of_libc,
             pages_lost_before_a_stack_is_known, tags_are_remembered_without_stacks)
