#include "answers.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "aggregate.h"
#include "alert.h"
#include "conditions.h"
#include "detect.h"
#include "heaptally/control_protocol.h"
#include "heaptally/units.h"
#include "internal_heap.h"
#include "lifecycle.h"
#include "module_map.h"
#include "monitor.h"
#include "moment.h"
#include "options.h"
#include "raw_io.h"
#include "snapshot_write.h"
#include "surface.h"
#include "thresholds.h"
#include "track.h"

#define MB_BYTES         ((double)HT_MB)
#define LONGEST_INTERVAL HT_MINUTE /* the detector's windows are not much longer */
#define LONGEST_WARMUP   (365 * HT_DAY)

static uint64_t began_ns;

/* A request that is being carried out. */
struct request {
    const char *argument; /* "" without one */
    struct ht_out *out;
    char *error;
    size_t error_size;
};

void ht_answers_begin(void)
{
    began_ns = ht_now_ns();
}

static bool fail(struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One line for people; always false. */
static bool fail(struct request *request, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(request->error, request->error_size, format, arguments);
    va_end(arguments);
    for (char *p = request->error; *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = '?';
    return false;
}

/* ---- status -------------------------------------------------------------------------------------
 */

static void put_number(struct ht_out *out, const char *key, double value, unsigned decimals)
{
    ht_out_key(out, key);
    ht_out_json_number(out, value, decimals);
}

static void put_count(struct ht_out *out, const char *key, uint64_t value)
{
    ht_out_key(out, key);
    ht_out_json_count(out, value);
}

static void put_string(struct ht_out *out, const char *key, const char *text)
{
    ht_out_key(out, key);
    ht_out_json_string(out, text, strlen(text));
}

static void put_process(struct ht_out *out)
{
    const struct ht_module *program = ht_module(0);
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    ht_out_key(out, "process");
    ht_out_text(out, "{");
    put_count(out, "pid", (uint64_t)getpid());
    put_count(out, "user", geteuid());
    put_string(out, "exe", program && program->unwind.file.path ? program->unwind.file.path : "");
    put_string(out, "host", host);
    put_number(out, "duration_s", (double)(ht_now_ns() - began_ns) * 1e-9, 1);
    put_string(out, "state", ht_slow & HT_SLOW_DORMANT ? "stopped" : "counting");
    put_string(out, "snapshot", ht_snapshot_path());
    put_number(out, "interval_s", (double)ht_settings.value[HT_OPT_INTERVAL] * 1e-9, 3);
    put_string(out, "log", ht_log_is_there() ? "stderr" : "gone");
    put_count(out, "log_lines_lost", ht_log_lost());
    ht_out_text(out, "}");
}

static double mb_or_nan(uint64_t bytes)
{
    return bytes == HTL_UNKNOWN ? NAN : (double)bytes / MB_BYTES;
}

static void put_verdict(struct ht_out *out, const struct ht_judgement *judgement)
{
    const struct ht_trend_verdict *verdict = &judgement->verdict;
    put_string(out, "verdict", ht_trend_name(verdict->call));
    put_string(out, "reason", judgement->reason);
    put_number(out, "growth_rate_mb_per_hour", verdict->bytes_per_hour / MB_BYTES, 6);
    put_number(out, "ci_low", verdict->ci_low / MB_BYTES, 6);
    put_number(out, "ci_high", verdict->ci_high / MB_BYTES, 6);
    put_number(out, "seconds_to_limit", verdict->seconds_to_limit, 0);
}

static void put_memory(struct ht_out *out)
{
    static struct ht_judgement judgement;
    ht_detect_judge(HTL_HISTORY_PROCESS, &judgement);
    if (ht_detect_last_tick()->monotonic_ns == 0) { /* never started: there is no baseline */
        judgement.now_bytes = ht_resident_bytes();
        judgement.baseline_bytes = HTL_UNKNOWN;
        judgement.growth_bytes = NAN;
    }
    ht_out_key(out, "memory");
    ht_out_text(out, "{");
    put_number(out, "rss_mb", mb_or_nan(judgement.now_bytes), 3);
    put_number(out, "baseline_mb", mb_or_nan(judgement.baseline_bytes), 3);
    put_number(out, "growth_mb", judgement.growth_bytes / MB_BYTES, 3);
    put_number(out, "threshold_mb", mb_or_nan(ht_threshold(HTL_HISTORY_PROCESS)), 3);
    put_count(out, "live_bytes", ht_live_bytes(&ht_sums.total));
    put_count(out, "live_blocks", ht_live_blocks(&ht_sums.total));
    put_count(out, "own_bytes", ht_heap_mapped());
    put_verdict(out, &judgement);
    ht_out_text(out, "}");
}

static void put_controller(struct ht_out *out, uint32_t tag)
{
    static struct ht_judgement judgement;
    const struct ht_tag_view *view = ht_tag_view(tag);
    ht_detect_judge(tag, &judgement);
    ht_out_text(out, "{\"tag\": ");
    ht_out_json_string(out, ht_tag(tag)->name, ht_tag(tag)->length);
    put_verdict(out, &judgement);
    put_count(out, "live_bytes", ht_live_bytes(&view->now));
    put_count(out, "live_blocks", ht_live_blocks(&view->now));
    put_count(out, "peak_bytes", view->peak_bytes);
    put_count(out, "allocated_bytes", view->now.allocated_bytes);
    put_count(out, "allocated_blocks", view->now.allocated_blocks);
    put_number(out, "growth_mb", judgement.growth_bytes / MB_BYTES, 3);
    put_number(out, "threshold_mb", mb_or_nan(ht_threshold(tag)), 3);
    put_count(out, "instantiations", ht_tag_instantiations(tag));
    put_number(out, "mb_per_1000", ht_conditions_mb_per_1000(tag), 3);
    put_count(out, "cycles", ht_tag_cycles(tag));
    ht_out_text(out, "}");
}

static void put_alert(struct ht_out *out, const struct ht_alert *alert)
{
    ht_out_text(out, "{");
    put_count(out, "number", alert->number);
    put_number(out, "time", (double)alert->realtime_ns * 1e-9, 3);
    put_string(out, "kind", ht_alert_kind_name(alert->kind));
    put_string(out, "state", ht_alert_state_name(alert->state));
    put_string(out, "severity", ht_alert_severity_name(alert->severity));
    if (alert->tag_name[0]) {
        put_string(out, "tag", alert->tag_name);
    } else {
        ht_out_key(out, "tag");
        ht_out_text(out, "null");
    }
    put_number(out, "value_mb", alert->value_mb, 3);
    put_number(out, "threshold_mb", alert->threshold_mb, 3);
    put_number(out, "rss_mb", alert->rss_mb, 3);
    put_number(out, "growth_mb", alert->growth_mb, 3);
    put_string(out, "message", alert->message);
    ht_out_text(out, "}");
}

static bool answer_status(struct request *request)
{
    struct ht_out *out = request->out;
    ht_out_text(out, "{\"schema\": \"" HTC_STATUS_SCHEMA "\"");
    put_process(out);
    put_memory(out);
    ht_out_key(out, "controllers");
    ht_out_text(out, "[");
    for (uint32_t tag = 1; tag < HT_TAGS; tag++) {
        if (!ht_tag_view(tag)->used)
            continue;
        ht_out_comma(out);
        put_controller(out, tag);
    }
    ht_out_text(out, "]");
    put_count(out, "alert_count", ht_alert_count());
    ht_out_key(out, "alerts");
    ht_out_text(out, "[");
    uint64_t last = ht_alert_count();
    for (uint64_t i = last > HT_ALERTS_KEPT ? last - HT_ALERTS_KEPT + 1 : 1; i <= last; i++) {
        const struct ht_alert *alert = ht_alert(i);
        if (!alert)
            continue;
        ht_out_comma(out);
        put_alert(out, alert);
    }
    ht_out_text(out, "]}\n");
    return true;
}

/* ---- the reference's questions ------------------------------------------------------------------
 */

static bool answer_check(struct request *request)
{
    static struct ht_alert alert;
    struct ht_moment moment = ht_moment_now();
    if (!ht_watch_is_stopped() && ht_conditions_check(&moment, &alert))
        ht_out_format(request->out, "%s: %s\n", ht_alert_severity_name(alert.severity),
                      alert.message);
    ht_surface_publish();
    return true;
}

/* The id of a name that is known already, 0 where it is not. */
static uint32_t known_tag(const char *name, size_t length)
{
    for (uint32_t tag = 1; tag < HT_TAGS; tag++)
        if (ht_tag_view(tag)->used && ht_tag(tag)->length == length &&
            memcmp(ht_tag(tag)->name, name, length) == 0)
            return tag;
    return 0;
}

static bool answer_trend(struct request *request)
{
    struct heaptally_trend trend;
    uint32_t subject = HTL_HISTORY_PROCESS;
    if (request->argument[0])
        subject = known_tag(request->argument, strlen(request->argument));
    if (subject == 0)
        return fail(request, "%s: there is no such controller in this process", request->argument);
    ht_surface_trend(subject, &trend);
    ht_surface_put_trend(&trend, request->out);
    ht_out_text(request->out, "\n");
    return true;
}

static bool answer_report(struct request *request)
{
    ht_surface_put_report(request->out);
    ht_out_text(request->out, "\n");
    return true;
}

static bool answer_tracker(struct request *request)
{
    ht_surface_put_tracker(request->out);
    ht_out_text(request->out, "\n");
    return true;
}

static bool answer_leaks(struct request *request)
{
    static struct heaptally_leaks leaks;
    uint64_t bytes = 0;
    const char *text = request->argument;
    if (text[0] && (!ht_parse_size(text, strlen(text), &bytes) || bytes == 0))
        return fail(request, "%s: is not a size; write for example 1.0 (MB) or 20KB", text);
    ht_surface_leaks((double)bytes / MB_BYTES, &leaks);
    ht_surface_put_leaks(&leaks, request->out);
    ht_out_text(request->out, "\n");
    return true;
}

/* ---- telling ------------------------------------------------------------------------------------
 */

static bool answer_snapshot(struct request *request)
{
    if (!ht_monitor_snapshot())
        return fail(request, "the snapshot file cannot be written; see the process's error output");
    ht_out_format(request->out, "%s\n", ht_snapshot_path());
    return true;
}

static bool answer_reset_baseline(struct request *request)
{
    ht_monitor_reset_baseline();
    ht_out_text(request->out, "Memory baseline reset to ");
    ht_out_number(request->out, mb_or_nan(ht_detect_baseline(HTL_HISTORY_PROCESS)), 1);
    ht_out_text(request->out, " MB\n");
    return true;
}

static bool answer_count(struct request *request, bool on)
{
    if (ht_watch_set(on) != 0)
        return fail(request, "the process is left out of counting for good; see its error output");
    ht_surface_publish();
    ht_out_text(request->out, on ? "counting\n" : "stopped\n");
    return true;
}

static bool answer_start(struct request *request)
{
    return answer_count(request, true);
}

static bool answer_stop(struct request *request)
{
    return answer_count(request, false);
}

int ht_carry_out(enum ht_job job)
{
    switch (job) {
    case HT_JOB_SNAPSHOT:
        return ht_monitor_snapshot() ? 0 : -EIO;
    case HT_JOB_START:
        return ht_watch_set(true);
    case HT_JOB_STOP:
        return ht_watch_set(false);
    case HT_JOBS:
        break;
    }
    return -EINVAL;
}

/* ---- settings -----------------------------------------------------------------------------------
 */

/* What may be changed while the process runs. */
static const enum ht_option_id changeable[] = {
    HT_OPT_INTERVAL,       HT_OPT_WARMUP, HT_OPT_THRESHOLD, HT_OPT_TREND_WINDOW,
    HT_OPT_LEAK_THRESHOLD, HT_OPT_SYNC,   HT_OPT_MAX_FILE,
};
enum { CHANGEABLE = sizeof changeable / sizeof *changeable };

/* Whether `name` means the option, with '-' or '_' in it. */
static bool is_named(enum ht_option_id id, const char *name, size_t length)
{
    const char *option = ht_options[id].name;
    size_t same = 0;
    while (same < length &&
           (option[same] == name[same] || (option[same] == '-' && name[same] == '_')))
        same++;
    return same == length && option[length] == '\0';
}

/* Says whether it is no option at all, or one that holds for the whole run, and what can be set. */
static bool fail_to_set(struct request *request, size_t length)
{
    char known[256] = "";
    bool is_option = false;
    for (unsigned id = 0; id < HT_OPTION_COUNT; id++)
        is_option |= is_named((enum ht_option_id)id, request->argument, length);
    for (unsigned i = 0; i < CHANGEABLE; i++) {
        strcat(known, i == 0 ? "" : i == CHANGEABLE - 1 ? " and " : ", ");
        strcat(known, ht_options[changeable[i]].name);
    }
    return fail(request, "%.*s: %s cannot be set while the process runs; what can is %s",
                (int)length, request->argument,
                is_option ? "is an option of 'heaptally run' and" : "is no option and", known);
}

/* Puts a value in force: NULL, or what is wrong with it beside what ht_option_check says. */
static const char *refuse_or_set(enum ht_option_id id, const char *text, uint64_t value)
{
    uint64_t interval = ht_settings.value[HT_OPT_INTERVAL];
    if (id == HT_OPT_INTERVAL && value > LONGEST_INTERVAL)
        return "is too long; the most is 60s";
    if (id == HT_OPT_WARMUP && value < HT_LEAST_WARMUP_TICKS * interval)
        return "is too short; the least is 16 times the interval";
    if (id == HT_OPT_WARMUP && value > LONGEST_WARMUP)
        return "is too long; the most is 365d";
    if (id == HT_OPT_THRESHOLD)
        ht_thresholds_take(text);
    else if (!ht_settings_change(id, text, value))
        return "is too long";
    return NULL;
}

static bool answer_set(struct request *request)
{
    const char *equals = strchr(request->argument, '=');
    size_t length = equals ? (size_t)(equals - request->argument) : strlen(request->argument);
    unsigned i = 0;
    while (i < CHANGEABLE && !is_named(changeable[i], request->argument, length))
        i++;
    if (i == CHANGEABLE)
        return fail_to_set(request, length);
    enum ht_option_id id = changeable[i];
    uint64_t value = 0;
    const char *text = equals ? equals + 1 : "";
    const char *wrong = ht_option_check(id, text, &value);
    if (!wrong)
        wrong = refuse_or_set(id, text, value);
    if (wrong)
        return fail(request, "%.*s: \"%s\" %s", (int)length, request->argument, text, wrong);
    if (id == HT_OPT_WARMUP)
        ht_monitor_warmup_changed();
    else
        ht_monitor_settings_changed();
    ht_out_format(request->out, "%s=%s\n", ht_options[id].name, text);
    return true;
}

/* ---- which --------------------------------------------------------------------------------------
 */

static bool (*const answers[HTC_COMMAND_COUNT])(struct request *) = {
    [HTC_STATUS] = answer_status,     [HTC_CHECK] = answer_check,
    [HTC_TREND] = answer_trend,       [HTC_REPORT] = answer_report,
    [HTC_TRACKER] = answer_tracker,   [HTC_LEAKS] = answer_leaks,
    [HTC_SNAPSHOT] = answer_snapshot, [HTC_RESET_BASELINE] = answer_reset_baseline,
    [HTC_START] = answer_start,       [HTC_STOP] = answer_stop,
    [HTC_SET] = answer_set,
};

bool ht_answer(const char *line, struct ht_out *out, char *error, size_t error_size)
{
    size_t length = strcspn(line, " ");
    struct request request = {
        .argument = line + length + (line[length] == ' '),
        .out = out,
        .error = error,
        .error_size = error_size,
    };
    for (unsigned i = 0; i < HTC_COMMAND_COUNT; i++) {
        const char *word = htc_command_word((enum htc_command)i);
        if (strlen(word) == length && memcmp(word, line, length) == 0)
            return answers[i](&request);
    }
    return fail(&request, "there is no such request; is it another version of heaptally?");
}
