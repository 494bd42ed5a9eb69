/* Settings: every kind of option from the environment, bad values, units. */
#include "../../preload/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../preload/raw_io.h"
#include "support.h"

/* Reads the settings with one variable set; what was said about it. */
static const char *read_with(const char *variable, const char *value)
{
    static char said[5000];
    int ends[2], saved = dup(2);
    clearenv();
    if (variable)
        setenv(variable, value, 1);
    memset(&ht_settings, 0, sizeof ht_settings);
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    dup2(ends[1], 2);
    ht_log_begin(); /* as at the start of a process whose log this is */
    ht_settings_read();
    dup2(saved, 2);
    ssize_t n = read(ends[0], said, sizeof said - 1);
    said[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    close(ends[1]);
    close(saved);
    return said;
}

START_TEST(defaults)
{
    ck_assert_str_eq(read_with(NULL, NULL), "");
    ck_assert_str_eq(ht_settings.text[HT_OPT_OUTPUT], "heaptally-%e-%p.htl");
    ck_assert_uint_eq(ht_settings.value[HT_OPT_INTERVAL], 1000000000);
    ck_assert_uint_eq(ht_settings.value[HT_OPT_MAX_FILE], 64 << 20);
    ck_assert_uint_eq(ht_settings.value[HT_OPT_STACKS], HT_STACKS_FULL);
    ck_assert_uint_eq(ht_settings.value[HT_OPT_NO_CHILDREN], 0);
    ck_assert_ptr_null(ht_settings.text[HT_OPT_TAG]);
    for (unsigned id = 0; id < HT_OPTION_COUNT; id++)
        ck_assert(!ht_settings.given[id]);
}
END_TEST

static const struct {
    enum ht_option_id id;
    const char *value;
    bool good;
    uint64_t number; /* where good, and the kind is a number */
} values[] = {
    {HT_OPT_OUTPUT, "x", true, 0},
    {HT_OPT_INTERVAL, "10ms", true, 10000000},
    {HT_OPT_INTERVAL, "1.5h", true, UINT64_C(5400000000000)},
    {HT_OPT_INTERVAL, "2", true, 2000000000},
    {HT_OPT_INTERVAL, "9ms", false, 0},
    {HT_OPT_INTERVAL, "-1s", false, 0},
    {HT_OPT_INTERVAL, "1 fortnight", false, 0},
    {HT_OPT_INTERVAL, "ms", false, 0},
    {HT_OPT_MAX_FILE, "1", true, 1 << 20},
    {HT_OPT_MAX_FILE, "1.5GiB", true, UINT64_C(3) << 29},
    {HT_OPT_MAX_FILE, "2 mb", true, 2 << 20},
    {HT_OPT_MAX_FILE, "1023KB", false, 0},
    {HT_OPT_MAX_FILE, "1e6", false, 0},
    {HT_OPT_MAX_FILE, "99999999999T", false, 0},
    {HT_OPT_KEEP, "5", true, 5},
    {HT_OPT_KEEP, "5.5", false, 0},
    {HT_OPT_KEEP, "five", false, 0},
    {HT_OPT_NO_CHILDREN, "1", true, 1},
    {HT_OPT_NO_CHILDREN, "0", true, 0},
    {HT_OPT_NO_CHILDREN, "yes", false, 0},
    {HT_OPT_STACKS, "site", true, HT_STACKS_SITE},
    {HT_OPT_STACKS, "off", true, HT_STACKS_OFF},
    {HT_OPT_STACKS, "Full", false, 0},
    {HT_OPT_TAG, "pid=pid_*", true, 0},
    {HT_OPT_TAG, "pid=pid_*;plan=lib:libplan*", true, 0},
    {HT_OPT_TAG, "pid=pid_*;plan", false, 0},
    {HT_OPT_TAG, "=x", false, 0},
    {HT_OPT_TAG, "x=", false, 0},
    {HT_OPT_TAG_SKIP, "lib:libros*", true, 0},
    {HT_OPT_TAG_SKIP, "libros*", false, 0},
    {HT_OPT_CONSTRUCT, "pid=pid_new", true, 0},
    {HT_OPT_WARMUP, "2m", true, UINT64_C(120000000000)},
    {HT_OPT_WARMUP, "0", false, 0},
    {HT_OPT_THRESHOLD, "100", true, 0},
    {HT_OPT_THRESHOLD, "pid=20MB;1GB;plan=a=3KB", true, 0},
    {HT_OPT_THRESHOLD, "pid=", false, 0},
    {HT_OPT_THRESHOLD, "=20MB", false, 0},
    {HT_OPT_THRESHOLD, "20MB=pid", false, 0},
    {HT_OPT_TREND_WINDOW, "10", true, 10},
    {HT_OPT_TREND_WINDOW, "9", false, 0},
    {HT_OPT_TREND_WINDOW, "100001", false, 0},
    {HT_OPT_PROMETHEUS_DIR, "metrics", true, 0},
    {HT_OPT_ALERT_LOG, "syslog;alerts.json", true, 0},
    {HT_OPT_ALERT_LOG, ";", false, 0},
    {HT_OPT_DORMANT, "1", true, 1},
    {HT_OPT_FAIL_ON_LEAK, "255", true, 255},
    {HT_OPT_FAIL_ON_LEAK, "0", false, 0},
    {HT_OPT_FAIL_ON_LEAK, "256", false, 0},
};

START_TEST(every_kind)
{
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
        const struct ht_option *option = &ht_options[values[i].id];
        const char *said = read_with(option->variable, values[i].value);
        ck_assert_msg(ht_settings.given[values[i].id] == values[i].good, "%s=%s", option->variable,
                      values[i].value);
        if (values[i].good) {
            ck_assert_str_eq(said, "");
            ck_assert_str_eq(ht_settings.text[values[i].id], values[i].value);
            if (option->kind != HT_TEXT && !ht_option_is_list(option->kind))
                ck_assert_uint_eq(ht_settings.value[values[i].id], values[i].number);
            continue;
        }
        /* One line that names the variable and the value; the default is kept. */
        ck_assert_ptr_nonnull(strstr(said, option->variable));
        ck_assert_ptr_nonnull(strstr(said, values[i].value));
        ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
        uint64_t number = 0;
        if (option->standard[0]) {
            ck_assert_str_eq(ht_settings.text[values[i].id], option->standard);
            ht_option_check(values[i].id, option->standard, &number);
        }
        ck_assert_uint_eq(ht_settings.value[values[i].id], number);
    }
}
END_TEST

