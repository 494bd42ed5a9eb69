/*
 * The controllers' memory to the byte: what a step adds, what each leak mode leaves, that the
 * innocent leave nothing, that the books are true, and what happens when memory runs out. The heap
 * is counted apart from the books, see counted_heap.h.
 */
#include <string.h>

#include "counted_heap.h"
#include "four_laws.h"
#include "../run_suite.h"
#include "sta.h"

static const double state[PLANT_STATES] = {0, 0.05, -0.03, 0, 0, 0};

static const struct history_shape shapes[] = {
    {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 100}, {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 1},
    {HISTORY_CHUNKS, HISTORY_IN_RING, 100},   {HISTORY_CHUNKS, HISTORY_TRIMMED, 50},
    {HISTORY_ARRAY, HISTORY_UNBOUNDED, 100},  {HISTORY_ARRAY, HISTORY_IN_RING, 100},
    {HISTORY_ARRAY, HISTORY_TRIMMED, 70},     {HISTORY_DOUBLING, HISTORY_UNBOUNDED, 3},
    {HISTORY_DOUBLING, HISTORY_TRIMMED, 100},
};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void assert_books(const struct ledger *ledger)
{
    ck_assert_uint_eq(ledger->live_bytes, counted_heap.live_bytes);
    ck_assert_uint_eq(ledger->live_blocks, counted_heap.live_blocks);
    ck_assert_uint_eq(ledger->allocated_bytes, counted_heap.allocated_bytes);
    ck_assert_uint_eq(ledger->allocated_blocks, counted_heap.allocated_blocks);
}

static void steps(const struct law_entry *law, void *controller, int count)
{
    for (int i = 0; i < count; i++)
        law->compute(controller, state);
}

/* Live bytes of the history's rows alone after so many steps. */
static size_t history_bytes(const struct law_entry *law, struct history_shape shape, int count)
{
    struct ledger ledger = {.name = law->law};
    void *c = law_build(law, &(struct law_request){.ledger = &ledger, .history = shape});
    ck_assert_uint_eq(counted_heap.live_bytes, law->own_bytes);
    ck_assert_uint_eq(counted_heap.live_blocks, law->own_blocks);
    steps(law, c, count);
    assert_books(&ledger);
    const size_t bytes = counted_heap.live_bytes - law->own_bytes;
    law_end(law, c);
    ck_assert_uint_eq(counted_heap.live_blocks, 0);
    counted_heap.allocated_bytes = counted_heap.allocated_blocks = 0;
    return bytes;
}

/* 6, 4, 5 and 4 doubles a step: the figures that a leak report must show. */
START_TEST(bytes_per_step)
{
    static const size_t row_bytes[LAWS] = {48, 32, 32, 40, 32};
    const struct law_entry *law = &four_laws()[_i];
    const size_t row = row_bytes[_i];
    const struct history_shape array = {HISTORY_ARRAY, HISTORY_UNBOUNDED, 100};
    const struct history_shape chunks = {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 100};
    const struct history_shape doubling = {HISTORY_DOUBLING, HISTORY_UNBOUNDED, 100};
    ck_assert_uint_eq(history_bytes(law, array, 0), 0);
    ck_assert_uint_eq(history_bytes(law, array, 1), 100 * row);
    ck_assert_uint_eq(history_bytes(law, array, 1000), 1000 * row);
    ck_assert_uint_eq(history_bytes(law, array, 10000), 10000 * row);
    ck_assert_uint_eq(history_bytes(law, chunks, 1000), 1000 * row + 10 * sizeof(void *));
    ck_assert_uint_eq(history_bytes(law, chunks, 1001), 1100 * row + 11 * sizeof(void *));
    ck_assert_uint_eq(history_bytes(law, doubling, 1000), 1600 * row);
}
END_TEST

