/*
 * heaptally check: the answer for a script, as an exit status, and why, one line each.
 */
#include <stdlib.h>
#include <string.h>

#include "check_profile.h"
#include "command.h"
#include "text.h"

enum { FINE = 0, LEAK = 1, FAILURE = 2, INCONCLUSIVE = 3, INVALID = 4 };
enum { LIMIT = 256, SUPPRESSIONS, ALLOW_INCONCLUSIVE };

struct request {
    struct ht_check check;
    const char *debug_path;
    bool allow_inconclusive, help;
    size_t unreadable; /* files */
};

static const struct option options[] = {
    {"limit", required_argument, NULL, LIMIT},
    {"suppressions", required_argument, NULL, SUPPRESSIONS},
    {"allow-inconclusive", no_argument, NULL, ALLOW_INCONCLUSIVE},
    {"debug-path", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

void ht_help_check(FILE *out)
{
    fputs(
        "heaptally check [OPTION]... FILE...\n\n"
        "Says by its exit status whether a controller leaks or is above a limit.\n\n"
        "  --limit GLOB=LIMIT     for controllers of that name; may be given several times:\n"
        "      pid=10MB               live bytes at the end of the file\n"
        "      'plan*=0.5/1000'       MB per 1000 instantiations, without what is one-off\n"
        "                             (without such a limit: the one the program ran with)\n"
        "      '*=1MB/h'              growth, by s, min, h or d: above it with its whole interval\n"
        "      loop=0allocs           allocations in the region HEAPTALLY_NO_ALLOC(\"loop\")\n"
        "  --suppressions FILE    what counts for nothing: lines function:GLOB, module:GLOB or\n"
        "                         tag:GLOB; comments begin with #\n"
        "  --allow-inconclusive   what cannot be judged yet is no failure\n"
        "  --debug-path PATH      directories of debug files, separated by ':'\n\n"
        "A verdict of leak stands although call sites are suppressed, unless only suppressed\n"
        "ones are found to leak and they explain the growth.\n\n"
        "Exit status, the first that applies: 1 a leak, or a limit is passed; 2 the command line\n"
        "is wrong or a file cannot be read; 4 invalid, data are missing; 3 inconclusive; else 0.\n",
        out);
}

/* ---- options --------------------------------------------------------------------------------- */

static bool add_limit(struct ht_check *check, const char *text)
{
    struct ht_limit limit;
    if (!ht_limit_read(text, &limit))
        return false;
    check->limits = ht_room_for_one(check->limits, check->limit_count, sizeof *check->limits);
    check->limits[check->limit_count++] = limit;
    return true;
}

/* Takes one option; false after a message. */
static bool take_option(struct request *request, int option)
{
    switch (option) {
    case LIMIT:
        return add_limit(&request->check, optarg);
    case SUPPRESSIONS:
        return ht_suppressions_load(optarg, &request->check.suppressions);
    case ALLOW_INCONCLUSIVE:
        request->allow_inconclusive = true;
        return true;
    case 'd':
        request->debug_path = optarg;
        return true;
    default:
        request->help = true;
        return true;
    }
}

static bool take_options(int argc, char **argv, struct request *request)
{
    int option;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == '?' || option == ':') {
            ht_complain_option("check", option, argc, argv, options);
            return false;
        }
        if (!take_option(request, option))
            return false;
    }
    if (!request->help && optind == argc) {
        ht_complain("check: no file is named; write 'heaptally check FILE'");
        return false;
    }
    return true;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void check_file(struct request *request, const char *path)
{
    char *error = NULL;
    struct ht_profile *profile = ht_profile_load(path, &error);
    if (!profile) {
        ht_complain("%s: %s", path, error);
        free(error);
        request->unreadable++;
        return;
    }
    struct ht_symbolizer *symbolizer = ht_symbolizer_new(request->debug_path);
    ht_check_profile(&request->check, profile, symbolizer);
    ht_symbolizer_free(symbolizer);
    ht_profile_free(profile);
}

static int status_of(const struct request *request)
{
    const struct ht_check *check = &request->check;
    if (ht_check_count(check, HT_FOUND_LEAK) > 0)
        return LEAK;
    if (request->unreadable > 0)
        return FAILURE;
    if (ht_check_count(check, HT_FOUND_INVALID) > 0)
        return INVALID;
    if (ht_check_count(check, HT_FOUND_DOUBT) > 0 && !request->allow_inconclusive)
        return INCONCLUSIVE;
    return FINE;
}

static void print_verdict(const struct request *request, int status)
{
    const struct ht_check *check = &request->check;
    char *size = ht_format("%s in %s", ht_counted(check->controllers, "controller"),
                           ht_counted(check->files, "file"));
    size_t leaks = ht_check_count(check, HT_FOUND_LEAK);
    size_t open = ht_check_count(check, HT_FOUND_DOUBT) + ht_check_count(check, HT_FOUND_INVALID);
    switch (status) {
    case LEAK:
        printf("failed: %s among %s\n", ht_counted(leaks, "finding"), size);
        break;
    case FAILURE:
        printf("unreadable: %s could not be looked at; nothing was found among %s\n",
               ht_counted(request->unreadable, "file"), size);
        break;
    case INVALID:
        printf("invalid: data are missing among %s\n", size);
        break;
    case INCONCLUSIVE:
        printf("inconclusive: no leak was found among %s, but %s could not be judged\n", size,
               ht_counted(open, "thing"));
        break;
    default:
        printf("fine: no leak among %s%s\n", size, open > 0 ? ", as far as it can be judged" : "");
    }
    free(size);
}

static void print_findings(const struct ht_check *check)
{
    static const char *const labels[] = {
        [HT_FOUND_LEAK] = "FAILED",
        [HT_FOUND_INVALID] = "invalid",
        [HT_FOUND_DOUBT] = "in doubt",
        [HT_FOUND_NOTE] = "note",
    };
    for (int kind = HT_FOUND_LEAK; kind <= HT_FOUND_NOTE; kind++)
        for (size_t i = 0; i < check->finding_count; i++)
            if ((int)check->findings[i].kind == kind)
                printf("  %-10s %s\n", labels[kind], check->findings[i].text);
}

static void print_suppressions(const struct ht_suppressions *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct ht_suppression *rule = &s->rules[i];
        if (rule->used)
            printf("  suppressed %s: %s in %s\n", rule->text, ht_counted(rule->bytes, "byte"),
                   ht_counted(rule->sites, "call site"));
        else
            printf("  unused     %s (line %d): matches nothing\n", rule->text, rule->line);
    }
}

static int check_files(struct request *request, int count, char **paths)
{
    for (int i = 0; i < count; i++)
        check_file(request, paths[i]);
    ht_check_finish(&request->check);
    int status = status_of(request);
    print_verdict(request, status);
    print_findings(&request->check);
    print_suppressions(&request->check.suppressions);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        ht_complain("standard output: cannot be written; is the disk full?");
        return status == LEAK ? LEAK : FAILURE;
    }
    return status;
}

int ht_cmd_check(int argc, char **argv)
{
    struct request request = {0};
    int status = FAILURE;
    if (take_options(argc, argv, &request)) {
        if (request.help) {
            ht_help_check(stdout);
            status = FINE;
        } else {
            status = check_files(&request, argc - optind, argv + optind);
        }
    }
    ht_check_clear(&request.check);
    return status;
}
