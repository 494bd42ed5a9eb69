/* Counting on many threads, with evictions, while a reader adds up. */
#include "../../preload/counters.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../preload/aggregate.h"
#include "../../preload/capture_ring.h"
#include "../../preload/frame_table.h"
#include "../../preload/internal_heap.h"
#include "../../preload/site_table.h"
#include "../../preload/stack_cache.h"
#include "../../preload/track.h"
#include "support.h"

#define THREADS 4
#define ROUNDS  20000u /* at least */
#define LOOKS   300u
#define SITES   40u

static uint32_t sites[SITES];
static _Atomic unsigned running, looks;
static _Atomic uint64_t rounds_done, extras_done;

/* Sites of which many share a cell. */
static void make_sites(void)
{
    support_begin();
    unsigned made = 0;
    for (uintptr_t pc = 0x500000; made < SITES; pc += 16) {
        uint32_t site = ht_site_fallback(pc, 0);
        if ((site & (HT_CELLS - 1)) < 64)
            sites[made++] = site;
    }
}

static void count(struct ht_thread *thread, uint32_t site, enum ht_figure figure, uint64_t bytes)
{
    ht_track_begin(thread);
    ht_count(thread, site, figure, bytes);
    ht_track_end(thread);
}

static void *work(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument * 7919 + 1;
    ck_assert(ht_thread_begin());
    for (unsigned i = 0; i < ROUNDS || looks < LOOKS; i++) {
        uint32_t site = sites[support_random(&random) % SITES];
        count(ht_self, site, HT_ALLOCATED_BYTES, 100);
        if (i % 97 == 0) { /* as a signal handler that came in between would */
            ht_count_shared(site, HT_ALLOCATED_BYTES, 100);
            extras_done++;
        }
        rounds_done++;
        count(ht_self, site, HT_FREED_BYTES, 100);
    }
    ht_self->busy = HT_COUNTING; /* as at the end of a thread */
    ht_cells_evict_all(ht_self);
    running--;
    return NULL;
}

static void start(pthread_t *threads)
{
    running = THREADS;
    for (uintptr_t t = 0; t < THREADS; t++)
        ck_assert_int_eq(pthread_create(&threads[t], NULL, work, (void *)t), 0);
}

/* Nothing of a site that is consistent ever falls, and no more is freed than was allocated. */
static void check_monotonic(struct htl_figures *last)
{
    for (unsigned s = 0; s < SITES; s++) {
        struct htl_figures now = ht_site_view(sites[s])->now;
        ck_assert_uint_ge(now.allocated_bytes, last[s].allocated_bytes);
        ck_assert_uint_ge(now.allocated_blocks, last[s].allocated_blocks);
        ck_assert_uint_ge(now.freed_bytes, last[s].freed_bytes);
        ck_assert_uint_ge(now.freed_blocks, last[s].freed_blocks);
        /* A thread frees here what it allocated itself: never seen freed before allocated. */
        ck_assert_uint_ge(now.allocated_blocks, now.freed_blocks);
        last[s] = now;
    }
}

START_TEST(reader_never_sees_figures_fall)
{
    static struct htl_figures last[SITES];
    pthread_t threads[THREADS];
    make_sites();
    ck_assert(ht_aggregate_begin());
    ht_aggregate_answer();
    start(threads);
    while (running) {
        ht_aggregate_look(HT_LOOK_SAMPLE);
        check_monotonic(last);
        looks++;
    }
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    check_monotonic(last);
    uint64_t allocated = 0, freed = 0, freed_bytes = 0;
    for (unsigned s = 0; s < SITES; s++) {
        allocated += last[s].allocated_blocks;
        freed += last[s].freed_blocks;
        freed_bytes += last[s].freed_bytes;
    }
    printf("%u looks, %llu rounds\n", looks, (unsigned long long)rounds_done);
    ck_assert_uint_eq(freed, rounds_done);
    ck_assert_uint_eq(freed_bytes, rounds_done * 100u);
    ck_assert_uint_eq(allocated, rounds_done + extras_done);
    ck_assert_uint_eq(ht_sums.total.allocated_blocks, allocated);
}
END_TEST

