/* Names of tags: unique on any number of threads, cut at characters, bounded. Scopes: an id for
 * each pair of owner and region, which is no name. */
#include "../../preload/tag.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "heaptally/snapshot_format.h"
#include "support.h"

#define THREADS 6
#define NAMES   1200u
#define BEFORE  400u /* names that have all room laid */

static uint32_t intern(const char *name)
{
    return ht_tag_intern(name, strlen(name), HTL_TAG_EXPLICIT);
}

START_TEST(names_and_ids)
{
    ck_assert_uint_eq(ht_tag_intern("early", 5, HTL_TAG_EXPLICIT), 0); /* no table yet */
    support_begin();
    uint32_t plan = intern("plan"), law = intern("law");
    ck_assert_uint_ne(plan, 0);
    ck_assert_uint_ne(plan, law);
    ck_assert_uint_eq(ht_tag_intern("plan of all", 4, HTL_TAG_RULE), plan);
    ck_assert_uint_eq(ht_tag(plan)->kind, HTL_TAG_EXPLICIT);
    ck_assert_str_eq(ht_tag(plan)->name, "plan");
    ck_assert_uint_eq(intern(""), 0);
    ck_assert_ptr_null(ht_tag(0));
    ck_assert_ptr_null(ht_tag(HT_TAGS));
    ck_assert_ptr_null(ht_tag(UINT32_MAX));
    ck_assert_uint_eq(ht_tag(law)->counted, 0);
    ht_tag_count_cycle(law);
    ht_tag_count_cycle(law);
    ht_tag_count_instantiation(law);
    ht_tag_count_instantiation(0);
    ck_assert_uint_eq(ht_tag(law)->cycles, 2);
    ck_assert_uint_eq(ht_tag(law)->instantiations, 1);
    ck_assert_uint_eq(ht_tag(plan)->counted, 0);
}
END_TEST

START_TEST(long_names_are_cut_at_a_character)
{
    support_begin();
    for (unsigned shift = 0; shift < 4; shift++) {
        char name[200] = "";
        memset(name, 'a', 124 + shift % 4);
        strcpy(name + 124 + shift, "\xf0\x9f\x8e\x9b\xc3\xa4z"); /* of four bytes, of two */
        const struct ht_tag_entry *entry = ht_tag(intern(name));
        ck_assert_ptr_nonnull(entry);
        ck_assert_uint_eq(entry->length, 124 + shift);
        ck_assert_int_eq(memcmp(entry->name, name, entry->length), 0);
    }
    char fits[200];
    memset(fits, 'b', 123);
    strcpy(fits + 123, "\xf0\x9f\x8e\x9b"
                       "rest");
    ck_assert_uint_eq(ht_tag(intern(fits))->length, 127);
    char junk[200]; /* no character starts anywhere */
    memset(junk, 0x80, sizeof junk);
    ck_assert_uint_ge(ht_tag(ht_tag_intern(junk, sizeof junk, HTL_TAG_EXPLICIT))->length, 1);
}
END_TEST

START_TEST(scopes_stand_for_owner_and_region)
{
    support_begin();
    uint32_t plan = intern("plan"), law = intern("law"), step = intern("step");
    ck_assert_uint_eq(ht_scope_owner(plan), plan);
    ck_assert_uint_eq(ht_scope_region(plan), 0);
    ck_assert_uint_eq(ht_scope_owner(0), 0);
    ck_assert_uint_eq(ht_scope_region(0), 0);
    ck_assert_uint_eq(ht_scope_intern(plan, 0), plan);
    uint32_t in_step = ht_scope_intern(plan, step), nobody = ht_scope_intern(0, step);
    ck_assert_uint_ne(in_step, plan);
    ck_assert_uint_ne(in_step, nobody);
    ck_assert_uint_ne(nobody, 0);
    ck_assert_uint_eq(ht_scope_intern(plan, step), in_step);
    ck_assert_uint_eq(ht_scope_owner(in_step), plan);
    ck_assert_uint_eq(ht_scope_region(in_step), step);
    ck_assert_uint_eq(ht_scope_owner(nobody), 0);
    ck_assert_uint_eq(ht_scope_with_owner(in_step, law), ht_scope_intern(law, step));
    ck_assert_uint_eq(ht_scope_with_owner(in_step, 0), nobody);
    ck_assert_uint_eq(ht_scope_with_owner(plan, law), law);
    ck_assert_uint_eq(ht_scope_intern(step, plan), ht_scope_intern(step, plan));
    ck_assert_uint_ne(ht_scope_intern(step, plan), in_step);
    ck_assert_uint_eq(ht_tag(in_step)->kind, 0); /* no name */
}
END_TEST

