/* The snapshot file: its name, where it goes, what is removed; a small cap holds and the analyzer
 * reads what is there. */
#include "../../preload/snapshot_write.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../preload/aggregate.h"
#include "../../preload/history.h"
#include "../../preload/module_map.h"
#include "../../preload/options.h"
#include "../../preload/site_table.h"
#include "../../preload/snapshot_file.h"
#include "../../preload/tag_rules.h"
#include "support.h"

#define START UINT64_C(1700000000123456789)

static struct ht_file file;
static char place[64];

static void begin(void)
{
    strcpy(place, support_directory());
    unsetenv("STATE_DIRECTORY");
    unsetenv("XDG_STATE_HOME");
}

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", place, name);
    return path;
}

static void expect(const char *pattern, const char *name)
{
    ck_assert_int_eq(ht_file_create(&file, place, pattern, "prog", START), 0);
    ck_assert_str_eq(file.path, path_of(name));
    struct stat status;
    ck_assert_int_eq(stat(file.path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    ht_file_close(&file);
}

START_TEST(names)
{
    char name[200], host[100];
    begin();
    gethostname(host, sizeof host);
    snprintf(name, sizeof name, "heaptally-prog-%d.htl", (int)getpid());
    expect("heaptally-%e-%p.htl", name);
    snprintf(name, sizeof name, "%s-1700000000-1-100%%-%%q.htl", host);
    expect("%h-%t-%n-100%%-%q.htl", name);
    expect("plain", "plain");
    ck_assert_int_eq(ht_file_create(&file, place, "%e", "a/b", START), 0);
    ck_assert_str_eq(file.path, path_of("a_b")); /* one component, whatever the program is called */
}
END_TEST

START_TEST(taken_names_get_numbers)
{
    begin();
    expect("x.htl", "x.htl");
    expect("x.htl", "x-2.htl");
    expect("x.htl", "x-3.htl");
    mkdir(path_of("with.dot"), 0700);
    expect("with.dot/y", "with.dot/y");
    expect("with.dot/y", "with.dot/y-2");
}
END_TEST

START_TEST(links_are_not_followed)
{
    begin();
    char target[300];
    strcpy(target, path_of("target"));
    ck_assert_int_eq(symlink(target, path_of("x.htl")), 0);
    expect("x.htl", "x-2.htl");
    ck_assert_int_ne(access(target, F_OK), 0);
    /* Nor when the file is opened again. */
    ck_assert_int_eq(ht_file_create(&file, place, "z.htl", "prog", START), 0);
    ck_assert_int_eq(ht_file_append(&file, "one", 3), 0);
    rename(file.path, target);
    ck_assert_int_eq(symlink(target, file.path), 0);
    close(file.fd);
    ck_assert_int_ne(ht_file_append(&file, "two", 3), 0);
    struct stat status;
    stat(target, &status);
    ck_assert_int_eq(status.st_size, 3);
    /* And a pipe in its place does not make anybody wait. */
    unlink(path_of("z.htl"));
    ck_assert_int_eq(mkfifo(path_of("z.htl"), 0600), 0);
    ck_assert_int_ne(ht_file_append(&file, "two", 3), 0);
}
END_TEST

static int synced = -1; /* the last descriptor */

/* In place of libc's. */
int fdatasync(int fd)
{
    synced = fd;
    return 0;
}

START_TEST(descriptors_of_the_program_are_left_alone)
{
    begin();
    ck_assert_int_eq(ht_file_create(&file, place, "x.htl", "prog", START), 0);
    ck_assert_int_ge(file.fd, 3);
    ck_assert_int_eq(ht_file_append(&file, "one", 3), 0);
    int number = file.fd;
    ht_file_sync(&file);
    ck_assert_int_eq(synced, number);
    close(number); /* the program closes all, and opens another in its place */
    FILE *theirs = fopen(path_of("theirs"), "w");
    ck_assert_int_eq(dup2(fileno(theirs), number), number);
    synced = -1;
    ht_file_sync(&file);
    ck_assert_int_eq(synced, -1);
    ck_assert_int_eq(ht_file_append(&file, "two", 3), 0);
    ht_file_close(&file);
    ck_assert_int_eq(write(number, "!", 1), 1);
    struct stat status;
    stat(path_of("theirs"), &status);
    ck_assert_int_eq(status.st_size, 1);
    stat(path_of("x.htl"), &status);
    ck_assert_int_eq(status.st_size, 6);
    fclose(theirs);
}
END_TEST

/* Where the first place cannot be written to. As an ordinary user: root may write anywhere. */
START_TEST(other_places)
{
    begin();
    char state[300], home[300];
    strcpy(state, path_of("state"));
    strcpy(home, path_of("home"));
    mkdir(state, 0700);
    mkdir(home, 0700);
    mkdir(path_of("shut"), 0500);
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(state, 65534, 65534) | chown(home, 65534, 65534), 0);
        chmod(place, 0755);
        ck_assert_int_eq(setgid(65534) | setuid(65534), 0);
    }
    char shut[300];
    strcpy(shut, path_of("shut"));
    ck_assert_int_eq(ht_file_create(&file, shut, "x.htl", "prog", START), -EACCES);
    ck_assert_str_eq(file.path, "");
    ck_assert_int_eq(file.fd, -1);
    setenv("XDG_STATE_HOME", home, 1);
    ck_assert_int_eq(ht_file_create(&file, shut, "x.htl", "prog", START), 0);
    ck_assert_str_eq(file.path, path_of("home/heaptally/x.htl"));
    char several[700];
    snprintf(several, sizeof several, "%s:/nowhere/else", state);
    setenv("STATE_DIRECTORY", several, 1);
    ck_assert_int_eq(ht_file_create(&file, shut, "x.htl", "prog", START), 0);
    ck_assert_str_eq(file.path, path_of("state/x.htl"));
    /* A place that was named is the only one. */
    snprintf(several, sizeof several, "%s/x.htl", shut);
    ck_assert_int_eq(ht_file_create(&file, place, several, "prog", START), -EACCES);
    ck_assert_str_eq(file.path, "");
}
END_TEST

