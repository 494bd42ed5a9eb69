/*
 * Reads one snapshot file in every damaged form and says what was wrong with the answers. Built
 * twice: plain, and with AddressSanitizer and UBSan, where any bad access ends it.
 *
 *   read_torture cut FILE [FROM]     at every length from FROM on: exactly the records that are
 * whole read_torture flip FILE           every single bit flipped: reading stops before that record
 *   read_torture mutate FILE SEED N  N times some fields changed, with right checksums: the profile
 * and both reports are made, and figures stay possible read_torture memory FILE         prints the
 * bytes that were allocated to load it, at most at once
 *
 * Exit status 0 if nothing was wrong. What must come out of a cut file is computed here by walking
 * over the record headers, without the reader.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heaptally/crc32c.h"
#include "profile.h"
#include "report.h"
#include "text.h"

enum { MOST_RECORDS = 4096 };

static unsigned char *file;
static size_t file_size, header_size;
static struct {
    size_t start, whole, end; /* header, behind the payload, behind the padding */
} records[MOST_RECORDS];
static size_t record_count;
static unsigned long wrong;

static void read_whole(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in || fseek(in, 0, SEEK_END) != 0)
        abort();
    file_size = (size_t)ftell(in);
    rewind(in);
    file = malloc(file_size);
    if (fread(file, 1, file_size, in) != file_size)
        abort();
    fclose(in);
    header_size = ((struct htl_file_header *)file)->header_size;
    for (size_t at = header_size; at < file_size && record_count < MOST_RECORDS;) {
        struct htl_record_header h;
        memcpy(&h, file + at, sizeof h);
        records[record_count].start = at;
        records[record_count].whole = at + sizeof h + h.length;
        at = records[record_count].end = (records[record_count].whole + 7) / 8 * 8;
        record_count++;
    }
}

/* A descriptor of an anonymous file with these bytes. */
static int descriptor_of(const unsigned char *bytes, size_t size)
{
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    return fd;
}

/* Records that the reader gives for a file; -1 where it refuses the file. */
static long count_records(int fd, const char **torn)
{
    char *error = NULL;
    struct ht_snapshot *snapshot = ht_snapshot_open_fd(fd, &error);
    struct ht_record record;
    long count = 0;
    if (!snapshot) {
        *torn = "";
        free(error);
        return -1;
    }
    while (ht_snapshot_next(snapshot, &record))
        count++;
    *torn = ht_snapshot_state(snapshot)->torn;
    ht_snapshot_close(snapshot);
    return count;
}

static void expect(const char *what, size_t where, long got, long wanted)
{
    if (got == wanted)
        return;
    if (wrong++ < 20)
        printf("%s at %zu: %ld, expected %ld\n", what, where, got, wanted);
}

static void cut(size_t from)
{
    int fd = descriptor_of(file, file_size);
    for (size_t length = file_size + 1; length-- > from;) {
        const char *torn;
        long whole = 0;
        size_t end = header_size;
        while ((size_t)whole < record_count && records[whole].whole <= length)
            end = records[whole++].end;
        if (ftruncate(fd, (off_t)length) != 0)
            abort();
        long got = count_records(dup(fd), &torn);
        expect("cut, records", length, got, length < header_size ? -1 : whole);
        if (got >= 0)
            expect("cut, torn", length, torn != NULL, length > end);
    }
    close(fd);
}

static void flip(void)
{
    for (size_t at = 0; at < file_size; at++) {
        size_t i = 0;
        while (i < record_count && records[i].end <= at)
            i++;
        bool padding = at >= header_size && at >= records[i].whole;
        for (int bit = 0; bit < 8; bit++) {
            const char *torn;
            file[at] ^= (unsigned char)(1 << bit);
            long got = count_records(descriptor_of(file, file_size), &torn);
            file[at] ^= (unsigned char)(1 << bit);
            long wanted = at < header_size ? -1 : padding ? (long)record_count : (long)i;
            expect("flip, records", at, got, wanted);
            if (got >= 0)
                expect("flip, torn", at, torn != NULL, !padding);
        }
    }
}

/* ---- changes with right checksums ------------------------------------------------------------ */

static uint64_t state;

/* A linear congruential generator: the same numbers everywhere. */
static uint64_t draw(uint64_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
}

