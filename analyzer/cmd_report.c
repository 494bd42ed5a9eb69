/*
 * heaptally report: reads snapshot files and writes one report each, in one of the formats of
 * report.h. A file that cannot be read does not keep the others from being reported.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "report.h"
#include "text.h"

enum { FAILURE = 2, STANDARD_WIDTH = 100 };

struct request {
    const struct ht_report_format *format;
    const char *output; /* NULL: stdout */
    const char *debug_path;
    FILE *out; /* opened with the first report, so that nothing is lost for want of an input */
    size_t written;
};

static const struct option options[] = {
    {"format", required_argument, NULL, 'f'},
    {"output", required_argument, NULL, 'o'},
    {"debug-path", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

void ht_help_report(FILE *out)
{
    fputs("heaptally report [--format FORMAT] [-o FILE] [FILE]...\n\n"
          "Says from snapshot files which controller holds how much, and where it was allocated.\n"
          "Without a FILE: the newest .htl file in the working directory.\n"
          "Several files give several reports, one after the other.\n\n",
          out);
    for (const struct ht_report_format *f = ht_report_formats; f->name; f++)
        fprintf(out, "  --format %-10s %s%s\n", f->name, f->help,
                f == ht_report_formats ? " (the default)" : "");
    fputs("  -o, --output FILE   write there and not to the standard output\n"
          "  --debug-path PATH   directories of debug files, separated by ':'\n"
          "                      (.debug:/usr/lib/debug; DEBUGINFOD_URLS is followed too)\n\n"
          "Exit status: 0, or 2 where the command line is wrong or a file cannot be read.\n",
          out);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static struct ht_report_style style_for(FILE *out)
{
    struct winsize window;
    struct ht_report_style style = {.width = STANDARD_WIDTH, .colour = false};
    const char *columns = getenv("COLUMNS"), *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    if (isatty(fileno(out))) {
        style.colour = !(no_colour && *no_colour) && !(terminal && strcmp(terminal, "dumb") == 0);
        if (ioctl(fileno(out), TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
            style.width = window.ws_col;
    }
    if (columns && atoi(columns) > 0)
        style.width = (size_t)atoi(columns);
    if (style.width < HT_REPORT_LEAST_WIDTH)
        style.width = HT_REPORT_LEAST_WIDTH;
    return style;
}

/* ---- one report ------------------------------------------------------------------------------ */

static bool open_output(struct request *request)
{
    if (request->out)
        return true;
    request->out = request->output ? fopen(request->output, "we") : stdout;
    if (!request->out)
        ht_complain("%s: cannot be written: %s; name another file", request->output,
                    strerror(errno));
    return request->out;
}

/* Writes the report on one file; false after a message. */
static bool report_on(struct request *request, const char *path, bool several)
{
    char *error = NULL;
    struct ht_profile *profile = ht_profile_load(path, &error);
    if (!profile) {
        ht_complain("%s: %s", path, error);
        free(error);
        return false;
    }
    if (!open_output(request)) {
        ht_profile_free(profile);
        return false;
    }
    struct ht_report report;
    struct ht_symbolizer *symbolizer = ht_symbolizer_new(request->debug_path);
    struct ht_report_style style = style_for(request->out);
    ht_report_make(profile, symbolizer, &report);
    if (several && request->format == ht_report_formats)
        fprintf(request->out, "%s==> %s <==\n", request->written ? "\n" : "", profile->file);
    request->format->write(&report, &style, request->out);
    request->written++;
    ht_report_clear(&report);
    ht_symbolizer_free(symbolizer);
    ht_profile_free(profile);
    return true;
}

/* The newest .htl file of the working directory, a new string; NULL after a message. */
static char *newest_file(void)
{
    char *newest = NULL;
    struct timespec latest = {0, 0};
    DIR *directory = opendir(".");
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat status;
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 4, ".htl") != 0 ||
            stat(entry->d_name, &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        bool newer = status.st_mtim.tv_sec != latest.tv_sec
                         ? status.st_mtim.tv_sec > latest.tv_sec
                         : status.st_mtim.tv_nsec > latest.tv_nsec;
        if (!newest || newer) {
            free(newest);
            newest = ht_format("%s", entry->d_name);
            latest = status.st_mtim;
        }
    }
    if (directory)
        closedir(directory);
    if (!newest)
        ht_complain("report: no .htl file in the working directory; name one, or make one with "
                    "'heaptally run PROGRAM'");
    return newest;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct ht_report_format *format_named(const char *name)
{
    const struct ht_report_format *format = ht_report_format(name);
    char *known = ht_format("%s", "");
    for (const struct ht_report_format *f = ht_report_formats; !format && f->name; f++) {
        char *longer = ht_format("%s%s%s", known, *known ? " or " : "", f->name);
        free(known);
        known = longer;
    }
    if (!format)
        ht_complain("report --format %s: there is no such format; it is %s", name, known);
    free(known);
    return format;
}

/* Takes the options; false after a message. */
static bool take_options(int argc, char **argv, struct request *request, bool *help)
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
            *help = true;
            break;
        default:
            ht_complain_option("report", option, argc, argv, options);
            return false;
        }
    }
    return true;
}

/* Whether all that was written has reached its place; else says so. */
static bool close_output(struct request *request)
{
    if (!request->out)
        return true;
    bool fine = !ferror(request->out);
    fine &= (request->out == stdout ? fflush(stdout) : fclose(request->out)) == 0;
    if (!fine)
        ht_complain("%s: cannot be written: %s; is the disk full?",
                    request->output ? request->output : "standard output", strerror(errno));
    return fine;
}

int ht_cmd_report(int argc, char **argv)
{
    struct request request = {.format = ht_report_formats};
    bool help = false, fine = true;
    if (!take_options(argc, argv, &request, &help))
        return FAILURE;
    if (help) {
        ht_help_report(stdout);
        return 0;
    }
    if (optind == argc) {
        char *newest = newest_file();
        fine = newest && report_on(&request, newest, false);
        free(newest);
    }
    for (int i = optind; i < argc; i++)
        fine &= report_on(&request, argv[i], argc - optind > 1);
    fine &= close_output(&request);
    return fine ? 0 : FAILURE;
}