/* A file as another process would have left it. */
static void leave(const char *name, const char *exe, uint32_t pid, time_t when)
{
    FILE *out = fopen(path_of(name), "wb");
    struct htl_file_header header = {.pid = pid, .exe_length = (uint16_t)strlen(exe)};
    memcpy(header.magic, HTL_MAGIC, sizeof header.magic);
    fwrite(&header, sizeof header, 1, out);
    fwrite(exe, strlen(exe), 1, out);
    fclose(out);
    struct timespec times[2] = {{when, 0}, {when, 0}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

START_TEST(pruning)
{
    begin();
    uint32_t gone = 0x3fffffff; /* beyond the kernel's largest pid */
    for (unsigned i = 1; i <= 5; i++) {
        char name[50];
        snprintf(name, sizeof name, "heaptally-prog-%u.htl", i);
        leave(name, "/bin/prog", gone, 1000 + i);
    }
    leave("heaptally-prog-1-2.htl", "/bin/prog", gone, 10);
    leave("heaptally-prog-6.htl", "/bin/prog", (uint32_t)getppid(), 1); /* still running */
    leave("heaptally-prog-two-7.htl", "/bin/prog-two", gone, 1);        /* another program's */
    leave("heaptally-prog-8.txt", "/bin/prog", gone, 1);                /* another name */
    FILE *foreign = fopen(path_of("heaptally-prog-9.htl"), "w");        /* no snapshot */
    fputs("a user's own notes, long enough to be looked at as if they were a header, or so",
          foreign);
    fclose(foreign);
    ck_assert_int_eq(ht_file_create(&file, place, "heaptally-%e-%p.htl", "prog", START), 0);
    ht_file_prune(&file, "heaptally-%e-%p.htl", "prog", 2);
    static const struct {
        const char *name;
        bool stays;
    } expected[] = {
        {"heaptally-prog-1.htl", false}, {"heaptally-prog-2.htl", false},
        {"heaptally-prog-3.htl", false}, {"heaptally-prog-4.htl", true},
        {"heaptally-prog-5.htl", true},  {"heaptally-prog-1-2.htl", false},
        {"heaptally-prog-6.htl", true},  {"heaptally-prog-two-7.htl", true},
        {"heaptally-prog-8.txt", true},  {"heaptally-prog-9.htl", true},
    };
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++)
        ck_assert_msg((access(path_of(expected[i].name), F_OK) == 0) == expected[i].stays, "%s",
                      expected[i].name);
    ck_assert_int_eq(access(file.path, F_OK), 0);
}
END_TEST

START_TEST(pruning_of_numbered_files)
{
    begin();
    leave("out.htl", "/bin/prog", 0x3fffffff, 1);
    leave("out-2.htl", "/bin/prog", 0x3fffffff, 2);
    leave("out-3.htl", "/bin/prog", 0x3fffffff, 3);
    ck_assert_int_eq(ht_file_create(&file, place, "out.htl", "prog", START), 0);
    ck_assert_str_eq(file.path, path_of("out-4.htl"));
    ht_file_prune(&file, "out.htl", "prog", 1);
    ck_assert_int_ne(access(path_of("out.htl"), F_OK), 0);
    ck_assert_int_ne(access(path_of("out-2.htl"), F_OK), 0);
    ck_assert_int_eq(access(path_of("out-3.htl"), F_OK), 0);
}
END_TEST

/* ---- a whole run --------------------------------------------------------------------------------
 */

static void begin_run(uint64_t cap)
{
    begin();
    clearenv();
    support_begin();
    ht_settings_read();
    ht_settings.value[HT_OPT_MAX_FILE] = cap;
    char *pattern = malloc(100);
    snprintf(pattern, 100, "%s/run.htl", place);
    ht_settings.text[HT_OPT_OUTPUT] = pattern;
    ht_rules_begin(&ht_settings);
    ht_modules_refresh(true);
    ck_assert(ht_aggregate_begin());
    ht_snapshot_begin();
    ck_assert(ht_snapshot_open());
    ck_assert_str_eq(ht_snapshot_path(), pattern);
}

static void tick(bool final)
{
    ht_aggregate_answer();
    ht_aggregate_look(HT_LOOK_SAMPLE);
    ht_snapshot_tick(final, final ? HTL_END_EXIT : 0);
}

static long size_now(void)
{
    struct stat status;
    ck_assert_int_eq(stat(ht_snapshot_path(), &status), 0);
    return status.st_size;
}

/* A word of the analyzer's JSON report, found by a pattern of grep -o. */
static void report_has(const char *pattern)
{
    char command[700];
    snprintf(command, sizeof command, "'%s' report --format json '%s' | grep -Eqe '%s'",
             ANALYZER_COMMAND, ht_snapshot_path(), pattern);
    int status = system(command);
    ck_assert_msg(status == 0, "%s", command);
}

START_TEST(a_small_cap_holds)
{
    enum { TAGS = 90, TICKS = 1500 };
    const uint64_t cap = 1 << 20;
    uint32_t tags[TAGS], sites[TAGS];
    begin_run(cap);
    for (unsigned i = 0; i < TAGS; i++) {
        char name[30];
        snprintf(name, sizeof name, "controller-%u", i);
        tags[i] = ht_tag_intern(name, strlen(name), HTL_TAG_EXPLICIT);
        sites[i] = ht_site_fallback((uintptr_t)begin_run + 16 * i, tags[i]);
    }
    unsigned rewritten = 0;
    long last = 0, largest = 0;
    for (unsigned n = 0; n < TICKS; n++) {
        for (unsigned i = 0; i < TAGS; i++) {
            ht_count_shared(sites[i], HT_ALLOCATED_BYTES, 10);
            ht_tag_count_cycle(tags[i]);
        }
        tick(n == TICKS - 1);
        long size = size_now();
        rewritten += size < last;
        largest = size > largest ? size : largest;
        last = size;
    }
    printf("%d ticks, written anew %u times, at most %ld bytes\n", TICKS, rewritten, largest);
    ck_assert_int_le(largest, (long)cap);
    ck_assert_uint_gt(rewritten, 3);
    /* Not at every tick: a file that is written anew has room for more. */
    ck_assert_uint_lt(rewritten, TICKS / 10);
    ck_assert_uint_gt(ht_history(tags[0])->count, HT_HISTORY_POINTS / 2 - 1);
    report_has("\"complete\": *true");
    report_has("\"truncated\": *false");
    report_has("\"dropped_ticks\": *0\\b");
    report_has("\"tag\": *\"controller-89\"");
    report_has("\"live_bytes\": *15000");
}
END_TEST

START_TEST(a_file_that_cannot_grow)
{
    begin_run(1 << 20);
    uint32_t tag = ht_tag_intern("steady", 6, HTL_TAG_EXPLICIT);
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(place, 0, 0) | chmod(place, 0755) | chmod(ht_snapshot_path(), 0644),
                         0);
        ck_assert_int_eq(setgid(65534) | setuid(65534), 0);
    } else {
        chmod(place, 0500);
    }
    /* No new file can be made beside it: the cap holds all the same, and ticks are dropped. */
    uint64_t dropped_at = 0;
    for (unsigned n = 1; n <= 6000; n++) {
        ht_count_shared(tag, HT_ALLOCATED_BYTES, 1);
        long before = size_now();
        tick(false);
        if (!dropped_at && size_now() == before)
            dropped_at = n;
        ck_assert_int_le(size_now(), 1 << 20);
    }
    printf("ticks are dropped from %llu on\n", (unsigned long long)dropped_at);
    ck_assert_uint_gt(dropped_at, 1000);
    report_has("\"tag\": *\"steady\"");
}
END_TEST

