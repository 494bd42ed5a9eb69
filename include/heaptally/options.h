/*
 * Every option of `heaptally run` and of the preload, once: this table is what the command line,
 * the environment, the settings record of a snapshot and the help text derive from.
 *
 * An option travels from the command to the preload in one environment variable. A repeatable
 * option holds its items in that one variable, separated by newlines or semicolons.
 */
#ifndef HEAPTALLY_OPTIONS_H
#define HEAPTALLY_OPTIONS_H

#include "heaptally/units.h"

enum ht_option_kind {
    HT_TEXT,         /* any text */
    HT_SIZE,         /* bytes, see ht_parse_size */
    HT_DURATION,     /* nanoseconds, see ht_parse_duration */
    HT_COUNT,        /* a whole number */
    HT_FLAG,         /* no value on the command line; "1", "0", "" in the environment */
    HT_STACKS,       /* full, site or off: enum ht_stacks */
    HT_MB_RATE,      /* MB per 1000 instantiations; the value is in bytes per 1000 */
    HT_NAMED_LIST,   /* repeatable NAME=PATTERN */
    HT_PATTERN_LIST, /* repeatable PATTERN */
    HT_SIZE_LIST,    /* repeatable [TAG=]SIZE */
    HT_SINK_LIST,    /* repeatable stderr, syslog or FILE */
    HT_EXIT_CODE,    /* 1 to 255; on the command line the value may be left out: 1 */
};

enum ht_stacks { HT_STACKS_FULL, HT_STACKS_SITE, HT_STACKS_OFF };

/* clang-format off */
/*   id             command line       environment                 kind             default     argument     help */
#define HT_OPTIONS(X)                                                                                                                                                          \
    X(OUTPUT,         "output",          "HEAPTALLY_OUTPUT",         HT_TEXT,         "heaptally-%e-%p.htl", "FILE", "snapshot file (%e program, %p pid, %h host, %t start, %n sequence)") \
    X(INTERVAL,       "interval",        "HEAPTALLY_INTERVAL",       HT_DURATION,     "1s",       "TIME",      "time between two looks at the counters, at least 10ms")                \
    X(WARMUP,         "warmup",          "HEAPTALLY_WARMUP",          HT_DURATION,     "",         "TIME",      "growth before this is set aside; leak alerts are held (10 minutes)")\
    X(THRESHOLD,      "threshold",       "HEAPTALLY_THRESHOLD",       HT_SIZE_LIST,    "500MB",    "[TAG=]SIZE", "alert when growth passes this; may be given several times") \
    X(TREND_WINDOW,   "trend-window",    "HEAPTALLY_TREND_WINDOW",    HT_COUNT,        "100",      "N",         "samples that the plain trend of resident memory looks at, 10 to 100000")\
    X(LEAK_THRESHOLD, "leak-threshold",  "HEAPTALLY_LEAK_THRESHOLD", HT_MB_RATE,      "1.0",      "MB",        "limit in MB per 1000 instantiations")                                  \
    X(TAG,            "tag",             "HEAPTALLY_TAG",            HT_NAMED_LIST,   "",         "NAME=PATTERN", "tag allocations by function, lib:FILE or exe:; may be given several times") \
    X(TAG_FILE,       "tag-file",        "HEAPTALLY_TAG_FILE",       HT_TEXT,         "",         "FILE",      "read NAME=PATTERN rules from a file, one a line")                      \
    X(TAG_SKIP,       "tag-skip",        "HEAPTALLY_TAG_SKIP",       HT_PATTERN_LIST, "",         "lib:GLOB",  "never blame these modules; may be given several times")                \
    X(CONSTRUCT,      "construct",       "HEAPTALLY_CONSTRUCT",      HT_NAMED_LIST,   "",         "NAME=PATTERN", "each block allocated directly by a matching function is one instantiation") \
    X(STACKS,         "stacks",          "HEAPTALLY_STACKS",         HT_STACKS,       "full",     "full|site|off", "how much of the call site to keep")                                \
    X(MAX_FILE,       "max-file",        "HEAPTALLY_MAX_FILE",       HT_SIZE,         "64MB",     "SIZE",      "cap of the snapshot file, at least 1MB")                               \
    X(KEEP,           "keep",            "HEAPTALLY_KEEP",           HT_COUNT,        "",         "N",         "keep only the N newest finished files of the program")                 \
    X(SYNC,           "sync",            "HEAPTALLY_SYNC",           HT_DURATION,     "60s",      "TIME",      "time between two fdatasync of the snapshot file")                      \
    X(PROMETHEUS_DIR, "prometheus-dir",  "HEAPTALLY_PROMETHEUS_DIR",  HT_TEXT,         "",         "DIR",       "write metrics for node_exporter's textfile collector")       \
    X(ALERT_LOG,      "alert-log",       "HEAPTALLY_ALERT_LOG",       HT_SINK_LIST,    "stderr",   "stderr|syslog|FILE", "where alerts go, a FILE as JSON lines; may be given several times")\
    X(NO_CHILDREN,    "no-children",     "HEAPTALLY_NO_CHILDREN",    HT_FLAG,         "0",        "",          "watch the first process only")                                         \
    X(ONLY,           "only",            "HEAPTALLY_ONLY",           HT_TEXT,         "",         "EXE",       "watch only processes whose program matches this glob")                 \
    X(DORMANT,        "dormant",         "HEAPTALLY_DORMANT",         HT_FLAG,         "0",        "",          "load, but count only after 'heaptally start'")               \
    X(FAIL_ON_LEAK,   "fail-on-leak",    "HEAPTALLY_FAIL_ON_LEAK",    HT_EXIT_CODE,    "",         "CODE",      "exit with CODE (1) if a leak was found")                     \
