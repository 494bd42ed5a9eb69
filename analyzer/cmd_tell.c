/*
 * heaptally snapshot, reset-baseline, start, stop PID... and set PID KEY=VALUE...: telling running
 * processes what to do. Each says what it did; one that cannot be reached does not keep the others
 * from being told.
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "control_client.h"
#include "heaptally/control_protocol.h"
#include "text.h"

enum { FAILURE = 2 };

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Sends `request` to a process and prints what it says; false after a message. */
static bool tell(const char *command, pid_t pid, const char *request)
{
    struct ht_client client = {.fd = -1};
    char *error = NULL, *answer = NULL;
    if (ht_client_open(&client, pid, &error))
        answer = ht_client_ask(&client, request, NULL, &error);
    ht_client_close(&client);
    if (!answer) {
        ht_complain("%s %d: %s", command, (int)pid, error);
        free(error);
        return false;
    }
    char *clean = ht_clean(answer, strcspn(answer, "\n"));
    printf("%d: %s\n", (int)pid, clean);
    free(clean);
    free(answer);
    return true;
}

/* Takes the options: false where the command has ended with `*status`. */
static bool take_options(int argc, char **argv, void (*help)(FILE *out), int *status)
{
    opterr = 0;
    optind = 1;
    int option = getopt_long(argc, argv, "+:h", options, NULL);
    *status = option == 'h' ? 0 : FAILURE;
    if (option == 'h')
        help(stdout);
    else if (option != -1)
        ht_complain_option(argv[0], option, argc, argv, options);
    else if (optind == argc)
        ht_complain("%s: no process is given; see 'heaptally list'", argv[0]);
    return option == -1 && optind < argc;
}

/* The commands whose arguments are processes: the request is the command's name. */
static int tell_each(int argc, char **argv, void (*help)(FILE *out))
{
    int status;
    pid_t *pids;
    if (!take_options(argc, argv, help, &status))
        return status;
    if (!ht_client_read_pids(argv[0], argc - optind, argv + optind, &pids))
        return FAILURE;
    bool fine = true;
    for (int i = 0; i < argc - optind; i++)
        fine &= tell(argv[0], pids[i], argv[0]);
    free(pids);
    return fine ? 0 : FAILURE;
}

static const char ending[] = "\nExit status: 0, or 2 where a process could not be reached or "
                             "refused.\n";

/* clang-format off */
/*    id              command           what it does */
#define TELLS(X)                                                                                   \
    X(snapshot,       "snapshot",                                                                  \
      "Has running processes write all their figures to their snapshot files now, and prints the\n" \
      "files' names. 'heaptally report FILE' reads them.\n")                                       \
    X(reset_baseline, "reset-baseline",                                                            \
      "From now on growth counts from here: thresholds start anew, alerts that stand are cleared.\n" \
      "Trends and verdicts go on.\n")                                                              \
    X(start,          "start",                                                                     \
      "Has processes that were started with --dormant, or stopped, count from now on. What they\n" \
      "allocated before stays uncounted.\n")                                                       \
    X(stop,           "stop",                                                                      \
      "Has processes count nothing new until 'heaptally start'. What was counted is counted out\n" \
      "when it is freed.\n")
/* clang-format on */

#define DEFINE_COMMAND(id, command, what)                                                          \
    void ht_help_##id(FILE *out)                                                                   \
    {                                                                                              \
        fprintf(out, "heaptally " command " PID...\n\n" what "%s", ending);                        \
    }                                                                                              \
    int ht_cmd_##id(int argc, char **argv)                                                         \
    {                                                                                              \
        return tell_each(argc, argv, ht_help_##id);                                                \
    }
TELLS(DEFINE_COMMAND)
#undef DEFINE_COMMAND

void ht_help_set(FILE *out)
{
    fprintf(out,
            "heaptally set PID KEY=VALUE...\n\n"
            "Changes settings of a running process: interval, warmup, threshold ([TAG=]SIZE),\n"
            "trend-window, leak-threshold, sync, max-file, written as the options of\n"
            "'heaptally run'. A warm-up begins when it is set, and all trends with it.\n\n"
            "  heaptally set 4711 threshold=200MB\n"
            "  heaptally set 4711 threshold=classical=20MB interval=10s\n%s",
            ending);
}

int ht_cmd_set(int argc, char **argv)
{
    int status;
    pid_t pid;
    if (!take_options(argc, argv, ht_help_set, &status))
        return status;
    if (!ht_client_read_pid(argv[0], argv[optind], &pid))
        return FAILURE;
    if (optind + 1 == argc) {
        ht_complain("set %d: nothing to set is given; write KEY=VALUE, see 'heaptally help set'",
                    (int)pid);
        return FAILURE;
    }
    bool fine = true;
    for (int i = optind + 1; i < argc; i++) {
        char *request = ht_format("set %s", argv[i]);
        fine &= tell(argv[0], pid, request);
        free(request);
    }
    return fine ? 0 : FAILURE;
}
