/* Each limit gives its room; the least one wins. */
#include "limit_room.h"

#include <stdlib.h>
#include <string.h>

#include "heaptally/options.h"

struct nearest {
    double room; /* -1 for none */
    enum ht_limit_kind limit;
};

static void consider(struct nearest *nearest, double room, enum ht_limit_kind limit)
{
    room = room < 0 ? 0 : room;
    if (nearest->limit == HT_LIMIT_NONE || room < nearest->room)
        *nearest = (struct nearest){room, limit};
}

/* What thresholds on growth of the process look at: resident or live memory, which grew more. */
static double process_growth(const struct ht_profile *p)
{
    double heap = (double)p->live_bytes;
    double resident =
        p->rss_last == HTL_UNKNOWN ? 0 : (double)p->rss_last - (double)p->rss_baseline;
    return resident > heap ? resident : heap;
}

/* --threshold: the last item for a tag, or for the process, counts. */
static void consider_thresholds(const struct ht_profile *p, const struct ht_tag *tag,
                                struct nearest *nearest)
{
    const char *text = ht_profile_setting(p, ht_options[HT_OPT_THRESHOLD].name), *item;
    double own = -1, all = -1;
    size_t length, name_length;
    uint64_t bytes;
    while (text && (item = ht_option_next_item(&text, &length))) {
        if (!ht_option_threshold(item, length, &name_length, &bytes))
            continue;
        if (name_length == 0)
            all = (double)bytes;
        else if (tag && strlen(tag->name) == name_length &&
                 memcmp(tag->name, item, name_length) == 0)
            own = (double)bytes;
    }
    if (own >= 0)
        consider(nearest, own - (double)tag->live_bytes, HT_LIMIT_TAG_THRESHOLD);
    if (all >= 0)
        consider(nearest, all - process_growth(p), HT_LIMIT_THRESHOLD);
}

/* Facts of the machine: a number of bytes, as the process found it when counting began. */
static void consider_facts(const struct ht_profile *p, struct nearest *nearest)
{
    static const struct {
        const char *key;
        enum ht_limit_kind limit;
        bool of_growth; /* counts from the start; else it holds for all resident memory */
    } facts[] = {
        {"limit-cgroup", HT_LIMIT_CGROUP, false},
        {"limit-address-space", HT_LIMIT_ADDRESS_SPACE, false},
        {"memory-available", HT_LIMIT_MEMORY, true},
    };
    for (size_t i = 0; i < sizeof facts / sizeof *facts && p->rss_last != HTL_UNKNOWN; i++) {
        const char *text = ht_profile_setting(p, facts[i].key);
        char *end;
        double bytes = text ? strtod(text, &end) : 0;
        if (!text || end == text || *end || !(bytes > 0))
            continue;
        double used = (double)p->rss_last - (facts[i].of_growth ? (double)p->rss_baseline : 0);
        consider(nearest, bytes - used, facts[i].limit);
    }
}

double ht_limit_room(const struct ht_profile *p, const struct ht_tag *tag,
                     enum ht_limit_kind *limit)
{
    struct nearest nearest = {-1, HT_LIMIT_NONE};
    consider_thresholds(p, tag, &nearest);
    consider_facts(p, &nearest);
    *limit = nearest.limit;
    return nearest.room;
}