START_TEST(every_option_has_its_variable)
{
    for (unsigned id = 0; id < HT_OPTION_COUNT; id++) {
        char expected[64] = "HEAPTALLY_";
        size_t at = strlen(expected);
        for (const char *p = ht_options[id].name; *p; p++)
            expected[at++] = *p == '-' ? '_' : (char)(*p - ('a' - 'A'));
        expected[at] = '\0';
        ck_assert_str_eq(ht_options[id].variable, expected);
    }
}
END_TEST

START_TEST(unknown_variables)
{
    const char *said = read_with("HEAPTALLY_INTERVALL", "1s");
    ck_assert_ptr_nonnull(strstr(said, "HEAPTALLY_INTERVALL:"));
    ck_assert_str_eq(read_with("HEAPTALLY_ROOT", "12"), "");
    ck_assert_str_eq(read_with("HEAPTALL", "12"), "");
    ck_assert_str_eq(read_with("HEAPTALLY_STACKS", ""), "");
}
END_TEST

START_TEST(texts_are_copies)
{
    read_with("HEAPTALLY_OUTPUT", "mine.htl");
    memset(getenv("HEAPTALLY_OUTPUT"), 'x', 8);
    ck_assert_str_eq(ht_settings.text[HT_OPT_OUTPUT], "mine.htl");
}
END_TEST

SUPPORT_MAIN("settings", defaults, every_kind, every_option_has_its_variable, unknown_variables,
             texts_are_copies)
