/*
 * heaptally status PID: what a running process knows of itself, as text or JSON; and heaptally
 * list: all watched processes.
 */
#include <math.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "control_client.h"
#include "heaptally/control_protocol.h"
#include "live.h"
#include "text.h"

enum { FAILURE = 2, FOUND = 1, MOST_ALERTS = 8, NAME_WIDTH = 32 };

/* What is asked: one of the protocol's requests, with an argument or none. */
struct question {
    enum htc_command command;
    const char *argument; /* NULL without one */
    bool json;
};

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},        {"check", no_argument, NULL, 'c'},
    {"trend", optional_argument, NULL, 't'}, {"memory-report", no_argument, NULL, 'm'},
    {"tracker", no_argument, NULL, 'k'},     {"leaks", optional_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
};

void ht_help_status(FILE *out)
{
    fputs(
        "heaptally status [--json | QUESTION] PID...\n\n"
        "Says what running processes know of themselves: memory, controllers with verdicts and\n"
        "rates, alerts. With a QUESTION, only the answer to that:\n\n"
        "  --check           whether growth is above the threshold, in one line; nothing if not\n"
        "  --trend[=TAG]     the trend of resident memory, or of a controller, as JSON\n"
        "  --memory-report   the memory report: ten lines, then one for each controller\n"
        "  --tracker         instantiations and what they cost, as JSON\n"
        "  --leaks[=MB]      who keeps more than so many MB per 1000 instantiations, as JSON\n"
        "  --json            everything as JSON\n\n"
        "Exit status: 0; 1 where --check or --leaks found something; 2 where the command line is\n"
        "wrong or a process cannot be reached.\n",
        out);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_padded(const char *text, int width)
{
    char *shown = ht_elide(text, (size_t)width);
    printf("%s%*s", shown, width - (int)ht_columns(shown), "");
    free(shown);
}

static const char *count_or_dash(double count)
{
    return isnan(count) ? "-" : ht_grouped((uint64_t)count);
}

static const char *real_or_dash(double number, int places)
{
    return isnan(number) ? "-" : ht_grouped_real(number, places);
}

static void print_tags(const struct ht_live *live)
{
    int width = (int)strlen("CONTROLLER");
    for (size_t i = 0; i < live->tag_count; i++) {
        int columns = (int)ht_columns(live->tags[i].name);
        width = columns > width ? columns : width;
    }
    width = width < NAME_WIDTH ? width : NAME_WIDTH;
    printf("\n%-*s  %15s  %10s  %9s  %8s  %8s  %s\n", width, "CONTROLLER", "LIVE BYTES", "BLOCKS",
           "MADE", "MB/1000", "MB/HOUR", "VERDICT");
    for (size_t i = 0; i < live->tag_count; i++) {
        const struct ht_live_tag *tag = &live->tags[i];
        print_padded(tag->name, width);
        printf("  %15s  %10s  %9s  %8s  %8s  %s\n", count_or_dash(tag->live_bytes),
               count_or_dash(tag->live_blocks), count_or_dash(tag->instantiations),
               real_or_dash(tag->mb_per_1000, 2), ht_mb(tag->mb_per_hour), tag->verdict);
        if (tag->reason[0])
            printf("  %s\n", tag->reason);
    }
}

static void print_alerts(const struct ht_live *live)
{
    size_t first = live->alert_count > MOST_ALERTS ? live->alert_count - MOST_ALERTS : 0;
    if (live->alert_count)
        printf("\nAlerts, the last %zu\n", live->alert_count - first);
    for (size_t i = first; i < live->alert_count; i++) {
        const struct ht_live_alert *alert = &live->alerts[i];
        char when[32] = "";
        time_t seconds = isnan(alert->time) ? 0 : (time_t)alert->time;
        struct tm local;
        if (localtime_r(&seconds, &local))
            strftime(when, sizeof when, "%F %T", &local);
        printf("  %s  %s %s %s%s%s: %s\n", when, alert->severity, alert->state, alert->kind,
               alert->tag[0] ? " " : "", alert->tag, alert->message);
    }
}

/* Only where something is wrong with it. */
static void print_log(const struct ht_live *live)
{
    if (strcmp(live->log, "gone") == 0)
        printf("  log       descriptor 2 is not what it was: nothing is written there; %s lines "
               "lost\n",
               count_or_dash(live->log_lines_lost));
    else if (live->log_lines_lost > 0)
        printf("  log       %s lines lost, since nobody read them\n",
               count_or_dash(live->log_lines_lost));
}

static void print_status(const struct ht_live *live)
{
    printf("%s, pid %d on %s, watched for %s, %s\n", live->exe, (int)live->pid, live->host,
           ht_duration(live->duration_s), live->state);
    printf("  memory    %s MB resident, %s MB more than at the baseline (threshold %s MB)\n",
           ht_grouped_real(live->rss_mb, 2), ht_grouped_real(live->memory.growth_mb, 2),
           ht_grouped_real(live->memory.threshold_mb, 2));
    printf("  heap      %s bytes live in %s blocks; heaptally's own memory %s bytes\n",
           count_or_dash(live->live_bytes), count_or_dash(live->live_blocks),
           count_or_dash(live->own_bytes));
    printf("  verdict   %s: %s\n", live->memory.verdict, live->memory.reason);
    printf("  snapshot  %s\n", live->snapshot[0] ? live->snapshot : "none");
    print_log(live);
    print_tags(live);
    print_alerts(live);
}

/* Prints what a process wrote, line by line, without what could move the cursor. */
static void print_clean(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        char *line = ht_clean(text, length);
        puts(line);
        free(line);
        text += length + (text[length] == '\n');
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Prints the answer to a question; the status, or -1 with `*error`. */
static int print_answer(struct ht_client *client, const struct question *question, char **error)
{
    const char *word = htc_command_word(question->command);
    char *request = ht_format("%s%s%s", word, question->argument ? " " : "",
                              question->argument ? question->argument : "");
    int status = 0;
    if (question->command == HTC_REPORT || question->command == HTC_CHECK) {
        char *answer = ht_client_ask(client, request, NULL, error);
        if (answer)
            print_clean(answer);
        status = !answer ? -1 : question->command == HTC_CHECK && answer[0] ? FOUND : 0;
        free(answer);
    } else {
        json_t *answer = ht_client_ask_json(client, request, error);
        if (answer) {
            json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
            putchar('\n');
        }
        status = !answer ? -1 : json_is_true(json_object_get(answer, "has_leaks")) ? FOUND : 0;
        json_decref(answer);
    }
    free(request);
    return status;
}

/* One process; FAILURE after a message. */
static int ask_process(pid_t pid, const struct question *question)
{
    struct ht_client client = {.fd = -1};
    char *error = NULL;
    int status = -1;
    if (ht_client_open(&client, pid, &error)) {
        if (question->command == HTC_STATUS && !question->json) {
            struct ht_live *live = ht_live_ask(&client, &error);
            if (live)
                print_status(live);
            status = live ? 0 : -1;
            ht_live_free(live);
        } else {
            status = print_answer(&client, question, &error);
        }
    }
    ht_client_close(&client);
    if (status < 0)
        ht_complain("status %d: %s", (int)pid, error);
    free(error);
    return status < 0 ? FAILURE : status;
}

/* Takes the options; false where the command has ended with `*status`. */
static bool take_options(int argc, char **argv, struct question *question, int *status)
{
    int option;
    opterr = 0;
    optind = 1;
    *status = FAILURE;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            question->json = true;
            break;
        case 'c':
            question->command = HTC_CHECK;
            break;
        case 'm':
            question->command = HTC_REPORT;
            break;
        case 'k':
            question->command = HTC_TRACKER;
            break;
        case 't':
            *question = (struct question){HTC_TREND, optarg, true};
            break;
        case 'l':
            *question = (struct question){HTC_LEAKS, optarg, true};
            break;
        case 'h':
            ht_help_status(stdout);
            *status = 0;
            return false;
        default:
            ht_complain_option("status", option, argc, argv, options);
            return false;
        }
    }
    if (optind == argc)
        ht_complain("status: no process is given; see 'heaptally list'");
    return optind < argc;
}

