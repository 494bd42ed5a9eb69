/*
 * Text that grows: limits, numbers, and strings for JSON, whatever bytes they hold.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../preload/text_out.h"
#include "../run_suite.h"

static struct ht_out out;

static void begin(void)
{
    ht_out_begin(&out, 1 << 20);
}

static void end(void)
{
    ht_out_free(&out);
}

START_TEST(numbers)
{
    ht_out_number(&out, 1234.5678, 2);
    ht_out_text(&out, " ");
    ht_out_number(&out, -0.04, 1);
    ht_out_text(&out, " ");
    ht_out_number(&out, NAN, 1);
    ht_out_text(&out, " ");
    ht_out_json_number(&out, NAN, 1);
    ht_out_text(&out, " ");
    ht_out_json_number(&out, INFINITY, 1);
    ht_out_text(&out, " ");
    ht_out_json_count(&out, UINT64_MAX);
    ht_out_text(&out, " ");
    ht_out_json_count(&out, UINT64_MAX - 1);
    ck_assert_str_eq(out.bytes, "1234.57 0.0 unknown null null null 18446744073709551614");
}
END_TEST

START_TEST(objects)
{
    ht_out_text(&out, "{");
    ht_out_key(&out, "a");
    ht_out_json_count(&out, 1);
    ht_out_key(&out, "b");
    ht_out_text(&out, "[");
    ht_out_comma(&out);
    ht_out_text(&out, "2");
    ht_out_comma(&out);
    ht_out_text(&out, "3]}");
    ck_assert_str_eq(out.bytes, "{\"a\": 1, \"b\": [2, 3]}");
}
END_TEST

static const struct {
    const char *bytes, *json;
} strings[] = {
    {"plain", "\"plain\""},
    {"\"\\\n\x7f", "\"\\\"\\\\\\u000a\\u007f\""},
    {"h\xc3\xa4lt \xe2\x82\xac \xf0\x9f\x98\x80", "\"h\xc3\xa4lt \xe2\x82\xac \xf0\x9f\x98\x80\""},
    {"cut \xe2\x82", "\"cut \\ufffd\\ufffd\""},
    {"\xff\xfe", "\"\\ufffd\\ufffd\""},
    {"\xc0\xaf", "\"\\ufffd\\ufffd\""},                       /* '/' in two bytes */
    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* half of a surrogate pair */
    {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* beyond the last character */
};

START_TEST(json_strings)
{
    ht_out_json_string(&out, strings[_i].bytes, strlen(strings[_i].bytes));
    ck_assert_str_eq(out.bytes, strings[_i].json);
}
END_TEST

START_TEST(grows_to_its_limit)
{
    static char piece[1000];
    memset(piece, 'x', sizeof piece);
    struct ht_out small;
    ht_out_begin(&small, 10001);
    for (int i = 0; i < 10; i++)
        ht_out_bytes(&small, piece, sizeof piece);
    ck_assert(!small.failed);
    ck_assert_uint_eq(small.used, 10000);
    ck_assert_uint_eq(strlen(small.bytes), 10000);
    ht_out_text(&small, "x");
    ck_assert(small.failed);
    ht_out_text(&small, "");
    ck_assert_uint_eq(small.used, 10000);
    ht_out_free(&small);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text_out");
    TCase *tests = tcase_create("text_out");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, numbers);
    tcase_add_test(tests, objects);
    tcase_add_loop_test(tests, json_strings, 0, sizeof strings / sizeof *strings);
    tcase_add_test(tests, grows_to_its_limit);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
