/*
 * Unit tests of text.c: what people read, and what untrusted strings become; and of the checksum.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "demangle.h"
#include "heaptally/crc32c.h"
#include "text.h"
#include "../run_suite.h"

static void expect_clean(const char *bytes, size_t length, const char *wanted)
{
    char *clean = ht_clean(bytes, length);
    ck_assert_str_eq(clean, wanted);
    free(clean);
}

#define BAD "\xef\xbf\xbd"

START_TEST(clean_text)
{
    expect_clean("", 0, "");
    expect_clean("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", 17,
                 "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
    expect_clean("a\x1b[31m\n\x7f", 8, "a" BAD "[31m" BAD BAD);
    expect_clean("\0x", 2, BAD "x");
    expect_clean("\xc2\x9b", 2, BAD); /* a control character of two bytes */
    expect_clean("\xe2\x80\xae"
                 "abc",
                 6, BAD "abc");                           /* turns the writing around */
    expect_clean("\xc0\xaf", 2, BAD BAD);                 /* overlong */
    expect_clean("\xed\xa0\x80", 3, BAD BAD BAD);         /* surrogate */
    expect_clean("\xf4\x90\x80\x80", 4, BAD BAD BAD BAD); /* beyond Unicode */
    expect_clean("\xe2\x82", 2, BAD BAD);                 /* cut off */
    expect_clean("\xff\xfe", 2, BAD BAD);
}
END_TEST

static void expect_elided(const char *text, size_t columns, const char *wanted)
{
    char *elided = ht_elide(text, columns);
    ck_assert_str_eq(elided, wanted);
    ck_assert_uint_le(ht_columns(elided), columns);
    free(elided);
}

START_TEST(elided_text)
{
    expect_elided("controller", 10, "controller");
    expect_elided("controller", 9, "cont\u2026ller");
    expect_elided("controller", 8, "cont\u2026ler");
    expect_elided("controller", 2, "c\u2026");
    expect_elided("controller", 1, "\u2026");
    expect_elided("", 1, "");
    expect_elided("\u00e4\u00f6\u00fc\u00df\u00e4\u00f6", 5, "\u00e4\u00f6\u2026\u00e4\u00f6");
}
END_TEST

START_TEST(numbers_as_text)
{
    ck_assert_str_eq(ht_grouped(0), "0");
    ck_assert_str_eq(ht_grouped(999), "999");
    ck_assert_str_eq(ht_grouped(1000), "1,000");
    ck_assert_str_eq(ht_grouped(20480000), "20,480,000");
    ck_assert_str_eq(ht_grouped(UINT64_MAX), "18,446,744,073,709,551,615");
    ck_assert_str_eq(ht_grouped_real(1234.56, 1), "1,234.6");
    ck_assert_str_eq(ht_grouped_real(-1234567, 0), "-1,234,567");
    ck_assert_str_eq(ht_grouped_real(NAN, 1), "unknown");
    ck_assert_str_eq(ht_grouped_real(INFINITY, 1), "unknown");
    ck_assert_str_eq(ht_grouped_real(1e300, 1), "1.000e+300");
    ck_assert_str_eq(ht_ratio(1.005), "1.00");
    ck_assert_str_eq(ht_ratio(19.53), "19.5");
    ck_assert_str_eq(ht_ratio(1953.1), "1,953");
    ck_assert_str_eq(ht_counted(1, "block"), "1 block");
    ck_assert_str_eq(ht_counted(0, "block"), "0 blocks");
    ck_assert_str_eq(ht_counted(1000, "block"), "1,000 blocks");
}
END_TEST

START_TEST(durations)
{
    ck_assert_str_eq(ht_duration(0), "0.0 s");
    ck_assert_str_eq(ht_duration(59.94), "59.9 s");
    ck_assert_str_eq(ht_duration(59.97), "1 min 0 s");
    ck_assert_str_eq(ht_duration(3599.4), "59 min 59 s");
    ck_assert_str_eq(ht_duration(3600), "1 h 0 min");
    ck_assert_str_eq(ht_duration(9.5 * 86400), "9 d 12 h");
    ck_assert_str_eq(ht_duration(NAN), "unknown");
    ck_assert_str_eq(ht_duration(-1), "unknown");
}
END_TEST

