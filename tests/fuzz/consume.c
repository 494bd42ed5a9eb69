/*
 * What is fuzzed: one input is one snapshot file, which is loaded and shown in every format that
 * `heaptally report` has, in one of its views or with other tags; or checked, or compared with what
 * it was earlier. Built with AddressSanitizer and
 * UBSan, it dies of
 *   - a bad access, undefined behaviour, a leak;
 *   - memory beyond the limits below, which are multiples of the file's size;
 *   - figures that cannot be, JSON that no parser takes, text that moves the cursor.
 * Without a file of its own no module is found: symbols are not looked for in what this machine
 * has.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check_profile.h"
#include "diff.h"
#include "fuzz.h"
#include "heap_watch.h"
#include "heaptally/crc32c.h"
#include "merge.h"
#include "profile.h"
#include "propose.h"
#include "report.h"
#include "retag.h"
#include "text.h"

/*
 * The limits, in bytes: FIXED + TIMES * size of the file. A site of 32 bytes in the file is two
 * entries of hash tables in memory, and some 400 bytes of JSON text, which exists twice while it is
 * written.
 */
enum {
    LOAD_FIXED = 512 << 10,
    LOAD_TIMES = 24,
    JUDGE_FIXED = 1 << 20,
    WRITE_FIXED = 4 << 20,
    WRITE_TIMES = 400,
};

bool fuzz_takes_all_ways;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static void require_memory(const char *what, size_t fixed, size_t times, size_t size)
{
    size_t peak = heap_watch_peak();
    if (peak <= fixed + times * size)
        return;
    fprintf(stderr, "fuzz: %s held %zu bytes for a file of %zu\n", what, peak, size);
    abort();
}

static void check_past(const struct ht_past *past)
{
    for (size_t i = 1; i < past->count; i++)
        require(past->points[i - 1].t_ns < past->points[i].t_ns, "the past runs backwards");
}

static void check_figures(const struct ht_profile *p)
{
    check_past(&p->process);
    for (size_t i = 0; i < p->tag_count; i++) {
        const struct ht_tag *tag = p->tags[i];
        require(tag->name && *tag->name, "a tag has no name");
        require(tag->live_bytes <= tag->latest.figures.allocated_bytes, "more live than allocated");
        require(tag->peak_bytes >= tag->live_bytes, "the peak is below the live bytes");
        check_past(&tag->past);
        for (size_t j = 0; j < tag->site_count; j++) {
            require(tag->sites[j]->tag == tag, "a site stands with another tag");
            require(j == 0 || tag->sites[j - 1]->live_bytes >= tag->sites[j]->live_bytes,
                    "sites are not in order");
            check_past(&tag->sites[j]->past);
        }
    }
}

/* Text for a terminal: nothing but colours may begin with ESC, and no other control is there. */
static void check_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == 0x1b) {
            require(i + 1 < length && text[i + 1] == '[', "text holds an escape sequence");
            i += 2 + strspn(text + i + 2, "0123456789;");
            require(i < length && text[i] == 'm', "text holds an escape sequence");
        } else {
            require(c >= 0x20 || c == '\n', "text holds a control character");
        }
    }
}

static void check_json(const char *text, size_t length)
{
    json_error_t error;
    json_t *tree = json_loadb(text, length, 0, &error);
    if (!tree)
        fprintf(stderr, "fuzz: line %d: %s\n", error.line, error.text);
    require(tree != NULL, "JSON that cannot be read");
    json_decref(tree);
}

static void write_report(const struct ht_report *report, const struct ht_report_format *format,
                         size_t size)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    struct ht_report_style style = {.width = HT_REPORT_LEAST_WIDTH, .colour = true};
    heap_watch_begin();
    format->write(report, &style, out);
    fclose(out);
    require_memory(format->name, WRITE_FIXED, WRITE_TIMES, size);
    if (strcmp(format->name, "text") == 0)
        check_text(text, length);
    if (strcmp(format->name, "json") == 0)
        check_json(text, length);
    free(text);
}

/* ---- the ways ---------------------------------------------------------------------------------
 */

/* An input as files: the whole of it, and the first half, which is an earlier moment of it. */
struct input {
    const char *whole, *half;
    size_t size;
};

/* A profile of a file; NULL where it is refused. */
static struct ht_profile *load(const char *path, size_t size)
{
    char *error = NULL;
    heap_watch_begin();
    struct ht_profile *profile = ht_profile_load(path, &error);
    require_memory("loading", LOAD_FIXED, LOAD_TIMES, size);
    require(profile || (error && *error), "a file is refused without a reason");
    free(error);
    if (profile)
        check_figures(profile);
    return profile;
}

static void report_all(struct ht_profile *profile, struct ht_symbolizer *symbolizer,
                       enum ht_view view, size_t size)
{
    struct ht_report report;
    struct ht_selection selection = HT_SELECT_ALL;
    selection.view = view;
    heap_watch_begin();
    ht_report_make(profile, symbolizer, &report);
    ht_report_select(&report, &selection);
    require_memory("judging", JUDGE_FIXED, LOAD_TIMES, size);
    for (const struct ht_report_format *format = ht_report_formats; format->name; format++)
        write_report(&report, format, size);
    ht_report_clear(&report);
    ht_selection_clear(&selection);
}