/* clang-format on */

#define HT_OPTION_ENUM(id, ...) HT_OPT_##id,
enum ht_option_id { HT_OPTIONS(HT_OPTION_ENUM) HT_OPTION_COUNT };
#undef HT_OPTION_ENUM

struct ht_option {
    const char *name;     /* on the command line, without "--" */
    const char *variable; /* in the environment */
    enum ht_option_kind kind;
    const char *standard; /* default, as text; "" where there is none */
    const char *argument; /* how the help text calls the value */
    const char *help;
};

#define HT_OPTION_ROW(id, name, variable, kind, standard, argument, help)                          \
    {name, variable, kind, standard, argument, help},
static const struct ht_option ht_options[HT_OPTION_COUNT] = {HT_OPTIONS(HT_OPTION_ROW)};
#undef HT_OPTION_ROW

/* What separates the items of a repeatable option in one text. */
static inline bool ht_option_is_separator(char c)
{
    return c == '\n' || c == ';';
}

static inline bool ht_option_is_list(enum ht_option_kind kind)
{
    return kind == HT_NAMED_LIST || kind == HT_PATTERN_LIST || kind == HT_SIZE_LIST ||
           kind == HT_SINK_LIST;
}

/*
 * Takes the next item off a repeatable option's text: returns its start and sets `*length`, moves
 * `*cursor` behind it; NULL at the end. Empty items are passed over.
 */
static inline const char *ht_option_next_item(const char **cursor, size_t *length)
{
    const char *p = *cursor;
    while (*p && ht_option_is_separator(*p))
        p++;
    const char *end = p;
    while (*end && !ht_option_is_separator(*end))
        end++;
    *cursor = end;
    *length = (size_t)(end - p);
    return *length ? p : NULL;
}

/* Splits NAME=PATTERN at the first '='; false unless both sides are there and NAME fits a tag. */
static inline bool ht_option_split(const char *item, size_t length, size_t *name_length)
{
    const char *equals = memchr(item, '=', length);
    if (!equals)
        return false;
    *name_length = (size_t)(equals - item);
    return *name_length > 0 && *name_length <= 127 && *name_length + 1 < length;
}

/*
 * Reads an item of --threshold: sets `*bytes` and `*name_length`, which is 0 where no tag is named
 * (the tag's name begins the item otherwise). False where it is not [TAG=]SIZE.
 */