/* The child of a fork has a file of its own, and all that it inherited is in its first tick. */
START_TEST(a_new_file_starts_with_everything)
{
    begin_run(1 << 20);
    uint32_t tag = ht_tag_intern("inherited", 9, HTL_TAG_EXPLICIT);
    uint32_t site = ht_site_fallback((uintptr_t)begin_run, tag);
    ht_count_shared(site, HT_ALLOCATED_BYTES, 4321);
    tick(false);
    tick(false);
    ht_snapshot_forget();
    ck_assert_str_eq(ht_snapshot_path(), "");
    ck_assert(ht_snapshot_open());
    ck_assert_str_eq(ht_snapshot_path(), path_of("run-2.htl"));
    tick(false);
    report_has("\"live_bytes\": *4321");
    report_has("\"tag\": *\"inherited\"");
    report_has("\"stack\": *\\[ *\\{|\"function\"");
}
END_TEST

/* Sites from `first` on get a block each, all of one size, under stacks of three frames. */
static void make_sites(unsigned first, unsigned count)
{
    uint32_t outer = ht_frame_intern((uintptr_t)begin_run + 1);
    for (unsigned i = first; i < first + count; i++) {
        uint32_t frames[] = {ht_frame_intern((uintptr_t)make_sites + 1 + i % 64),
                             ht_frame_intern((uintptr_t)begin_run + 8 + i / 64), outer};
        uint32_t site = ht_site_intern(ht_stack_intern(HT_STACK_WHOLE, frames, 3), 0);
        ck_assert_uint_ge(site, HT_SITE_BASE);
        ht_count_shared(site, HT_ALLOCATED_BYTES, 7);
    }
    ht_aggregate_look(HT_LOOK_SAMPLE);
}