/* Puts a nasty number somewhere into one record, its type, flags and length included. */
static void change(unsigned char *bytes)
{
    static const uint64_t nasty[] = {0,         1,          2,
                                     7,         16,         72,
                                     127,       128,        255,
                                     4096,      65535,      1u << 20,
                                     1u << 31,  UINT32_MAX, (uint64_t)1 << 40,
                                     INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
    size_t i = draw(record_count);
    size_t size = (size_t)1 << draw(4);
    size_t span = records[i].whole - records[i].start;
    size_t at = records[i].start + draw(span) / size * size;
    uint64_t value = draw(4) ? nasty[draw(sizeof nasty / sizeof *nasty)] : draw(1u << 31);
    if (at + size > records[i].whole)
        return;
    memcpy(bytes + at, &value, size);
    struct htl_record_header h;
    memcpy(&h, bytes + records[i].start, sizeof h);
    size_t left = file_size - records[i].start - sizeof h;
    if (h.length > left)
        h.length = (uint32_t)left;
    h.crc = 0;
    uint32_t crc = htl_crc32c(0, &h, sizeof h);
    h.crc = htl_crc32c(crc, bytes + records[i].start + sizeof h, h.length);
    memcpy(bytes + records[i].start, &h, sizeof h);
}

static void check_figures(const struct ht_profile *p, size_t round)
{
    for (size_t i = 0; i < p->tag_count; i++) {
        const struct ht_tag *tag = p->tags[i];
        expect("mutate, name", round, tag->name && *tag->name, 1);
        expect("mutate, live", round, tag->live_bytes <= tag->latest.figures.allocated_bytes, 1);
        expect("mutate, peak", round, tag->peak_bytes >= tag->live_bytes, 1);
        for (size_t j = 1; j < tag->site_count; j++)
            expect("mutate, sites' order", round,
                   tag->sites[j - 1]->live_bytes >= tag->sites[j]->live_bytes, 1);
    }
}

static void report_nowhere(const struct ht_profile *profile, FILE *nowhere)
{
    struct ht_symbolizer *symbolizer = ht_symbolizer_new(NULL);
    struct ht_report_style style = {.width = 60, .colour = true};
    struct ht_report report;
    ht_report_make(profile, symbolizer, &report);
    ht_write_text(&report, &style, nowhere);
    ht_write_json(&report, &style, nowhere);
    ht_report_clear(&report);
    ht_symbolizer_free(symbolizer);
}

static void mutate(uint64_t seed, size_t rounds)
{
    FILE *nowhere = fopen("/dev/null", "w");
    unsigned char *bytes = malloc(file_size);
    size_t loaded = 0;
    for (size_t round = 0; round < rounds; round++) {
        char *error = NULL;
        state = seed + round;
        memcpy(bytes, file, file_size);
        for (uint64_t n = 1 + draw(6); n > 0; n--)
            change(bytes);
        struct ht_profile *p =
            ht_profile_load_fd(descriptor_of(bytes, file_size), "changed", &error);
        if (!p) {
            free(error);
            continue;
        }
        loaded++;
        check_figures(p, round);
        report_nowhere(p, nowhere);
        ht_profile_free(p);
    }
    fclose(nowhere);
    free(bytes);
    printf("%zu of %zu changed files loaded and reported\n", loaded, rounds);
    if (loaded == 0)
        wrong++;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int memory(const char *path)
{
    struct mallinfo2 before = mallinfo2();
    char *error = NULL;
    struct ht_profile *p = ht_profile_load(path, &error);
    struct mallinfo2 after = mallinfo2();
    if (!p) {
        printf("refused: %s\n", error);
        return 1;
    }
    printf("%zu\n", after.uordblks + after.hblkhd - before.uordblks - before.hblkhd);
    ht_profile_free(p);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[1] : "";
    if (strcmp(mode, "memory") == 0)
        return memory(argv[2]);
    if (argc > 2)
        read_whole(argv[2]);
    if (strcmp(mode, "cut") == 0)
        cut(argc > 3 ? strtoul(argv[3], NULL, 10) : 0);
    else if (strcmp(mode, "flip") == 0)
        flip();
    else if (strcmp(mode, "mutate") == 0 && argc > 4)
        mutate(strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    else
        return 2;
    free(file);
    printf("%s: %zu records, %lu wrong answers\n", mode, record_count, wrong);
    return wrong ? 1 : 0;
}
