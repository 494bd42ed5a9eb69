/* The watch in the process: edges of conditions, what the detector is fed, top sites, limits, and
 * what all of it costs the monitor. Time is made, not waited for. */
#include "../../preload/conditions.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../preload/aggregate.h"
#include "../../preload/alert_sinks.h"
#include "../../preload/alert_words.h"
#include "../../preload/detect.h"
#include "../../preload/nearest_limit.h"
#include "../../preload/options.h"
#include "../../preload/recurring.h"
#include "../../preload/site_table.h"
#include "../../preload/tag_rules.h"
#include "../../preload/thresholds.h"
#include "../../preload/top_sites.h"
#include "support.h"

#define MB     ((uint64_t)1 << 20)
#define SECOND UINT64_C(1000000000)

static struct ht_moment moment = {.monotonic_ns = 1000 * SECOND,
                                  .realtime_ns = UINT64_C(1700000000000000000)};
static uint32_t pid_tag;

/* The tables, the settings with these changes, and one tag; counting begins at 100 MB resident. */
static void begin(const char *threshold, const char *warmup)
{
    clearenv();
    if (threshold)
        setenv("HEAPTALLY_THRESHOLD", threshold, 1);
    if (warmup)
        setenv("HEAPTALLY_WARMUP", warmup, 1);
    support_begin();
    ht_settings_read();
    ht_rules_begin(&ht_settings);
    ck_assert(ht_aggregate_begin());
    ht_thresholds_begin(&ht_settings);
    pid_tag = ht_tag_intern("pid", 3, HTL_TAG_EXPLICIT);
    moment.rss_bytes = 100 * MB;
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ht_detect_restart(&moment);
    ht_conditions_restart(&moment);
    ht_top_sites_restart(moment.monotonic_ns);
}

static void tick(void)
{
    moment.monotonic_ns += SECOND;
    moment.realtime_ns += SECOND;
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ht_aggregate_look(HT_LOOK_TICK);
    ht_detect_tick(&moment);
    ht_top_sites_tick(&moment);
    ht_conditions_tick(&moment);
    ht_aggregate_tick_done();
}

static void ticks(unsigned count)
{
    while (count--)
        tick();
}

/* The number of events since the last call. */
static uint64_t new_events(void)
{
    static uint64_t before;
    uint64_t count = ht_alert_count() - before;
    before = ht_alert_count();
    return count;
}

static const struct ht_alert *last_event(void)
{
    const struct ht_alert *alert = ht_alert(ht_alert_count());
    ck_assert_ptr_nonnull(alert);
    return alert;
}

static void expect_event(uint32_t kind, uint32_t state, uint32_t severity)
{
    ck_assert_uint_eq(new_events(), 1);
    ck_assert_str_eq(ht_alert_kind_name(last_event()->kind), ht_alert_kind_name(kind));
    ck_assert_str_eq(ht_alert_state_name(last_event()->state), ht_alert_state_name(state));
    ck_assert_str_eq(ht_alert_severity_name(last_event()->severity),
                     ht_alert_severity_name(severity));
}

/* Blocks of the tag, by its site without a stack. */
static void grow(uint32_t tag, uint64_t bytes)
{
    ht_count_shared(tag, HT_ALLOCATED_BYTES, bytes);
}

static void shrink(uint32_t tag, uint64_t bytes)
{
    ht_count_shared(tag, HT_FREED_BYTES, bytes);
}

/* A site with a stack of one frame that is in no module. */
static uint32_t site_at(uintptr_t pc, uint32_t tag)
{
    uint32_t frame = ht_frame_intern(pc);
    return ht_site_intern(ht_stack_alone(HT_STACK_WHOLE, frame), tag);
}

/* ---- edges --------------------------------------------------------------------------------------
 */

