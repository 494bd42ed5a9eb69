/*
 * The thread that calls the program back: order, what is dropped, who is waited for.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../preload/callback.h"
#include "../run_suite.h"

static atomic_int called, out_of_order, blocked, others;
static atomic_bool release;

static int invoke(heaptally_alert_function *function, const struct heaptally_alert *alert,
                  void *user)
{
    function(alert, user);
    return 0;
}

static void count(const struct heaptally_alert *alert, void *user)
{
    atomic_int *last = user;
    out_of_order += (int)alert->number <= *last;
    *last = (int)alert->number;
    called++;
}

static void block(const struct heaptally_alert *alert, void *user)
{
    (void)alert, (void)user;
    blocked++;
    while (!release)
        usleep(1000);
}

static void count_others(const struct heaptally_alert *alert, void *user)
{
    (void)alert, (void)user;
    others++;
}

static void end_itself(const struct heaptally_alert *alert, void *user)
{
    (void)alert;
    *(atomic_int *)user = 1 + ht_callback_set(invoke, NULL, NULL);
}

static void deliver(uint64_t number)
{
    struct ht_alert alert = {.number = number, .kind = HEAPTALLY_ALERT_LEAK};
    ht_callback_deliver(&alert);
}

static void await(atomic_int *what, int value)
{
    for (int i = 0; i < 10000 && *what < value; i++)
        usleep(1000);
    ck_assert_int_eq(*what, value);
}

START_TEST(calls_in_order)
{
    static atomic_int last;
    ck_assert_int_eq(ht_callback_set(invoke, count, &last), 0);
    ck_assert_int_eq(ht_callback_threads(), 1);
    for (int i = 1; i <= 200; i++) {
        deliver((uint64_t)i);
        await(&called, i);
    }
    ck_assert_int_eq(out_of_order, 0);
    ck_assert_int_eq(ht_callback_set(invoke, NULL, NULL), 0);
    deliver(201);
    usleep(20000);
    ck_assert_int_eq(called, 200);
}
END_TEST

START_TEST(drops_what_is_late)
{
    ck_assert_int_eq(ht_callback_set(invoke, block, NULL), 0);
    deliver(1);
    await(&blocked, 1);
    for (uint64_t i = 2; i <= 100; i++)
        deliver(i); /* never waits */
    ck_assert_int_eq(ht_callback_set(invoke, count_others, NULL), -EBUSY);
    deliver(101);
    usleep(20000);
    ck_assert_int_eq(others, 0);
    release = true;
    await(&others, 1); /* what had waited was for the one before */
    ck_assert_int_eq(blocked, 1);
    ck_assert_int_eq(ht_callback_set(invoke, NULL, NULL), 0);
}
END_TEST

START_TEST(keeps_sixteen)
{
    static atomic_int last;
    ck_assert_int_eq(ht_callback_set(invoke, block, NULL), 0);
    deliver(1);
    await(&blocked, 1);
    for (uint64_t i = 2; i <= 100; i++)
        deliver(i);
    release = true;
    await(&blocked, 17);
    usleep(20000);
    ck_assert_int_eq(blocked, 17);
    ck_assert_int_eq(ht_callback_set(invoke, count, &last), 0);
    deliver(101);
    await(&called, 1);
}
END_TEST

START_TEST(ends_itself_and_pauses)
{
    static atomic_int ended, last;
    ck_assert_int_eq(ht_callback_set(invoke, end_itself, &ended), 0);
    deliver(1);
    await(&ended, 1);
    ck_assert_int_eq(ht_callback_set(invoke, count, &last), 0);
    ht_callback_pause();
    ck_assert_int_eq(ht_callback_threads(), 0);
    ht_callback_resume();
    ck_assert_int_eq(ht_callback_threads(), 1);
    deliver(2);
    await(&called, 1);
}
END_TEST

static void *registers(void *argument)
{
    for (int i = 0; i < 200; i++)
        ht_callback_set(invoke, i % 3 ? count_others : NULL, argument);
    return NULL;
}

START_TEST(many_threads)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, registers, NULL), 0);
    for (uint64_t i = 1; i <= 500; i++)
        deliver(i);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(ht_callback_threads(), 1);
    ck_assert_int_eq(ht_callback_set(invoke, NULL, NULL), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("callback");
    TCase *tests = tcase_create("callback"); /* each in a process of its own */
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, calls_in_order);
    tcase_add_test(tests, drops_what_is_late);
    tcase_add_test(tests, keeps_sixteen);
    tcase_add_test(tests, ends_itself_and_pauses);
    tcase_add_test(tests, many_threads);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
