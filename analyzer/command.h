/*
 * The subcommands of `heaptally`: one cmd_*.c each, one table in main.c.
 */
#ifndef HEAPTALLY_ANALYZER_COMMAND_H
#define HEAPTALLY_ANALYZER_COMMAND_H

#include <getopt.h>
#include <stdio.h>

struct ht_command {
    const char *name;
    const char *summary; /* one line */
    int usage_status;    /* what a mistake on the command line exits with */
    /* argv[0] is the subcommand's name; returns the exit status. */
    int (*run)(int argc, char **argv);
    void (*help)(FILE *out);
};

int ht_cmd_run(int argc, char **argv);
void ht_help_run(FILE *out);
int ht_cmd_loop(int argc, char **argv);
void ht_help_loop(FILE *out);
int ht_cmd_report(int argc, char **argv);
void ht_help_report(FILE *out);
int ht_cmd_tags(int argc, char **argv);
void ht_help_tags(FILE *out);
int ht_cmd_diff(int argc, char **argv);
void ht_help_diff(FILE *out);
int ht_cmd_check(int argc, char **argv);
void ht_help_check(FILE *out);
int ht_cmd_list(int argc, char **argv);
void ht_help_list(FILE *out);
int ht_cmd_status(int argc, char **argv);
void ht_help_status(FILE *out);
int ht_cmd_top(int argc, char **argv);
void ht_help_top(FILE *out);
int ht_cmd_snapshot(int argc, char **argv);
void ht_help_snapshot(FILE *out);
int ht_cmd_reset_baseline(int argc, char **argv);
void ht_help_reset_baseline(FILE *out);
int ht_cmd_start(int argc, char **argv);
void ht_help_start(FILE *out);
int ht_cmd_stop(int argc, char **argv);
void ht_help_stop(FILE *out);
int ht_cmd_set(int argc, char **argv);
void ht_help_set(FILE *out);

/*
 * Explains why getopt_long, with opterr = 0 and a short option string that begins with ':' (or
 * "+:"), returned `result` ('?' or ':'). One line on stderr.
 */
void ht_complain_option(const char *command, int result, int argc, char **argv,
                        const struct option *options);

#endif
