/*
 * The recorded past of a tag, a site or the process as the detector wants it: one sample for each
 * tick of its history.
 *
 * What is recorded is less and more than that. A tick lists a tag only if it changed: in the ticks
 * between, it stayed as it was, and gets a sample that says so. What lies before the first tick of
 * the file comes from HISTORY records, where a point stands for many ticks: it is one sample.
 *
 * The end of a process is no part of what it did while it ran: the figures that were taken after
 * its last word are left out; and where it gave back more than half of what it had, so is what
 * follows the peak, as far as that lies within the last twentieth of the ticks. So memory that grew
 * all the time is not called bounded because it was given back on the way out.
 */
#ifndef HEAPTALLY_ANALYZER_EVIDENCE_H
#define HEAPTALLY_ANALYZER_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>

#include "heaptally/trend.h"
#include "profile.h"

struct ht_evidence {
    struct ht_trend_sample *samples;
    size_t count;
    size_t ticks;    /* that the samples stand for: of a site, quiet ones may be left out */
    bool given_back; /* most of it at the end of the process */
};

struct ht_evidence ht_evidence_of_tag(const struct ht_profile *profile, const struct ht_tag *tag);

/*
 * Points of single sites are looks at ticks: they do not know how low it went in between. Quiet
 * ticks are left out where a detector with these settings would see nothing new in them.
 */
struct ht_evidence ht_evidence_of_site(const struct ht_profile *profile, const struct ht_site *site,
                                       const struct ht_trend_settings *settings);

/* Resident bytes, looked at once a tick. */
struct ht_evidence ht_evidence_of_process(const struct ht_profile *profile);

void ht_evidence_clear(struct ht_evidence *evidence);

#endif
