/*
 * heaptally diff: what grew between two snapshot files.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "diff.h"
#include "output.h"
#include "text.h"

enum { FAILURE = 2, LEAST_WIDTH = 60 };

static const struct format {
    const char *name, *help;
    void (*write)(const struct ht_diff *diff, size_t width, FILE *out);
} formats[] = {
    {"text", "for people (the default)", ht_diff_text},
    {"json", "for programs; schema heaptally-diff/1", ht_diff_json},
    {"html", "a page, complete in one file", ht_diff_html},
};
enum { FORMATS = sizeof formats / sizeof *formats };

struct request {
    const struct format *format;
    const char *output; /* NULL: stdout */
    const char *debug_path;
    bool help;
};

static const struct option options[] = {
    {"format", required_argument, NULL, 'f'},
    {"output", required_argument, NULL, 'o'},
    {"debug-path", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

void ht_help_diff(FILE *out)
{
    fputs("heaptally diff [--format FORMAT] [-o FILE] OLD NEW\n\n"
          "Says what grew between two snapshot files: of one process, of two runs, of two hosts.\n"
          "Controllers are matched by name, call sites by their functions and modules, not by\n"
          "address or line, so that a program that was built anew can be compared too.\n\n",
          out);
    for (size_t i = 0; i < FORMATS; i++)
        fprintf(out, "  --format %-10s %s\n", formats[i].name, formats[i].help);
    fputs("  -o, --output FILE   write there and not to the standard output\n"
          "  --debug-path PATH   directories of debug files, separated by ':'\n"
          "                      (.debug:/usr/lib/debug; DEBUGINFOD_URLS is followed too)\n\n"
          "Exit status: 0, whether anything grew or not; 2 where the command line is wrong or a\n"
          "file cannot be read.\n",
          out);
}

static const struct format *format_named(const char *name)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    ht_complain("diff --format %s: there is no such format; it is text or json or html", name);
    return NULL;
}

/* Takes the options; false after a message. */
static bool take_options(int argc, char **argv, struct request *request)
{
    int option;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
        switch (option) {
        case 'f':
            if (!(request->format = format_named(optarg)))
                return false;
            break;
        case 'o':
            request->output = optarg;
            break;
        case 'd':
            request->debug_path = optarg;
            break;
        case 'h':
            request->help = true;
            break;
        default:
            ht_complain_option("diff", option, argc, argv, options);
            return false;
        }
    }
    if (!request->help && argc - optind != 2) {
        ht_complain("diff: needs two files, not %d; write 'heaptally diff OLD NEW'", argc - optind);
        return false;
    }
    return true;
}

static struct ht_profile *load(const char *path)
{
    char *error = NULL;
    struct ht_profile *profile = ht_profile_load(path, &error);
    if (!profile) {
        ht_complain("%s: %s", path, error);
        free(error);
    }
    return profile;
}

/* Writes the comparison; false after a message. */
static bool write_diff(const struct request *request, const struct ht_diff *diff)
{
    FILE *out = ht_output_open(request->output);
    if (!out)
        return false;
    request->format->write(diff, ht_output_width(out, LEAST_WIDTH), out);
    return ht_output_close(out, request->output);
}

int ht_cmd_diff(int argc, char **argv)
{
    struct request request = {.format = formats};
    if (!take_options(argc, argv, &request))
        return FAILURE;
    if (request.help) {
        ht_help_diff(stdout);
        return 0;
    }
    bool fine = false;
    struct ht_profile *old_profile = load(argv[optind]), *new_profile = load(argv[optind + 1]);
    if (old_profile && new_profile) {
        struct ht_symbolizer *symbolizer = ht_symbolizer_new(request.debug_path);
        struct ht_diff diff;
        ht_diff_make(old_profile, new_profile, symbolizer, &diff);
        fine = write_diff(&request, &diff);
        ht_diff_clear(&diff);
        ht_symbolizer_free(symbolizer);
    }
    ht_profile_free(new_profile);
    ht_profile_free(old_profile);
    return fine ? 0 : FAILURE;
}