/* How much the file grows. */
static long grown(void (*by)(void))
{
    long before = size_now();
    by();
    return size_now() - before;
}

static void write_ahead(void)
{
    for (unsigned i = 0; i < 20; i++)
        ht_snapshot_ahead();
}

static void write_last_tick(void)
{
    tick(true);
}

/* Every site is reported, with its frames. */
static void expect_all_sites(unsigned count)
{
    char command[700];
    snprintf(command, sizeof command,
             "test $('%s' report --format json '%s' | tr -d ' \\n' | grep -o '\"stack\":\\[{' | "
             "wc -l) -eq %u",
             ANALYZER_COMMAND, ht_snapshot_path(), count);
    ck_assert_msg(system(command) == 0, "%s", command);
    char pattern[60];
    snprintf(pattern, sizeof pattern, "\"live_blocks\": *%u\\b", count);
    report_has(pattern);
    report_has("\"dropped_ticks\": *0\\b");
    report_has("\"complete\": *true");
}

#define STACK_BYTES                                                                                \
    ((long)(sizeof(struct htl_record_header) + sizeof(struct htl_stack) +                          \
            3 * sizeof(struct htl_frame)))

START_TEST(many_stacks_are_written_ahead)
{
    enum { FEW = 100, MANY = 1400 };
    begin_run(64 << 20);
    make_sites(0, FEW);
    ck_assert_int_eq(grown(write_ahead), 0); /* the tick will do */
    make_sites(FEW, MANY - FEW);
    ck_assert_int_ge(grown(write_ahead), (MANY - 300) * STACK_BYTES);
    ck_assert_int_eq(grown(write_ahead), 0);
    /* What is there is not written again. */
    ck_assert_int_lt(grown(write_last_tick), MANY * 80 + 300 * STACK_BYTES);
    expect_all_sites(MANY);
}
END_TEST

