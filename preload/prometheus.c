#include "prometheus.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "aggregate.h"
#include "detect.h"
#include "heaptally/trend_text.h"
#include "heaptally/units.h"
#include "internal_heap.h"
#include "metrics_sweep.h"
#include "module_map.h"
#include "raw_io.h"

#define PATH_ROOM     4096
#define EVERY_TICKS   5u
#define SHORTEST_WAIT HT_SECOND
#define LONGEST_WAIT  (15 * HT_SECOND)
#define SWEEP_EVERY   (60 * HT_MINUTE)
#define BUFFER_SIZE   16384u
#define SAMPLE_MAX    1536u /* bytes that one line may take: names are short, and escaped at worst */

static char directory[PATH_ROOM]; /* "" : nothing is written */
static char path[PATH_ROOM], aside[PATH_ROOM];
static uint64_t due, sweep_due;
static bool sweeping;  /* by the monitor thread alone, as the next */
static unsigned swept; /* files of the directory that this sweep has left where they are */
static bool written, failing;

/* What is being written. */
static char buffer[BUFFER_SIZE];
static struct ht_text text;
static int fd = -1, error;
static char signature[128];
static char process_labels[1024]; /* exe="...",host="...",pid="..." */

void ht_prometheus_begin(const struct ht_settings *settings)
{
    const char *asked = settings->text[HT_OPT_PROMETHEUS_DIR];
    char here[PATH_ROOM] = "";
    if (!asked)
        return;
    if (asked[0] != '/' && !getcwd(here, sizeof here))
        here[0] = '\0';
    if (snprintf(directory, sizeof directory, "%s%s%s", here, here[0] ? "/" : "", asked) >=
        (int)sizeof directory - 300) {
        directory[0] = '\0';
        ht_say("--prometheus-dir: the name is too long; nothing is written");
    }
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static void flush(void)
{
    if (!error)
        error = ht_write_all(fd, buffer, (size_t)(text.at - buffer));
    text = ht_text_begin(buffer, sizeof buffer);
}

static void put(const char *words)
{
    ht_text_put(&text, words);
}

/* A label's value: what the format gives a meaning is escaped, other control characters are not
 * names. */
static void put_value(struct ht_text *to, const char *value)
{
    char piece[3] = "";
    for (; *value; value++) {
        bool escaped = *value == '"' || *value == '\\';
        piece[0] = escaped ? '\\' : (unsigned char)*value < ' ' || *value == 127 ? '?' : *value;
        piece[1] = escaped ? *value : '\0';
        ht_text_put(to, piece);
    }
}

static void put_help(const char *metric, const char *type, const char *help)
{
    put("# HELP heaptally_");
    put(metric);
    put(" ");
    put(help);
    put("\n# TYPE heaptally_");
    put(metric);
    put(" ");
    put(type);
    put("\n");
}

/* One line; `tag` and `verdict` may be NULL. A value that is not known, or
 * beyond all measure, makes no line. */
static void put_sample(const char *metric, const char *tag, const char *verdict, double value)
{
    if (!(fabs(value) < 1e15)) /* ht_text_number would say it in words */
        return;
    if ((size_t)(text.last - text.at) < SAMPLE_MAX)
        flush();
    put("heaptally_");
    put(metric);
    put("{");
    put(process_labels);
    if (tag) {
        put(",tag=\"");
        put_value(&text, tag);
        put("\"");
    }
    if (verdict) {
        put(",verdict=\"");
        put(verdict);
        put("\"");
    }
    put("} ");
    bool whole = fabs(value) >= 1e9 || value == (double)(int64_t)value; /* no call into libm */
    ht_text_number(&text, value, whole ? 0 : 6);
    put("\n");
}

/* ---- of tags ------------------------------------------------------------------------------------
 */

static double known(uint64_t value)
{
    return value == HTL_UNKNOWN ? NAN : (double)value;
}

static double live_bytes(uint32_t tag)
{
    return (double)ht_live_bytes(&ht_tag_view(tag)->now);
}

static double live_blocks(uint32_t tag)
{
    return (double)ht_live_blocks(&ht_tag_view(tag)->now);
}

static double allocated_bytes(uint32_t tag)
{
    return (double)ht_tag_view(tag)->now.allocated_bytes;
}

static double instantiations(uint32_t tag)
{
    return known(ht_tag_instantiations(tag));
}

static double growth(uint32_t tag)
{
    struct ht_judgement judgement;
    ht_detect_judge(tag, &judgement);
    return judgement.verdict.bytes_per_hour / 3600;
}

static double seconds_to_limit(uint32_t tag)
{
    struct ht_judgement judgement;
    ht_detect_judge(tag, &judgement);
    return judgement.verdict.seconds_to_limit;
}

static const struct {
    const char *name, *type, *help;
    double (*value)(uint32_t tag); /* NaN where unknown */
} tag_metrics[] = {
    {"live_bytes", "gauge", "Bytes allocated and not freed.", live_bytes},
    {"live_blocks", "gauge", "Blocks allocated and not freed.", live_blocks},
    {"allocated_bytes_total", "counter", "Bytes allocated since the start.", allocated_bytes},
    {"instantiations_total", "counter", "Controllers built since the start.", instantiations},
    {"growth_bytes_per_second", "gauge", "Growth of the live bytes.", growth},
    {"seconds_to_limit", "gauge", "Time until memory ends at this growth.", seconds_to_limit},
};

static const char *name_of(uint32_t tag)
{
    const struct ht_tag_entry *entry = ht_tag_view(tag)->used ? ht_tag(tag) : NULL;
    return entry ? entry->name : NULL;
}

static void put_verdicts(uint32_t tag)
{
    struct ht_judgement judgement;
    ht_detect_judge(tag, &judgement);
    for (unsigned call = 0; call < HT_TREND_CALLS; call++)
        put_sample("leak_verdict", name_of(tag), ht_trend_name((enum ht_trend_call)call),
                   judgement.verdict.call == call);
}

static void put_tags(void)
{
    for (size_t m = 0; m < sizeof tag_metrics / sizeof *tag_metrics; m++) {
        put_help(tag_metrics[m].name, tag_metrics[m].type, tag_metrics[m].help);
        for (uint32_t tag = 1; tag < HT_TAGS; tag++)
            if (name_of(tag))
                put_sample(tag_metrics[m].name, name_of(tag), NULL, tag_metrics[m].value(tag));
    }
    put_help("leak_verdict", "gauge", "1 for the verdict that holds.");
    for (uint32_t tag = 1; tag < HT_TAGS; tag++)
        if (name_of(tag))
            put_verdicts(tag);
}

/* ---- the file -----------------------------------------------------------------------------------
 */

static void put_process(const struct ht_moment *moment)
{
    put_help("resident_bytes", "gauge", "Resident memory of the process.");
    put_sample("resident_bytes", NULL, NULL, known(moment->rss_bytes));
    put_help("own_bytes", "gauge", "Memory of heaptally itself.");
    put_sample("own_bytes", NULL, NULL, (double)ht_heap_mapped());
    put_help("last_tick_timestamp_seconds", "gauge", "When the counters were last looked at.");
    put_sample("last_tick_timestamp_seconds", NULL, NULL, (double)moment->realtime_ns / 1e9);
}

/* Names and labels that hold for the whole run. */
static void learn_names(void)
{
    const struct ht_module *program = ht_module(0);
    struct utsname system = {.nodename = ""};
    unsigned long long names = ht_metrics_namespace();
    char pid[16], unique[32] = "";
    if (names)
        snprintf(unique, sizeof unique, "%llu-", names);
    uname(&system);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    struct ht_text labels = ht_text_begin(process_labels, sizeof process_labels);
    ht_text_put(&labels, "exe=\"");
    put_value(&labels, program && program->unwind.file.path ? program->unwind.file.path : "");
    ht_text_put(&labels, "\",host=\"");
    put_value(&labels, system.nodename);
    ht_text_put(&labels, "\",pid=\"");
    ht_text_put(&labels, pid);
    ht_text_put(&labels, "\"");
    snprintf(path, sizeof path, "%.3700s/heaptally-%.200s-%s%s.prom", directory,
             program ? program->base : "unknown", unique, pid);
    snprintf(aside, sizeof aside, "%.4000s.tmp", path);
    ht_metrics_sign(signature, sizeof signature);
}

static void write_file(const struct ht_moment *moment)
{
    if (!path[0])
        learn_names();
    unlink(aside); /* left by an earlier try: only this process uses the name */
    fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    error = fd < 0 ? -errno : 0;
    text = ht_text_begin(buffer, sizeof buffer);
    if (!error) {
        put(signature);
        put_process(moment);
        put_tags();
        flush();
        close(fd);
    }
    if (!error && rename(aside, path) != 0)
        error = -errno;
    if (error && fd >= 0)
        unlink(aside);
    if (error && !failing)
        ht_say("%s: metrics cannot be written (%s); make the directory writable, or name another "
               "with --prometheus-dir",
               directory, ht_error_words(-error));
    failing = error != 0;
    written |= !error;
}

void ht_prometheus_tick(const struct ht_moment *moment)
{
    if (!directory[0] || moment->monotonic_ns < due)
        return;
    uint64_t wait = EVERY_TICKS * ht_settings.value[HT_OPT_INTERVAL];
    wait = wait < SHORTEST_WAIT ? SHORTEST_WAIT : wait > LONGEST_WAIT ? LONGEST_WAIT : wait;
    due = moment->monotonic_ns + wait;
    write_file(moment);
    if (moment->monotonic_ns >= sweep_due) {
        sweep_due = moment->monotonic_ns + SWEEP_EVERY;
        sweeping = true;
        swept = 0;
    }
}

void ht_prometheus_sweep(void)
{
    if (sweeping)
        sweeping = !ht_metrics_sweep(directory, &swept);
}

void ht_prometheus_end(void)
{
    if (written)
        unlink(path);
    written = false;
}

void ht_prometheus_forget(void)
{
    path[0] = '\0';
    due = sweep_due = 0;
    written = failing = sweeping = false;
}
