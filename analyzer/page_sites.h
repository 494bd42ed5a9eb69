/*
 * The call sites of a page, as columns of equal length: one line for each of the largest sites, and
 * for each controller one that adds up its others, so that sums are whole however many there are.
 */
#ifndef HEAPTALLY_ANALYZER_PAGE_SITES_H
#define HEAPTALLY_ANALYZER_PAGE_SITES_H

#include "page_json.h"
#include "report.h"

enum { HT_PAGE_REGIONS = 50 }; /* regions without allocations that a page lists, from the first */

/*
 * Writes the members "sites", and what they have in common (see page_tables.h), for the first
 * `controller_count` controllers of the report, which sites name by their places.
 */
void ht_page_sites_write(const struct ht_report *report, size_t controller_count,
                         struct ht_page_json *json);

#endif