START_TEST(a_quarter_of_the_file_is_left_to_ticks)
{
    enum { MANY = 2000 };
    begin_run(200000);
    make_sites(0, MANY);
    ck_assert_int_gt(grown(write_ahead), 200000 / 2);
    ck_assert_int_lt(size_now(), 200000 / 4 * 3 + 2 * 4096);
    write_last_tick();
    ck_assert_int_le(size_now(), 200000);
    report_has("\"complete\": *true");
}
END_TEST

/* What a file that is written anew could not hold is not left out of one that holds most of it. */
START_TEST(sites_that_the_file_has_room_for_are_listed)
{
    enum { MANY = 1500 };
    begin_run(500000);
    make_sites(0, MANY);
    ck_assert_int_gt(grown(write_ahead), 0);
    write_last_tick();
    ck_assert_int_le(size_now(), 500000);
    expect_all_sites(MANY);
}
END_TEST

START_TEST(what_is_refused_ahead_comes_with_the_tick)
{
    enum { MANY = 1000 };
    struct rlimit limit, less;
    begin_run(64 << 20);
    make_sites(0, MANY);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    less = limit;
    less.rlim_cur = (rlim_t)size_now() + 20 * (rlim_t)STACK_BYTES;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &less), 0);
    ck_assert_int_eq(grown(write_ahead), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(grown(write_ahead), 0); /* not before a tick has found that it can be */
    write_last_tick();
    expect_all_sites(MANY);
}
END_TEST

SUPPORT_MAIN("snapshot", names, taken_names_get_numbers, links_are_not_followed,
             descriptors_of_the_program_are_left_alone, other_places, pruning,
             pruning_of_numbered_files, a_small_cap_holds, a_file_that_cannot_grow,
             a_new_file_starts_with_everything, many_stacks_are_written_ahead,
             a_quarter_of_the_file_is_left_to_ticks, sites_that_the_file_has_room_for_are_listed,
             what_is_refused_ahead_comes_with_the_tick)
