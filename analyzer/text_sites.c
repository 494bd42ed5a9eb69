/*
 * Call sites of those who are to blame, with the frames that matter. Frames of runtimes and
 * wrappers that stand together are one line, which says how many they are.
 */
#include "text_page.h"

#include <stdlib.h>
#include <string.h>

#include "blame.h"
#include "clamped.h"
#include "frame_text.h"
#include "text.h"

enum {
    TOP_SUSPECTS = 5, /* whose sites are shown */
    TOP_SITES = 5,    /* of each, unless --top says otherwise */
    TOP_LINES = 24,   /* of each site */
    LEAST_SITES = 2,  /* shown however little the second one holds */
    INDENT = 6,
};

/* "      FUNCTION      PLACE" in two columns; the place alone where the function is not known. */
static void write_line(const struct ht_page *page, const struct ht_stack_line *line, bool blamed)
{
    enum { GAP = 2 };
    size_t room = page->width - INDENT, column = room / 2;
    const char *name = line->function->name;
    char *place = ht_place_text(line->frame, line->function);
    char *where = ht_format("%s%s", place, line->function->inlined ? ", inlined" : "");
    char *short_where = ht_elide(where, name ? column - GAP : room);
    fprintf(page->out, "%*s", INDENT, "");
    if (name) {
        char *short_name = ht_elide(name, room - GAP - ht_columns(short_where));
        size_t used = ht_columns(short_name), at = room - ht_columns(short_where);
        at = at < column ? at : column;
        ht_begin_colour(page, blamed ? HT_BOLD : NULL);
        fputs(short_name, page->out);
        ht_end_colour(page, blamed ? HT_BOLD : NULL);
        fprintf(page->out, "%*s", (int)(used + GAP < at ? at - used : GAP), "");
        free(short_name);
    }
    fprintf(page->out, "%s\n", short_where);
    free(place);
    free(where);
    free(short_where);
}

/* A run of plumbing as one line, which names the function that the program called or was called
 * by. */
static void write_folded(const struct ht_page *page, const struct ht_stack_line *run, size_t count,
                         bool innermost)
{
    const char *name = run[innermost ? count - 1 : 0].function->name;
    char *text = ht_format("%s %s%s%s", ht_dots(page), ht_counted(count, "runtime frame"),
                           name ? ": " : "", name ? name : "");
    char *fitting = ht_elide(text, page->width - INDENT);
    fprintf(page->out, "%*s", INDENT, "");
    ht_begin_colour(page, HT_FAINT);
    fputs(fitting, page->out);
    ht_end_colour(page, HT_FAINT);
    putc('\n', page->out);
    free(text);
    free(fitting);
}

/* How many lines from `i` on stand together and are plumbing. */
static size_t run_of_plumbing(const struct ht_stack_line *lines, size_t i, size_t count)
{
    size_t end = i;
    while (end < count && lines[end].plumbing)
        end++;
    return end - i;
}

static void write_stack(const struct ht_page *page, const struct ht_stack *stack)
{
    size_t count, shown = 0;
    struct ht_stack_line *lines = ht_stack_lines(page->report->symbolizer, stack, &count);
    bool fold = !page->all_frames && run_of_plumbing(lines, 0, count) < count;
    bool blamed = false;
    for (size_t i = 0; i < count; shown++) {
        size_t run = fold ? run_of_plumbing(lines, i, count) : 0;
        if (shown >= TOP_LINES && !page->all_frames) {
            fprintf(page->out, "%*s%s %s more\n", INDENT, "", ht_dots(page),
                    ht_counted(count - i, "frame"));
            break;
        }
        if (run > 0) {
            write_folded(page, &lines[i], run, i == 0);
            i += run;
            continue;
        }
        write_line(page, &lines[i], !blamed && !lines[i].plumbing);
        blamed |= !lines[i].plumbing;
        i++;
    }
    if (count == 0)
        fprintf(page->out, "%*sknown by its tag only\n", INDENT, "");
    if (stack->flags & HTL_STACK_FALLBACK)
        fprintf(page->out, "%*sfallback: the callers are not known\n", INDENT, "");
    else if (stack->flags & HTL_STACK_CUT)
        fprintf(page->out, "%*scut: %s\n", INDENT, "",
                stack->frame_count < HTL_STACK_DEPTH
                    ? "no unwind information further out"
                    : "the outer frames of deep stacks are not kept");
    free(lines);
}

