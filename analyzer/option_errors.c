/*
 * What getopt_long found wrong, in one line that names the option and the nearest one that exists.
 */
#include <stdbool.h>
#include <string.h>

#include "command.h"
#include "text.h"

enum { MOST_OPTIONS = 64 };

/* The options that `word` (without dashes) could be short for. */
static size_t beginning_with(const struct option *options, const char *word, size_t length)
{
    size_t count = 0;
    for (; options->name; options++)
        count += strncmp(options->name, word, length) == 0;
    return count;
}

static void complain_long(const char *command, const char *word, const struct option *options)
{
    size_t length = strcspn(word, "="), count = 0;
    const char *names[MOST_OPTIONS];
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    for (const struct option *o = options; o->name && count < MOST_OPTIONS; o++) {
        if (strcmp(o->name, name) == 0 && word[length] == '=') {
            ht_complain("%s --%s: takes no value; write --%s alone", command, word, name);
            return;
        }
        names[count++] = o->name;
    }
    const char *nearest = ht_nearest(name, names, count);
    if (beginning_with(options, name, length) > 1)
        ht_complain("%s --%s: could be several options; see 'heaptally help %s'", command, word,
                    command);
    else if (nearest)
        ht_complain("%s --%s: there is no such option; did you mean '--%s'?", command, word,
                    nearest);
    else
        ht_complain("%s --%s: there is no such option; see 'heaptally help %s'", command, word,
                    command);
}

void ht_complain_option(const char *command, int result, int argc, char **argv,
                        const struct option *options)
{
    /* After a long option optind stands behind it; a bad short one may be amid a word. */
    const char *word = optind >= 1 && optind <= argc ? argv[optind - 1] : "";
    bool is_long = strncmp(word, "--", 2) == 0 && word[2];
    if (result == ':' && is_long)
        ht_complain("%s %s: needs a value; see 'heaptally help %s'", command, word, command);
    else if (result == ':')
        ht_complain("%s -%c: needs a value; see 'heaptally help %s'", command, optopt, command);
    else if (is_long)
        complain_long(command, word + 2, options);
    else
        ht_complain("%s -%c: there is no such option; see 'heaptally help %s'", command,
                    optopt ? optopt : '?', command);
}