START_TEST(moved_blocks_let_no_figure_fall)
{
    make_sites();
    ck_assert(ht_aggregate_begin());
    ht_aggregate_answer();
    ht_count_shared(sites[0], HT_ALLOCATED_BYTES, 70);
    ht_count_move(sites[0], sites[1], 70);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    const struct htl_figures *from = &ht_site_view(sites[0])->now;
    const struct htl_figures *to = &ht_site_view(sites[1])->now;
    ck_assert_uint_eq(from->allocated_blocks, 1);
    ck_assert_uint_eq(ht_live_bytes(from), 0);
    ck_assert_uint_eq(ht_live_bytes(to), 70);
    ck_assert_uint_eq(ht_live_blocks(to), 1);
}
END_TEST

/* Two sites that share a cell and are counted by turns, as fast as can be. */
static void *work_by_turns(void *argument)
{
    (void)argument;
    ck_assert(ht_thread_begin());
    while (running) {
        for (unsigned s = 0; s < 2; s++) {
            count(ht_self, sites[s], HT_ALLOCATED_BYTES, 100);
            rounds_done++;
        }
    }
    return NULL;
}

static uint64_t counted_at(unsigned s)
{
    const struct ht_site_view *view = ht_site_view(sites[s]); /* NULL before the first look */
    return view ? view->now.allocated_blocks : 0;
}

START_TEST(sites_that_move_all_the_time_do_not_stand_still)
{
    pthread_t thread;
    make_sites();
    while ((sites[1] & (HT_CELLS - 1)) != (sites[0] & (HT_CELLS - 1)) || sites[1] == sites[0])
        sites[1] = ht_site_fallback(0x600000 + 16 * sites[2]++, 0);
    ck_assert(ht_aggregate_begin());
    ht_aggregate_answer();
    running = 1;
    pthread_create(&thread, NULL, work_by_turns, NULL);
    unsigned still[2] = {0}, longest = 0, ahead = 0;
    for (unsigned i = 0; i < LOOKS; i++) {
        uint64_t before[] = {counted_at(0), counted_at(1)}, rounds = rounds_done;
        while (rounds_done - rounds < 1000)
            sched_yield();
        ht_aggregate_look(HT_LOOK_SAMPLE);
        for (unsigned s = 0; s < 2; s++) {
            ck_assert_uint_ge(counted_at(s), before[s]);
            still[s] = counted_at(s) == before[s] ? still[s] + 1 : 0;
            longest = still[s] > longest ? still[s] : longest;
        }
        ahead += counted_at(0) + counted_at(1) > rounds_done + 1;
    }
    running = 0;
    pthread_join(thread, NULL);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    printf("figures stood still for at most %u looks of %u\n", longest, LOOKS);
    ck_assert_uint_le(longest, 20); /* looks that strike while it is interrupted in the middle */
    ck_assert_uint_eq(ahead, 0);
    ck_assert_uint_eq(counted_at(0) + counted_at(1), rounds_done);
}
END_TEST

/* A fork came while another thread moved a cell: the child must not wait for the end of it. */
#if !HT_THREAD_SANITIZER
/* The system gives no more memory for a while: sites that came up meanwhile are told of later. */
START_TEST(sites_wait_for_memory)
{
    struct rlimit before, none;
    support_begin();
    ck_assert(ht_aggregate_begin());
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    uint32_t listed = ht_sums.site_count;
    ck_assert(!ht_heap_was_refused());
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
    none = (struct rlimit){1 << 20, before.rlim_max}; /* far less than there is */
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &none), 0);
    for (unsigned i = 0; i < 700; i++)
        ht_count_shared(ht_site_fallback(0x800000 + 16 * i, 0), HT_ALLOCATED_BYTES, 10);
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    uint32_t without = ht_sums.site_count;
    uint64_t seen = ht_sums.total.allocated_blocks, truncated = ht_oddities.truncated;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    printf("%u sites, %u without memory, %u then\n", listed, without, ht_sums.site_count);
    ck_assert(ht_heap_was_refused());
    ck_assert_uint_lt(seen, 700);
    ck_assert_uint_gt(truncated, 0);
    ck_assert_uint_ge(ht_sums.site_count, listed + 700);
    ck_assert_uint_eq(ht_sums.total.allocated_blocks, 700);
}
END_TEST
#endif

