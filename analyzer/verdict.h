/*
 * What the recorded past says of a tag or a site: the one place where a verdict is made.
 */
#ifndef HEAPTALLY_ANALYZER_VERDICT_H
#define HEAPTALLY_ANALYZER_VERDICT_H

#include "profile.h"

/* In the order in which reports sort them. */
enum ht_verdict_kind {
    HT_VERDICT_LEAK,         /* keeps growing after warm-up */
    HT_VERDICT_INCONCLUSIVE, /* the data do not carry a verdict */
    HT_VERDICT_INVALID,      /* data are missing */
    HT_VERDICT_BOUNDED,      /* does not keep growing */
};

struct ht_verdict {
    enum ht_verdict_kind kind;
    char reason[160];                    /* one line in plain words */
    double mb_per_hour, ci_low, ci_high; /* NaN where unknown */
    double seconds_to_limit;             /* NaN where unknown or not in sight */
};

const char *ht_verdict_name(enum ht_verdict_kind kind);

void ht_verdict_of_tag(const struct ht_profile *profile, const struct ht_tag *tag,
                       struct ht_verdict *verdict);

void ht_verdict_of_site(const struct ht_profile *profile, const struct ht_site *site,
                        struct ht_verdict *verdict);

/* Of the resident memory of the whole process. */
void ht_verdict_of_process(const struct ht_profile *profile, struct ht_verdict *verdict);

#endif
