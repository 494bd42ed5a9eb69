/*
 * heaptally report: reads snapshot files and writes one report on all of them, in one of the
 * formats of report.h. A file that cannot be read does not keep the others from being reported.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "heaptally/units.h"
#include "inputs.h"
#include "merge.h"
#include "output.h"
#include "report.h"
#include "retag.h"
#include "text.h"

enum { FAILURE = 2 };

struct request {
    const struct ht_report_format *format;
    const char *output; /* NULL: stdout */
    const char *debug_path;
    struct ht_selection selection;
    struct ht_retagging *rules; /* NULL: tags are as they were */
    bool all_frames;
    FILE *out; /* opened with the report, so that nothing is lost for want of an input */
};

enum {
    VIEW = 256,
    SINCE,
    ONLY_TAG,
    FUNCTION,
    MODULE,
    MIN,
    TOP,
    TAG,
    TAG_FILE,
    TAG_SKIP,
    CONSTRUCT,
    ALL_FRAMES,
};

static const struct option options[] = {
    {"format", required_argument, NULL, 'f'},
    {"output", required_argument, NULL, 'o'},
    {"debug-path", required_argument, NULL, 'd'},
    {"view", required_argument, NULL, VIEW},
    {"since", required_argument, NULL, SINCE},
    {"only-tag", required_argument, NULL, ONLY_TAG},
    {"function", required_argument, NULL, FUNCTION},
    {"module", required_argument, NULL, MODULE},
    {"min", required_argument, NULL, MIN},
    {"top", required_argument, NULL, TOP},
    {"tag", required_argument, NULL, TAG},
    {"tag-file", required_argument, NULL, TAG_FILE},
    {"tag-skip", required_argument, NULL, TAG_SKIP},
    {"construct", required_argument, NULL, CONSTRUCT},
    {"all-frames", no_argument, NULL, ALL_FRAMES},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

void ht_help_report(FILE *out)
{
    fputs("heaptally report [--format FORMAT] [-o FILE] [FILE|DIR|PID]...\n\n"
          "Says from snapshot files which controller holds how much, and where it was allocated.\n"
          "Several files give one report, by controller and then by process. DIR is the newest\n"
          "run in a directory: the newest .htl file, and those of its parents and children.\n"
          "PID is the file of that process. Without any: the newest run in the working directory.\n"
          "\n",
          out);
    for (const struct ht_report_format *f = ht_report_formats; f->name; f++)
        fprintf(out, "  --format %-10s %s%s\n", f->name, f->help,
                f == ht_report_formats ? " (the default)" : "");
    fputs("  -o, --output FILE   write there and not to the standard output\n"
          "  --debug-path PATH   directories of debug files, separated by ':'\n"
          "                      (.debug:/usr/lib/debug; DEBUGINFOD_URLS is followed too)\n\n"
          "By which figures:\n"
          "  --view live         what is allocated and not freed now (the default)\n"
          "  --view peak         the same, when the process had most\n"
          "  --view cumulative   all that was ever allocated\n"
          "  --view growth       live now minus live at the end of the warm-up\n"
          "                      (a fifth of the run, 10 minutes at most)\n"
          "  --since TIME        growth since TIME after the start\n\n"
          "Filters shorten lists and change no figure; the globs may be given several times:\n"
          "  --only-tag GLOB     these controllers\n"
          "  --function GLOB     call sites that pass through a matching function\n"
          "  --module GLOB       call sites that pass through a matching library or program\n"
          "  --min SIZE          call sites of at least this size in the view\n"
          "  --top N             the N largest call sites of each controller\n"
          "  --all-frames        in text: those of runtimes and wrappers too\n\n"
          "Tags assigned afresh, by the stacks in the file; these rules replace those of the run:\n"
          "  --tag NAME=PATTERN, --tag-file FILE, --tag-skip lib:GLOB, --construct NAME=PATTERN\n"
          "                      as for heaptally run; what a scope was open for stays with it\n\n"
          "Exit status: 0, or 2 where the command line is wrong or a file cannot be read.\n",
          out);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static struct ht_report_style style_for(FILE *out, bool all_frames)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool wanted = !(no_colour && *no_colour) && !(terminal && strcmp(terminal, "dumb") == 0);
    return (struct ht_report_style){
        .width = ht_output_width(out, HT_REPORT_LEAST_WIDTH),
        .colour = wanted && isatty(fileno(out)),
        .all_frames = all_frames,
    };
}

/* ---- one report ------------------------------------------------------------------------------ */

static bool open_output(struct request *request)
{
    if (!request->out)
        request->out = ht_output_open(request->output);
    return request->out;
}

/* Assigns tags afresh, and says what stands in the way of doing so exactly. */
static void retag(struct ht_profile *profile, struct ht_symbolizer *symbolizer,
                  const struct ht_retagging *rules)
{
    struct ht_retagged result = ht_retag(profile, symbolizer, rules);
    if (result.nameless_frames > 0)
        ht_complain("%s: %s lie in files that were not found: rules on functions pass them by; see "
                    "--debug-path",
                    profile->file, ht_counted(result.nameless_frames, "frame"));
    if (result.unlisted_bytes > 0)
        ht_complain("%s: %s live are of call sites that the file had not listed when it ended; "
                    "they are in no tag now",
                    profile->file, ht_counted(result.unlisted_bytes, "byte"));
}

/* What is read of the files of one report. */
struct loaded {
    struct ht_profile **profiles;
    struct ht_report *reports; /* of each; made only where there are several */
    size_t count;
};

/* Reads all files; false after a message for each that cannot be read. */
static bool load(const struct ht_inputs *inputs, struct loaded *loaded)
{
    bool fine = true;
    loaded->profiles = ht_allocate_zeroed(inputs->count, sizeof *loaded->profiles);
    for (size_t i = 0; i < inputs->count; i++) {
        char *error = NULL;
        struct ht_profile *profile = ht_profile_load(inputs->paths[i], &error);
        if (profile)
            loaded->profiles[loaded->count++] = profile;
        else
            ht_complain("%s: %s", inputs->paths[i], error);
        fine &= profile != NULL;
        free(error);
    }
    return fine;
}

/* Each process by itself, in the same view. */
static void report_parts(const struct request *request, struct loaded *loaded,
                         struct ht_symbolizer *symbolizer)
{
    struct ht_selection selection = HT_SELECT_ALL;
    selection.view = request->selection.view;
    selection.baseline_ns = request->selection.baseline_ns;
    loaded->reports = ht_allocate_zeroed(loaded->count, sizeof *loaded->reports);
    for (size_t i = 0; i < loaded->count; i++) {
        ht_report_make(loaded->profiles[i], symbolizer, &loaded->reports[i]);
        ht_report_select(&loaded->reports[i], &selection);
        if (request->format->all_views)
            ht_report_look_back(&loaded->reports[i]);
    }
}

/* Writes one report on all that was read. */
static void write_report(struct request *request, struct loaded *loaded)
{
    struct ht_report report;
    struct ht_profile *merged = NULL;
    struct ht_symbolizer *symbolizer = ht_symbolizer_new(request->debug_path);
    struct ht_report_style style = style_for(request->out, request->all_frames);
    for (size_t i = 0; request->rules && i < loaded->count; i++)
        retag(loaded->profiles[i], symbolizer, request->rules);
    if (loaded->count > 1) {
        report_parts(request, loaded, symbolizer);
        merged = ht_profiles_merge(loaded->profiles, loaded->count);
        ht_report_make_merged(merged, loaded->reports, loaded->count, symbolizer, &report);
    } else {
        ht_report_make(loaded->profiles[0], symbolizer, &report);
    }
    ht_report_select(&report, &request->selection);
    if (request->format->all_views)
        ht_report_look_back(&report);
    request->format->write(&report, &style, request->out);
    ht_report_clear(&report);
    for (size_t i = 0; loaded->reports && i < loaded->count; i++)
        ht_report_clear(&loaded->reports[i]);
    ht_symbolizer_free(symbolizer);
    ht_profile_free(merged);
}

/* Reports on all files in one; false after a message. */
static bool report_on(struct request *request, const struct ht_inputs *inputs)
{
    struct loaded loaded = {0};
    bool fine = load(inputs, &loaded);
    if (loaded.count > 0 && open_output(request))
        write_report(request, &loaded);
    fine &= loaded.count == 0 || request->out;
    for (size_t i = 0; i < loaded.count; i++)
        ht_profile_free(loaded.profiles[i]);
    free(loaded.profiles);
    free(loaded.reports);
    return fine;
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

static bool take_view(struct ht_selection *selection, const char *name)
{
    const char *known[HT_VIEWS];
    selection->view = ht_view_named(name);
    if (selection->view < HT_VIEWS)
        return true;
    for (enum ht_view view = 0; view < HT_VIEWS; view++)
        known[view] = ht_view_name(view);
    const char *nearest = ht_nearest(name, known, HT_VIEWS);
    ht_complain("report --view %s: there is no such view; it is live, peak, cumulative or growth%s"
                "%s%s",
                name, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                nearest ? "'?" : "");
    return false;
}

/* Takes an option of the selection; false after a message. */
static bool take_selection(struct ht_selection *selection, int option, const char *value)
{
    uint64_t number = 0;
    switch (option) {
    case VIEW:
        return take_view(selection, value);
    case SINCE:
        selection->view = HT_VIEW_GROWTH;
        if (ht_parse_duration(value, strlen(value), &selection->baseline_ns))
            return true;
        ht_complain("report --since %s: is not a duration; write for example 90s, 10m or 2h",
                    value);
        return false;
    case MIN:
        if (ht_parse_size(value, strlen(value), &selection->least_bytes))
            return true;
        ht_complain("report --min %s: is not a size; write for example 512KB or 10MB", value);
        return false;
    case TOP:
        if (ht_parse_count(value, strlen(value), &number) && number > 0) {
            selection->top = number;
            return true;
        }
        ht_complain("report --top %s: is not a number of call sites; write for example 10", value);
        return false;
    default:
        ht_globs_add(option == ONLY_TAG   ? &selection->tags
                     : option == FUNCTION ? &selection->functions
                                          : &selection->modules,
                     value);
        return true;
    }
}

/* Takes a rule; false after a message. */
static bool take_rule(struct request *request, int option, const char *value)
{
    if (!request->rules)
        request->rules = ht_retagging_new();
    return (option == TAG        ? ht_retagging_tag
            : option == TAG_FILE ? ht_retagging_file
            : option == TAG_SKIP ? ht_retagging_skip
                                 : ht_retagging_construct)(request->rules, "report", value);
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
        case ALL_FRAMES:
            request->all_frames = true;
            break;
        case VIEW:
        case SINCE:
        case ONLY_TAG:
        case FUNCTION:
        case MODULE:
        case MIN:
        case TOP:
            if (!take_selection(&request->selection, option, optarg))
                return false;
            break;
        case TAG:
        case TAG_FILE:
        case TAG_SKIP:
        case CONSTRUCT:
            if (!take_rule(request, option, optarg))
                return false;
            break;
        default:
            ht_complain_option("report", option, argc, argv, options);
            return false;
        }
    }
    return true;
}

static void clear_request(struct request *request)
{
    ht_selection_clear(&request->selection);
    ht_retagging_free(request->rules);
}

int ht_cmd_report(int argc, char **argv)
{
    struct request request = {.format = ht_report_formats, .selection = HT_SELECT_ALL};
    bool help = false, fine = true;
    if (!take_options(argc, argv, &request, &help) || help) {
        if (help)
            ht_help_report(stdout);
        clear_request(&request);
        return help ? 0 : FAILURE;
    }
    if (request.format->binary && !request.output && isatty(STDOUT_FILENO)) {
        ht_complain("report --format %s: is not for a terminal; name a file with -o FILE",
                    request.format->name);
        clear_request(&request);
        return FAILURE;
    }
    struct ht_inputs inputs = ht_inputs_find("report", argv + optind, (size_t)(argc - optind));
    fine = !inputs.failed;
    fine &= report_on(&request, &inputs);
    ht_inputs_clear(&inputs);
    fine &= !request.out || ht_output_close(request.out, request.output);
    clear_request(&request);
    return fine ? 0 : FAILURE;
}