/* A ring takes its block once; a trimmed history goes up to 1000 rows and back to 500. */
START_TEST(bounded_histories)
{
    const struct law_entry *law = &four_laws()[_i];
    const size_t row = law->row_doubles * sizeof(double);
    const struct history_shape ring = {HISTORY_CHUNKS, HISTORY_IN_RING, 10};
    const struct history_shape chunks = {HISTORY_CHUNKS, HISTORY_TRIMMED, 100};
    const struct history_shape array = {HISTORY_ARRAY, HISTORY_TRIMMED, 100};
    ck_assert_uint_eq(history_bytes(law, ring, 1), 100 * row);
    ck_assert_uint_eq(history_bytes(law, ring, 12345), 100 * row);
    for (int teeth = 0; teeth < 3; teeth++) {
        const int top = 1000 + 500 * teeth;
        ck_assert_uint_eq(history_bytes(law, chunks, top), 1000 * row + 10 * sizeof(void *));
        ck_assert_uint_eq(history_bytes(law, chunks, top + 1), 600 * row + 6 * sizeof(void *));
        ck_assert_uint_eq(history_bytes(law, array, top), 1000 * row);
        ck_assert_uint_eq(history_bytes(law, array, top + 1), 600 * row);
    }
}
END_TEST

/* In every shape the rows that are kept are the last ones, in order. */
START_TEST(histories_keep_the_last_rows)
{
    const struct law_entry *law = &four_laws()[LAW_CLASSICAL]; /* its first column is sigma */
    struct ledger ledger = {.name = law->law};
    static double sigma[2345];
    enum { COUNT = sizeof(sigma) / sizeof(sigma[0]) };
    void *c = law_build(law, &(struct law_request){.ledger = &ledger, .history = shapes[_i]});
    for (int i = 0; i < COUNT; i++)
        sigma[i] = law->compute(c, (const double[PLANT_STATES]){0, 1e-4 * i}).sigma;
    const struct history *history = law->history(c);
    const size_t kept[HISTORY_BOUNDS] = {COUNT, HISTORY_RING, 500 + (COUNT - 1) % 500 + 1};
    ck_assert_uint_eq(history->rows, kept[shapes[_i].bound]);
    for (size_t i = 0; i < history->rows; i++)
        ck_assert_double_eq(history_row(history, i)[0], sigma[COUNT - history->rows + i]);
    ck_assert_ptr_null(history_row(history, history->rows));
    law_end(law, c);
}
END_TEST

/* The innocent: every law in every shape, twice over in one life, leaves nothing at all. */
START_TEST(innocents_leave_nothing)
{
    const struct law_entry *law = &four_laws()[_i];
    for (int shape = 0; shape < SHAPES; shape++) {
        struct ledger ledger = {.name = law->law};
        counted_heap.allocated_bytes = counted_heap.allocated_blocks = 0;
        void *c =
            law_build(law, &(struct law_request){.ledger = &ledger, .history = shapes[shape]});
        steps(law, c, 1234);
        assert_books(&ledger);
        law->cleanup(c);
        law->cleanup(c); /* a second cleanup does nothing */
        ck_assert_uint_eq(counted_heap.live_blocks, 1);
        ck_assert(law->initialise(c));
        steps(law, c, 100);
        law_end(law, c);
        assert_books(&ledger);
        ck_assert_uint_eq(counted_heap.live_bytes, 0);
        ck_assert_uint_eq(counted_heap.live_blocks, 0);
        ck_assert_uint_eq(ledger.instantiations, 1);
        ck_assert_uint_eq(ledger.cycles, 1334);
        ck_assert_uint_eq(ledger.lost_rows, 0);
    }
}
END_TEST

/* What one controller leaves in each mode, after 250 steps in chunks of 100. */
START_TEST(leak_modes)
{
    const struct law_entry *law = &four_laws()[_i];
    const size_t chunks = 3 * (sizeof(void *) + 100 * law->row_doubles * sizeof(double));
    const size_t forgotten = sizeof(struct history) + chunks;
    const size_t uncleaned = law->own_bytes - law->create_bytes + chunks;
    const struct {
        enum leak_mode mode;
        size_t bytes, blocks;
    } cases[] = {
        {LEAK_NONE, 0, 0},
        {LEAK_FORGET_HISTORY, forgotten, 1 + 3},
        {LEAK_NO_CLEANUP, uncleaned, law->own_blocks - 1 + 3},
        {LEAK_NOOP_CLEANUP, uncleaned, law->own_blocks - 1 + 3},
        {LEAK_NO_DESTRUCTOR, law->create_bytes, 1},
        {LEAK_GROWING, 0, 0}, /* the program's doing, not the law's */
    };
    ck_assert_uint_eq(sizeof(cases) / sizeof(cases[0]), LEAK_MODES);
    for (int i = 0; i < LEAK_MODES; i++) {
        struct ledger ledger = {.name = law->law};
        counted_heap.allocated_bytes = counted_heap.allocated_blocks = 0;
        void *c = law_build(law, &(struct law_request){.ledger = &ledger, .leak = cases[i].mode});
        steps(law, c, 250);
        if (cases[i].mode != LEAK_NO_CLEANUP)
            law->cleanup(c);
        law->destroy(c);
        assert_books(&ledger);
        ck_assert_uint_eq(counted_heap.live_bytes, cases[i].bytes);
        ck_assert_uint_eq(counted_heap.live_blocks, cases[i].blocks);
        counted_heap_free_all();
    }
}
END_TEST

