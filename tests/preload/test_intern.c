/* The interning table: same key, same id, on any number of threads, while it grows. */
#include "../../preload/intern.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"

#define THREADS 8
#define KEYS    6000u /* of each thread; half of them are everybody's */

static struct ht_intern table = {
    .stride = 1,
    .segments = {{.base = 4, .size = 1024},
                 {.base = 4 + 1024, .size = 2048},
                 {.base = 4 + 1024 + 2048, .size = 8192},
                 {.base = 4 + 1024 + 2048 + 8192, .size = 131072}},
};

#define PLACES (8u + 16 + 32 + 64) /* of the next */

static struct ht_intern tiny = {
    .stride = 2,
    .segments = {{.base = 1, .size = 8},
                 {.base = 9, .size = 16},
                 {.base = 25, .size = 32},
                 {.base = 57, .size = 64}},
};

START_TEST(same_key_same_id)
{
    ck_assert_uint_eq(ht_intern(&tiny, 7, true), HT_INTERN_FULL); /* nothing is laid */
    ck_assert(ht_intern_begin(&tiny));
    ck_assert_uint_eq(ht_intern(&tiny, 7, false), HT_INTERN_FULL);
    uint32_t id = ht_intern(&tiny, 7, true);
    ck_assert_uint_ne(id, HT_INTERN_FULL);
    ck_assert_uint_eq(ht_intern(&tiny, 7, true), id);
    ck_assert_uint_eq(ht_intern(&tiny, 7, false), id);
    ck_assert_uint_eq(ht_intern_key(&tiny, id), 7);
    ht_intern_slot(&tiny, id)[1] = 99; /* the owner's word does not disturb the neighbours */
    ck_assert_uint_ne(ht_intern(&tiny, 8, true), id);
    ck_assert_uint_eq(ht_intern_slot(&tiny, id)[1], 99);
}
END_TEST

START_TEST(full_says_so)
{
    uint32_t ids[PLACES];
    unsigned given = 0;
    ck_assert(ht_intern_begin(&tiny));
    for (unsigned laid = 1; laid <= HT_INTERN_SEGMENTS; laid++) {
        uint64_t key = 1000 * laid;
        for (uint32_t id; (id = ht_intern(&tiny, ++key, true)) != HT_INTERN_FULL;) {
            ck_assert_uint_lt(given, PLACES);
            for (unsigned i = 0; i < given; i++)
                ck_assert_uint_ne(ids[i], id);
            ids[given++] = id;
        }
        ck_assert(ht_intern_grow(&tiny) == (laid < HT_INTERN_SEGMENTS));
        ck_assert_uint_eq(ht_intern_segments(&tiny),
                          laid < HT_INTERN_SEGMENTS ? laid + 1 : HT_INTERN_SEGMENTS);
    }
    printf("%u of %u places given before the table was full\n", given, PLACES);
    ck_assert_uint_ge(given, PLACES * 9 / 10);
    ck_assert_uint_eq(ht_intern_key(&tiny, ids[0]), 1001);
}
END_TEST

START_TEST(grows_only_when_it_must)
{
    ck_assert(ht_intern_begin(&tiny));
    for (uint64_t key = 1; key <= 4; key++)
        ht_intern(&tiny, key, true);
    ck_assert(!ht_intern_grow(&tiny));
    ht_intern(&tiny, 5, true);
    ck_assert(ht_intern_grow(&tiny));
}
END_TEST

static uint32_t ids[THREADS][KEYS];
static _Atomic unsigned running;

static uint64_t key_of(unsigned thread, unsigned i)
{
    return i % 2 ? 1 + i : (uint64_t)(thread + 1) << 32 | i;
}

static void *insert(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;
    for (unsigned n = 0; n < KEYS; n++) {
        unsigned i = (n + thread * 701) % KEYS;
        while ((ids[thread][i] = ht_intern(&table, key_of(thread, i), true)) == HT_INTERN_FULL)
            sched_yield(); /* until the table has grown */
        if (n % 16 == 0)   /* what is there is found at any time */
            ck_assert_uint_ne(ht_intern(&table, key_of(thread, i), false), HT_INTERN_FULL);
    }
    running--;
    return NULL;
}

