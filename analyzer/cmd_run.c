/*
 * heaptally run: turns options into environment variables, puts the library in front of LD_PRELOAD
 * and becomes the program. All mistakes are found before that, since afterwards nobody listens.
 * With --fail-on-leak the program is a child, and its snapshot is judged when it has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "heaptally/options.h"
#include "launch.h"
#include "leak_gate.h"
#include "program_check.h"
#include "supervise.h"
#include "text.h"

enum { NOT_FOUND = 127, NOT_EXECUTABLE = 126, OWN_FAILURE = 125, HELP = 1000 };

void ht_help_run(FILE *out)
{
    fputs("heaptally run [OPTION]... [--] PROGRAM [ARGUMENT]...\n\n"
          "Runs PROGRAM, counts its heap by controller and call site, and writes a snapshot file.\n"
          "Sizes without a unit are MB, times without a unit are seconds.\n\n",
          out);
    for (int i = 0; i < HT_OPTION_COUNT; i++) {
        const struct ht_option *o = &ht_options[i];
        const char *form = o->kind == HT_EXIT_CODE ? "--%s[=%s]"
                           : *o->argument          ? "--%s %s"
                                                   : "--%s%s";
        char *usage = ht_format(form, o->name, o->argument);
        bool has_default = *o->standard && o->kind != HT_FLAG;
        fprintf(out, "  %-30s %s%s%s%s\n", usage, o->help, has_default ? " (" : "",
                has_default ? o->standard : "", has_default ? ")" : "");
        free(usage);
    }
    fputs(
        "\nEach option can be given in the environment too: --max-file is\n"
        "HEAPTALLY_MAX_FILE. HEAPTALLY_LIBRARY names another libheaptally.so.\n\n"
        "Exit status: the program's; 127 if it is not found, 126 if it cannot be executed, 125 if\n"
        "heaptally itself fails or preloading cannot work. With --fail-on-leak, CODE if the\n"
        "program succeeded and a controller leaks; 125 if that cannot be told.\n",
        out);
}

/* ---- options --------------------------------------------------------------------------------- */

/* The values given on the command line; NULL where none was. Items of a list, one a line. */
static char *values[HT_OPTION_COUNT];

static void add_value(enum ht_option_id id, const char *text)
{
    char *old = values[id];
    values[id] = old && ht_option_is_list(ht_options[id].kind) ? ht_format("%s\n%s", old, text)
                                                               : ht_format("%s", text);
    free(old);
}

/* Where the text of what is wrong does not say how to mend it. */
static const char *mend(const char *wrong)
{
    return strchr(wrong, ';') ? "" : "; see 'heaptally help run'";
}

static bool take_value(enum ht_option_id id, const char *text)
{
    uint64_t value;
    const char *wrong = ht_option_check(id, text, &value);
    if (wrong)
        ht_complain("run --%s '%s': %s%s", ht_options[id].name, text, wrong, mend(wrong));
    else
        add_value(id, text);
    return !wrong;
}

static bool check_environment(void)
{
    for (int i = 0; i < HT_OPTION_COUNT; i++) {
        uint64_t value;
        const char *text = getenv(ht_options[i].variable);
        const char *wrong = text && *text ? ht_option_check(i, text, &value) : NULL;
        if (wrong) {
            ht_complain("%s='%s': %s%s", ht_options[i].variable, text, wrong, mend(wrong));
            return false;
        }
    }
    return true;
}

/* What getopt_long is told about the value of an option. */
static int argument_of(enum ht_option_kind kind)
{
    return kind == HT_FLAG        ? no_argument
           : kind == HT_EXIT_CODE ? optional_argument
                                  : required_argument;
}

