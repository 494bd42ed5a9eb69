/*
 * The tables of the report for people: controllers, and processes where the report is on several.
 *
 * Columns are left out in the order of their `rank` until the rest fits, and where no row has
 * anything to say in them; then names lose their middle.
 */
#include "text_page.h"

#include <math.h>
#include <stdlib.h>

#include "heaptally/units.h"
#include "clamped.h"
#include "sparkline.h"
#include "text.h"

enum {
    MAX_COLUMNS = 10,
    LEAST_NAME = 12,   /* columns that a name keeps before columns of figures go */
    TREND_WIDTH = 14,  /* of a sparkline */
    NARROW_TREND = 10, /* of one on a page that is narrow */
};

struct column {
    const char *title;
    int rank; /* the highest is left out first; 0 never */
    bool left;
};

/* A table in the making: cells are new strings, "-" where there is nothing to say. */
struct table {
    const struct ht_page *page;
    struct column columns[MAX_COLUMNS];
    int column_count;
    char **cells;       /* row by row */
    const char **codes; /* colours, by row; NULL for none */
    size_t row_count;
    size_t widths[MAX_COLUMNS]; /* 0: left out */
};

static void add_row(struct table *t, const char *code)
{
    t->codes = ht_room_for_one(t->codes, t->row_count, sizeof *t->codes);
    t->codes[t->row_count++] = code;
    t->cells = ht_reallocate(t->cells, t->row_count * (size_t)t->column_count, sizeof *t->cells);
}

static char **cell_at(const struct table *t, size_t row, int column)
{
    return &t->cells[row * (size_t)t->column_count + (size_t)column];
}

/* Columns that the widest cell of each column takes; 0 where all are "-". */
static void measure_columns(struct table *t)
{
    for (int i = 0; i < t->column_count; i++) {
        bool says_something = false;
        t->widths[i] = ht_columns(t->columns[i].title);
        for (size_t j = 0; j < t->row_count; j++) {
            const char *text = *cell_at(t, j, i);
            size_t width = ht_columns(text);
            t->widths[i] = width > t->widths[i] ? width : t->widths[i];
            says_something |= text[0] && !(text[0] == '-' && !text[1]);
        }
        if (!says_something && i > 0)
            t->widths[i] = 0;
    }
}

/* Leaves out columns until the rest fits; the first keeps what is left. */
static void fit_columns(struct table *t)
{
    size_t wanted, least, width = t->page->width;
    measure_columns(t);
    wanted = t->widths[0];
    least = wanted < LEAST_NAME ? wanted : LEAST_NAME;
    for (int rank = MAX_COLUMNS;; rank--) {
        size_t others = 0;
        for (int i = 1; i < t->column_count; i++)
            others += t->widths[i] ? t->widths[i] + 2 : 0;
        if (others + least <= width || rank == 0) {
            size_t left = width > others + least ? width - others : least;
            t->widths[0] = wanted < left ? wanted : left;
            return;
        }
        for (int i = 1; i < t->column_count; i++)
            if (t->columns[i].rank == rank)
                t->widths[i] = 0;
    }
}

/* One cell, padded unless it is the last on its line. */
static void write_cell(const struct ht_page *page, const char *text, size_t width, bool left,
                       bool last)
{
    char *fitting = ht_elide(text, width);
    size_t used = ht_columns(fitting);
    int padding = width > used ? (int)(width - used) : 0;
    fprintf(page->out, "%*s%s%*s", left ? 0 : padding, "", fitting, left && !last ? padding : 0,
            "");
    free(fitting);
}

/* Row number `row`, or the titles for -1. */
static void write_row(const struct table *t, long row)
{
    const char *code = row < 0 ? HT_FAINT : t->codes[row];
    int last = t->column_count - 1;
    while (!t->widths[last])
        last--;
    ht_begin_colour(t->page, code);
    for (int i = 0; i <= last; i++) {
        if (!t->widths[i])
            continue;
        if (i > 0)
            fputs("  ", t->page->out);
        write_cell(t->page, row < 0 ? t->columns[i].title : *cell_at(t, (size_t)row, i),
                   t->widths[i], t->columns[i].left, i == last);
    }
    ht_end_colour(t->page, code);
    putc('\n', t->page->out);
}

/* Writes the table behind an empty line and frees it. */
static void finish(struct table *t)
{
    putc('\n', t->page->out);
    fit_columns(t);
    for (long row = -1; row < (long)t->row_count; row++)
        write_row(t, row);
    for (size_t i = 0; i < t->row_count * (size_t)t->column_count; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t->codes);
}

/* ---- controllers ----------------------------------------------------------------------------- */

enum { NAME, LIVE, BLOCKS, TREND, PER_HOUR, MADE, PER_1000, TIMES, VERDICT, CONTROLLER_COLUMNS };

static char *signed_bytes(int64_t bytes)
{
    return ht_format("%s%s", bytes < 0 ? "-" : "",
                     ht_grouped((uint64_t)(bytes < 0 ? -bytes : bytes)));
}

