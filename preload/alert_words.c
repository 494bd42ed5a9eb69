#include "alert_words.h"

#include <math.h>

#include "heaptally/trend_text.h"
#include "heaptally/units.h"

static struct ht_text begin(struct ht_alert *alert)
{
    return ht_text_begin(alert->message, sizeof alert->message);
}

void ht_say_growth(struct ht_alert *alert, bool cleared, bool holds)
{
    struct ht_text text = begin(alert);
    ht_text_put(&text, cleared ? "Memory is below its threshold again: "
                       : holds ? "Memory threshold exceeded: "
                               : "Memory is within its threshold: ");
    ht_text_number(&text, alert->growth_mb, 1);
    ht_text_put(&text, " MB growth");
    if (!isnan(alert->threshold_mb)) {
        ht_text_put(&text, " (threshold: ");
        ht_text_number(&text, alert->threshold_mb, 1);
        ht_text_put(&text, " MB)");
    }
}

void ht_say_rate(struct ht_alert *alert, uint64_t instantiations, bool cleared)
{
    struct ht_text text = begin(alert);
    ht_text_put(&text, cleared ? "is below the limit again: " : "");
    ht_text_bytes(&text, alert->value_mb * (double)HT_MB);
    ht_text_put(&text, " per 1000 instantiations, limit ");
    ht_text_bytes(&text, alert->threshold_mb * (double)HT_MB);
    ht_text_put(&text, ", ");
    ht_text_counted(&text, (double)instantiations, "instantiation", "instantiations");
}

/* With more decimals where a bound above 0 would read as 0. */
static void put_bound(struct ht_text *text, double bound, unsigned decimals)
{
    for (double scaled = bound; scaled > 0 && decimals < 6; decimals++) {
        scaled = bound;
        for (unsigned i = 0; i < decimals; i++)
            scaled *= 10;
        if (scaled >= 0.5)
            break;
    }
    ht_text_number(text, bound, decimals);
}

/* A rate with its interval in one unit, which the rate itself chooses. */
static void put_rate(struct ht_text *text, const struct ht_trend_verdict *v)
{
    static const char *const units[] = {" bytes/h", " KB/h", " MB/h", " GB/h"};
    double size = fabs(v->bytes_per_hour), factor = 1;
    unsigned unit = 0;
    for (; size >= 999.5 && unit < 3; unit++, factor *= 1024)
        size /= 1024;
    unsigned decimals = unit && size < 99.5 ? 1 : 0;
    ht_text_put(text, v->bytes_per_hour < 0 ? "" : "+");
    ht_text_number(text, v->bytes_per_hour / factor, decimals);
    ht_text_put(text, units[unit]);
    if (isnan(v->ci_low) || isnan(v->ci_high))
        return;
    ht_text_put(text, " [");
    put_bound(text, v->ci_low / factor, decimals);
    ht_text_put(text, ", ");
    put_bound(text, v->ci_high / factor, decimals);
    ht_text_put(text, "]");
}

void ht_say_leak(struct ht_alert *alert, const struct ht_judgement *judgement, const char *site,
                 bool cleared)
{
    struct ht_text text = begin(alert);
    const struct ht_trend_verdict *v = &judgement->verdict;
    if (cleared) {
        ht_text_put(&text, "leaks no more: ");
        ht_text_put(&text, judgement->reason);
        return;
    }
    put_rate(&text, v);
    ht_text_put(&text, ", ");
    ht_text_bytes(&text, (double)judgement->now_bytes);
    ht_text_put(&text, " live");
    if (!isnan(v->seconds_to_limit)) {
        ht_text_put(&text, ", limit in ");
        ht_text_span(&text, v->seconds_to_limit);
    }
    if (site[0]) {
        ht_text_put(&text, ": ");
        ht_text_put(&text, site);
    }
}

void ht_say_no_alloc(struct ht_alert *alert, uint64_t allocations, uint64_t bytes, const char *site,
                     bool cleared)
{
    struct ht_text text = begin(alert);
    ht_text_put(&text, cleared ? "has been quiet for an hour: " : "");
    ht_text_counted(&text, (double)allocations, "allocation", "allocations");
    ht_text_put(&text, " of ");
    ht_text_bytes(&text, (double)bytes);
    ht_text_put(&text, " where there must be none");
    if (site[0]) {
        ht_text_put(&text, ": ");
        ht_text_put(&text, site);
    }
}

void ht_say_hint(struct ht_alert *alert, uint64_t live_bytes)
{
    struct ht_text text = begin(alert);
    ht_text_put(&text, "memory could be trimmed or collected (current: ");
    ht_text_number(&text, alert->rss_mb, 1);
    ht_text_put(&text, " MB resident, ");
    ht_text_bytes(&text, (double)live_bytes);
    ht_text_put(&text, " live)");
}