/* "4,803,192 bytes in 999 blocks (98.3 %), grows 2.10 MB/hour" */
static char *site_heading(const struct ht_page *page, const struct ht_controller *c,
                          const struct ht_site *site)
{
    const struct ht_report *r = page->report;
    struct ht_amount amount = ht_site_amount(site, r->selection.view);
    struct ht_amount whole = ht_tag_amount(c->tag, r->selection.view);
    struct ht_verdict verdict;
    bool less = amount.bytes < 0;
    int64_t blocks = amount.blocks < 0 ? -amount.blocks : amount.blocks;
    char *share = ht_format(" (%s %%)", ht_percent(amount.bytes, whole.bytes));
    ht_verdict_of_site(r->profile, site, &verdict);
    char *growth = verdict.kind == HT_VERDICT_LEAK
                       ? ht_format(", grows %s MB/hour", ht_mb(verdict.mb_per_hour))
                       : ht_format("%s", "");
    char *text =
        ht_format("%s%s in %s%s%s%s", less ? "-" : "",
                  ht_counted((uint64_t)(less ? -amount.bytes : amount.bytes), "byte"),
                  amount.blocks < 0 && !less ? "-" : "", ht_counted((uint64_t)blocks, "block"),
                  less || whole.bytes <= 0 ? "" : share, growth);
    free(share);
    free(growth);
    return text;
}

static void write_sites(const struct ht_page *page, const struct ht_controller *c)
{
    static const char *const headings[HT_VIEWS] = {
        ": where its live bytes were allocated", ": where its bytes at the peak were allocated",
        ": where all it ever allocated was", ": where what has grown was allocated"};
    enum ht_view view = page->report->selection.view;
    size_t most = page->report->selection.top ? c->site_count : TOP_SITES, left = 0, i = 0;
    char *name = ht_elide(c->tag->name, page->width - ht_columns(headings[view]));
    char *heading = ht_format("%s%s", name, headings[view]);
    ht_heading(page, heading);
    free(name);
    free(heading);
    /* What is left when nearly all is shown says nothing more, unless it was asked for. */
    int64_t rest = ht_tag_amount(c->tag, view).bytes, enough = rest / 200;
    bool asked = page->report->selection.top > 0;
    for (; i < c->site_count && i < most && ht_site_amount(c->sites[i], view).bytes > 0; i++) {
        if (!asked && i >= LEAST_SITES && rest <= enough)
            break;
        rest = ht_clamped_difference(rest, ht_site_amount(c->sites[i], view).bytes);
        fputs("    ", page->out);
        ht_begin_colour(page, HT_BOLD);
        char *text = site_heading(page, c, c->sites[i]);
        ht_print_folded(page->out, text, page->width, 4, 4);
        ht_end_colour(page, HT_BOLD);
        free(text);
        write_stack(page, c->sites[i]->stack);
    }
    for (; i < c->site_count; i++)
        left += ht_site_amount(c->sites[i], view).bytes != 0;
    left += c->sites_left_out;
    if (left > 0)
        fprintf(page->out, "    %s %s more\n", ht_dots(page), ht_counted(left, "call site"));
}

/* Whether there is anything to show of a controller. */
static bool has_sites(const struct ht_page *page, const struct ht_controller *c)
{
    return c->site_count > 0 && ht_site_amount(c->sites[0], page->report->selection.view).bytes > 0;
}

void ht_text_sites(const struct ht_page *page)
{
    const struct ht_report *r = page->report;
    bool asked = ht_selection_filters(&r->selection); /* for these: all of them are shown */
    size_t shown = 0;
    if (r->worst && has_sites(page, r->worst)) {
        write_sites(page, r->worst);
        shown++;
    }
    for (size_t i = 0; i < r->controller_count && shown < TOP_SUSPECTS; i++) {
        const struct ht_controller *c = &r->controllers[i];
        if (c == r->worst || !(asked || ht_is_suspect(c)) || !has_sites(page, c))
            continue;
        write_sites(page, c);
        shown++;
    }
}

/* ---- regions without allocations ------------------------------------------------------------- */

static void write_violations(const struct ht_page *page, const struct ht_region *region)
{
    putc('\n', page->out);
    ht_headline(page, HT_RED,
                ht_format("%s: %s of %s where the program promised none", region->name,
                          ht_counted(region->allocations, "allocation"),
                          ht_counted(region->bytes, "byte")));
    for (size_t i = 0; i < region->site_count; i++) {
        const struct ht_site *site = region->sites[i];
        if (i == TOP_SITES) {
            fprintf(page->out, "    %s %s more\n", ht_dots(page),
                    ht_counted(region->site_count - i, "call site"));
            break;
        }
        char *figures =
            ht_format("%s of %s, %s's", ht_counted(site->figures.allocated_blocks, "allocation"),
                      ht_counted(site->figures.allocated_bytes, "byte"), site->tag->name);
        ht_begin_colour(page, HT_BOLD);
        fputs("    ", page->out);
        ht_print_folded(page->out, figures, page->width, 4, 4);
        free(figures);
        ht_end_colour(page, HT_BOLD);
        write_stack(page, site->stack);
    }
}

void ht_text_regions(const struct ht_page *page)
{
    const struct ht_profile *p = page->report->profile;
    for (size_t i = 0; i < p->region_count && i < TOP_SUSPECTS; i++)
        write_violations(page, p->regions[i]);
}