START_TEST(eight_numbers_at_once)
{
    char line[200];
    snprintf(line, sizeof line, "%s %s %s %s %s %s %s %s", ht_grouped(1), ht_grouped(2),
             ht_grouped(3), ht_grouped(4), ht_grouped(5), ht_grouped(6), ht_grouped(7),
             ht_grouped(8));
    char sorted[] = "1 2 3 4 5 6 7 8";
    ck_assert_str_eq(line, sorted);
}
END_TEST

START_TEST(nearest_word)
{
    static const char *const words[] = {"run", "report", "--version"};
    ck_assert_str_eq(ht_nearest("rum", words, 3), "run");
    ck_assert_str_eq(ht_nearest("repotr", words, 3), "report");
    ck_assert_ptr_null(ht_nearest("xyzzy", words, 3));
    ck_assert_ptr_null(ht_nearest("anything", words, 0));
    char endless[5000];
    memset(endless, 'r', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    ck_assert_ptr_null(ht_nearest(endless, words, 3));
}
END_TEST

START_TEST(folded_text)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ht_print_folded(out, "one two three four incomprehensibilities end", 14, 4, 2);
    fclose(out);
    ck_assert_str_eq(text, "one two\n  three four\n  incomp\u2026ities\n  end\n");
    free(text);
}
END_TEST

START_TEST(base_names)
{
    ck_assert_str_eq(ht_base_name("/usr/lib/libc.so.6"), "libc.so.6");
    ck_assert_str_eq(ht_base_name("plain"), "plain");
    ck_assert_str_eq(ht_base_name("/"), "/");
    ck_assert_str_eq(ht_base_name("a/"), "a/");
}
END_TEST

START_TEST(growing_array)
{
    uint32_t *numbers = NULL;
    for (size_t i = 0; i < 1000; i++) {
        numbers = ht_room_for_one(numbers, i, sizeof *numbers);
        numbers[i] = (uint32_t)i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(numbers[i], i);
    free(numbers);
}
END_TEST

/* The fast way and the plain one agree, at every length and alignment, and continued. */
START_TEST(checksums)
{
    unsigned char bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(37 * i + 11);
    ck_assert_uint_eq(ht_checksum(0, "123456789", 9), 0xe3069283);
    for (size_t from = 0; from < 9; from++)
        for (size_t size = 0; size < sizeof bytes - from; size++) {
            uint32_t begun = ht_checksum(0, bytes, from);
            ck_assert_uint_eq(begun, htl_crc32c_by_nibbles(0, bytes, from));
            ck_assert_uint_eq(ht_checksum(begun, bytes + from, size),
                              htl_crc32c_by_nibbles(begun, bytes + from, size));
        }
}
END_TEST

START_TEST(names_of_languages)
{
    static const char *const names[][2] = {
        {"history_push", "history_push"},
        {"_start", "_start"},
        {"_Z3foov", "foo()"},
        {"_Znonsense", "_Znonsense"},
        {"_ZN4plan7History4pushEi", "plan::History::push(int)"},
        {"_ZNSt6vectorIiSaIiEE9push_backERKi",
         "std::vector<int, std::allocator<int> >::push_back(int const&)"},
        {"_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"},
        {"_ZN38_$LT$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE",
         "<T as core::fmt::Debug>::fmt"},
        {"_RNvCs1234_7mycrate3foo", "mycrate::foo"},
        {"_RINvNtC3std3mem8align_ofjEC3foo", "std::mem::align_of::<usize>"},
        {"_ZN1a\x1b[31mE", "_ZN1a" BAD "[31mE"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name = ht_demangle(names[i][0]);
        ck_assert_str_eq(name, names[i][1]);
        free(name);
    }
    /* What only nests, deeper than any compiler does. */
    for (size_t length = 1000; length < 100000; length *= 10) {
        char *deep = malloc(length + 1);
        memset(deep, 'P', length);
        memcpy(deep, "_Z1fPPP", 5);
        deep[length - 1] = 'i';
        deep[length] = '\0';
        char *name = ht_demangle(deep);
        ck_assert_uint_gt(strlen(name), 0);
        free(name);
        free(deep);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *all = tcase_create("text");
    tcase_add_test(all, clean_text);
    tcase_add_test(all, elided_text);
    tcase_add_test(all, numbers_as_text);
    tcase_add_test(all, durations);
    tcase_add_test(all, eight_numbers_at_once);
    tcase_add_test(all, nearest_word);
    tcase_add_test(all, folded_text);
    tcase_add_test(all, base_names);
    tcase_add_test(all, growing_array);
    tcase_add_test(all, checksums);
    tcase_add_test(all, names_of_languages);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