/* Where the table of sites has the id of one that it knows. */
static uint64_t *id_in_table(uint32_t site)
{
    return ht_intern_slot(&ht_sites, ht_intern(&ht_sites, ht_site_key(site), false)) + 1;
}

/* Sites have ids in the order in which they come up: the cells of one loop lie side by side. */
START_TEST(sites_are_numbered_in_order)
{
    support_begin();
    uint32_t first = ht_site_fallback(0x710000, 0);
    for (unsigned i = 1; i < 300; i++)
        ck_assert_uint_eq(ht_site_fallback(0x710000 + 64 * i, 0), first + i);
    ck_assert_uint_eq(ht_site_fallback(0x710000, 0), first);
    ck_assert_uint_eq(ht_sites_end(), first + 300);
    ck_assert(ht_site_exists(first + 299));
    ck_assert(!ht_site_exists(first + 300));
}
END_TEST

/* Two threads that find a site without an id take one each: that of the one stands for both, and
 * what the other has is a site at which nothing was counted. */
START_TEST(of_two_numbers_one_stands)
{
    support_begin();
    ck_assert(ht_aggregate_begin());
    uint32_t site = ht_site_fallback(0x710000, 0);
    uint64_t *id = id_in_table(site);
    ck_assert_uint_eq(*id, site);
    ck_assert_uint_eq(ht_site_number(id, ht_site_key(site)), site);
    ck_assert_uint_eq(*id, site);
    ck_assert_uint_eq(ht_sites_end(), site + 2);
    ht_count_shared(site, HT_ALLOCATED_BYTES, 100);
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ck_assert_uint_eq(ht_site_view(site)->canonical, site);
    ck_assert_uint_eq(ht_site_view(site)->now.allocated_bytes, 100);
    ck_assert_uint_eq(ht_site_view(site + 1)->canonical, site);
    ck_assert_uint_eq(ht_site_view(site + 1)->now.allocated_blocks, 0);
}
END_TEST

/* Who found a place for a site may be gone before it has written down the id: then another one
 * stands for both, and nothing is lost. */
START_TEST(a_site_left_without_a_number_gets_one)
{
    support_begin();
    ck_assert(ht_aggregate_begin());
    uint32_t left = ht_site_fallback(0x710000, 0);
    *id_in_table(left) = 0;
    ht_count_shared(left, HT_ALLOCATED_BYTES, 7);
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    uint32_t stands = ht_site_fallback(0x710000, 0);
    ck_assert_uint_eq(stands, left + 1);
    ck_assert_uint_eq(ht_site_view(left)->canonical, stands);
    ck_assert_uint_eq(ht_site_view(stands)->now.allocated_bytes, 7);
}
END_TEST