int ht_cmd_status(int argc, char **argv)
{
    struct question question = {.command = HTC_STATUS};
    int status;
    pid_t *pids;
    if (!take_options(argc, argv, &question, &status))
        return status;
    if (!ht_client_read_pids("status", argc - optind, argv + optind, &pids))
        return FAILURE;
    status = 0;
    for (int i = 0; i < argc - optind; i++) {
        int one = ask_process(pids[i], &question);
        status = one > status ? one : status;
        if (optind + i + 1 < argc)
            putchar('\n');
    }
    free(pids);
    return status;
}

/* ---- list ------------------------------------------------------------------------------------ */

void ht_help_list(FILE *out)
{
    fputs("heaptally list\n\n"
          "Lists the processes under heaptally that this user may ask, with the verdict on the\n"
          "worst controller of each; for root, those of all users. Sockets that killed processes\n"
          "left behind are removed. HEAPTALLY_RUNDIR is looked into as well, where it is set.\n",
          out);
}

static void print_in_list(pid_t pid, void *context)
{
    struct ht_client client = {.fd = -1};
    char *error = NULL, user[64];
    size_t *count = context;
    struct ht_live *live =
        ht_client_open(&client, pid, &error) ? ht_live_ask(&client, &error) : NULL;
    ht_client_close(&client);
    if ((*count)++ == 0)
        printf("%8s  %-10s  %14s  %10s  %12s  %-12s  %s\n", "PID", "USER", "WATCHED", "RSS MB",
               "LIVE MB", "VERDICT", "PROGRAM");
    if (!live) {
        printf("%8d  %s\n", (int)pid, error);
        free(error);
        return;
    }
    const struct passwd *entry = getpwuid((uid_t)live->user);
    snprintf(user, sizeof user, "%s", entry ? entry->pw_name : ht_grouped_real(live->user, 0));
    printf("%8d  %-10s  %14s  %10s  %12s  %-12s  %s%s\n", (int)pid, user,
           ht_duration(live->duration_s), ht_grouped_real(live->rss_mb, 1),
           ht_grouped_real(live->live_bytes / (1 << 20), 1),
           live->tag_count ? live->tags[0].verdict : live->memory.verdict, live->exe,
           strcmp(live->state, "counting") == 0 ? "" : " (stopped)");
    ht_live_free(live);
}

int ht_cmd_list(int argc, char **argv)
{
    static const struct option none[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    opterr = 0;
    optind = 1;
    int option = getopt_long(argc, argv, ":h", none, NULL);
    if (option == 'h') {
        ht_help_list(stdout);
        return 0;
    }
    if (option != -1) {
        ht_complain_option("list", option, argc, argv, none);
        return FAILURE;
    }
    if (optind < argc) {
        ht_complain("list %s: takes no arguments; 'heaptally status %s' asks one process",
                    argv[optind], argv[optind]);
        return FAILURE;
    }
    size_t count = 0, removed = ht_client_each(print_in_list, &count);
    if (count == 0)
        fputs("no process under heaptally can be seen here\n", stderr);
    if (removed)
        fprintf(stderr, "removed %s that killed processes had left behind\n",
                ht_counted(removed, "socket"));
    return 0;
}
