/*
 * heaptally tags: proposes rules, by bytes, ready to paste. What each would get is not estimated:
 * the file is re-tagged with them.
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "inputs.h"
#include "heaptally/units.h"
#include "merge.h"
#include "propose.h"
#include "retag.h"
#include "text.h"

enum { FAILURE = 2, STANDARD_MOST = 12 };

static const struct option options[] = {
    {"debug-path", required_argument, NULL, 'd'},
    {"top", required_argument, NULL, 't'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

void ht_help_tags(FILE *out)
{
    fputs(
        "heaptally tags [--top N] [FILE|DIR|PID]...\n\n"
        "Proposes rules that tell apart what is in a program, from the names of the functions on\n"
        "the stacks of a snapshot file: largest first, with what each would get of what is live.\n"
        "They can be given to 'heaptally run', or to 'heaptally report' for the same file.\n"
        "Look at them before you use them: names say less than the people who gave them know.\n\n"
        "  --top N             no more than N rules (12)\n"
        "  --debug-path PATH   directories of debug files, separated by ':'\n\n"
        "Exit status: 0, or 2 where the command line is wrong or a file cannot be read.\n",
        out);
}

/* The profile of all inputs, merged where they are several; NULL after a message. */
static struct ht_profile *load(const struct ht_inputs *inputs)
{
    struct ht_profile **profiles = ht_allocate_zeroed(inputs->count, sizeof *profiles), *all = NULL;
    size_t count = 0;
    for (size_t i = 0; i < inputs->count; i++) {
        char *error = NULL;
        profiles[count] = ht_profile_load(inputs->paths[i], &error);
        if (!profiles[count])
            ht_complain("%s: %s", inputs->paths[i], error);
        count += profiles[count] != NULL;
        free(error);
    }
    if (count == inputs->count && count == 1)
        all = profiles[--count];
    else if (count == inputs->count && count > 0)
        all = ht_profiles_merge(profiles, count);
    for (size_t i = 0; i < count; i++)
        ht_profile_free(profiles[i]);
    free(profiles);
    return all;
}

static const struct ht_tag *tag_named(const struct ht_profile *p, const char *name)
{
    for (size_t i = 0; i < p->tag_count; i++)
        if (strcmp(p->tags[i]->name, name) == 0)
            return p->tags[i];
    return NULL;
}

/* The rules as the options of a command; texts are kept for ever, as the re-tagging wants them. */
static struct ht_retagging *rules_of(const struct ht_proposals *found, char **texts)
{
    struct ht_retagging *rules = ht_retagging_new();
    size_t n = 0;
    for (size_t i = 0; i < found->tag_count; i++, n++) {
        texts[n] = ht_format("%s=%s", found->tags[i].name, found->tags[i].pattern);
        ht_retagging_tag(rules, "tags", texts[n]);
    }
    for (size_t i = 0; i < found->construct_count; i++, n++) {
        texts[n] = ht_format("%s=%s", found->constructs[i].name, found->constructs[i].pattern);
        ht_retagging_construct(rules, "tags", texts[n]);
    }
    return rules;
}

static void write_tag(const struct ht_proposal *rule, const struct ht_tag *tag, uint64_t live)
{
    uint64_t bytes = tag ? tag->live_bytes : 0;
    double share = live ? 100 * (double)bytes / (double)live : 0;
    char *text = ht_format("--tag '%s=%s'", rule->name, rule->pattern);
    printf("%-44s %15s bytes live  %5.1f %%\n", text, ht_grouped(bytes), share);
    free(text);
}

static void write_construct(const struct ht_proposal *rule, const struct ht_tag *tag)
{
    char *text = ht_format("--construct '%s=%s'", rule->name, rule->pattern);
    uint64_t made = tag ? tag->latest.instantiations : HTL_UNKNOWN;
    printf("%-44s %15s made\n", text, made == HTL_UNKNOWN ? "-" : ht_grouped(made));
    free(text);
}

/* All rules as one command. */
static void write_command(const struct ht_proposals *found, const char *file)
{
    printf("\nheaptally report");
    for (size_t i = 0; i < found->tag_count; i++)
        printf(" \\\n    --tag '%s=%s'", found->tags[i].name, found->tags[i].pattern);
    for (size_t i = 0; i < found->construct_count; i++)
        printf(" \\\n    --construct '%s=%s'", found->constructs[i].name,
               found->constructs[i].pattern);
    printf(" \\\n    %s\n", file);
}

/* Takes out the rules that get nothing: all that they mean belongs to functions further in. */
static void drop_idle(const struct ht_profile *p, struct ht_proposals *found)
{
    size_t kept = 0;
    for (size_t i = 0; i < found->tag_count; i++) {
        const struct ht_tag *tag = tag_named(p, found->tags[i].name);
        if (tag && (p->live_bytes ? tag->live_bytes : tag->latest.figures.allocated_bytes) > 0) {
            found->tags[kept++] = found->tags[i];
            continue;
        }
        free(found->tags[i].name);
        free(found->tags[i].pattern);
    }
    found->tag_count = kept;
}

static void propose(struct ht_profile *p, const struct ht_inputs *inputs, const char *debug_path,
                    size_t most)
{
    struct ht_symbolizer *symbolizer = ht_symbolizer_new(debug_path);
    struct ht_proposals found = ht_propose(p, symbolizer, most);
    size_t count = found.tag_count + found.construct_count;
    char **texts = ht_allocate_zeroed(count, sizeof *texts);
    struct ht_retagging *rules = rules_of(&found, texts);
    ht_retag(p, symbolizer, rules);
    drop_idle(p, &found);
    for (size_t i = 0; i < found.tag_count; i++)
        write_tag(&found.tags[i], tag_named(p, found.tags[i].name), p->live_bytes);
    for (size_t i = 0; i < found.construct_count; i++)
        write_construct(&found.constructs[i], tag_named(p, found.constructs[i].name));
    if (found.tag_count > 0)
        write_command(&found, inputs->count == 1 ? inputs->paths[0] : "");
    else
        puts("no rule: no names of functions are known that tell anything apart; see --debug-path");
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
    ht_retagging_free(rules);
    ht_proposals_clear(&found);
    ht_symbolizer_free(symbolizer);
}

int ht_cmd_tags(int argc, char **argv)
{
    const char *debug_path = NULL;
    uint64_t most = STANDARD_MOST;
    int option;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h') {
            ht_help_tags(stdout);
            return 0;
        }
        if (option == 'd') {
            debug_path = optarg;
        } else if (option != 't') {
            ht_complain_option("tags", option, argc, argv, options);
            return FAILURE;
        } else if (!ht_parse_count(optarg, strlen(optarg), &most) || most == 0) {
            ht_complain("tags --top %s: is not a number of rules; write for example 10", optarg);
            return FAILURE;
        }
    }
    struct ht_inputs inputs = ht_inputs_find("tags", argv + optind, (size_t)(argc - optind));
    struct ht_profile *p = inputs.failed ? NULL : load(&inputs);
    bool fine = p != NULL;
    if (p)
        propose(p, &inputs, debug_path, most);
    ht_profile_free(p);
    ht_inputs_clear(&inputs);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        ht_complain("standard output: cannot be written; is the disk full?");
        fine = false;
    }
    return fine ? 0 : FAILURE;
}