START_TEST(one_alert_in_ten_thousand_checks)
{
    struct ht_alert now;
    begin("100MB", NULL);
    moment.rss_bytes = 200 * MB; /* growth is the threshold, not above it */
    for (int i = 0; i < 100; i++)
        ck_assert(!ht_conditions_check(&moment, &now));
    ticks(10);
    ck_assert_uint_eq(new_events(), 0);
    moment.rss_bytes = 200 * MB + 4096;
    for (int i = 0; i < 10000; i++) {
        ck_assert(ht_conditions_check(&moment, &now));
        ck_assert(now.growth_mb > 100 && now.growth_mb < 100.1 && now.threshold_mb == 100);
    }
    expect_event(HEAPTALLY_ALERT_RSS_GROWTH, HT_ALERT_ENTER, HT_ALERT_WARNING);
    ck_assert_str_eq(last_event()->message,
                     "Memory threshold exceeded: 100.0 MB growth (threshold: 100.0 MB)");
    ticks(1000);
    ck_assert_uint_eq(new_events(), 0);
    printf("10000 checks and 1000 ticks above the threshold: 1 event\n");

    moment.rss_bytes = 250 * MB; /* 1.5 times, not above */
    ticks(10);
    ck_assert_uint_eq(new_events(), 0);
    moment.rss_bytes = 251 * MB;
    ticks(10);
    expect_event(HEAPTALLY_ALERT_RSS_GROWTH, HT_ALERT_ESCALATE, HT_ALERT_CRITICAL);
    moment.rss_bytes = 195 * MB; /* below it, but not by a tenth */
    ticks(100);
    ck_assert_uint_eq(new_events(), 0);
    moment.rss_bytes = 190 * MB;
    ticks(4);
    ck_assert_uint_eq(new_events(), 0);
    tick();
    expect_event(HEAPTALLY_ALERT_RSS_GROWTH, HT_ALERT_CLEAR, HT_ALERT_CRITICAL);
    moment.rss_bytes = 300 * MB; /* critical at once: one event, not two */
    ticks(10);
    expect_event(HEAPTALLY_ALERT_RSS_GROWTH, HT_ALERT_ENTER, HT_ALERT_CRITICAL);
}
END_TEST

START_TEST(a_flutter_is_one_alert)
{
    begin("100MB", NULL);
    for (int i = 0; i < 1000; i++) {
        moment.rss_bytes = (i % 4 < 2 ? 180 : 210) * MB;
        tick();
    }
    ck_assert_uint_eq(new_events(), 1);
}
END_TEST

/* Events of a kind since the last call. */
static unsigned new_events_of(uint32_t kind)
{
    static uint64_t before;
    unsigned count = 0;
    for (; before < ht_alert_count(); before++)
        count += ht_alert(before + 1) && ht_alert(before + 1)->kind == kind;
    return count;
}

/* Resident memory that swings between two heights: how many events come of it. */
START_TEST(a_sawtooth_is_no_alarm_clock)
{
    static const struct {
        unsigned low_mb, high_mb, low_ticks, high_ticks, teeth, events;
    } table[] = {
        {80, 110, 20, 20, 50, 3},   /* entered, cleared, entered again */
        {80, 110, 300, 300, 20, 3}, /* ten minutes long */
        {80, 110, 3500, 100, 5, 3}, /* an hour */
        {95, 110, 300, 300, 20, 1}, /* not a tenth below */
        {80, 100, 300, 300, 20, 0}, /* not above */
        {80, 110, 4000, 100, 4, 7}, /* hours apart: each for itself */
    };
    begin("100MB", NULL);
    for (unsigned row = 0; row < sizeof table / sizeof *table; row++) {
        unsigned events = 0;
        moment.rss_bytes = 100 * MB;
        ht_detect_restart(&moment);
        ht_conditions_restart(&moment);
        for (unsigned i = 0; i < 2 * table[row].teeth; i++) {
            moment.rss_bytes = (100 + (i % 2 ? table[row].high_mb : table[row].low_mb)) * MB;
            for (unsigned n = i % 2 ? table[row].high_ticks : table[row].low_ticks; n; n--) {
                tick();
                events += new_events_of(HEAPTALLY_ALERT_RSS_GROWTH);
            }
        }
        printf("%u to %u MB of 100, %u + %u ticks, %u times: %u events\n", table[row].low_mb,
               table[row].high_mb, table[row].low_ticks, table[row].high_ticks, table[row].teeth,
               events);
        ck_assert_uint_eq(events, table[row].events);
    }
}
END_TEST

