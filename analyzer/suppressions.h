/*
 * Call sites and controllers that a check leaves out, by rules from a file, one a line:
 *
 *     # the driver's, known and bounded
 *     function:usb_submit*      call sites that pass through a matching function
 *     module:libcamera.so*      call sites that pass through a matching library or program
 *     tag:vision                whole controllers
 *
 * Globs as everywhere: functions with their parameters or without, modules by path or by name. Of
 * several rules that match, the first one is told the bytes; the others count as used all the same.
 */
#ifndef HEAPTALLY_ANALYZER_SUPPRESSIONS_H
#define HEAPTALLY_ANALYZER_SUPPRESSIONS_H

#include <stdbool.h>

#include "profile.h"
#include "select.h"
#include "symbolize.h"

struct ht_suppression {
    char *text; /* "function:usb_submit*" */
    bool by_tag;
    struct ht_selection selection; /* one glob, which lies in `text` */
    int line;
    bool used;
    uint64_t bytes, sites; /* live, suppressed by this rule */
};

struct ht_suppressions {
    struct ht_suppression *rules;
    size_t count;
};

/* Reads a file; false after a message. */
bool ht_suppressions_load(const char *path, struct ht_suppressions *suppressions);

/* The first rule that leaves out this site, or the whole of its tag; NULL for none. */
struct ht_suppression *ht_suppression_of(struct ht_suppressions *suppressions,
                                         struct ht_symbolizer *symbolizer,
                                         const struct ht_site *site);

/* The first rule that leaves out the tag as a whole; NULL for none. */
struct ht_suppression *ht_suppression_of_tag(struct ht_suppressions *suppressions,
                                             const struct ht_tag *tag);

void ht_suppressions_clear(struct ht_suppressions *suppressions);

#endif
