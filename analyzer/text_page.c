#include "text_page.h"

#include <math.h>
#include <stdlib.h>

#include "heaptally/units.h"
#include "text.h"

void ht_begin_colour(const struct ht_page *page, const char *code)
{
    if (page->colour && code)
        fprintf(page->out, "\033[%sm", code);
}

void ht_end_colour(const struct ht_page *page, const char *code)
{
    if (page->colour && code)
        fputs("\033[0m", page->out);
}

void ht_headline(const struct ht_page *page, const char *code, char *sentence)
{
    ht_begin_colour(page, code);
    ht_print_folded(page->out, sentence, page->width, 0, HT_LABEL_WIDTH);
    ht_end_colour(page, code);
    free(sentence);
}

void ht_labelled(const struct ht_page *page, const char *label, char *sentence)
{
    fprintf(page->out, "  %-*s", HT_LABEL_WIDTH - 2, label);
    ht_print_folded(page->out, sentence, page->width, HT_LABEL_WIDTH, HT_LABEL_WIDTH);
    free(sentence);
}

void ht_heading(const struct ht_page *page, const char *text)
{
    char *fitting = ht_elide(text, page->width);
    putc('\n', page->out);
    ht_begin_colour(page, HT_BOLD);
    fputs(fitting, page->out);
    ht_end_colour(page, HT_BOLD);
    putc('\n', page->out);
    free(fitting);
}

const char *ht_times_sign(const struct ht_page *page)
{
    return page->utf8 ? "\u00d7" : "x";
}

const char *ht_dots(const struct ht_page *page)
{
    return page->utf8 ? "\u2026" : "...";
}

char *ht_mb_of(uint64_t bytes)
{
    return bytes == HTL_UNKNOWN ? ht_format("unknown")
                                : ht_format("%s MB", ht_mb((double)bytes / (double)HT_MB));
}

const char *ht_percent(int64_t part, int64_t whole)
{
    double share = whole > 0 ? 100 * (double)part / (double)whole : NAN;
    if (isnan(share))
        return "-";
    return share > 0 && share < 0.05 ? "<0.1" : ht_grouped_real(share, 1);
}