START_TEST(one_that_came_back_is_cleared_after_an_hour)
{
    begin("100MB", NULL);
    for (unsigned i = 0; i < 2; i++) {
        moment.rss_bytes = 180 * MB;
        ticks(10);
        moment.rss_bytes = 210 * MB;
        tick();
    }
    moment.rss_bytes = 100 * MB;
    ck_assert_uint_eq(new_events_of(HEAPTALLY_ALERT_RSS_GROWTH), 3);
    ticks(3599);
    ck_assert_uint_eq(new_events_of(HEAPTALLY_ALERT_RSS_GROWTH), 0);
    tick();
    ck_assert_uint_eq(new_events_of(HEAPTALLY_ALERT_RSS_GROWTH), 1);
}
END_TEST

static void violate(uint64_t allocations, unsigned seconds)
{
    moment.monotonic_ns += seconds * SECOND;
    ht_conditions_no_alloc(pid_tag, allocations, 10 * allocations, 0, &moment);
}

/* One violation every three minutes, later one every two hours. */
START_TEST(a_region_is_told_of_by_tens)
{
    uint64_t count = 0;
    begin(NULL, NULL);
    violate(++count, 1);
    expect_event(HEAPTALLY_ALERT_NO_ALLOC, HT_ALERT_ENTER, HT_ALERT_WARNING);
    while (count < 9)
        violate(++count, 180);
    ck_assert_uint_eq(new_events(), 0);
    violate(++count, 180);
    expect_event(HEAPTALLY_ALERT_NO_ALLOC, HT_ALERT_ESCALATE, HT_ALERT_CRITICAL);
    violate(count, 3599);
    ck_assert_uint_eq(new_events(), 0);
    violate(count, 1);
    expect_event(HEAPTALLY_ALERT_NO_ALLOC, HT_ALERT_CLEAR, HT_ALERT_CRITICAL);
    while (count < 99)
        violate(++count, 7200);
    ck_assert_uint_eq(new_events(), 0);
    violate(++count, 7200);
    expect_event(HEAPTALLY_ALERT_NO_ALLOC, HT_ALERT_ENTER, HT_ALERT_CRITICAL);
    violate(1000000, 1);
    expect_event(HEAPTALLY_ALERT_NO_ALLOC, HT_ALERT_ESCALATE, HT_ALERT_CRITICAL);
}
END_TEST

START_TEST(reset_moves_the_baseline)
{
    struct ht_alert now;
    begin("100MB", NULL);
    moment.rss_bytes = 240 * MB;
    tick();
    ck_assert_uint_eq(new_events(), 1);
    ht_detect_reset_baseline(&moment);
    ck_assert(!ht_conditions_check(&moment, &now));
    ticks(5);
    expect_event(HEAPTALLY_ALERT_RSS_GROWTH, HT_ALERT_CLEAR, HT_ALERT_WARNING);
    struct ht_reference_trend plain;
    ticks(20);
    ht_detect_reset_baseline(&moment);
    ht_detect_reference(&plain);
    ck_assert(!plain.insufficient_data); /* the past is kept */
    ck_assert_uint_eq(plain.samples, 26);
}
END_TEST

START_TEST(tags_have_thresholds_of_their_own)
{
    begin("pid=1MB", NULL);
    ck_assert_uint_eq(ht_threshold(HTL_HISTORY_PROCESS), 500 * MB);
    ck_assert_uint_eq(ht_threshold(pid_tag), MB);
    grow(pid_tag, MB);
    ticks(3);
    ck_assert_uint_eq(new_events(), 0);
    grow(pid_tag, 1);
    ticks(3);
    expect_event(HEAPTALLY_ALERT_TAG_GROWTH, HT_ALERT_ENTER, HT_ALERT_WARNING);
    ck_assert_str_eq(last_event()->tag_name, "pid");
    shrink(pid_tag, MB);
    ticks(5);
    expect_event(HEAPTALLY_ALERT_TAG_GROWTH, HT_ALERT_CLEAR, HT_ALERT_WARNING);
    grow(pid_tag, 501 * MB); /* the heap's is the process's */
    ticks(3);
    ck_assert_uint_eq(new_events(), 2);
    ck_assert_uint_eq(last_event()->kind == HEAPTALLY_ALERT_TAG_GROWTH
                          ? ht_alert(ht_alert_count() - 1)->kind
                          : last_event()->kind,
                      HEAPTALLY_ALERT_HEAP_GROWTH);
}
END_TEST

