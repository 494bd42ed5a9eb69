/*
 * heaptally loop: runs a controller from a shared object for a number of steps, and says whether it
 * leaks. See loop.h for how the work is divided.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "heaptally/options.h"
#include "heaptally/units.h"
#include "launch.h"
#include "leak_gate.h"
#include "loop.h"
#include "supervise.h"
#include "text.h"

#define RECORD "LOOP_RECORD_OF_HEAPTALLY" /* tells the worker the descriptor of its record */

enum { PASSED, NOT_PASSED, USAGE, OWN_FAILURE = 125 };
enum { CONFIG_MAX = 1 << 20 };

struct options {
    struct ht_loop_plan plan;
    const char *config_file, *output;
    bool json, help;
};

void ht_help_loop(FILE *out)
{
    fputs("heaptally loop [OPTION]... CONTROLLER.so\n\n"
          "Runs a controller for a number of steps, with states drawn from N(0, 1), and says\n"
          "whether it leaks. heaptally/controller.h says what the shared object has to define.\n\n"
          "  --config FILE           text that the controller is created from\n"
          "  --iterations N          steps (10000)\n"
          "  --cleanup-interval N    steps between two cleanups (100)\n"
          "  --seed N                of the states (42)\n"
          "  --duration TIME         spread 100 steps or more over that time at least, so that\n"
          "                          there is something to judge by; 0: not at all (2s)\n"
          "  --format text|json      (text)\n"
          "  --output FILE           snapshot file (heaptally-CONTROLLER-%p.htl)\n\n"
          "Exit status: 0 if it passed: all steps done, less than 50 MB of growth, no leak;\n"
          "1 if not; 2 if the controller or an option cannot be used; 125 if heaptally fails.\n",
          out);
}

/* ---- options --------------------------------------------------------------------------------- */

static bool take_number(const char *option, const char *text, uint64_t least, uint64_t *value)
{
    if (ht_parse_count(text, strlen(text), value) && *value >= least)
        return true;
    ht_complain("loop --%s '%s': is not a number from %s on; write for example --%s 100", option,
                text, ht_grouped(least), option);
    return false;
}

static bool take_duration(const char *text, uint64_t *value)
{
    bool fine = ht_parse_duration(text, strlen(text), value);
    if (!fine)
        ht_complain("loop --duration '%s': is not a time; write for example 2s", text);
    return fine;
}

static bool take_format(const char *text, bool *json)
{
    *json = strcmp(text, "json") == 0;
    if (*json || strcmp(text, "text") == 0)
        return true;
    ht_complain("loop --format '%s': there is no such format; write text or json", text);
    return false;
}

enum { CONFIG, ITERATIONS, CLEANUP, SEED, DURATION, FORMAT, OUTPUT, HELP };
static const struct option table[] = {
    [CONFIG] = {"config", required_argument, NULL, CONFIG},
    [ITERATIONS] = {"iterations", required_argument, NULL, ITERATIONS},
    [CLEANUP] = {"cleanup-interval", required_argument, NULL, CLEANUP},
    [SEED] = {"seed", required_argument, NULL, SEED},
    [DURATION] = {"duration", required_argument, NULL, DURATION},
    [FORMAT] = {"format", required_argument, NULL, FORMAT},
    [OUTPUT] = {"output", required_argument, NULL, OUTPUT},
    [HELP] = {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static bool take_option(int option, struct options *o)
{
    switch (option) {
    case CONFIG:
        o->config_file = optarg;
        return true;
    case ITERATIONS:
        return take_number("iterations", optarg, 0, &o->plan.iterations);
    case CLEANUP:
        return take_number("cleanup-interval", optarg, 1, &o->plan.cleanup_interval);
    case SEED:
        return take_number("seed", optarg, 0, &o->plan.seed);
    case DURATION:
        return take_duration(optarg, &o->plan.duration_ns);
    case FORMAT:
        return take_format(optarg, &o->json);
    case OUTPUT:
        o->output = optarg;
        return true;
    default:
        o->help = true;
        return true;
    }
}

/* The text of --config; NULL after a message. */
static const char *read_config(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = ht_allocate_zeroed(1, CONFIG_MAX + 2);
    size_t length = file ? fread(text, 1, CONFIG_MAX + 1, file) : 0;
    bool failed = !file || ferror(file);
    if (failed)
        ht_complain("loop --config %s: cannot be read: %s; name a file", path, strerror(errno));
    else if (length > CONFIG_MAX)
        ht_complain("loop --config %s: is longer than 1 MB; make it shorter", path);
    else if (memchr(text, '\0', length))
        ht_complain("loop --config %s: is no text; name a text file", path);
    if (file)
        fclose(file);
    if (!failed && length <= CONFIG_MAX && !memchr(text, '\0', length))
        return text;
    free(text);
    return NULL;
}

static bool take_options(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){.plan = {.config = "",
                                   .iterations = 10000,
                                   .cleanup_interval = 100,
                                   .seed = 42,
                                   .duration_ns = 2 * HT_SECOND}};
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":", table, NULL)) != -1) {
        if (option == '?' || option == ':') {
            ht_complain_option("loop", option, argc, argv, table);
            return false;
        }
        if (!take_option(option, o))
            return false;
    }
    if (o->help)
        return true;
    if (optind + 1 != argc) {
        ht_complain("loop: %s; write 'heaptally loop CONTROLLER.so'",
                    optind == argc ? "no controller is given" : "one controller at a time");
        return false;
    }
    o->plan.controller = argv[optind];
    return !o->config_file || (o->plan.config = read_config(o->config_file));
}

/* ---- the worker ------------------------------------------------------------------------------ */

struct start {
    char **argv; /* of the subcommand */
    int argc, record_fd;
    const char *output;
};

