/*
 * Why resident memory grew, for a recorded run (heaptally/diagnosis.h).
 */
#ifndef HEAPTALLY_ANALYZER_DIAGNOSE_H
#define HEAPTALLY_ANALYZER_DIAGNOSE_H

#include "profile.h"

/* In one line, a new string; NULL where resident memory is not known over at least two ticks. */
char *ht_diagnosis_of(const struct ht_profile *profile);

#endif