START_TEST(rates_leave_out_what_is_one_off)
{
    begin(NULL, NULL);
    for (int i = 0; i < 20; i++)
        ht_tag_count_instantiation(pid_tag);
    ticks(3);
    ck_assert_uint_eq(new_events(), 0);
    /* A frame outside any module is no caller: all doubt speaks for recurring. */
    ht_count_shared(site_at(0x1000, pid_tag), HT_ALLOCATED_BYTES, 24 * MB);
    ticks(3);
    expect_event(HEAPTALLY_ALERT_PER_1000, HT_ALERT_ENTER, HT_ALERT_CRITICAL);
    ck_assert(fabs(ht_conditions_mb_per_1000(pid_tag) - 1200) < 0.1);
}
END_TEST

static void *volatile address_of_own_code;

/* A block whose caller is a function of this program. */
START_TEST(a_table_is_no_rate)
{
    begin(NULL, NULL);
    address_of_own_code = (void *)(uintptr_t)site_at;
    uintptr_t table = (uintptr_t)address_of_own_code + 5, leak = table + 8;
    for (int i = 0; i < 1000; i++)
        ht_tag_count_instantiation(pid_tag);
    ht_count_shared(site_at(table, pid_tag), HT_ALLOCATED_BYTES, 24 * MB);
    ticks(3);
    ck_assert_uint_eq(ht_recurring_bytes(pid_tag), 0);
    ck_assert_uint_eq(new_events(), 0);
    for (int i = 0; i < 1000; i++)
        ht_count_shared(site_at(leak, pid_tag), HT_ALLOCATED_BYTES, 2048);
    ticks(3);
    ck_assert_uint_eq(ht_recurring_bytes(pid_tag), 2048000);
    expect_event(HEAPTALLY_ALERT_PER_1000, HT_ALERT_ENTER, HT_ALERT_CRITICAL);
    printf("24 MB once, 2048 bytes each: %.3f MB per 1000\n", ht_conditions_mb_per_1000(pid_tag));
    ht_count_shared(site_at(table, pid_tag), HT_ALLOCATED_BYTES, 24 * MB); /* a second one */
    tick();
    ck_assert_uint_eq(ht_recurring_bytes(pid_tag), 48 * MB + 2048000);
}
END_TEST

/* What is one-off is not searched for in every tick, though its tag is above the limit with it. */
START_TEST(one_off_is_searched_for_now_and_then)
{
    begin(NULL, NULL);
    address_of_own_code = (void *)(uintptr_t)site_at;
    uint32_t table = site_at((uintptr_t)address_of_own_code + 5, pid_tag);
    for (int i = 0; i < 1000; i++)
        ht_tag_count_instantiation(pid_tag);
    ht_count_shared(table, HT_ALLOCATED_BYTES, 24 * MB);
    ticks(2);
    ht_count_shared(table, HT_ALLOCATED_BYTES, 1); /* a second block: both recur */
    ticks(8);
    ck_assert_uint_eq(new_events(), 0);
    tick();
    expect_event(HEAPTALLY_ALERT_PER_1000, HT_ALERT_ENTER, HT_ALERT_CRITICAL);
}
END_TEST

START_TEST(hint_every_hour)
{
    begin(NULL, NULL);
    moment.rss_bytes = 700 * MB; /* above the threshold: that does not hinder it */
    ticks(3599);
    ck_assert_uint_eq(new_events(), 1);
    tick();
    expect_event(HEAPTALLY_ALERT_TRIM_HINT, HT_ALERT_ENTER, HT_ALERT_INFO);
    ticks(3600);
    expect_event(HEAPTALLY_ALERT_TRIM_HINT, HT_ALERT_ENTER, HT_ALERT_INFO);
}
END_TEST

/* ---- the detector -------------------------------------------------------------------------------
 */

