/*
 * What the parts of the report for people share: the page they write on, and how they say numbers.
 *
 *   report_text.c    the order of things: verdict, what it rests on, what to do next
 *   text_table.c     controllers, and processes where there are several
 *   text_sites.c     call sites, with the frames that matter; broken promises
 *   text_quality.c   what could not be seen
 *   blame.c          which function of a stack is to be looked at
 *   sparkline.c      a past in one line
 *
 * Nothing is wider than the page. Where the locale is not UTF-8, what heaptally itself writes is
 * ASCII.
 */
#ifndef HEAPTALLY_ANALYZER_TEXT_PAGE_H
#define HEAPTALLY_ANALYZER_TEXT_PAGE_H

#include "report.h"

struct ht_page {
    const struct ht_report *report;
    size_t width;
    bool colour, utf8, all_frames;
    FILE *out;
};

#define HT_RED    "31;1"
#define HT_GREEN  "32"
#define HT_YELLOW "33"
#define HT_BOLD   "1"
#define HT_FAINT  "2"

enum { HT_LABEL_WIDTH = 13 }; /* of "  live       " */

void ht_begin_colour(const struct ht_page *page, const char *code);
void ht_end_colour(const struct ht_page *page, const char *code);

/* A sentence on lines of its own, in a colour or none (NULL); takes the sentence. */
void ht_headline(const struct ht_page *page, const char *code, char *sentence);

/* "  label   sentence", folded; takes the sentence. */
void ht_labelled(const struct ht_page *page, const char *label, char *sentence);

/* A line of a heading in bold behind an empty line; `text` loses its middle where it is too long.
 */
void ht_heading(const struct ht_page *page, const char *text);

/* "×" and "…", or what stands for them in ASCII. */
const char *ht_times_sign(const struct ht_page *page);
const char *ht_dots(const struct ht_page *page);

/* "1.00 MB", "unknown"; a new string. */
char *ht_mb_of(uint64_t bytes);

/* "0.0", "<0.1", "12.3": of a share in percent; "-" where there is no whole. */
const char *ht_percent(int64_t part, int64_t whole);

void ht_text_controllers(const struct ht_page *page);
void ht_text_processes(const struct ht_page *page);
void ht_text_sites(const struct ht_page *page);
void ht_text_regions(const struct ht_page *page);
void ht_text_quality(const struct ht_page *page);

#endif