static inline bool ht_option_threshold(const char *item, size_t length, size_t *name_length,
                                       uint64_t *bytes)
{
    size_t before = 0;
    *name_length = 0;
    if (memchr(item, '=', length)) {
        while (before < length && item[length - 1 - before] != '=')
            before++; /* a size has no '=': the last one ends the name */
        *name_length = length - 1 - before;
        if (*name_length == 0 || *name_length > 127)
            return false;
        before = *name_length + 1;
    }
    return ht_parse_size(item + before, length - before, bytes);
}

/*
 * Checks `text` against the option's kind. Returns NULL and, for the kinds that are a number, sets
 * `*value` (bytes, nanoseconds, count, 0/1, enum ht_stacks, exit code); or returns what
 * the text should have looked like, for the error message.
 */
static inline const char *ht_option_check(enum ht_option_id id, const char *text, uint64_t *value)
{
    size_t length = strlen(text), item_length, name_length;
    const char *item, *cursor = text;
    uint64_t bytes;
    switch (ht_options[id].kind) {
    case HT_TEXT:
        return length ? NULL : "needs a value";
    case HT_SIZE:
        if (!ht_parse_size(text, length, value))
            return "is not a size; write for example 512KB, 64MB or 2GB";
        if (id == HT_OPT_MAX_FILE && *value < HT_MB)
            return "is too small; the least is 1MB";
        return NULL;
    case HT_MB_RATE:
        return ht_parse_size(text, length, value)
                   ? NULL
                   : "is not a size; write for example 1.0 (MB) or 20KB";
    case HT_DURATION:
        if (!ht_parse_duration(text, length, value))
            return "is not a duration; write for example 500ms, 1s or 10m";
        if (id == HT_OPT_INTERVAL && *value < 10 * HT_MILLISECOND)
            return "is too short; the least is 10ms";
        if (id == HT_OPT_WARMUP && *value < 10 * HT_MILLISECOND)
            return "is too short; write for example 5m, or leave it out";
        return NULL;
    case HT_COUNT:
        if (!ht_parse_count(text, length, value))
            return "is not a whole number; write for example 10";
        if (id == HT_OPT_TREND_WINDOW && (*value < 10 || *value > 100000))
            return "is out of range; it must be 10 to 100000";
        return NULL;
    case HT_EXIT_CODE:
        return ht_parse_count(text, length, value) && *value >= 1 && *value <= 255
                   ? NULL
                   : "is no exit status; write a number from 1 to 255";
    case HT_FLAG:
        if (length > 1 || (length == 1 && *text != '0' && *text != '1'))
            return "is neither 1 nor 0";
        *value = length == 1 && *text == '1';
        return NULL;
    case HT_STACKS:
        for (*value = 0; *value < 3; ++*value) {
            static const char *const names[] = {"full", "site", "off"};
            if (strcmp(text, names[*value]) == 0)
                return NULL;
        }
        return "is none of full, site and off";
    case HT_NAMED_LIST:
        while ((item = ht_option_next_item(&cursor, &item_length)))
            if (!ht_option_split(item, item_length, &name_length))
                return "is not NAME=PATTERN; write for example pid='pid_*' or plan=lib:libplan*";
        return length ? NULL : "needs NAME=PATTERN";
    case HT_PATTERN_LIST:
        while ((item = ht_option_next_item(&cursor, &item_length)))
            if (item_length <= 4 || strncmp(item, "lib:", 4) != 0)
                return "is not lib:GLOB; write for example 'lib:libros*'";
        return length ? NULL : "needs lib:GLOB";
    case HT_SIZE_LIST:
        while ((item = ht_option_next_item(&cursor, &item_length)))
            if (!ht_option_threshold(item, item_length, &name_length, &bytes))
                return "is not [TAG=]SIZE; write for example 500MB or pid=20MB";
        return length ? NULL : "needs [TAG=]SIZE";
    case HT_SINK_LIST:
        return ht_option_next_item(&cursor, &item_length) ? NULL : "needs stderr, syslog or FILE";
    }
    return "has no known kind";
}

#endif
