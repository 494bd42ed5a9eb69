/*
 * The comparison for people: the verdict, the two files, the controllers that changed, and where.
 * The largest are shown; what is left out is counted.
 */
#include "diff.h"

#include <stdlib.h>

#include "frame_text.h"
#include "text.h"

enum {
    LABEL_WIDTH = 13,
    TOP_CONTROLLERS = 20, /* lines of the table */
    TOP_SUSPECTS = 5,     /* whose sites are shown */
    TOP_SITES = 5,        /* of each */
    TOP_FRAMES = 24,      /* of each site; inlined functions count */
    FIGURES = 5,
    LEAST_NAME = 12,
};

struct page {
    const struct ht_diff *diff;
    size_t width;
    FILE *out;
};

/* "  label   sentence", folded; takes the sentence. */
static void labelled(const struct page *page, const char *label, char *sentence)
{
    if (*sentence) {
        fprintf(page->out, "  %-*s", LABEL_WIDTH - 2, label);
        ht_print_folded(page->out, sentence, page->width, LABEL_WIDTH, LABEL_WIDTH);
    }
    free(sentence);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const char *const titles[FIGURES] = {"OLD BYTES", "NEW BYTES", "GROWTH", "BLOCKS", "MADE"};

static char *made_text(const struct ht_diff_controller *c)
{
    uint64_t before = c->old_tag ? c->old_tag->latest.instantiations : 0;
    uint64_t now = c->new_tag ? c->new_tag->latest.instantiations : 0;
    if (before == HTL_UNKNOWN || now == HTL_UNKNOWN || (before == 0 && now == 0))
        return ht_format("-");
    return ht_signed_text((int64_t)(now - before));
}

static char *figure(const struct ht_diff_controller *c, int column)
{
    switch (column) {
    case 0:
        return ht_format("%s", ht_grouped(c->old_bytes));
    case 1:
        return ht_format("%s", ht_grouped(c->new_bytes));
    case 2:
        return ht_signed_text(c->growth_bytes);
    case 3:
        return ht_signed_text(c->growth_blocks);
    default:
        return made_text(c);
    }
}

static size_t shown_controllers(const struct ht_diff *diff)
{
    return diff->controller_count < TOP_CONTROLLERS ? diff->controller_count : TOP_CONTROLLERS;
}

/* Columns of the table that fit; the last ones are left out first. Sets the width of names. */
static int fit(const struct page *page, size_t widths[FIGURES], size_t *name_width)
{
    size_t used = 0, longest = 10;
    int columns = 0;
    for (size_t i = 0; i < shown_controllers(page->diff); i++) {
        size_t length = ht_columns(page->diff->controllers[i].tag);
        longest = length > longest ? length : longest;
    }
    for (int column = 0; column < FIGURES; column++) {
        widths[column] = ht_columns(titles[column]);
        for (size_t i = 0; i < shown_controllers(page->diff); i++) {
            char *text = figure(&page->diff->controllers[i], column);
            size_t length = ht_columns(text);
            widths[column] = length > widths[column] ? length : widths[column];
            free(text);
        }
        if (used + 2 + widths[column] + LEAST_NAME > page->width)
            break;
        used += 2 + widths[column];
        columns++;
    }
    *name_width = longest + used <= page->width ? longest : page->width - used;
    return columns;
}

static void write_name(const struct page *page, const char *name, size_t width)
{
    char *elided = ht_elide(name, width);
    fprintf(page->out, "%s%*s", elided, (int)(width - ht_columns(elided)), "");
    free(elided);
}

static void write_table(const struct page *page)
{
    const struct ht_diff *diff = page->diff;
    size_t widths[FIGURES], name_width;
    int columns = fit(page, widths, &name_width);
    putc('\n', page->out);
    write_name(page, "CONTROLLER", name_width);
    for (int column = 0; column < columns; column++)
        fprintf(page->out, "  %*s", (int)widths[column], titles[column]);
    putc('\n', page->out);
    for (size_t i = 0; i < shown_controllers(diff); i++) {
        write_name(page, diff->controllers[i].tag, name_width);
        for (int column = 0; column < columns; column++) {
            char *text = figure(&diff->controllers[i], column);
            fprintf(page->out, "  %*s", (int)widths[column], text);
            free(text);
        }
        putc('\n', page->out);
    }
    if (diff->controller_count > TOP_CONTROLLERS)
        fprintf(page->out, "and %s more; --format json has all\n",
                ht_counted(diff->controller_count - TOP_CONTROLLERS, "controller"));
}

/* ---- call sites ------------------------------------------------------------------------------ */

static void write_function(const struct page *page, const char *name, const char *place,
                           bool inlined)
{
    enum { INDENT = 6, GAP = 2, NAME = 46 };
    size_t name_width = page->width / 2 < NAME ? page->width / 2 : NAME;
    char *left = ht_elide(name, name_width);
    char *whole = ht_format("%s%s", place, inlined ? ", inlined" : "");
    char *right = ht_elide(whole, page->width - INDENT - name_width - GAP);
    fprintf(page->out, "%*s%s%*s%s\n", INDENT, "", left, (int)(name_width - ht_columns(left) + GAP),
            "", right);
    free(left);
    free(whole);
    free(right);
}

static void write_stack(const struct page *page, const struct ht_stack *stack)
{
    size_t written = 0, left_out = 0;
    for (uint32_t i = 0; stack && i < stack->frame_count; i++) {
        const struct ht_frame *frame = &stack->frames[i];
        const struct ht_place *place = ht_symbolize(page->diff->symbolizer, frame);
        for (size_t k = 0; k < place->count; k++) {
            const struct ht_function *function = &place->functions[k];
            if (written == TOP_FRAMES) {
                left_out++;
                continue;
            }
            char *where = ht_place_text(frame, function);
            write_function(page, function->name ? function->name : "?", where, function->inlined);
            free(where);
            written++;
        }
    }
    if (left_out > 0)
        fprintf(page->out, "      and %s further out\n", ht_counted(left_out, "frame"));
    if (!stack)
        fputs("      call sites that a file does not list\n", page->out);
    else if (stack->frame_count == 0 || stack->flags & HTL_STACK_FALLBACK)
        fputs("      fallback: the callers are not known\n", page->out);
}

static void write_sites(const struct page *page, const struct ht_diff_controller *c)
{
    size_t shown = c->site_count < TOP_SITES ? c->site_count : TOP_SITES;
    char *title = ht_elide(c->tag, page->width / 2);
    fprintf(page->out, "\n%s: what changed\n", title);
    free(title);
    for (size_t i = 0; i < shown; i++) {
        const struct ht_diff_site *site = &c->sites[i];
        char *growth = ht_growth_text(site->growth_bytes, site->growth_blocks);
        fprintf(page->out, "    %s (%s bytes before, %s now)\n", growth,
                ht_grouped(site->old_bytes), ht_grouped(site->new_bytes));
        free(growth);
        write_stack(page, site->stack);
    }
    if (shown < c->site_count)
        fprintf(page->out, "    and %s more; --format json has all\n",
                ht_counted(c->site_count - shown, "call site"));
}

void ht_diff_text(const struct ht_diff *diff, size_t width, FILE *out)
{
    const struct page page = {diff, width, out};
    char *verdict = ht_diff_verdict(diff);
    ht_print_folded(out, verdict, width, 0, LABEL_WIDTH);
    free(verdict);
    labelled(&page, "old", ht_diff_process_text(diff->old_profile));
    labelled(&page, "new", ht_diff_process_text(diff->new_profile));
    labelled(&page, "growth", ht_diff_growth_text(diff));
    if (diff->moved_bytes > 0)
        labelled(&page, "moved",
                 ht_format("%s between call sites and what is not known of them: no growth",
                           ht_counted(diff->moved_bytes, "byte")));
    labelled(&page, "in doubt", ht_diff_doubt_text(diff));
    if (ht_diff_is_empty(diff))
        return;
    write_table(&page);
    for (size_t i = 0; i < diff->controller_count && i < TOP_SUSPECTS; i++)
        write_sites(&page, &diff->controllers[i]);
}
