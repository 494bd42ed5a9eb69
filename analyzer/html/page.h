/*
 * The page of the HTML report as the build bundles it: what stands before the report's data and
 * what stands after them. The data are JSON inside a script element; see report_html.c.
 */
#ifndef HEAPTALLY_ANALYZER_HTML_PAGE_H
#define HEAPTALLY_ANALYZER_HTML_PAGE_H

#include <stddef.h>

extern const unsigned char ht_page_before[], ht_page_after[];
extern const size_t ht_page_before_size, ht_page_after_size;

#endif