START_TEST(leak_enters_and_clears)
{
    begin(NULL, "60s");
    uint32_t quiet = ht_tag_intern("quiet", 5, HTL_TAG_EXPLICIT);
    uint32_t leaking = site_at(0x2000, pid_tag);
    ht_count_shared(site_at(0x3000, quiet), HT_ALLOCATED_BYTES, 10 * MB);
    unsigned found = 0;
    for (unsigned second = 1; second <= 400; second++) {
        ht_count_shared(leaking, HT_ALLOCATED_BYTES, 1000);
        tick();
        if (!found && ht_detect_is_leak(pid_tag))
            found = second;
    }
    printf("1000 bytes a second, warm-up 60 s: found after %u s\n", found);
    ck_assert_uint_ge(found, 165); /* 2.75 times the warm-up */
    ck_assert_uint_le(found, 200);
    expect_event(HEAPTALLY_ALERT_LEAK, HT_ALERT_ENTER, HT_ALERT_WARNING);
    ck_assert_str_eq(last_event()->tag_name, "pid");
    ck_assert_msg(strncmp(last_event()->message, "+3.4 MB/h [3.4, 3.4], ", 22) == 0, "%s",
                  last_event()->message);
    ck_assert_uint_eq(ht_top_site_of_tag(pid_tag), leaking);
    struct ht_judgement judgement;
    ht_detect_judge(pid_tag, &judgement);
    ck_assert_int_eq(judgement.verdict.call, HT_TREND_LEAK);
    ck_assert(fabs(judgement.verdict.bytes_per_hour - 3600000) < 36000);
    ck_assert_int_eq(judgement.limit.kind, HT_LIMIT_THRESHOLD);
    ht_detect_judge(quiet, &judgement);
    ck_assert_int_eq(judgement.verdict.call, HT_TREND_BOUNDED);
    ticks(1000);
    expect_event(HEAPTALLY_ALERT_LEAK, HT_ALERT_CLEAR, HT_ALERT_WARNING);
}
END_TEST

/* A regular sawtooth, looked at by the tick in step with it, is a slow ramp; its samples are not.
 */
START_TEST(only_samples_are_fed)
{
    begin(NULL, NULL);
    grow(pid_tag, 1000);
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    grow(pid_tag, 5000);
    ht_aggregate_look(HT_LOOK_SAMPLE);
    shrink(pid_tag, 5900);
    ht_aggregate_look(HT_LOOK_TICK); /* the lowest, but at the regular moment */
    const struct ht_tag_view *view = ht_tag_view(pid_tag);
    ck_assert_uint_eq(ht_lowest(view->low_bytes, &view->now), 1000);
    ht_aggregate_tick_done();
    grow(pid_tag, 900);
    ht_aggregate_look(HT_LOOK_TICK); /* no sample: then this one counts */
    ck_assert_uint_eq(ht_lowest(view->low_bytes, &view->now), 1000);
}
END_TEST

START_TEST(restart_begins_new_trends)
{
    begin(NULL, "60s");
    for (unsigned second = 1; second <= 400; second++) {
        grow(pid_tag, 1000);
        tick();
    }
    ck_assert(ht_detect_is_leak(pid_tag));
    ht_detect_restart(&moment);
    ht_conditions_restart(&moment);
    ck_assert(!ht_detect_is_leak(pid_tag));
    ck_assert(ht_detect_growth(pid_tag) == 0);
    struct ht_judgement judgement;
    tick();
    ht_detect_judge(pid_tag, &judgement);
    ck_assert_int_eq(judgement.verdict.cause, HT_CAUSE_NEEDS_TIME);
}
END_TEST

START_TEST(top_sites_are_those_that_grow)
{
    begin(NULL, NULL);
    uint32_t sites[300];
    for (unsigned i = 0; i < 300; i++) {
        sites[i] = site_at(0x10000 + 16 * i, pid_tag);
        ht_count_shared(sites[i], HT_ALLOCATED_BYTES, 100000 + i); /* large, and stays */
    }
    uint32_t leaking = site_at(0x90000, pid_tag);
    for (unsigned second = 0; second < 600; second++) {
        ht_count_shared(leaking, HT_ALLOCATED_BYTES, 8);
        tick();
    }
    bool found = false;
    for (uint32_t i = 0; i < HT_TOP_SITES; i++) {
        const struct ht_top_site *top = ht_top_site(i);
        found |= top && top->site == leaking;
        if (top)
            ck_assert_uint_le(top->history->count, HT_TOP_SITE_POINTS);
    }
    ck_assert(found);
    ck_assert_uint_eq(ht_top_site_of_tag(pid_tag), leaking);
}
END_TEST

/* ---- limits -------------------------------------------------------------------------------------
 */