/* A key that got two ids: both are one site, the earlier, whichever was counted or seen first. */
START_TEST(two_ids_are_one_site)
{
    support_begin();
    ck_assert(ht_aggregate_begin());
    uint32_t early = ht_site_fallback(0x710000, 0);
    uint64_t key = ht_site_key(early);
    for (uintptr_t pc = 0x800000; !ht_intern_wants_room(&ht_sites); pc += 16)
        ht_site_fallback(pc, 0);
    ht_site_grow();
    uint32_t slot = ht_intern_insert(&ht_sites, &ht_sites.segments[1], key, ht_intern_home(key),
                                     HT_INTERN_PROBES);
    uint32_t late = ht_site_number(ht_intern_slot(&ht_sites, slot) + 1, key);
    ck_assert_uint_gt(late, early);
    ht_count_shared(late, HT_ALLOCATED_BYTES, 100);
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ck_assert_uint_eq(ht_site_view(early)->canonical, early);
    ck_assert_uint_eq(ht_site_view(late)->canonical, early);
    ck_assert_uint_eq(ht_site_view(early)->now.allocated_bytes, 100);
    ht_count_shared(early, HT_ALLOCATED_BYTES, 20);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ck_assert_uint_eq(ht_site_view(early)->now.allocated_bytes, 120);
    ck_assert_uint_eq(ht_site_view(late)->now.allocated_bytes, 0);
}
END_TEST

/* A look takes in what is new by then, whatever the monitor has come by to describe before. */
START_TEST(looks_know_all_frames)
{
    support_begin();
    ck_assert(ht_aggregate_begin());
    ht_aggregate_look(HT_LOOK_SAMPLE);
    uint64_t before = ht_sums.total.allocated_bytes;
    ht_count_shared(ht_site_fallback(0x720000, 0), HT_ALLOCATED_BYTES, 100);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ck_assert_uint_eq(ht_sums.total.allocated_bytes, before + 100);
}
END_TEST

/* Where the tables are full, not even a tag is left of a stack: its block counts all the same. */
START_TEST(what_comes_to_no_tag_counts)
{
    support_begin();
    ck_assert(ht_aggregate_begin());
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    struct htl_figures before = ht_sums.total;
    struct ht_capture *capture = ht_capture_claim(1);
    ck_assert_uint_ne(capture->provisional, 0);
    ht_count_shared(capture->provisional, HT_ALLOCATED_BYTES, 864);
    capture->frames[0] = ht_frame_intern(0x700000);
    *ht_intern_slot(&ht_frames, capture->frames[0]) |= HT_FRAME_DEAD;
    capture->frame_count = 1;
    capture->generation = ht_memo_generation + 1; /* void: it comes to the fallback */
    capture->fallback = 0;
    capture->state = HT_CAPTURE_READY;
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ck_assert_uint_eq(ht_sums.total.allocated_bytes, before.allocated_bytes + 864);
    ck_assert_uint_eq(ht_site_view(0)->now.allocated_blocks, 1);
}
END_TEST

START_TEST(eviction_cut_short_by_a_fork)
{
    pthread_t thread;
    make_sites();
    ck_assert(ht_aggregate_begin());
    ck_assert(ht_thread_begin());
    running = 1;
    looks = LOOKS;
    pthread_create(&thread, NULL, work, (void *)9); /* its key is not made: its state stays */
    pthread_join(thread, NULL);
    struct ht_thread *other = ht_threads == ht_self ? ht_threads->next : ht_threads;
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    uint64_t before = ht_sums.total.allocated_blocks;
    other->sequence++;
    ht_total(sites[3])->started++;
    ck_assert(ht_thread_after_fork());
    ck_assert_uint_eq(other->taken, 0);
    ht_count_shared(sites[3], HT_ALLOCATED_BYTES, 5);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ck_assert_uint_eq(ht_sums.total.allocated_blocks, before + 1);
    ck_assert(!ht_thread_after_fork());
}
END_TEST

static struct ht_thread *halfway; /* in the middle of moving the figures of the fourth site */

static void get_halfway(struct ht_thread *thread)
{
    ht_count(thread, sites[3], HT_ALLOCATED_BYTES, 5);
    __atomic_store_n(&thread->sequence, thread->sequence + 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&ht_total(sites[3])->started, 1, __ATOMIC_ACQ_REL);
    halfway = thread;
}

