/*
 * The course of resident memory as one straight line, with how far it can be trusted. Resident
 * memory is a coarse witness (pages, caches, fragmentation): it describes, and gives no verdict.
 */
#ifndef HEAPTALLY_ANALYZER_RSS_TREND_H
#define HEAPTALLY_ANALYZER_RSS_TREND_H

#include <stdbool.h>
#include <stddef.h>

#include "profile.h"

enum { HT_TREND_LEAST_SAMPLES = 10 };

struct ht_rss_trend {
    double mb_per_hour;     /* least squares; NaN below HT_TREND_LEAST_SAMPLES */
    double ci_low, ci_high; /* 95 %, widened where neighbouring samples are alike */
    size_t samples;
    double hours;   /* between the first and the last sample */
    bool monotonic; /* no fall, and at least one rise */
};

void ht_rss_trend(const struct ht_profile *profile, struct ht_rss_trend *trend);

#endif
