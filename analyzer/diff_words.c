/*
 * The sentences that the text and the page of a comparison share.
 */
#include "diff.h"

#include <math.h>
#include <stdlib.h>

#include "frame_text.h"
#include "text.h"

char *ht_signed_text(int64_t number)
{
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    return ht_format("%s%s", number < 0 ? "-" : number > 0 ? "+" : "", ht_grouped(size));
}

char *ht_growth_text(int64_t bytes, int64_t blocks)
{
    char *sizes[] = {ht_signed_text(bytes), ht_signed_text(blocks)};
    char *text = ht_format("%s byte%s, %s block%s", sizes[0], llabs(bytes) == 1 ? "" : "s",
                           sizes[1], llabs(blocks) == 1 ? "" : "s");
    free(sizes[0]);
    free(sizes[1]);
    return text;
}

char *ht_diff_site_text(const struct ht_diff *diff, const struct ht_diff_site *site)
{
    return site->stack ? ht_blamed_text(diff->symbolizer, site->stack)
                       : ht_format("%s", HT_CALL_SITE_UNKNOWN);
}

static char *empty_verdict(const struct ht_diff *diff)
{
    char *controllers = ht_format("%s", ht_counted(diff->controllers_compared, "controller"));
    char *text = ht_format("no difference: %s and %s hold the same in both", controllers,
                           ht_counted(diff->sites_compared, "call site"));
    free(controllers);
    return text;
}

char *ht_diff_verdict(const struct ht_diff *diff)
{
    if (!diff->old_profile->has_tick || !diff->new_profile->has_tick)
        return ht_format("no figures to compare: the %s file ends before its first tick",
                         diff->old_profile->has_tick ? "new" : "old");
    if (ht_diff_is_empty(diff))
        return empty_verdict(diff);
    const struct ht_diff_controller *c = &diff->controllers[0];
    bool grew = c->growth_bytes > 0;
    if (!grew)
        c = &diff->controllers[diff->controller_count - 1];
    if (c->growth_bytes == 0)
        return ht_format("nothing grew: only call sites of %s changed places", c->tag);
    uint64_t size = c->growth_bytes < 0 ? 0 - (uint64_t)c->growth_bytes : (uint64_t)c->growth_bytes;
    char *where = ht_diff_site_text(diff, &c->sites[grew ? 0 : c->site_count - 1]);
    char *text = grew ? ht_format("%s grew by %s: %s", c->tag, ht_counted(size, "byte"), where)
                      : ht_format("nothing grew; %s shrank by %s: %s", c->tag,
                                  ht_counted(size, "byte"), where);
    free(where);
    return text;
}

char *ht_diff_process_text(const struct ht_profile *p)
{
    return ht_format("%s, pid %u on %s, %s, %s live (%s)", *p->exe ? p->exe : "unknown",
                     p->start.pid, *p->host ? p->host : "unknown host", ht_duration(p->duration_s),
                     p->has_tick ? ht_counted(p->live_bytes, "byte") : "unknown bytes", p->file);
}

char *ht_diff_growth_text(const struct ht_diff *diff)
{
    if (!diff->old_profile->has_tick || !diff->new_profile->has_tick)
        return ht_format("unknown");
    char *text = ht_growth_text(diff->growth_bytes, diff->growth_blocks);
    if (diff->seconds > 0) {
        double per_hour = (double)diff->growth_bytes / (1 << 20) * 3600 / diff->seconds;
        char *longer = ht_format("%s; the same process %s later, that is %s%s MB/hour", text,
                                 ht_duration(diff->seconds), per_hour > 0 ? "+" : "",
                                 ht_grouped_real(per_hour, 2));
        free(text);
        text = longer;
    }
    return text;
}

char *ht_diff_doubt_text(const struct ht_diff *diff)
{
    const struct ht_profile *profiles[] = {diff->old_profile, diff->new_profile};
    char *text = ht_format("%s", "");
    for (size_t i = 0; i < 2; i++) {
        const char *name = i == 0 ? "old" : "new", *torn = profiles[i]->reading.torn;
        const char *why = torn                                    ? torn
                          : !profiles[i]->quality.sites_are_exact ? "some call sites are not listed"
                                                                  : NULL;
        if (!why)
            continue;
        char *longer = ht_format("%s%sthe %s file: %s", text, *text ? "; " : "", name, why);
        free(text);
        text = longer;
    }
    return text;
}