/* Keys that all want one place: the one too many gets room without waiting for half a table. */
START_TEST(a_crowded_place_makes_it_grow)
{
    uint64_t keys[HT_INTERN_PROBES + 1], key = 1, hash;
    ck_assert(ht_intern_begin(&table));
    for (unsigned i = 0; i <= HT_INTERN_PROBES; key++) {
        hash = (key ^ key >> 40) * UINT64_C(0x9E3779B97F4A7C15);
        if (((hash >> 32) & (table.segments[0].size - 1)) == 5)
            keys[i++] = key;
    }
    for (unsigned i = 0; i < HT_INTERN_PROBES; i++)
        ck_assert_uint_eq(ht_intern(&table, keys[i], true), 4 + 5 + i);
    ck_assert(!ht_intern_wants_room(&table));
    ck_assert_uint_eq(ht_intern(&table, keys[HT_INTERN_PROBES], false), HT_INTERN_FULL);
    ck_assert(!ht_intern_grow(&table)); /* nobody wanted to insert it */
    ck_assert_uint_eq(ht_intern(&table, keys[HT_INTERN_PROBES], true), HT_INTERN_FULL);
    ck_assert(ht_intern_wants_room(&table));
    ck_assert(ht_intern_grow(&table));
    ck_assert_uint_ge(ht_intern(&table, keys[HT_INTERN_PROBES], true), table.segments[1].base);
    ck_assert(!ht_intern_grow(&table));
}
END_TEST

/* Two threads, one of which did not see the second segment yet: from then on there is one answer to
 * whoever asks for the key, and one to whoever asks for the id that stands for both. */
START_TEST(a_key_with_two_ids)
{
    ck_assert(ht_intern_begin(&tiny));
    for (uint64_t key = 1; key <= 5; key++)
        ht_intern(&tiny, key, true);
    uint32_t early = ht_intern(&tiny, 3, false);
    ck_assert(ht_intern_grow(&tiny));
    ck_assert_uint_eq(ht_intern(&tiny, 3, true), early); /* what is there stays where it is */
    ck_assert_uint_eq(ht_intern_first(&tiny, 3), early);
    uint32_t late = ht_intern_insert(&tiny, &tiny.segments[1], 3, ht_intern_home(3), 16);
    ck_assert_uint_ge(late, tiny.segments[1].base);
    ck_assert_uint_eq(ht_intern(&tiny, 3, true), late);
    ck_assert_uint_eq(ht_intern_first(&tiny, 3), early);
    ck_assert_uint_eq(ht_intern_first(&tiny, 77), HT_INTERN_FULL);
}
END_TEST

START_TEST(threads_insert_while_it_grows)
{
    pthread_t threads[THREADS];
    ck_assert(ht_intern_begin(&table));
    running = THREADS;
    for (uintptr_t t = 0; t < THREADS; t++)
        pthread_create(&threads[t], NULL, insert, (void *)t);
    unsigned grown = 0;
    while (running)
        grown += ht_intern_grow(&table);
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    ck_assert_uint_gt(grown, 0);
    unsigned twice = 0, used = 0, places = 0;
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned i = 0; i < KEYS; i++) {
            uint32_t id = ids[t][i];
            ck_assert_uint_eq(ht_intern_key(&table, id), key_of(t, i));
            twice += ht_intern(&table, key_of(t, i), false) != id;
        }
    }
    for (unsigned s = 0; s < ht_intern_segments(&table); s++) {
        used += table.segments[s].used;
        for (uint32_t i = 0; i < table.segments[s].size; i++)
            places += table.segments[s].slots[i] != 0;
    }
    printf("%u segments more, %u inserted, %u with a second id\n", grown, used, twice);
    ck_assert_uint_eq(grown, HT_INTERN_SEGMENTS - 1);
    ck_assert_uint_eq(used, places);
    ck_assert_uint_lt(twice, 2 * THREADS * THREADS); /* only around the moment of growing */
}
END_TEST

SUPPORT_MAIN("intern", same_key_same_id, full_says_so, grows_only_when_it_must,
             a_crowded_place_makes_it_grow, a_key_with_two_ids, threads_insert_while_it_grows)