/*
 * Memory runs out at the n-th allocation, for every n of a short life: the books stay true, nothing
 * is left behind, and a step whose row is lost gives the same force.
 */
START_TEST(memory_runs_out)
{
    const struct law_entry *law = &four_laws()[_i];
    const long allocations = (long)law->own_blocks + 3; /* three chunks */
    struct control expected[3];
    for (long n = allocations; n >= 0; n--) {
        struct ledger ledger = {.name = law->law};
        const struct law_request request = {.ledger = &ledger,
                                            .history = {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 1}};
        counted_heap.allocated_bytes = counted_heap.allocated_blocks = 0;
        counted_heap.fail_after = n;
        void *c = law->create(&request);
        ck_assert_int_eq(c == NULL, n == 0);
        if (c && law->initialise(c)) {
            ck_assert_int_ge(n, (long)law->own_blocks);
            for (int step = 0; step < 3; step++) {
                const struct control got = law->compute(c, state);
                if (n == allocations)
                    expected[step] = got;
                ck_assert_mem_eq(&got, &expected[step], sizeof(got));
            }
            ck_assert_uint_eq(ledger.lost_rows, (size_t)(allocations - n));
        }
        assert_books(&ledger);
        if (c)
            law_end(law, c);
        ck_assert_uint_eq(counted_heap.live_blocks, 0);
        counted_heap.fail_after = -1;
    }
}
END_TEST

/* The warm-up block comes with the program's first step, once, whatever follows. */
START_TEST(warm_up_block_comes_once)
{
    enum { WARM_UP = 24 << 20 };
    struct ledger ledger = {.name = "sta"};
    struct sta_config config = sta_tuned();
    config.options.ledger = &ledger;
    config.warm_up_bytes = WARM_UP;
    for (int i = 0; i < 5; i++) {
        struct sta *c = sta_create(&config);
        ck_assert(sta_initialise(c));
        ck_assert_int_eq(ledger.live_bytes >= WARM_UP, i > 0);
        sta_compute(c, state);
        ck_assert_uint_ge(ledger.live_bytes, WARM_UP);
        sta_compute(c, state);
        sta_cleanup(c);
        sta_destroy(c);
        assert_books(&ledger);
        ck_assert_uint_eq(ledger.live_bytes, WARM_UP);
        ck_assert_uint_eq(ledger.live_blocks, 1);
    }
    counted_heap_free_all();
}
END_TEST

START_TEST(impossible_shapes)
{
    static const struct history_shape impossible[] = {
        {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 0},
        {HISTORY_CHUNKS, HISTORY_TRIMMED, 300},
        {HISTORY_ARRAY, HISTORY_UNBOUNDED, HISTORY_MAX_ROWS_PER_BLOCK + 1},
    };
    for (size_t i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++) {
        struct ledger ledger = {.name = "sta"};
        struct sta_config config = sta_tuned();
        config.options.ledger = &ledger;
        config.options.history = impossible[i];
        ck_assert_ptr_null(sta_create(&config));
        ck_assert_uint_eq(counted_heap.allocated_blocks, 0);
    }
    for (int i = 0; i < SHAPES; i++)
        ck_assert(history_shape_valid(shapes[i]));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("controllers: memory");
    TCase *tests = tcase_create("memory");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, bytes_per_step, 0, LAWS);
    tcase_add_loop_test(tests, bounded_histories, 0, LAWS);
    tcase_add_loop_test(tests, histories_keep_the_last_rows, 0, SHAPES);
    tcase_add_loop_test(tests, innocents_leave_nothing, 0, LAWS);
    tcase_add_loop_test(tests, leak_modes, 0, LAWS);
    tcase_add_loop_test(tests, memory_runs_out, 0, LAWS);
    tcase_add_test(tests, warm_up_block_comes_once);
    tcase_add_test(tests, impossible_shapes);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