static void report_view(const struct input *input, enum ht_view view)
{
    struct ht_profile *profile = load(input->whole, input->size);
    if (!profile)
        return;
    struct ht_symbolizer *symbolizer = ht_symbolizer_new("/nonexistent");
    report_all(profile, symbolizer, view, input->size);
    ht_symbolizer_free(symbolizer);
    ht_profile_free(profile);
}

static void report_live(const struct input *input)
{
    report_view(input, HT_VIEW_LIVE);
}

static void report_peak(const struct input *input)
{
    report_view(input, HT_VIEW_PEAK);
}

static void report_growth(const struct input *input)
{
    report_view(input, HT_VIEW_GROWTH);
}

/* Other tags by rules, and rules proposed. */
static void report_retagged(const struct input *input)
{
    static const char *const rules[] = {"all=lib:*", "named=*push*", "program=exe:*"};
    struct ht_profile *profile = load(input->whole, input->size);
    if (!profile)
        return;
    struct ht_symbolizer *symbolizer = ht_symbolizer_new("/nonexistent");
    struct ht_proposals proposals = ht_propose(profile, symbolizer, 10);
    ht_proposals_clear(&proposals);
    struct ht_retagging *retagging = ht_retagging_new();
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        require(ht_retagging_tag(retagging, "fuzz", rules[i]), "a rule is not understood");
    ht_retag(profile, symbolizer, retagging);
    ht_retagging_free(retagging);
    report_all(profile, symbolizer, HT_VIEW_CUMULATIVE, input->size);
    ht_symbolizer_free(symbolizer);
    ht_profile_free(profile);
}

static void check_limits(const struct input *input)
{
    static const char *const limits[] = {"*=1MB", "*=0.5/1000", "p*=1MB/h", "*=0allocs"};
    struct ht_profile *profile = load(input->whole, input->size);
    if (!profile)
        return;
    struct ht_symbolizer *symbolizer = ht_symbolizer_new("/nonexistent");
    struct ht_check check = {0};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        check.limits = ht_room_for_one(check.limits, i, sizeof *check.limits);
        require(ht_limit_read(limits[i], &check.limits[i]), "a limit is not understood");
        check.limit_count++;
    }
    heap_watch_begin();
    ht_check_profile(&check, profile, symbolizer);
    ht_check_finish(&check);
    require_memory("checking", JUDGE_FIXED, LOAD_TIMES, input->size);
    ht_check_clear(&check);
    ht_symbolizer_free(symbolizer);
    ht_profile_free(profile);
}

static void write_diff(const struct ht_diff *diff,
                       void (*write)(const struct ht_diff *, size_t, FILE *),
                       void (*check)(const char *, size_t))
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    write(diff, HT_REPORT_LEAST_WIDTH, out);
    fclose(out);
    check(text, length);
    free(text);
}

/* Of two moments of one file: what grew in between, and both as one. */
static void compare(const struct input *input)
{
    struct ht_profile *half = load(input->half, input->size);
    struct ht_profile *whole = load(input->whole, input->size);
    if (half && whole) {
        struct ht_symbolizer *symbolizer = ht_symbolizer_new("/nonexistent");
        struct ht_profile *const both[] = {half, whole};
        struct ht_profile *merged = ht_profiles_merge(both, 2);
        report_all(merged, symbolizer, HT_VIEW_LIVE, 2 * input->size);
        ht_profile_free(merged);
        struct ht_diff diff;
        heap_watch_begin();
        ht_diff_make(half, whole, symbolizer, &diff);
        require_memory("comparing", JUDGE_FIXED, LOAD_TIMES, 2 * input->size);
        write_diff(&diff, ht_diff_text, check_text);
        write_diff(&diff, ht_diff_json, check_json);
        write_diff(&diff, ht_diff_html, check_text);
        ht_diff_clear(&diff);
        ht_diff_make(whole, whole, symbolizer, &diff);
        require(ht_diff_is_empty(&diff), "a file differs from itself");
        ht_diff_clear(&diff);
        ht_symbolizer_free(symbolizer);
    }
    ht_profile_free(whole);
    ht_profile_free(half);
}

static void (*const ways[])(const struct input *) = {
    report_live, report_peak, report_growth, report_retagged, check_limits, compare,
};

/* ---- the entry points -------------------------------------------------------------------------
 */

/* Not malloc'ed memory: the descriptor of a file that holds the input. */
static int descriptor_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no file for the input");
    return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    unsetenv("DEBUGINFOD_URLS");
    return 0;
}

/* The fuzzer takes one way for each input, by its bytes; a replay takes all. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char whole[64], half[64];
    size_t count = sizeof ways / sizeof *ways, one = htl_crc32c(0, data, size) % count;
    int whole_fd = descriptor_of(data, size), half_fd = descriptor_of(data, size / 2);
    snprintf(whole, sizeof whole, "/proc/self/fd/%d", whole_fd);
    snprintf(half, sizeof half, "/proc/self/fd/%d", half_fd);
    for (size_t i = 0; i < count; i++)
        if (fuzz_takes_all_ways || i == one)
            ways[i](&(struct input){whole, half, size});
    close(whole_fd);
    close(half_fd);
    return 0;
}