static char root[200];

static void put(const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
}

static void expect_limit(enum ht_limit_kind kind, uint64_t room)
{
    struct ht_limit limit = ht_limit_of_system(root);
    ck_assert_str_eq(ht_limit_name(limit.kind), ht_limit_name(kind));
    ck_assert_uint_eq(limit.room, room);
}

START_TEST(limits)
{
    snprintf(root, sizeof root, "%s", support_directory());
    expect_limit(HT_LIMIT_NONE, 0);
    put("/proc/meminfo", "MemTotal: 4000 kB\nMemFree: 10 kB\nMemAvailable:   3000 kB\n");
    expect_limit(HT_LIMIT_AVAILABLE, 3000 * 1024);

    put("/proc/thread-self/cgroup", "0::/system.slice/ctl.service\n");
    put("/sys/fs/cgroup/system.slice/ctl.service/memory.max", "max\n");
    expect_limit(HT_LIMIT_AVAILABLE, 3000 * 1024);
    put("/sys/fs/cgroup/system.slice/ctl.service/memory.max", "2000000\n");
    put("/sys/fs/cgroup/system.slice/ctl.service/memory.current", "900000\n");
    expect_limit(HT_LIMIT_CGROUP, 1100000);
    put("/sys/fs/cgroup/system.slice/ctl.service/memory.stat", "anon 1\ninactive_file 400000\n");
    expect_limit(HT_LIMIT_CGROUP, 1500000);                     /* the kernel can take that back */
    put("/sys/fs/cgroup/system.slice/memory.max", "3000000\n"); /* a group around it */
    put("/sys/fs/cgroup/system.slice/memory.current", "2999000\n");
    expect_limit(HT_LIMIT_CGROUP, 1000);
    put("/sys/fs/cgroup/system.slice/memory.current", "3999000\n");
    expect_limit(HT_LIMIT_CGROUP, 0);

    /* Version 1; in a container the group's path is the host's and not there. */
    put("/proc/thread-self/cgroup", "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n1:name=systemd:/x\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    expect_limit(HT_LIMIT_AVAILABLE, 3000 * 1024);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "300000\n");
    put("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 50000\n");
    expect_limit(HT_LIMIT_CGROUP, 750000);

    put("/proc/thread-self/cgroup", "0::/\n");
    char statm[50];
    snprintf(statm, sizeof statm, "%ld 20 30\n", (1L << 40) / sysconf(_SC_PAGESIZE) - 1);
    put("/proc/thread-self/statm", statm);
    struct rlimit limit = {(rlim_t)1 << 40, RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    expect_limit(HT_LIMIT_ADDRESS_SPACE, (uint64_t)sysconf(_SC_PAGESIZE));
}
END_TEST

/* ---- sinks --------------------------------------------------------------------------------------
 */

static char *read_all(const char *path)
{
    static char text[9000];
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    return text;
}

static unsigned lines_in(const char *path, uint64_t *size)
{
    unsigned lines = 0;
    FILE *in = fopen(path, "r");
    ck_assert_ptr_nonnull(in);
    for (int c; (c = getc(in)) != EOF; ++*size)
        lines += c == '\n';
    fclose(in);
    return lines;
}

/* That a leak's rate is above 0 is what was found: its interval does not read as if it were not. */
START_TEST(the_words_of_a_leak)
{
    static const struct {
        double rate, low, high;
        const char *words;
    } cases[] = {
        {2.1, 1.9, 2.3, "+2.1 MB/h [1.9, 2.3], "},
        {140, 2, 9999, "+140 MB/h [2, 9999], "},
        {140, 0.31, 9999, "+140 MB/h [0.3, 9999], "},
        {1.5, 0.0021, 1400, "+1.5 MB/h [0.002, 1400.0], "},
        {140, NAN, NAN, "+140 MB/h, "},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ht_alert alert = {0};
        struct ht_judgement judgement = {.now_bytes = 41 * MB};
        judgement.verdict.bytes_per_hour = cases[i].rate * (double)MB;
        judgement.verdict.ci_low = cases[i].low * (double)MB;
        judgement.verdict.ci_high = cases[i].high * (double)MB;
        judgement.verdict.seconds_to_limit = NAN;
        ht_say_leak(&alert, &judgement, "", false);
        ck_assert_int_eq(strncmp(alert.message, cases[i].words, strlen(cases[i].words)), 0);
        ck_assert_str_eq(alert.message + strlen(cases[i].words), "41 MB live");
    }
}
END_TEST

/* Several processes find one file full at the same time: what was in it is kept, once. */
START_TEST(processes_share_a_file)
{
    enum { PROCESSES = 8, LINES = 20, ROUNDS = 30 };
    char path[300], old[310];
    begin(NULL, NULL);
    snprintf(path, sizeof path, "%s/shared", support_directory());
    snprintf(old, sizeof old, "%s.1", path);
    ht_alert_sinks_begin(path);
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));

    /* While another one renames it, it takes a line more. */
    struct ht_alert one = {.kind = HEAPTALLY_ALERT_LEAK};
    uint64_t old_size = 0, new_size = 0;
    int other = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(other, 4 << 20), 0);
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
    ht_alert_sinks_write(&one);
    ck_assert_int_ne(access(old, F_OK), 0);
    close(other);
    ht_alert_sinks_write(&one);
    ck_assert_uint_eq(lines_in(old, &old_size), 1);
    ck_assert_uint_eq(lines_in(path, &new_size), 1);

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t size = 0;
        unlink(path);
        ck_assert_int_eq(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
        ck_assert_int_eq(truncate(path, 4 << 20), 0);
        for (unsigned i = 0; i < PROCESSES; i++)
            if (fork() == 0) {
                struct ht_alert alert = {.kind = HEAPTALLY_ALERT_LEAK};
                for (alert.number = 1; alert.number <= LINES; alert.number++)
                    ht_alert_sinks_write(&alert);
                _exit(0);
            }
        while (wait(NULL) > 0)
            ;
        ck_assert_uint_eq(lines_in(path, &size) + lines_in(old, &size), PROCESSES * LINES);
        ck_assert_uint_gt(size, 4 << 20);
    }
}
END_TEST

