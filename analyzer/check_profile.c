/*
 * See check_profile.h. Each controller is looked at without its suppressed call sites: a copy of
 * the tag that lists only the others.
 */
#include "check_profile.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "frame_text.h"
#include "heaptally/units.h"
#include "one_off.h"
#include "text.h"
#include "verdict.h"

/* A controller without what is suppressed. */
struct subject {
    const struct ht_profile *profile;
    struct ht_symbolizer *symbolizer;
    const struct ht_tag *tag;
    struct ht_tag rest; /* the tag as its other sites make it; `rest.sites` is our own */
    const struct ht_site **left_out;
    size_t left_out_count;
    struct ht_verdict verdict; /* of the whole tag */
    struct ht_one_off one_off; /* of the rest */
    double low, middle, high;  /* MB per hour of the rest; NaN where unknown */
};

/* ---- findings -------------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void found(struct ht_check *check,
                                                        const struct ht_profile *p,
                                                        enum ht_finding_kind kind,
                                                        const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    check->findings =
        ht_room_for_one(check->findings, check->finding_count, sizeof *check->findings);
    check->findings[check->finding_count++] =
        (struct ht_finding){kind, p ? ht_format("%s: %s", p->file, text ? text : "?")
                                    : ht_format("%s", text ? text : "?")};
    free(text);
}

static char *where(const struct subject *s, const struct ht_site *site)
{
    if (!site && s->rest.site_count > 0)
        site = s->rest.sites[0];
    return site ? ht_blamed_text(s->symbolizer, site->stack)
                : ht_format("%s", HT_CALL_SITE_UNKNOWN);
}

/* ---- what is suppressed ---------------------------------------------------------------------- */

static void suppress(struct ht_suppression *rule, uint64_t bytes, uint64_t sites)
{
    rule->bytes += bytes;
    rule->sites += sites;
}

static void take_off_rate(struct subject *s, const struct ht_site *site)
{
    struct ht_verdict v;
    ht_verdict_of_site(s->profile, site, &v);
    if (isnan(v.mb_per_hour) || isnan(v.ci_low) || isnan(v.ci_high))
        return; /* what is not known takes nothing off */
    s->low -= v.ci_high;
    s->middle -= v.mb_per_hour;
    s->high -= v.ci_low;
}

/* Divides the sites of a tag; `rest` and the rates are what remains. */
static void divide(struct ht_check *check, struct subject *s)
{
    const struct ht_tag *tag = s->tag;
    s->rest = *tag;
    s->rest.site_count = 0;
    s->rest.sites = ht_allocate_zeroed(tag->site_count, sizeof(struct ht_site *));
    s->left_out = ht_allocate_zeroed(tag->site_count, sizeof(struct ht_site *));
    for (size_t i = 0; i < tag->site_count; i++) {
        struct ht_site *site = tag->sites[i];
        struct ht_suppression *rule = ht_suppression_of(&check->suppressions, s->symbolizer, site);
        if (!rule) {
            s->rest.sites[s->rest.site_count++] = site;
            continue;
        }
        uint64_t all = s->rest.live_bytes, blocks = s->rest.live_blocks;
        suppress(rule, site->live_bytes, 1);
        s->left_out[s->left_out_count++] = site;
        s->rest.live_bytes = all > site->live_bytes ? all - site->live_bytes : 0;
        s->rest.live_blocks = blocks > site->live_blocks ? blocks - site->live_blocks : 0;
        take_off_rate(s, site);
    }
    s->one_off = ht_one_off_of_tag(s->profile, &s->rest);
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* The first of these sites that is found to leak, or NULL. */
static const struct ht_site *leaking(const struct ht_profile *p, const struct ht_site *const *sites,
                                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ht_verdict v;
        ht_verdict_of_site(p, sites[i], &v);
        if (v.kind == HT_VERDICT_LEAK)
            return sites[i];
    }
    return NULL;
}

/* Whether the leak of a controller stands, see the header; in `*site` whose it is, where known. */
static bool leak_stands(const struct subject *s, const struct ht_site **site)
{
    *site = leaking(s->profile, (const struct ht_site *const *)s->rest.sites, s->rest.site_count);
    if (*site || s->left_out_count == 0)
        return true;
    bool explained = leaking(s->profile, s->left_out, s->left_out_count) && !(s->low > 0);
    return !explained;
}