/* The other half. */
static void *go_on(void *delay_us)
{
    usleep((useconds_t)(uintptr_t)delay_us);
    struct ht_cell *cell = &halfway->cells[ht_cell_of(sites[3])];
    struct ht_total *total = ht_total(sites[3]);
    for (unsigned f = 0; f < HT_FIGURES; f++) {
        __atomic_fetch_add(&total->figures[f], cell->figures[f], __ATOMIC_RELAXED);
        __atomic_store_n(&cell->figures[f], 0, __ATOMIC_RELEASE);
    }
    __atomic_fetch_add(&total->finished, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&halfway->sequence, halfway->sequence + 1, __ATOMIC_RELEASE);
    return NULL;
}

/* What a thread is just moving is missing until the next look. Where none follows, the thread is
 * waited for; but not for ever. */
START_TEST(the_last_look_waits_for_who_is_halfway)
{
    pthread_t thread;
    make_sites();
    ck_assert(ht_aggregate_begin());
    ck_assert(ht_thread_begin());
    ht_count(ht_self, sites[3], HT_ALLOCATED_BYTES, 5);
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    uint64_t before = ht_sums.total.allocated_blocks;
    get_halfway(ht_self);
    ht_aggregate_look(HT_LOOK_TICK);
    ck_assert_uint_eq(ht_sums.total.allocated_blocks, before);
    ht_aggregate_look(HT_LOOK_LAST);
    ck_assert_uint_eq(ht_sums.total.allocated_blocks, before);
    pthread_create(&thread, NULL, go_on, (void *)20000);
    ht_aggregate_look(HT_LOOK_LAST);
    ck_assert_uint_eq(ht_sums.total.allocated_blocks, before + 1);
    pthread_join(thread, NULL);
}
END_TEST

#if !HT_THREAD_SANITIZER /* whose own state is gone when the last round of destructors runs */
static bool cancelled_while_counting;

static void *begin_and_end(void *argument)
{
    ht_thread_set_tag(5); /* as an earlier state may have left it */
    ck_assert(ht_thread_begin());
    *(struct ht_thread **)argument = ht_self;
    ck_assert_uint_eq(ht_thread_tag(), 0);
    ht_thread_set_tag(5);
    ck_assert_uint_eq(ht_self->sequence % 2, 0);
    ck_assert_uint_eq(ht_self->memo_index[7], 0);
    ck_assert_uint_eq(ht_self->walk_log.kept, 0);
    count(ht_self, sites[2], HT_ALLOCATED_BYTES, 8);
    if (cancelled_while_counting) {
        ht_self->sequence++;
        ht_self->memo_index[7] = 4096;
        ht_self->walk_log.kept = 3;
        ht_self->busy = HT_COUNTING;
    }
    return NULL;
}

START_TEST(states_are_recycled)
{
    make_sites();
    ck_assert_int_eq(ht_thread_setup(), 0);
    struct ht_thread *first = NULL;
    for (unsigned i = 0; i < 50; i++) {
        struct ht_thread *state = NULL;
        pthread_t thread;
        cancelled_while_counting = i % 2;
        pthread_create(&thread, NULL, begin_and_end, &state);
        pthread_join(thread, NULL);
        first = first ? first : state;
        ck_assert_ptr_eq(state, first);
        ck_assert_uint_eq(state->taken, 0);
        ck_assert_uint_eq(ht_total(sites[2])->figures[HT_ALLOCATED_BLOCKS], i + 1);
    }
    ck_assert_ptr_null(first->next);
}
END_TEST
#endif

SUPPORT_MAIN("counters", reader_never_sees_figures_fall,
             sites_that_move_all_the_time_do_not_stand_still, moved_blocks_let_no_figure_fall,
#if !HT_THREAD_SANITIZER
             states_are_recycled, sites_wait_for_memory,
#endif
             sites_are_numbered_in_order, of_two_numbers_one_stands,
             a_site_left_without_a_number_gets_one, two_ids_are_one_site, looks_know_all_frames,
             what_comes_to_no_tag_counts, eviction_cut_short_by_a_fork,
             the_last_look_waits_for_who_is_halfway)
