/*
 * Verdicts. Growth over time is not judged here: without a judgement there is no leak and nothing
 * bounded, so what is left is `invalid` where data are missing and `inconclusive` everywhere else.
 */
#include "verdict.h"

#include <math.h>
#include <stdio.h>

#include "text.h"

const char *ht_verdict_name(enum ht_verdict_kind kind)
{
    static const char *const names[] = {
        [HT_VERDICT_LEAK] = "leak",
        [HT_VERDICT_INCONCLUSIVE] = "inconclusive",
        [HT_VERDICT_INVALID] = "invalid",
        [HT_VERDICT_BOUNDED] = "bounded",
    };
    return names[kind];
}

/* The verdict on something of which `ticks` looks were taken. */
static void judge(const struct ht_profile *p, size_t ticks, struct ht_verdict *v)
{
    *v = (struct ht_verdict){
        .kind = HT_VERDICT_INCONCLUSIVE,
        .mb_per_hour = NAN,
        .ci_low = NAN,
        .ci_high = NAN,
        .seconds_to_limit = NAN,
    };
    if (!p->has_tick) {
        v->kind = HT_VERDICT_INVALID;
        snprintf(v->reason, sizeof v->reason, "the file ends before its first tick");
        return;
    }
    snprintf(v->reason, sizeof v->reason,
             "growth over time is not judged; it changed in %s of %s over %s", ht_grouped(ticks),
             ht_counted(p->process.count, "tick"), ht_duration(p->duration_s));
}

void ht_verdict_of_tag(const struct ht_profile *p, const struct ht_tag *tag, struct ht_verdict *v)
{
    judge(p, tag->past.count, v);
}

void ht_verdict_of_site(const struct ht_profile *p, const struct ht_site *site,
                        struct ht_verdict *v)
{
    judge(p, site->tag->past.count, v);
}

void ht_verdict_of_process(const struct ht_profile *p, struct ht_verdict *v)
{
    judge(p, p->process.count, v);
}
