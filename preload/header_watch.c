/*
 * What include/heaptally.h calls to ask and to tell: see there for the contracts. Most of it visits
 * the monitor's figures under its gate, for a tenth of a second at most; a check of memory reads
 * what was published and waits for nobody.
 */
#include <errno.h>
#include <string.h>

#include "aggregate.h"
#include "callback.h"
#include "heaptally.h"
#include "heaptally/units.h"
#include "lifecycle.h"
#include "monitor.h"
#include "surface.h"
#include "track.h"

#define EXPORT __attribute__((visibility("default")))

#define PATIENCE   (100 * HT_MILLISECOND)
#define JOB_WAIT   (2 * HT_SECOND)
#define TEXT_LIMIT ((size_t)1 << 20)

/* A child of a watched process that has lived for a tick is watched once it allocates, or asks. */
static void be_watched(void)
{
    if (ht_slow & HT_SLOW_PROBATION)
        ht_probation();
}

static bool visit_monitor(struct ht_visit *visit)
{
    be_watched();
    return ht_monitor_visit(visit, PATIENCE);
}

/* Copies as much of one of our structs as the program's header knows; its size stays its own. */
static void give(void *theirs, const void *ours, size_t our_size)
{
    size_t size, room;
    memcpy(&size, theirs, sizeof size);
    room = size < our_size ? size : our_size;
    if (room > sizeof size)
        memcpy((char *)theirs + sizeof size, (const char *)ours + sizeof size, room - sizeof size);
}

EXPORT int heaptally_v1_active(void);
EXPORT int heaptally_v1_active(void)
{
    return !(__atomic_load_n(&ht_slow, __ATOMIC_RELAXED) & HT_SLOW_DORMANT);
}

EXPORT int heaptally_v1_check_memory(struct heaptally_alert *alert);
EXPORT int heaptally_v1_check_memory(struct heaptally_alert *alert)
{
    struct heaptally_alert standing;
    bool over = ht_surface_check(&standing);
    if (alert)
        give(alert, &standing, sizeof standing);
    return over;
}

/* The id of the tag of that name, HTL_HISTORY_PROCESS for NULL, 0 where there is none. */
static uint32_t subject_named(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    if (!name)
        return HTL_HISTORY_PROCESS;
    for (uint32_t tag = 1; tag < HT_TAGS; tag++)
        if (ht_tag_view(tag)->used && ht_tag(tag)->length == length &&
            memcmp(ht_tag(tag)->name, name, length) == 0)
            return tag;
    return 0;
}

EXPORT int heaptally_v1_analyze_trend(const char *tag, struct heaptally_trend *trend);
EXPORT int heaptally_v1_analyze_trend(const char *tag, struct heaptally_trend *trend)
{
    static struct heaptally_trend ours; /* of who holds the gate */
    struct ht_visit visit;
    int saved = errno;
    if (!visit_monitor(&visit))
        return -EAGAIN;
    uint32_t subject = subject_named(tag);
    if (subject) {
        ht_surface_trend(subject, &ours);
        give(trend, &ours, sizeof ours);
    }
    ht_monitor_leave(&visit);
    errno = saved;
    return subject ? 0 : -ENOENT;
}

EXPORT int heaptally_v1_reset_baseline(void);
EXPORT int heaptally_v1_reset_baseline(void)
{
    struct ht_visit visit;
    int saved = errno;
    if (!visit_monitor(&visit))
        return -EAGAIN;
    ht_monitor_reset_baseline();
    ht_monitor_leave(&visit);
    errno = saved;
    return 0;
}

/* Has `put` make a text and copies it to the program's buffer: its length, or -errno. */
static int report(void (*put)(struct ht_out *out), char *buffer, size_t size)
{
    struct ht_visit visit;
    struct ht_out out;
    int saved = errno, result = -ENOMEM;
    if (!visit_monitor(&visit))
        return -EAGAIN;
    ht_out_begin(&out, TEXT_LIMIT);
    put(&out);
    if (!out.failed && out.bytes) {
        size_t fits = out.used < size ? out.used : size ? size - 1 : 0;
        memcpy(buffer, out.bytes, fits);
        if (size)
            buffer[fits] = '\0';
        result = (int)out.used;
    }
    ht_out_free(&out);
    ht_monitor_leave(&visit);
    errno = saved;
    return result;
}

EXPORT int heaptally_v1_memory_report(char *buffer, size_t size);
EXPORT int heaptally_v1_memory_report(char *buffer, size_t size)
{
    return report(ht_surface_put_report, buffer, size);
}

EXPORT int heaptally_v1_tracker_report(char *buffer, size_t size);
EXPORT int heaptally_v1_tracker_report(char *buffer, size_t size)
{
    return report(ht_surface_put_tracker, buffer, size);
}

EXPORT int heaptally_v1_check_leak_threshold(double mb_per_1000, struct heaptally_leaks *leaks);
EXPORT int heaptally_v1_check_leak_threshold(double mb_per_1000, struct heaptally_leaks *leaks)
{
    static struct heaptally_leaks ours; /* of who holds the gate */
    struct ht_visit visit;
    int saved = errno;
    if (!visit_monitor(&visit))
        return -EAGAIN;
    ht_surface_leaks(mb_per_1000, &ours);
    give(leaks, &ours, sizeof ours);
    int count = (int)ours.leak_count;
    ht_monitor_leave(&visit);
    errno = saved;
    return count;
}

EXPORT int heaptally_v1_set_alert_callback(ht_callback_invoke *invoke,
                                           heaptally_alert_function *function, void *user);
EXPORT int heaptally_v1_set_alert_callback(ht_callback_invoke *invoke,
                                           heaptally_alert_function *function, void *user)
{
    int saved = errno;
    if (!ht_boot() || ht_is_dormant()) /* there is no monitor that would end the thread */
        return -EAGAIN;
    int result = ht_callback_set(invoke, function, user);
    errno = saved;
    return result;
}

/* Has the monitor do it. */
static int request(enum ht_job job, uint64_t wait_ns)
{
    int saved = errno;
    be_watched();
    int result = ht_monitor_request(job, wait_ns);
    errno = saved;
    return result;
}

EXPORT int heaptally_v1_snapshot(void);
EXPORT int heaptally_v1_snapshot(void)
{
    return request(HT_JOB_SNAPSHOT, JOB_WAIT);
}

EXPORT int heaptally_v1_start(void);
EXPORT int heaptally_v1_start(void)
{
    return request(HT_JOB_START, JOB_WAIT);
}

EXPORT int heaptally_v1_stop(void);
EXPORT int heaptally_v1_stop(void)
{
    return request(HT_JOB_STOP, JOB_WAIT);
}