/* Takes the options; the program's words begin at optind. False after a message. */
static bool take_options(int argc, char **argv, bool *help)
{
    struct option options[HT_OPTION_COUNT + 2];
    int count = 0, option;
    for (int i = 0; i < HT_OPTION_COUNT; i++)
        options[count++] =
            (struct option){ht_options[i].name, argument_of(ht_options[i].kind), NULL, i};
    options[count++] = (struct option){"help", no_argument, NULL, HELP};
    options[count] = (struct option){NULL, 0, NULL, 0};
    opterr = 0;
    optind = 1;
    /* '+': the first word that is no option is the program; what follows is the program's. */
    while ((option = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
        if (option == HELP)
            *help = true;
        else if (option == '?' || option == ':') {
            ht_complain_option("run", option, argc, argv, options);
            return false;
        } else if (!take_value(option, optarg ? optarg : "1")) /* flags; --fail-on-leak alone */
            return false;
    }
    return true;
}

/* The value that will hold: the command line's, else the environment's, else the standard one. */
static const char *effective(enum ht_option_id id)
{
    const char *from_environment = getenv(ht_options[id].variable);
    if (values[id])
        return values[id];
    return from_environment && *from_environment ? from_environment : ht_options[id].standard;
}

/*
 * Whether a file can be made under the name of --output. A directory whose name holds a % is known
 * only to the process itself.
 */
static bool check_output(void)
{
    const char *output = effective(HT_OPT_OUTPUT), *slash = strrchr(output, '/');
    struct stat status;
    if (slash && !slash[1]) {
        ht_complain("run --output %s: is a directory; name a file in it", output);
        return false;
    }
    if (!strchr(output, '%') && stat(output, &status) == 0 && S_ISDIR(status.st_mode)) {
        ht_complain("run --output %s: is a directory; name a file in it", output);
        return false;
    }
    if (!slash)
        return true; /* an unwritable working directory is mended by the library */
    char *directory = ht_format("%.*s", slash == output ? 1 : (int)(slash - output), output);
    const char *wrong = NULL;
    if (strchr(directory, '%'))
        wrong = NULL;
    else if (stat(directory, &status) != 0)
        wrong = strerror(errno);
    else if (!S_ISDIR(status.st_mode))
        wrong = "is not a directory";
    else if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) != 0)
        wrong = "nothing can be written there";
    if (wrong)
        ht_complain("run --output %s: directory %s: %s; name another or make it", output, directory,
                    wrong);
    free(directory);
    return !wrong;
}

static bool check_tag_file(void)
{
    const char *file = effective(HT_OPT_TAG_FILE);
    bool fine = !*file || access(file, R_OK) == 0;
    if (!fine)
        ht_complain("run --tag-file %s: cannot be read: %s; name a file of rules", file,
                    strerror(errno));
    return fine;
}

/* ---- becoming the program -------------------------------------------------------------------- */

static void set_environment(const char *library)
{
    for (int i = 0; i < HT_OPTION_COUNT; i++)
        if (values[i] && i != HT_OPT_FAIL_ON_LEAK)
            ht_set_variable(ht_options[i].variable, values[i]);
    ht_preload(library);
}

/* Whether preloading works for the program; warns where not all will be seen. */
static bool check_program(const char *program)
{
    char *why;
    enum ht_program_fate fate = ht_program_check(program, &why);
    if (fate != HT_PROGRAM_FINE)
        ht_complain("%s%s: %s", fate == HT_PROGRAM_WARN ? "warning: " : "", program, why);
    free(why);
    return fate != HT_PROGRAM_REFUSED;
}

static int become(char **argv)
{
    int status;
    const char *why;
    char *program = ht_program_find(argv[0], &status, &why);
    if (!program) {
        ht_complain("%s: %s", argv[0], why);
        return status;
    }
    char *library = check_program(program) ? ht_find_library() : NULL;
    if (!library) {
        free(program);
        return OWN_FAILURE;
    }
    set_environment(library);
    fflush(NULL);
    execvp(program, argv); /* runs a script without #! by the shell, as a shell would */
    status = errno == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
    ht_complain("%s: cannot be executed: %s; does it run without heaptally?", argv[0],
                strerror(errno));
    free(program);
    free(library);
    return status;
}

static int become_as_child(void *argv)
{
    unsetenv(ht_options[HT_OPT_FAIL_ON_LEAK].variable); /* what the program runs, we do not judge */
    return become(argv);
}

/* Runs the program beneath this process, which ends as the program does, or with `leak_code`. */
static int supervise(char **argv, int leak_code)
{
    struct timespec start;
    pid_t child;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int status = ht_supervise(become_as_child, argv, &child);
    if (status < 0) {
        ht_complain("run: no process can be made: %s; try again later", strerror(errno));
        return OWN_FAILURE;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        ht_end_like(status);
    uint64_t since = (uint64_t)start.tv_sec * HT_SECOND + (uint64_t)start.tv_nsec;
    switch (ht_leak_gate(child, since, effective(HT_OPT_OUTPUT))) {
    case HT_GATE_OPEN:
        return 0;
    case HT_GATE_LEAK:
        return leak_code;
    case HT_GATE_UNKNOWN:
        break;
    }
    return OWN_FAILURE;
}

int ht_cmd_run(int argc, char **argv)
{
    bool help = false;
    if (!take_options(argc, argv, &help))
        return OWN_FAILURE;
    if (help) {
        ht_help_run(stdout);
        return 0;
    }
    if (optind == argc) {
        ht_complain("run: no program is given; write 'heaptally run PROGRAM'");
        return OWN_FAILURE;
    }
    if (!check_environment() || !check_output() || !check_tag_file())
        return OWN_FAILURE;
    uint64_t leak_code;
    if (!ht_option_check(HT_OPT_FAIL_ON_LEAK, effective(HT_OPT_FAIL_ON_LEAK), &leak_code))
        return supervise(argv + optind, (int)leak_code);
    return become(argv + optind);
}
