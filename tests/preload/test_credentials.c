/*
 * Two statuses of /proc: alike or not, also where their last line was cut because of very many
 * groups.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../preload/credentials.h"
#include "../run_suite.h"

enum { ROOM = 2048 };

/* The beginning of a status as heaptally reads it: `room` bytes, the NUL among them. `other` is
 * where in the list stands another group, if anywhere. */
static void status(char *out, size_t room, const char *name, int user, int groups, int other)
{
    char text[65536];
    int length = snprintf(text, sizeof text,
                          "Name:\t%s\nState:\tS (sleeping)\nUid:\t%d\t0\t0\t0\n"
                          "Gid:\t0\t0\t0\t0\nFDSize:\t64\nGroups:\t",
                          name, user);
    for (int i = 0; i < groups; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "%d ",
                           1234500000 + i + (i == other ? 1000 : 0));
    snprintf(text + length, sizeof text - (size_t)length, "\nNStgid:\t1\nNSpid:\t1\n");
    snprintf(out, room, "%s", text);
}

static const struct {
    int user_b, groups_a, groups_b, other;
    size_t room;
    bool alike;
} cases[] = {
    {0, 0, 0, -1, ROOM, true},      {1, 0, 0, -1, ROOM, false},
    {0, 3, 3, -1, ROOM, true},      {0, 3, 3, 1, ROOM, false},
    {0, 3, 4, -1, ROOM, false},     {0, 4, 3, -1, ROOM, false},
    {0, 300, 300, -1, ROOM, true}, /* cut, at different places */
    {1, 300, 300, -1, ROOM, false}, {0, 300, 300, 7, ROOM, false},
    {0, 300, 300, 299, ROOM, true}, /* beyond what is read */
    {0, 300, 3, -1, ROOM, false},   /* one is whole, and ends before the other is cut */
    {0, 3, 300, -1, ROOM, false},   {0, 3, 3, -1, 40, true}, /* the line is not there at all */
};

START_TEST(alike)
{
    char a[ROOM], b[ROOM];
    status(a, cases[_i].room, "a program", 0, cases[_i].groups_a, -1);
    status(b, cases[_i].room, "heaptally", cases[_i].user_b, cases[_i].groups_b, cases[_i].other);
    ck_assert_int_eq(ht_credentials_alike(a, b), cases[_i].alike);
    status(b, cases[_i].room, "h", cases[_i].user_b, cases[_i].groups_b, cases[_i].other);
    ck_assert_int_eq(ht_credentials_alike(a, b), cases[_i].alike);
    ck_assert_int_eq(ht_credentials_alike(b, a), cases[_i].alike);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("credentials");
    TCase *tests = tcase_create("credentials");
    tcase_add_loop_test(tests, alike, 0, sizeof cases / sizeof *cases);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
