/*
 * See suppressions.h. Each rule is a filter of reports (select.h) with one glob.
 */
#include "suppressions.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { MOST_RULES = 10000 };

/* ---- reading --------------------------------------------------------------------------------- */

/* Takes blanks off both ends of a line, in place. */
static char *trimmed(char *line)
{
    while (isspace((unsigned char)*line))
        line++;
    size_t length = strlen(line);
    while (length > 0 && isspace((unsigned char)line[length - 1]))
        line[--length] = '\0';
    return line;
}

/* The kinds of rules, and which globs of a selection each one sets. */
static struct ht_globs *globs_of(struct ht_suppression *rule, const char **glob)
{
    static const char function[] = "function:", module[] = "module:", tag[] = "tag:";
    struct ht_globs *globs = NULL;
    size_t length = 0;
    if (strncmp(rule->text, function, length = strlen(function)) == 0)
        globs = &rule->selection.functions;
    else if (strncmp(rule->text, module, length = strlen(module)) == 0)
        globs = &rule->selection.modules;
    else if (strncmp(rule->text, tag, length = strlen(tag)) == 0)
        globs = &rule->selection.tags;
    *glob = globs ? trimmed(rule->text + length) : NULL;
    rule->by_tag = globs == &rule->selection.tags;
    return globs;
}

/* Takes one line that is no comment; false after a message. */
static bool take_rule(struct ht_suppressions *s, const char *path, int number, const char *line)
{
    const char *glob;
    s->rules = ht_room_for_one(s->rules, s->count, sizeof *s->rules);
    struct ht_suppression *rule = &s->rules[s->count++];
    *rule = (struct ht_suppression){
        .text = ht_clean(line, strlen(line)), .selection = HT_SELECT_ALL, .line = number};
    struct ht_globs *globs = globs_of(rule, &glob);
    if (!globs || !*glob) {
        ht_complain("%s:%d: '%s' is no rule; write function:GLOB, module:GLOB or tag:GLOB", path,
                    number, rule->text);
        return false;
    }
    ht_globs_add(globs, glob);
    return true;
}

static bool take_lines(struct ht_suppressions *s, const char *path, FILE *file)
{
    char *line = NULL;
    size_t size = 0;
    bool fine = true;
    for (int number = 1; fine && getline(&line, &size, file) >= 0; number++) {
        const char *rule = trimmed(line);
        if (s->count == MOST_RULES) {
            ht_complain("%s:%d: more than %d rules; join some by a glob", path, number, MOST_RULES);
            fine = false;
        } else if (*rule && *rule != '#') {
            fine = take_rule(s, path, number, rule);
        }
    }
    if (fine && ferror(file)) {
        ht_complain("%s: cannot be read: %s; name another file", path, strerror(errno));
        fine = false;
    }
    free(line);
    return fine;
}

bool ht_suppressions_load(const char *path, struct ht_suppressions *s)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        ht_complain("%s: cannot be read: %s; name another file", path, strerror(errno));
        return false;
    }
    bool fine = take_lines(s, path, file);
    fclose(file);
    return fine;
}

void ht_suppressions_clear(struct ht_suppressions *s)
{
    for (size_t i = 0; i < s->count; i++) {
        ht_selection_clear(&s->rules[i].selection);
        free(s->rules[i].text);
    }
    free(s->rules);
    *s = (struct ht_suppressions){0};
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Marks all rules that match as used, and returns the first. */
static struct ht_suppression *first_match(struct ht_suppressions *s,
                                          struct ht_symbolizer *symbolizer,
                                          const struct ht_tag *tag, const struct ht_site *site)
{
    struct ht_suppression *first = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct ht_suppression *rule = &s->rules[i];
        bool matches = rule->by_tag ? ht_selects_tag(&rule->selection, tag)
                                    : site && ht_selects_site(&rule->selection, symbolizer, site);
        if (!matches)
            continue;
        rule->used = true;
        first = first ? first : rule;
    }
    return first;
}

struct ht_suppression *ht_suppression_of(struct ht_suppressions *s,
                                         struct ht_symbolizer *symbolizer,
                                         const struct ht_site *site)
{
    return first_match(s, symbolizer, site->tag, site);
}

struct ht_suppression *ht_suppression_of_tag(struct ht_suppressions *s, const struct ht_tag *tag)
{
    return first_match(s, NULL, tag, NULL);
}
