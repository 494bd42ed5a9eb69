/*
 * What the recorded past says of a tag, a site or the process: the one place where a verdict is
 * made.
 *
 * The rules are the detector's (heaptally/trend.h), which the process runs too; here they are asked
 * once, for the run as a whole. What is added here: what is known of the end of a process
 * (evidence.h), what can be said of a site, and the limit that growth will meet first.
 *
 * A site is judged by its own past where one is recorded. That is a past of single looks: between
 * them a site may rise and fall, and a regular rise and fall can look like a slow ramp. So growth
 * counts only when it is more than the few ticks' worth of allocation that such a ramp can reach.
 * A site without a past leaks where arithmetic leaves no other way: if all other sites of a leaking
 * tag together hold too little to have carried its growth.
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

/* Which limit growth meets first, among those that the process recorded. */
enum ht_limit_kind {
    HT_LIMIT_NONE,
    HT_LIMIT_TAG_THRESHOLD, /* --threshold TAG=SIZE */
    HT_LIMIT_THRESHOLD,     /* --threshold SIZE, growth of the process */
    HT_LIMIT_CGROUP,        /* memory.max */
    HT_LIMIT_ADDRESS_SPACE, /* RLIMIT_AS */
    HT_LIMIT_MEMORY,        /* of the machine */
};

/* All numbers NaN where unknown. */
struct ht_verdict {
    enum ht_verdict_kind kind;
    char reason[240];                                /* one line in plain words */
    double mb_per_hour, ci_low, ci_high;             /* with its 95 % interval */
    double seconds_to_limit;                         /* of a leak, at this rate */
    enum ht_limit_kind limit;                        /* which that is */
    double bytes_per_instantiation, bytes_per_cycle; /* of the growth that was judged */
    double span_s, gain_bytes;                       /* what was judged: how long, how much */
    /* Inconclusive: what it needs. Any one of them will do. */
    double needs_seconds, needs_ticks, needs_instantiations;
    bool given_back; /* grew, and was freed as the process ended */
};

const char *ht_verdict_name(enum ht_verdict_kind kind);

/* "the process's threshold", or NULL for HT_LIMIT_NONE. */
const char *ht_limit_name(enum ht_limit_kind kind);

void ht_verdict_of_tag(const struct ht_profile *profile, const struct ht_tag *tag,
                       struct ht_verdict *verdict);

/* Remembers the verdict on the site's tag: ask for the sites of one profile in one thread. */
void ht_verdict_of_site(const struct ht_profile *profile, const struct ht_site *site,
                        struct ht_verdict *verdict);

/* Of the resident memory of the whole process. */
void ht_verdict_of_process(const struct ht_profile *profile, struct ht_verdict *verdict);

#endif