static bool may_shorten = true;

/* The C library's, which may be told to refuse, as for a file that can only be appended to. */
int ftruncate(int fd, off_t size)
{
    if (may_shorten)
        return (int)syscall(SYS_ftruncate, fd, size);
    errno = EPERM;
    return -1;
}

/* Writes an alert to a file that may have so many bytes, and returns how many it has then. No
 * assertions as long as that holds: libcheck's are written to files, too. */
static off_t write_within(rlim_t most, const char *path, const struct ht_alert *alert)
{
    struct rlimit limit = {most, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    struct stat status = {.st_size = -1};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ht_alert_sinks_write(alert);
    setrlimit(RLIMIT_FSIZE, &none);
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_size;
}

/* No room for a line: none of it stays; where it must, it does not spoil the next one. */
START_TEST(lines_are_whole)
{
    char path[300];
    struct ht_alert alert = {.kind = HEAPTALLY_ALERT_LEAK, .number = 1};
    begin(NULL, NULL);
    snprintf(path, sizeof path, "%s/limited", support_directory());
    ht_alert_sinks_begin(path);
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
    signal(SIGXFSZ, SIG_IGN);
    off_t one = write_within(RLIM_INFINITY, path, &alert);
    rlim_t most = (rlim_t)one + 100;
    for (alert.number = 2; alert.number < 4; alert.number++)
        ck_assert_int_eq(write_within(most, path, &alert), one);
    may_shorten = false;
    ck_assert_int_eq(write_within(most, path, &alert), one + 100);
    may_shorten = true;
    for (alert.number = 5; alert.number < 7; alert.number++)
        ht_alert_sinks_write(&alert);
    const char *line = read_all(path);
    unsigned whole = 0, lines = 0;
    for (const char *end; (end = strchr(line, '\n')); line = end + 1, lines++)
        whole += *line == '{' && end[-1] == '}';
    ck_assert_uint_eq(*line, 0);
    ck_assert_uint_eq(lines, 4);
    ck_assert_uint_eq(whole, 3);
}
END_TEST

START_TEST(json_lines_are_guarded)
{
    char path[300], victim[300], items[700];
    struct stat status;
    const char *place = support_directory();
    begin("1MB", NULL);
    snprintf(path, sizeof path, "%s/alerts.json", place);
    snprintf(victim, sizeof victim, "%s/victim", place);
    snprintf(items, sizeof items, "%s;%s/link", path, place);
    ck_assert_int_eq(symlink(victim, strrchr(items, ';') + 1), 0);
    ht_alert_sinks_begin(items);
    memcpy((char *)ht_tag(pid_tag)->name, "p\"\x01\xff", 4);
    ht_tag(pid_tag)->length = 4;
    grow(pid_tag, 3 * MB);
    ht_threshold_set(HTL_HISTORY_PROCESS, HT_NO_THRESHOLD);
    ht_threshold_set(pid_tag, MB);
    tick();
    ck_assert_uint_eq(new_events(), 1);
    const char *line = read_all(path);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    ck_assert_int_ne(access(victim, F_OK), 0); /* the symlink was not followed */
    ck_assert_ptr_nonnull(strstr(line, "\"tag\": \"p\\\"\\u0001\\ufffd\""));
    ck_assert_ptr_nonnull(strstr(line, "{\"time\": \"2023-11-14T22:13:21.000Z\", "));
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);

    ck_assert_int_eq(truncate(path, 4 << 20), 0); /* as large as it may become */
    ht_threshold_set(pid_tag, 2 * MB);
    shrink(pid_tag, 3 * MB);
    ticks(5);
    ck_assert_uint_eq(new_events(), 1);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_lt(status.st_size, 4096);
    strcat(path, ".1");
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_size, 4 << 20);
}
END_TEST

