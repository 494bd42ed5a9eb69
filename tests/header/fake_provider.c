/*
 * A stand-in for the preload: defines its functions and writes every call to standard output,
 * one line each, through write(2), so that the lines stand in order among those of the program.
 *
 * Ids are 1, 2, 3, ... in order of first use. The current tag and region are the thread's.
 */
#include "heaptally.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TAGS = 128, MAX_NAME = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* names, last_tag */
static char names[MAX_TAGS + 1][MAX_NAME] = {"none"};
static uint32_t last_tag;
static __thread uint32_t current, current_region;

/* Copies a tag's name to `name`, MAX_NAME bytes. */
static const char *copy_name(char *name, uint32_t tag)
{
    pthread_mutex_lock(&lock);
    memcpy(name, tag <= last_tag ? names[tag] : "INVALID", tag <= last_tag ? MAX_NAME : 8);
    pthread_mutex_unlock(&lock);
    return name;
}

/* Writes "VERB NAME REST\n". */
static void record(const char *verb, uint32_t tag, const char *rest)
{
    char line[3 * MAX_NAME], name[MAX_NAME];
    int length = snprintf(line, sizeof line, "%s %s%s\n", verb, copy_name(name, tag), rest);
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(99);
}

/* The id of `name`, 0 if the table is full. The caller holds the lock. */
static uint32_t find_or_add(const char *name)
{
    for (uint32_t tag = 1; tag <= last_tag; tag++)
        if (strcmp(names[tag], name) == 0)
            return tag;
    if (last_tag == MAX_TAGS)
        return 0;
    snprintf(names[last_tag + 1], MAX_NAME, "%s", name);
    return ++last_tag;
}

uint32_t heaptally_v1_tag(const char *name)
{
    uint32_t tag = 0;
    if (name && *name) {
        pthread_mutex_lock(&lock);
        tag = find_or_add(name);
        pthread_mutex_unlock(&lock);
    }
    record("tag", tag, "");
    return tag;
}

uint32_t heaptally_v1_enter(uint32_t tag)
{
    char from[MAX_NAME + 8], name[MAX_NAME];
    uint32_t previous = current;
    snprintf(from, sizeof from, " from %s", copy_name(name, previous));
    record("enter", tag, from);
    current = tag;
    return previous;
}

void heaptally_v1_leave(uint32_t previous)
{
    char to[MAX_NAME + 8], name[MAX_NAME];
    snprintf(to, sizeof to, " to %s", copy_name(name, previous));
    record("leave", current, to);
    current = previous;
}

uint32_t heaptally_v1_no_alloc_enter(uint32_t region)
{
    char from[MAX_NAME + 8], name[MAX_NAME];
    uint32_t previous = current_region;
    snprintf(from, sizeof from, " from %s", copy_name(name, previous));
    record("no_alloc_enter", region, from);
    current_region = region;
    return previous;
}

void heaptally_v1_no_alloc_leave(uint32_t previous)
{
    char to[MAX_NAME + 8], name[MAX_NAME];
    snprintf(to, sizeof to, " to %s", copy_name(name, previous));
    record("no_alloc_leave", current_region, to);
    current_region = previous;
}

void heaptally_v1_constructed(uint32_t tag)
{
    record("constructed", tag, "");
}

void heaptally_v1_cycle(uint32_t tag)
{
    record("cycle", tag, "");
}

/* The program's blocks hold a text, by which they are known here. */
void heaptally_v1_adopt(uint32_t tag, const void *block)
{
    char text[MAX_NAME];
    snprintf(text, sizeof text, ": %s", block ? (const char *)block : "null");
    record("adopt", tag, text);
}

int heaptally_v1_active(void)
{
    return 1;
}

/* ---- asking: each call is one line, and fills what a program may look at -----------------------
 */

int heaptally_v1_check_memory(struct heaptally_alert *alert)
{
    record(alert ? "check_memory" : "check_memory without alert", 0, "");
    if (alert)
        alert->growth_mb = alert->size == sizeof *alert ? 7 : -1;
    return 1;
}

int heaptally_v1_analyze_trend(const char *tag, struct heaptally_trend *trend)
{
    char text[MAX_NAME];
    snprintf(text, sizeof text, ": %s", tag ? tag : "the process");
    record("analyze_trend", 0, text);
    trend->samples = trend->size == sizeof *trend ? 7 : 0;
    return 0;
}

int heaptally_v1_reset_baseline(void)
{
    record("reset_baseline", 0, "");
    return 0;
}

/* As snprintf does. */
static int report(const char *verb, char *buffer, size_t size)
{
    record(verb, 0, "");
    return snprintf(buffer, size, "%s", verb);
}

int heaptally_v1_memory_report(char *buffer, size_t size)
{
    return report("memory_report", buffer, size);
}

int heaptally_v1_tracker_report(char *buffer, size_t size)
{
    return report("tracker_report", buffer, size);
}

int heaptally_v1_check_leak_threshold(double mb_per_1000, struct heaptally_leaks *leaks)
{
    record("check_leak_threshold", 0, mb_per_1000 > 2 ? ": more than 2" : ": at most 2");
    leaks->leak_count = leaks->size == sizeof *leaks ? 1 : 0;
    return 1;
}

/* Calls back at once, so that what the header wraps the function in is seen. */
int heaptally_v1_set_alert_callback(int (*invoke)(heaptally_alert_function *,
                                                  const struct heaptally_alert *, void *),
                                    heaptally_alert_function *function, void *user)
{
    struct heaptally_alert alert = {.size = sizeof alert, .message = "fake"};
    record("set_alert_callback", 0, function ? "" : " to nothing");
    if (function)
        record(invoke(function, &alert, user) ? "threw" : "returned", 0, "");
    return 0;
}

int heaptally_v1_start(void)
{
    record("start", 0, "");
    return 0;
}

int heaptally_v1_stop(void)
{
    record("stop", 0, "");
    return 0;
}

int heaptally_v1_snapshot(void)
{
    record("snapshot", 0, "");
    return 0;
}