/* Becomes this command once more, with the library; an exit status where that fails. */
static int become_worker(void *argument)
{
    const struct start *start = argument;
    char self[PATH_MAX], fd[20];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *library = length > 0 ? ht_find_library() : NULL;
    if (!library)
        return OWN_FAILURE;
    self[length] = '\0';
    snprintf(fd, sizeof fd, "%d", start->record_fd);
    ht_set_variable(RECORD, fd);
    ht_set_variable(ht_options[HT_OPT_OUTPUT].variable, start->output);
    ht_set_variable(ht_options[HT_OPT_INTERVAL].variable, "10ms");
    ht_set_variable(ht_options[HT_OPT_THRESHOLD].variable, "100MB");
    ht_set_variable(ht_options[HT_OPT_TREND_WINDOW].variable, "100000"); /* it counts the ticks */
    unsetenv(ht_options[HT_OPT_ONLY].variable);
    unsetenv(ht_options[HT_OPT_DORMANT].variable);
    unsetenv(ht_options[HT_OPT_WARMUP].variable);
    ht_preload(library);
    char **argv = ht_allocate_zeroed((size_t)start->argc + 2, sizeof *argv);
    argv[0] = self;
    memcpy(argv + 1, start->argv, (size_t)start->argc * sizeof *argv);
    execv(self, argv);
    ht_complain("%s: cannot be executed: %s; install heaptally again", self, strerror(errno));
    return OWN_FAILURE;
}

static struct ht_loop_record *map_record(int fd)
{
    void *record =
        mmap(NULL, sizeof(struct ht_loop_record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return record == MAP_FAILED ? NULL : record;
}

/* The name of the snapshot file: a pattern, in which the controller's name stands for itself. */
static char *output_for(const struct options *o)
{
    const char *base = ht_base_name(o->plan.controller);
    if (o->output)
        return ht_format("%s", o->output);
    char *name = ht_format("heaptally-%.*s-%%p.htl", (int)strcspn(base, "."), base);
    for (char *at = name; *at; at++)
        if (*at == '%' && at[1] != 'p')
            *at = '_';
    return name;
}

/* ---- both together --------------------------------------------------------------------------- */

/* What is said where there is no result. */
static int say_failure(const struct ht_loop_record *record, int status)
{
    if (record->state == HT_LOOP_REFUSED || record->state == HT_LOOP_BROKEN ||
        record->state == HT_LOOP_FAILED)
        ht_complain("%s", record->error);
    else if (WIFSIGNALED(status))
        ht_complain("loop: the controller was ended by signal %d (%s) in step %s", WTERMSIG(status),
                    strsignal(WTERMSIG(status)), ht_grouped(record->done + 1));
    else if (WEXITSTATUS(status) != OWN_FAILURE) /* which has said why */
        ht_complain("loop: the controller ended the process with status %d in step %s",
                    WEXITSTATUS(status), ht_grouped(record->done + 1));
    return record->state == HT_LOOP_REFUSED ? USAGE
           : record->state == HT_LOOP_BROKEN ||
                   (WIFEXITED(status) && WEXITSTATUS(status) == OWN_FAILURE)
               ? OWN_FAILURE
               : NOT_PASSED;
}

static int say_result(const struct options *o, const struct ht_loop_record *record,
                      const char *path)
{
    char *error = NULL;
    struct ht_profile *profile = path ? ht_profile_load(path, &error) : NULL;
    if (!profile) {
        ht_complain("%s: %s", path ? path : "loop",
                    error ? error : "no snapshot file was written; see above, or try --output");
        free(error);
        return OWN_FAILURE;
    }
    struct ht_loop_result *result = ht_loop_judge(&o->plan, record, profile);
    if (o->json)
        ht_loop_write_json(result, stdout);
    else
        ht_loop_write_text(result, stdout);
    int status = ht_loop_passed(result) ? PASSED : NOT_PASSED;
    ht_loop_result_free(result);
    ht_profile_free(profile);
    return status;
}

static int run_worker(const struct options *o, int argc, char **argv)
{
    struct timespec time;
    int fd = memfd_create("heaptally-loop", 0);
    struct ht_loop_record *record =
        fd >= 0 && ftruncate(fd, sizeof *record) == 0 ? map_record(fd) : NULL;
    if (!record) {
        ht_complain("loop: no memory can be shared: %s; try again later", strerror(errno));
        return OWN_FAILURE;
    }
    char *output = output_for(o);
    struct start start = {argv, argc, fd, output};
    pid_t child;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int status = ht_supervise(become_worker, &start, &child), result;
    uint64_t since = (uint64_t)time.tv_sec * HT_SECOND + (uint64_t)time.tv_nsec;
    if (status < 0) {
        ht_complain("loop: no process can be made: %s; try again later", strerror(errno));
        result = OWN_FAILURE;
    } else if (record->state != HT_LOOP_RAN || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        result = say_failure(record, status);
    } else {
        char *path = ht_find_snapshot(child, since, output);
        result = say_result(o, record, path);
        free(path);
    }
    free(output);
    return result;
}

int ht_cmd_loop(int argc, char **argv)
{
    struct options options;
    const char *fd = getenv(RECORD);
    if (!take_options(argc, argv, &options))
        return USAGE;
    if (options.help) {
        ht_help_loop(stdout);
        return 0;
    }
    if (!fd && access(options.plan.controller, R_OK) != 0) {
        ht_complain("%s: cannot be read: %s; name the shared object of a controller",
                    options.plan.controller, strerror(errno));
        return USAGE;
    }
    if (!fd)
        return run_worker(&options, argc, argv);
    struct ht_loop_record *record = map_record(atoi(fd));
    unsetenv(RECORD);
    return record ? ht_loop_work(&options.plan, record) : OWN_FAILURE;
}
