/*
 * See check_limits.h.
 */
#include "check_limits.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/units.h"
#include "text.h"

/* How often a time goes into an hour; 0 for a word that is no time. */
static double times_an_hour(const char *word)
{
    static const struct {
        const char *word;
        double times;
    } words[] = {{"s", 3600}, {"min", 60}, {"m", 60}, {"h", 1}, {"hour", 1}, {"d", 1.0 / 24}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i].word) == 0)
            return words[i].times;
    return 0;
}

static bool read_allocations(const char *value, struct ht_limit *limit)
{
    static const char *const words[] = {"allocs", "alloc"};
    uint64_t count;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *word = strstr(value, words[i]);
        if (!word || strcmp(word, words[i]) != 0)
            continue;
        limit->on = HT_LIMIT_ON_ALLOCATIONS;
        if (!ht_parse_count(value, (size_t)(word - value), &count))
            return false;
        limit->most = (double)count;
        return true;
    }
    return false;
}

static bool read_value(const char *value, struct ht_limit *limit)
{
    const char *slash = strrchr(value, '/');
    uint64_t bytes;
    if (read_allocations(value, limit))
        return true;
    if (!ht_parse_size(value, slash ? (size_t)(slash - value) : strlen(value), &bytes))
        return false;
    limit->most = (double)bytes;
    limit->on = HT_LIMIT_ON_SIZE;
    if (!slash)
        return true;
    limit->on = HT_LIMIT_ON_1000;
    if (strcmp(slash + 1, "1000") == 0)
        return true;
    limit->on = HT_LIMIT_ON_RATE;
    limit->most *= times_an_hour(slash + 1);
    return times_an_hour(slash + 1) > 0;
}

bool ht_limit_read(const char *text, struct ht_limit *limit)
{
    const char *equals = strrchr(text, '=');
    *limit = (struct ht_limit){.text = text};
    if (!equals || equals == text || !read_value(equals + 1, limit)) {
        ht_complain("check --limit %s: is no limit; write TAG=10MB, TAG=0.5/1000, TAG=1MB/h or "
                    "REGION=0allocs",
                    text);
        return false;
    }
    char *glob = ht_format("%.*s", (int)(equals - text), text);
    limit->glob = ht_clean(glob, strlen(glob));
    free(glob);
    return true;
}

bool ht_limit_concerns(const struct ht_limit *limit, const char *name)
{
    return fnmatch(limit->glob, name, 0) == 0;
}