/* ---- cost ---------------------------------------------------------------------------------------
 */

static double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What a second of steady state costs the monitor: four samples and a tick, 1,000 sites that all
 * change, 40 tags. The cells of threads are the aggregate's, tested elsewhere. */
START_TEST(cost_of_a_tick)
{
    enum { SITES = 1000, TAGS = 40, ROUNDS = 3000 };
    begin(NULL, NULL);
    uint32_t sites[SITES];
    for (unsigned i = 0; i < SITES; i++) {
        char name[20];
        uint32_t tag = ht_tag_intern(name, (size_t)snprintf(name, sizeof name, "tag%u", i % TAGS),
                                     HTL_TAG_EXPLICIT);
        sites[i] = site_at(0x10000 + 16 * i, tag);
    }
    double looking = 0, judging = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < SITES; i++)
            ht_count_shared(sites[i], HT_ALLOCATED_BYTES, 16);
        double start = cpu_seconds();
        ht_aggregate_answer();
        for (int look = 0; look < 4; look++)
            ht_aggregate_look(HT_LOOK_SAMPLE);
        ht_aggregate_look(HT_LOOK_TICK);
        double looked = cpu_seconds();
        moment.monotonic_ns += SECOND;
        ht_detect_tick(&moment);
        ht_top_sites_tick(&moment);
        ht_conditions_tick(&moment);
        judging += cpu_seconds() - looked;
        looking += looked - start;
        ht_aggregate_tick_done();
    }
    printf("a tick of %d sites and %d tags: looks %.0f us, watching %.0f us (%.4f %% of a core at "
           "1 s)\n",
           SITES, TAGS, looking / ROUNDS * 1e6, judging / ROUNDS * 1e6, judging / ROUNDS * 100);
    for (unsigned i = 0; i < TAGS; i++) {
        struct ht_judgement judgement;
        ht_detect_judge(ht_site_view(sites[i])->tag, &judgement);
        ck_assert_int_ne(judgement.verdict.call, HT_TREND_INVALID);
    }
}
END_TEST

SUPPORT_MAIN("watch", one_alert_in_ten_thousand_checks, a_flutter_is_one_alert,
             a_sawtooth_is_no_alarm_clock, one_that_came_back_is_cleared_after_an_hour,
             a_region_is_told_of_by_tens, one_off_is_searched_for_now_and_then,
             processes_share_a_file, reset_moves_the_baseline, tags_have_thresholds_of_their_own,
             rates_leave_out_what_is_one_off, a_table_is_no_rate, hint_every_hour,
             leak_enters_and_clears, only_samples_are_fed, restart_begins_new_trends,
             top_sites_are_those_that_grow, limits, json_lines_are_guarded, lines_are_whole,
             the_words_of_a_leak, cost_of_a_tick)
