/*
 * The `heaptally` command: finds the subcommand and hands over.
 */
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "text.h"

static const struct ht_command commands[] = {
    {"run", "run a program and count its heap", 125, ht_cmd_run, ht_help_run},
    {"report", "say from a snapshot file who holds how much, and where", 2, ht_cmd_report,
     ht_help_report},
    {"tags", "propose rules that tell apart what is in a program", 2, ht_cmd_tags, ht_help_tags},
    {"diff", "say what grew between two snapshot files", 2, ht_cmd_diff, ht_help_diff},
    {"check", "say by the exit status whether a controller leaks", 2, ht_cmd_check, ht_help_check},
    {"list", "list the processes under heaptally", 2, ht_cmd_list, ht_help_list},
    {"status", "ask a running process what it knows of itself", 2, ht_cmd_status, ht_help_status},
    {"top", "watch a running process's controllers on the terminal", 2, ht_cmd_top, ht_help_top},
    {"snapshot", "have a process write all figures to its file now", 2, ht_cmd_snapshot,
     ht_help_snapshot},
    {"reset-baseline", "have growth count from now on", 2, ht_cmd_reset_baseline,
     ht_help_reset_baseline},
    {"start", "have a process count from now on", 2, ht_cmd_start, ht_help_start},
    {"stop", "have a process count nothing new", 2, ht_cmd_stop, ht_help_stop},
    {"set", "change settings of a running process", 2, ht_cmd_set, ht_help_set},
    {"loop", "run a controller of a shared object for some steps and judge it", 2, ht_cmd_loop,
     ht_help_loop},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(FILE *out)
{
    fputs("heaptally finds heap growth in long-running controllers and says which controller,\n"
          "which call site, and how fast.\n\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  heaptally %-14s %s\n", commands[i].name, commands[i].summary);
    fputs("\n  heaptally help COMMAND    or    heaptally COMMAND --help\n"
          "  heaptally --version\n",
          out);
}

static const struct ht_command *command_named(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown(const char *what, const char *name)
{
    static const char *const others[] = {"help", "--help", "--version"};
    const char *candidates[COMMANDS + 3];
    for (size_t i = 0; i < COMMANDS; i++)
        candidates[i] = commands[i].name;
    for (size_t i = 0; i < 3; i++)
        candidates[COMMANDS + i] = others[i];
    const char *nearest = ht_nearest(name, candidates, COMMANDS + 3);
    if (nearest)
        ht_complain("%s: there is no such %s; did you mean '%s'?", name, what, nearest);
    else
        ht_complain("%s: there is no such %s; see 'heaptally --help'", name, what);
    return 2;
}

static int help_on(const char *name)
{
    const struct ht_command *command = command_named(name);
    if (!command)
        return unknown("command", name);
    command->help(stdout);
    return 0;
}

static int wants_help(int argc, char **argv)
{
    return argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

/* Whether the locale that was asked for is one of UTF-8. */
static bool asks_for_utf8(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            return strcasestr(value, "UTF-8") || strcasestr(value, "UTF8");
    }
    return false;
}

int main(int argc, char **argv)
{
    ht_utf8 = asks_for_utf8();
    /* For the widths of characters only; numbers keep their point. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
    if (argc < 2) {
        ht_complain("no command is given; see 'heaptally --help'");
        return 2;
    }
    const char *name = argv[1];
    const struct ht_command *command = command_named(name);
    if (command) {
        ht_failure_status = command->usage_status;
        if (wants_help(argc - 1, argv + 1)) {
            command->help(stdout);
            return 0;
        }
        return command->run(argc - 1, argv + 1);
    }
    if (strcmp(name, "--version") == 0) {
        puts("heaptally " HEAPTALLY_VERSION);
        return 0;
    }
    if (strcmp(name, "help") == 0 && argc > 2)
        return help_on(argv[2]);
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        help(stdout);
        return 0;
    }
    return unknown(name[0] == '-' ? "option" : "command", name);
}
