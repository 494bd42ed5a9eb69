/*
 * What alerts say, in plain words: fills the message of an event. Numbers are written without the
 * program's locale. Threads: any.
 */
#ifndef HEAPTALLY_ALERT_WORDS_H
#define HEAPTALLY_ALERT_WORDS_H

#include "alert.h"
#include "detect.h"

/* "Memory threshold exceeded: 612.3 MB growth (threshold: 500.0 MB)", as a pattern that people
 * watch for already; or that it is below again. `holds`: whether the alert stands. */
void ht_say_growth(struct ht_alert *alert, bool cleared, bool holds);

/* "4.7 MB per 1000 instantiations, limit 1.0 MB, 1000 instantiations" */
void ht_say_rate(struct ht_alert *alert, uint64_t instantiations, bool cleared);

/* "+2.1 MB/h [1.9, 2.3], 41 MB live, limit in 9 d: history_push (libplan.so+0x1f3c)" */
void ht_say_leak(struct ht_alert *alert, const struct ht_judgement *judgement, const char *site,
                 bool cleared);

/* "3 allocations of 120 bytes where there must be none: log_line (ctl+0x77)" */
void ht_say_no_alloc(struct ht_alert *alert, uint64_t allocations, uint64_t bytes, const char *site,
                     bool cleared);

/* "512.0 MB resident, 41 MB live: up to 380 MB might be given back ..." */
void ht_say_hint(struct ht_alert *alert, uint64_t live_bytes);

#endif