static void add_controller(struct table *t, const struct ht_controller *c)
{
    const struct ht_report *r = t->page->report;
    struct ht_amount amount = ht_tag_amount(c->tag, r->selection.view);
    uint64_t made = c->tag->latest.instantiations;
    size_t row = t->row_count;
    add_row(t, c->verdict.kind == HT_VERDICT_LEAK || ht_is_suspect(c) ? HT_RED
               : c->verdict.kind == HT_VERDICT_BOUNDED                ? HT_GREEN
                                                                      : NULL);
    *cell_at(t, row, NAME) = ht_format("%s", c->tag->name);
    *cell_at(t, row, LIVE) = signed_bytes(amount.bytes);
    *cell_at(t, row, BLOCKS) = signed_bytes(amount.blocks);
    *cell_at(t, row, TREND) =
        ht_sparkline(&c->tag->past, r->profile->duration_s,
                     t->page->width < 90 ? NARROW_TREND : TREND_WIDTH, t->page->utf8);
    *cell_at(t, row, PER_HOUR) = ht_format("%s", ht_mb(c->verdict.mb_per_hour));
    *cell_at(t, row, MADE) = ht_format("%s", made == HTL_UNKNOWN ? "-" : ht_grouped(made));
    *cell_at(t, row, PER_1000) = ht_format("%s", ht_mb(c->mb_per_1000_recurring));
    *cell_at(t, row, TIMES) =
        ht_format("%s", isnan(c->times_limit) ? "-" : ht_ratio(c->times_limit));
    *cell_at(t, row, VERDICT) = ht_format("%s", ht_verdict_name(c->verdict.kind));
}

void ht_text_controllers(const struct ht_page *page)
{
    static const char *const amounts[HT_VIEWS] = {"LIVE BYTES", "PEAK BYTES", "ALL BYTES",
                                                  "GROWN BYTES"};
    const struct ht_report *r = page->report;
    struct table t = {
        .page = page,
        .columns = {[NAME] = {"CONTROLLER", 0, true},
                    [LIVE] = {amounts[r->selection.view], 0, false},
                    [BLOCKS] = {"BLOCKS", 6, false},
                    [TREND] = {"TREND", 4, true},
                    [PER_HOUR] = {"MB/HOUR", 2, false},
                    [MADE] = {"MADE", 5, false},
                    [PER_1000] = {"MB/1000", 1, false},
                    [TIMES] = {page->utf8 ? "\u00d7LIMIT" : "xLIMIT", 7, false},
                    [VERDICT] = {"VERDICT", 3, true}},
        .column_count = CONTROLLER_COLUMNS,
    };
    if (r->controller_count == 0)
        return;
    for (size_t i = 0; i < r->controller_count; i++)
        add_controller(&t, &r->controllers[i]);
    finish(&t);
    if (r->controllers_left_out > 0)
        fprintf(page->out, "%s %s left out by the filters\n", ht_dots(page),
                ht_counted(r->controllers_left_out, "controller"));
}

/* ---- processes ------------------------------------------------------------------------------- */

enum { PROGRAM, PID, HELD, RESIDENT, GROWTH, LASTED, GRAVEST, END, PROCESS_COLUMNS };

/* "classical leaks", or the verdict that all share, or the gravest. */
static char *gravest(const struct ht_report *part)
{
    const struct ht_controller *c = part->worst;
    if (!c)
        return ht_format("-");
    if (c->verdict.kind == HT_VERDICT_LEAK)
        return ht_format("%s leaks", c->tag->name);
    return c->times_limit > 1 ? ht_format("%s above limit", c->tag->name)
                              : ht_format("%s", ht_verdict_name(part->controllers[0].verdict.kind));
}

static void add_process(struct table *t, const struct ht_report *part)
{
    const struct ht_profile *p = part->profile;
    size_t row = t->row_count;
    add_row(t, part->worst && ht_is_suspect(part->worst) ? HT_RED : NULL);
    bool known = p->rss_last != HTL_UNKNOWN;
    double growth = ((double)p->rss_last - (double)p->rss_baseline) / (double)HT_MB;
    *cell_at(t, row, PROGRAM) = ht_format("%s", *p->exe ? ht_base_name(p->exe) : p->file);
    *cell_at(t, row, PID) = ht_format("%u", p->start.pid);
    *cell_at(t, row, HELD) = ht_format("%s", ht_grouped(p->live_bytes));
    *cell_at(t, row, RESIDENT) = known ? ht_mb_of(p->rss_last) : ht_format("-");
    *cell_at(t, row, GROWTH) = known ? ht_format("%+.2f MB", growth) : ht_format("-");
    *cell_at(t, row, LASTED) = ht_format("%s", ht_duration(p->duration_s));
    *cell_at(t, row, GRAVEST) = gravest(part);
    *cell_at(t, row, END) = ht_format("%s", p->has_end ? "ended" : "killed or running");
}

void ht_text_processes(const struct ht_page *page)
{
    const struct ht_report *r = page->report;
    struct table t = {
        .page = page,
        .columns = {[PROGRAM] = {"PROCESS", 0, true},
                    [PID] = {"PID", 0, false},
                    [HELD] = {"LIVE BYTES", 0, false},
                    [RESIDENT] = {"RESIDENT", 2, false},
                    [GROWTH] = {"GROWTH", 3, false},
                    [LASTED] = {"LASTED", 4, false},
                    [GRAVEST] = {"GRAVEST", 1, true},
                    [END] = {"END", 5, true}},
        .column_count = PROCESS_COLUMNS,
    };
    if (r->part_count == 0)
        return;
    for (size_t i = 0; i < r->part_count; i++)
        add_process(&t, &r->parts[i]);
    finish(&t);
}