/* The owner is kept, the region is not. */
START_TEST(more_scopes_than_places)
{
    char name[30];
    support_begin();
    uint32_t plan = intern("plan"), step = intern("step"), made = ht_scope_intern(plan, step);
    for (unsigned i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "controller %u", i);
        intern(name);
        ht_tag_grow(); /* as the monitor does */
    }
    uint64_t truncated = ht_oddities.truncated;
    ck_assert_uint_eq(ht_scope_intern(plan, step), made);
    ck_assert_uint_eq(ht_oddities.truncated, truncated);
    ck_assert_uint_eq(ht_scope_intern(step, plan), step);
    ck_assert_uint_eq(ht_oddities.truncated, truncated + 1);
}
END_TEST

START_TEST(more_names_than_places)
{
    static uint32_t ids[2500];
    char name[30];
    support_begin();
    uint32_t other = intern("[other]");
    ck_assert_uint_eq(ht_tag(other)->kind, HTL_TAG_OTHER);
    unsigned own = 0;
    for (unsigned i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "controller %u", i);
        ids[i] = intern(name);
        ck_assert_uint_ne(ids[i], 0);
        own += ids[i] != other;
        ht_tag_grow(); /* as the monitor does */
    }
    printf("%u of 2500 names have an id of their own\n", own);
    ck_assert_uint_gt(own, 1700);
    ck_assert_uint_eq(ht_oddities.truncated, 2500 - own);
    for (unsigned i = 0; i < own; i++) {
        snprintf(name, sizeof name, "controller %u", i);
        ck_assert_uint_eq(intern(name), ids[i]);
        ck_assert_str_eq(ht_tag(ids[i])->name, name);
    }
    ck_assert_uint_eq(ht_tag_count(), own + 1);
}
END_TEST

/* However many come at once: no name is counted as "[other]" because the monitor has not come by.
 */
START_TEST(names_wait_for_nobody)
{
    char name[30];
    support_begin();
    uint32_t other = intern("[other]"), own = 0;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "controller %u", i);
        own += intern(name) != other;
    }
    ck_assert_uint_eq(own, 1000); /* before the monitor has come by */
}
END_TEST

static uint32_t ids[THREADS][NAMES];

static void *work(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;
    char name[30];
    for (unsigned n = 0; n < NAMES; n++) {
        unsigned i = (n + thread * 37) % NAMES;
        snprintf(name, sizeof name, "law %u", i);
        ids[thread][i] = intern(name);
        ht_tag_count_instantiation(ids[thread][i]);
        ht_tag_count_cycle(ids[thread][i]);
    }
    return NULL;
}

START_TEST(threads_agree)
{
    pthread_t threads[THREADS];
    char name[30];
    support_begin();
    for (unsigned i = 0; i < BEFORE; i++) {
        snprintf(name, sizeof name, "before %u", i);
        intern(name);
        ht_tag_grow();
    }
    for (uintptr_t t = 0; t < THREADS; t++)
        pthread_create(&threads[t], NULL, work, (void *)t);
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    for (unsigned i = 0; i < NAMES; i++) {
        for (unsigned t = 1; t < THREADS; t++)
            ck_assert_uint_eq(ids[t][i], ids[0][i]);
        ck_assert_uint_eq(ht_tag(ids[0][i])->instantiations, THREADS);
        ck_assert_uint_eq(ht_tag(ids[0][i])->cycles, THREADS);
    }
    ck_assert_uint_eq(ht_tag_count(), BEFORE + NAMES + 1);
}
END_TEST

SUPPORT_MAIN("tag", names_and_ids, long_names_are_cut_at_a_character,
             scopes_stand_for_owner_and_region, more_scopes_than_places, more_names_than_places,
             names_wait_for_nobody, threads_agree)