static void check_verdict(struct ht_check *check, const struct subject *s)
{
    const struct ht_verdict *v = &s->verdict;
    const struct ht_site *site = NULL;
    if (v->kind == HT_VERDICT_BOUNDED)
        return;
    if (v->kind == HT_VERDICT_LEAK && !leak_stands(s, &site)) {
        found(check, s->profile, HT_FOUND_NOTE, "%s leaks by suppressed call sites only",
              s->tag->name);
    } else if (v->kind == HT_VERDICT_LEAK) {
        char *place = where(s, site);
        found(check, s->profile, HT_FOUND_LEAK, "%s leaks %s MB/hour [%s, %s], %s: %s",
              s->tag->name, ht_mb(v->mb_per_hour), ht_mb(v->ci_low), ht_mb(v->ci_high), v->reason,
              place);
        free(place);
    } else {
        found(check, s->profile, v->kind == HT_VERDICT_INVALID ? HT_FOUND_INVALID : HT_FOUND_DOUBT,
              "%s is %s: %s", s->tag->name, ht_verdict_name(v->kind), v->reason);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

static const char *mb(double bytes)
{
    double size = bytes / (double)HT_MB;
    return ht_grouped_real(size, size >= 0.095 || bytes <= 0 ? 2 : size >= 0.00095 ? 4 : 7);
}

static void check_size(struct ht_check *check, const struct subject *s, double most)
{
    if (!((double)s->rest.live_bytes > most))
        return;
    char *place = where(s, NULL);
    found(check, s->profile, HT_FOUND_LEAK, "%s: %s MB live, limit %s MB: %s", s->tag->name,
          mb((double)s->rest.live_bytes), mb(most), place);
    free(place);
}

/* False where it is not known. */
static bool check_1000(struct ht_check *check, const struct subject *s, double most)
{
    uint64_t made = s->tag->latest.instantiations;
    if (made == 0 || made == HTL_UNKNOWN)
        return false;
    double bytes = (double)(s->rest.live_bytes - s->one_off.bytes) / (double)made * 1000;
    if (!(bytes > most))
        return true;
    char *place = where(s, s->one_off.top_recurring);
    found(check, s->profile, HT_FOUND_LEAK, "%s: %s MB per 1000 instantiations, limit %s MB: %s",
          s->tag->name, mb(bytes), mb(most), place);
    free(place);
    return true;
}

/* False where it is not known. */
static bool check_rate(struct ht_check *check, const struct subject *s, double most)
{
    double limit = most / (double)HT_MB;
    if (s->verdict.kind == HT_VERDICT_BOUNDED)
        return true;
    if (isnan(s->middle))
        return false;
    if (!(s->middle > limit))
        return true;
    bool certain = isnan(s->low) || s->low > limit;
    char *place = where(s, NULL);
    found(check, s->profile, certain ? HT_FOUND_LEAK : HT_FOUND_DOUBT,
          "%s: grows %s MB/hour [%s, %s], limit %s MB/hour%s: %s", s->tag->name, ht_mb(s->middle),
          ht_mb(s->low), ht_mb(s->high), mb(most), certain ? "" : ", in doubt", place);
    free(place);
    return true;
}

static void check_limits(struct ht_check *check, const struct subject *s)
{
    bool own_rate = false;
    for (size_t i = 0; i < check->limit_count; i++) {
        struct ht_limit *limit = &check->limits[i];
        if (limit->on == HT_LIMIT_ON_ALLOCATIONS || !ht_limit_concerns(limit, s->tag->name))
            continue;
        bool known = true;
        if (limit->on == HT_LIMIT_ON_SIZE) {
            check_size(check, s, limit->most);
        } else if (limit->on == HT_LIMIT_ON_1000) {
            known = check_1000(check, s, limit->most);
            own_rate = true;
        } else {
            known = check_rate(check, s, limit->most);
        }
        limit->met = true;
        limit->carried |= known;
    }
    if (!own_rate)
        check_1000(check, s, ht_profile_leak_threshold(s->profile));
}

static void check_tag(struct ht_check *check, const struct ht_profile *p,
                      struct ht_symbolizer *symbolizer, const struct ht_tag *tag)
{
    struct ht_suppression *rule = ht_suppression_of_tag(&check->suppressions, tag);
    check->controllers++;
    if (rule) {
        suppress(rule, tag->live_bytes, tag->site_count);
        return;
    }
    struct subject s = {.profile = p, .symbolizer = symbolizer, .tag = tag};
    ht_verdict_of_tag(p, tag, &s.verdict);
    s.low = s.verdict.ci_low;
    s.middle = s.verdict.mb_per_hour;
    s.high = s.verdict.ci_high;
    divide(check, &s);
    check_verdict(check, &s);
    check_limits(check, &s);
    free(s.rest.sites);
    free(s.left_out);
}

/* ---- regions without allocations ------------------------------------------------------------- */

/* Allocations in a region by call sites that are not suppressed; `*site` is the first of these. */
static uint64_t violations(struct ht_check *check, struct ht_symbolizer *symbolizer,
                           const struct ht_region *region, const struct ht_site **site)
{
    uint64_t count = region->allocations;
    *site = NULL;
    for (size_t i = 0; i < region->site_count; i++) {
        const struct ht_site *s = region->sites[i];
        if (!ht_suppression_of(&check->suppressions, symbolizer, s))
            *site = *site ? *site : s;
        else if (count >= s->figures.allocated_blocks)
            count -= s->figures.allocated_blocks;
        else
            count = 0;
    }
    return count;
}

static void check_region(struct ht_check *check, const struct ht_profile *p,
                         struct ht_symbolizer *symbolizer, const struct ht_region *region)
{
    const struct ht_site *site;
    bool limited = false;
    uint64_t count = violations(check, symbolizer, region, &site);
    char *place =
        site ? ht_blamed_text(symbolizer, site->stack) : ht_format("%s", HT_CALL_SITE_UNKNOWN);
    for (size_t i = 0; i < check->limit_count; i++) {
        const struct ht_limit *limit = &check->limits[i];
        if (limit->on != HT_LIMIT_ON_ALLOCATIONS || !ht_limit_concerns(limit, region->name))
            continue;
        limited = true;
        if ((double)count > limit->most)
            found(check, p, HT_FOUND_LEAK, "%s: %s where none was promised, limit %s: %s",
                  region->name, ht_counted(count, "allocation"), ht_grouped((uint64_t)limit->most),
                  place);
    }
    if (!limited && count > 0)
        found(check, p, HT_FOUND_NOTE,
              "%s: %s where none was promised; with --limit '%s=0allocs' that is a failure: %s",
              region->name, ht_counted(count, "allocation"), region->name, place);
    free(place);
}

/* ---- the outside ----------------------------------------------------------------------------- */

void ht_check_profile(struct ht_check *check, const struct ht_profile *p,
                      struct ht_symbolizer *symbolizer)
{
    check->files++;
    if (!p->has_tick)
        found(check, p, HT_FOUND_INVALID, "the file ends before its first tick");
    for (size_t i = 0; p->has_tick && i < p->tag_count; i++)
        check_tag(check, p, symbolizer, p->tags[i]);
    for (size_t i = 0; i < p->region_count; i++)
        check_region(check, p, symbolizer, p->regions[i]);
}

void ht_check_finish(struct ht_check *check)
{
    for (size_t i = 0; i < check->limit_count; i++) {
        const struct ht_limit *limit = &check->limits[i];
        if (limit->on == HT_LIMIT_ON_ALLOCATIONS || limit->carried)
            continue; /* a region in which nothing was allocated is not in any file */
        if (!limit->met)
            found(check, NULL, HT_FOUND_DOUBT, "--limit %s: no controller of that name was seen",
                  limit->text);
        else if (limit->on == HT_LIMIT_ON_1000)
            found(check, NULL, HT_FOUND_DOUBT,
                  "--limit %s: instantiations were not counted; use HEAPTALLY_CONSTRUCT or run "
                  "--construct",
                  limit->text);
        else
            found(check, NULL, HT_FOUND_DOUBT, "--limit %s: the rate is not known; run for longer",
                  limit->text);
    }
}

size_t ht_check_count(const struct ht_check *check, enum ht_finding_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < check->finding_count; i++)
        count += check->findings[i].kind == kind;
    return count;
}

void ht_check_clear(struct ht_check *check)
{
    for (size_t i = 0; i < check->finding_count; i++)
        free(check->findings[i].text);
    for (size_t i = 0; i < check->limit_count; i++)
        free(check->limits[i].glob);
    free(check->findings);
    free(check->limits);
    ht_suppressions_clear(&check->suppressions);
    *check = (struct ht_check){0};
}
