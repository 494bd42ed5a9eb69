/*
 * The report for people. What matters comes first: who is to blame, by how much, and where. Then
 * all controllers, the call sites of the suspects, and what could not be seen.
 *
 * Nothing is wider than the terminal (60 columns at least): columns of the table are left out in
 * the order of their `rank` until the rest fits, names lose their middle, sentences are folded.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/units.h"
#include "text.h"

enum {
    LABEL_WIDTH = 13, /* of "  live       " */
    TOP_SUSPECTS = 5, /* whose sites are shown */
    TOP_SITES = 5,    /* of each */
    TOP_FRAMES = 24,  /* of each site; inlined functions count */
    LEAST_NAME = 12,  /* columns that a name keeps before columns of figures go */
    TOP_MODULES = 6,  /* without symbols, by name */
};

struct page {
    const struct ht_report *report;
    size_t width;
    bool colour;
    FILE *out;
};

#define RED    "31;1"
#define GREEN  "32"
#define YELLOW "33"
#define BOLD   "1"
#define FAINT  "2"

static void begin_colour(const struct page *page, const char *code)
{
    if (page->colour && code)
        fprintf(page->out, "\033[%sm", code);
}

static void end_colour(const struct page *page, const char *code)
{
    if (page->colour && code)
        fputs("\033[0m", page->out);
}

/* A sentence on lines of its own, in a colour or none. */
static void headline(const struct page *page, const char *code, char *sentence)
{
    begin_colour(page, code);
    ht_print_folded(page->out, sentence, page->width, 0, LABEL_WIDTH);
    end_colour(page, code);
    free(sentence);
}

/* "  label   sentence", folded; takes the sentence. */
static void labelled(const struct page *page, const char *label, char *sentence)
{
    fprintf(page->out, "  %-*s", LABEL_WIDTH - 2, label);
    ht_print_folded(page->out, sentence, page->width, LABEL_WIDTH, LABEL_WIDTH);
    free(sentence);
}

/* "1.00", "19.53", "<0.01", "-" where unknown. */
static const char *mb(double value)
{
    if (isnan(value))
        return "-";
    return value > 0 && value < 0.005 ? "<0.01" : ht_grouped_real(value, 2);
}

/* "0.0", "<0.1", "12.3": of a share in percent; "-" where there is no whole. */
static const char *percent(uint64_t part, uint64_t whole)
{
    double share = whole ? 100 * (double)part / (double)whole : NAN;
    if (isnan(share))
        return "-";
    return share > 0 && share < 0.05 ? "<0.1" : ht_grouped_real(share, 1);
}

static char *mb_of(uint64_t bytes)
{
    return bytes == HTL_UNKNOWN ? ht_format("unknown")
                                : ht_format("%s MB", mb((double)bytes / (double)HT_MB));
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Functions that stand between the code to blame and the allocator. */
static bool is_plumbing(const char *function)
{
    static const char *const prefixes[] = {
        "std::", "__gnu_cxx::", "operator new", "void* std::", "void std::",
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(function, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static const char *module_name(const struct ht_frame *frame)
{
    return frame->module ? ht_base_name(frame->module->label) : "?";
}

/* Where a function of a frame is: "history.c:88", else "libplan.so+0x1234". A new string. */
static char *place_text(const struct ht_frame *frame, const struct ht_function *function)
{
    if (function->file && function->line == 0)
        return ht_format("%s", ht_base_name(function->file));
    if (function->file)
        return ht_format("%s:%d", ht_base_name(function->file), function->line);
    if (!frame->module)
        return ht_format("0x%llx", (unsigned long long)frame->offset);
    return ht_format("%s+0x%llx", module_name(frame), (unsigned long long)frame->offset);
}

/* "history_push (history.c:88)": the innermost function of a site that is not plumbing. */
static char *blamed_place(const struct ht_report *r, const struct ht_site *site)
{
    const struct ht_frame *frame = NULL;
    const struct ht_function *function = NULL;
    for (uint32_t i = 0; i < site->stack->frame_count; i++) {
        const struct ht_frame *candidate = &site->stack->frames[i];
        const struct ht_place *place = ht_symbolize(r->symbolizer, candidate);
        bool runtime = candidate->module && (candidate->module->flags & HTL_MODULE_RUNTIME);
        for (size_t j = 0; j < place->count; j++) {
            const struct ht_function *f = &place->functions[j];
            bool blamed = !runtime && !(f->name && is_plumbing(f->name));
            if (!frame || blamed) {
                frame = candidate;
                function = f;
            }
            if (blamed)
                goto found;
        }
    }
found:
    if (!frame)
        return ht_format("unknown: known by its tag only");
    char *where = place_text(frame, function);
    char *text =
        function->name ? ht_format("%s (%s)", function->name, where) : ht_format("%s", where);
    free(where);
    return text;
}

/* ---- the first lines ------------------------------------------------------------------------- */

static char *verdict_sentence(const struct ht_verdict *v)
{
    if (isnan(v->mb_per_hour))
        return ht_format("%s: %s", ht_verdict_name(v->kind), v->reason);
    return ht_format("%s: %s MB/hour [%s, %s], %s", ht_verdict_name(v->kind),
                     ht_grouped_real(v->mb_per_hour, 2), ht_grouped_real(v->ci_low, 2),
                     ht_grouped_real(v->ci_high, 2), v->reason);
}

/* What is said of the rate of a controller, below a first line that has told of the worst. */
static char *rate_sentence(const struct ht_report *r, const struct ht_controller *c)
{
    if (isnan(c->mb_per_1000))
        return ht_format("%s", c->tag->latest.instantiations == 0
                                   ? "unknown, no instantiation was counted yet"
                                   : "unknown, instantiations were not counted");
    return ht_format("%s MB per 1000 instantiations, limit %s MB", mb(c->mb_per_1000_recurring),
                     mb(r->limit_mb));
}

/* What the rate leaves out. */
static char *one_off_sentence(const struct ht_controller *c)
{
    char *size = mb_of(c->one_off.bytes);
    char *text =
        ht_format("%s in %s, %sallocated once: not counted against the limit", size,
                  ht_counted(c->one_off.blocks, "block"), c->one_off.blocks > 1 ? "each " : "");
    free(size);
    return text;
}

/* A tenth of a byte only where a byte is not much. */
static const char *bytes_each(const struct ht_controller *c)
{
    double each = ht_recurring_bytes_each(c);
    return ht_grouped_real(each, each >= 1000 || each == floor(each) ? 0 : 1);
}

/* Where to look first: what is one-off only where nothing else is live. A new string. */
static char *top_site_text(const struct ht_report *r, const struct ht_controller *c)
{
    if (c->tag->site_count == 0 || c->tag->sites[0]->live_bytes == 0)
        return ht_format("none that is live");
    return blamed_place(r, c->one_off.top_recurring ? c->one_off.top_recurring : c->tag->sites[0]);
}

static void write_first_line(const struct page *page, const struct ht_controller *c)
{
    const struct ht_report *r = page->report;
    char *name = ht_elide(c->tag->name, page->width / 2);
    if (c->verdict.kind == HT_VERDICT_LEAK)
        headline(page, RED,
                 ht_format("%s leaks %s MB/hour [%s, %s]", name,
                           ht_grouped_real(c->verdict.mb_per_hour, 2),
                           ht_grouped_real(c->verdict.ci_low, 2),
                           ht_grouped_real(c->verdict.ci_high, 2)));
    else if (c->times_limit > 1)
        headline(page, RED,
                 ht_format("%s: %s MB per 1000 instantiations, above the limit \u00d7%s", name,
                           mb(c->mb_per_1000_recurring), ht_ratio(c->times_limit)));
    else if (c->verdict.kind == HT_VERDICT_INVALID)
        headline(page, YELLOW, ht_format("no figures: %s", c->verdict.reason));
    else
        headline(page, NULL,
                 ht_format("no controller is above the limit of %s MB per 1000 instantiations; "
                           "%s holds the most",
                           mb(r->limit_mb), name));
    free(name);
}

static void write_worst(const struct page *page)
{
    const struct ht_report *r = page->report;
    const struct ht_controller *c = r->worst;
    if (!c) {
        headline(page, YELLOW,
                 ht_format(r->profile->has_tick
                               ? "no allocation was seen"
                               : "no figures: the file ends before its first tick"));
        return;
    }
    uint64_t made = c->tag->latest.instantiations;
    write_first_line(page, c);
    labelled(page, "live",
             ht_format("%s in %s", ht_counted(c->tag->live_bytes, "byte"),
                       ht_counted(c->tag->live_blocks, "block")));
    if (!isnan(c->mb_per_1000))
        labelled(page, "each",
                 ht_format("%s bytes per instantiation, %s", bytes_each(c),
                           ht_counted(made, "instantiation")));
    labelled(page, "rate", rate_sentence(r, c));
    if (c->one_off.blocks > 0)
        labelled(page, "one-off", one_off_sentence(c));
    labelled(page, "top site", top_site_text(r, c));
    labelled(page, "verdict", verdict_sentence(&c->verdict));
}

static void write_process(const struct page *page)
{
    static const char *const endings[] = {
        [HTL_END_EXIT] = "ended in good order",
        [HTL_END_EXEC] = "replaced by another program (exec)",
        [HTL_END_STOPPED] = "counting was stopped on request",
        [HTL_END_DORMANT] = "heaptally stepped aside after a failure inside",
    };
    const struct ht_profile *p = page->report->profile;
    const char *ending = "killed, or still running";
    if (p->has_end)
        ending = p->end.reason >= HTL_END_EXIT && p->end.reason <= HTL_END_DORMANT
                     ? endings[p->end.reason]
                     : "ended";
    labelled(page, "process",
             ht_format("%s, pid %u on %s, %s, %s", *p->exe ? p->exe : "unknown", p->start.pid,
                       *p->host ? p->host : "unknown host", ht_duration(p->duration_s), ending));
    if (!p->has_tick)
        return;
    char *rss = mb_of(p->rss_last), *live = mb_of(p->live_bytes), *own = mb_of(p->last.own_bytes);
    char *growth = p->rss_last == HTL_UNKNOWN
                       ? ht_format("unknown")
                       : ht_format("%+.2f MB",
                                   ((double)p->rss_last - (double)p->rss_baseline) / (double)HT_MB);
    labelled(page, "memory",
             ht_format("%s resident (%s since the start), %s live in %s, %s heaptally's own", rss,
                       growth, live, ht_counted(p->live_blocks, "block"), own));
    free(rss);
    free(live);
    free(own);
    free(growth);
}

/* ---- the table of controllers ---------------------------------------------------------------- */

enum { NAME, LIVE, BLOCKS, MADE, RATE, TIMES, VERDICT, COLUMNS };

static const struct {
    const char *title;
    int rank; /* the highest is left out first; 0 never */
    bool left;
} columns[COLUMNS] = {
    [NAME] = {"CONTROLLER", 0, true}, [LIVE] = {"LIVE BYTES", 0, false},
    [BLOCKS] = {"BLOCKS", 2, false},  [MADE] = {"MADE", 3, false},
    [RATE] = {"MB/1000", 1, false},   [TIMES] = {"\u00d7LIMIT", 5, false},
    [VERDICT] = {"VERDICT", 4, true},
};

/* The text of one cell; a new string. */
static char *cell(const struct ht_controller *c, int column)
{
    uint64_t made = c->tag->latest.instantiations;
    switch (column) {
    case NAME:
        return ht_format("%s", c->tag->name);
    case LIVE:
        return ht_format("%s", ht_grouped(c->tag->live_bytes));
    case BLOCKS:
        return ht_format("%s", ht_grouped(c->tag->live_blocks));
    case MADE:
        return ht_format("%s", made == HTL_UNKNOWN ? "-" : ht_grouped(made));
    case RATE:
        return ht_format("%s", mb(c->mb_per_1000_recurring));
    case TIMES:
        return ht_format("%s", isnan(c->times_limit) ? "-" : ht_ratio(c->times_limit));
    default:
        return ht_format("%s", ht_verdict_name(c->verdict.kind));
    }
}

/* Columns that the widest cell of each column takes. */
static void measure_columns(const struct page *page, size_t widths[COLUMNS])
{
    const struct ht_report *r = page->report;
    for (int i = 0; i < COLUMNS; i++) {
        widths[i] = ht_columns(columns[i].title);
        for (size_t j = 0; j < r->controller_count; j++) {
            char *text = cell(&r->controllers[j], i);
            size_t width = ht_columns(text);
            widths[i] = width > widths[i] ? width : widths[i];
            free(text);
        }
    }
}

/* Widths of the columns that fit, 0 for those left out. */
static void fit_columns(const struct page *page, size_t widths[COLUMNS])
{
    measure_columns(page, widths);
    size_t wanted = widths[NAME], least = wanted < LEAST_NAME ? wanted : LEAST_NAME;
    for (int rank = COLUMNS;; rank--) {
        size_t others = 0;
        for (int i = 0; i < COLUMNS; i++)
            others += i != NAME && widths[i] ? widths[i] + 2 : 0;
        if (others + least <= page->width || rank == 0) {
            size_t left = page->width > others + least ? page->width - others : least;
            widths[NAME] = wanted < left ? wanted : left;
            return;
        }
        for (int i = 0; i < COLUMNS; i++)
            if (columns[i].rank == rank)
                widths[i] = 0;
    }
}

/* One cell, padded unless it is the last on its line. */
static void write_cell(const struct page *page, const char *text, size_t width, bool left,
                       bool last)
{
    char *fitting = ht_elide(text, width);
    size_t used = ht_columns(fitting);
    int padding = width > used ? (int)(width - used) : 0;
    fprintf(page->out, "%*s%s%*s", left ? 0 : padding, "", fitting, left && !last ? padding : 0,
            "");
    free(fitting);
}

static void write_row(const struct page *page, const size_t widths[COLUMNS],
                      const struct ht_controller *c)
{
    int last = COLUMNS - 1;
    while (!widths[last])
        last--;
    const char *code = !c ? FAINT : ht_is_suspect(c) ? RED : NULL;
    begin_colour(page, code);
    for (int i = 0; i <= last; i++) {
        if (!widths[i])
            continue;
        char *text = c ? cell(c, i) : ht_format("%s", columns[i].title);
        if (i != NAME)
            fputs("  ", page->out);
        write_cell(page, text, widths[i], columns[i].left, i == last);
        free(text);
    }
    end_colour(page, code);
    putc('\n', page->out);
}

static void write_table(const struct page *page)
{
    const struct ht_report *r = page->report;
    size_t widths[COLUMNS];
    if (r->controller_count == 0)
        return;
    putc('\n', page->out);
    fit_columns(page, widths);
    write_row(page, widths, NULL);
    for (size_t i = 0; i < r->controller_count; i++)
        write_row(page, widths, &r->controllers[i]);
}

/* ---- call sites ------------------------------------------------------------------------------ */

/* "      FUNCTION      PLACE" in two columns; the place alone where the function is not known. */
static void write_frame(const struct page *page, const struct ht_frame *frame,
                        const struct ht_function *function)
{
    enum { INDENT = 6, GAP = 2 };
    size_t room = page->width - INDENT, column = room / 2;
    char *place = place_text(frame, function);
    char *where = ht_format("%s%s", place, function->inlined ? ", inlined" : "");
    char *short_where = ht_elide(where, function->name ? column - GAP : room);
    if (function->name) {
        char *name = ht_elide(function->name, room - GAP - ht_columns(short_where));
        size_t used = ht_columns(name), at = room - ht_columns(short_where);
        at = at < column ? at : column;
        fprintf(page->out, "%*s%s%*s", INDENT, "", name, (int)(used + GAP < at ? at - used : GAP),
                "");
        free(name);
    } else {
        fprintf(page->out, "%*s", INDENT, "");
    }
    fprintf(page->out, "%s\n", short_where);
    free(place);
    free(where);
    free(short_where);
}

static void write_stack(const struct page *page, const struct ht_stack *stack)
{
    size_t shown = 0;
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct ht_place *place = ht_symbolize(page->report->symbolizer, &stack->frames[i]);
        if (shown >= TOP_FRAMES) {
            fprintf(page->out, "      \u2026 %s more\n",
                    ht_counted(stack->frame_count - i, "frame"));
            break;
        }
        for (size_t j = 0; j < place->count; j++, shown++)
            write_frame(page, &stack->frames[i], &place->functions[j]);
    }
    if (stack->frame_count == 0)
        fputs("      known by its tag only\n", page->out);
    if (stack->flags & HTL_STACK_FALLBACK)
        fputs("      fallback: the callers are not known\n", page->out);
    else if (stack->flags & HTL_STACK_CUT)
        fputs("      cut: no unwind information further out\n", page->out);
}

static void write_sites(const struct page *page, const struct ht_controller *c)
{
    const struct ht_tag *tag = c->tag;
    static const char heading[] = ": where its live bytes were allocated";
    char *name = ht_elide(tag->name, page->width - strlen(heading));
    fprintf(page->out, "\n%s%s\n", name, heading);
    free(name);
    for (size_t i = 0; i < tag->site_count && tag->sites[i]->live_bytes > 0; i++) {
        const struct ht_site *site = tag->sites[i];
        if (i == TOP_SITES) {
            fprintf(page->out, "    \u2026 %s more\n",
                    ht_counted(tag->site_count - i, "call site"));
            break;
        }

        char *figures = ht_format("%s in %s (%s %%)", ht_counted(site->live_bytes, "byte"),
                                  ht_counted(site->live_blocks, "block"),
                                  percent(site->live_bytes, tag->live_bytes));
        begin_colour(page, BOLD);
        fputs("    ", page->out);
        ht_print_folded(page->out, figures, page->width, 4, 4);
        free(figures);
        end_colour(page, BOLD);
        write_stack(page, site->stack);
    }
}

static void write_suspects(const struct page *page)
{
    const struct ht_report *r = page->report;
    const struct ht_controller *worst = r->worst;
    size_t shown = 0;
    if (worst && worst->tag->site_count && worst->tag->sites[0]->live_bytes) {
        write_sites(page, worst);
        shown++;
    }
    for (size_t i = 0; i < r->controller_count && shown < TOP_SUSPECTS; i++) {
        const struct ht_controller *c = &r->controllers[i];
        if (c != worst && ht_is_suspect(c) && c->tag->site_count) {
            write_sites(page, c);
            shown++;
        }
    }
}

/* ---- regions without allocations ------------------------------------------------------------- */

static void write_violations(const struct page *page, const struct ht_region *region)
{
    putc('\n', page->out);
    headline(page, RED,
             ht_format("%s: %s of %s where the program promised none", region->name,
                       ht_counted(region->allocations, "allocation"),
                       ht_counted(region->bytes, "byte")));
    for (size_t i = 0; i < region->site_count; i++) {
        const struct ht_site *site = region->sites[i];
        if (i == TOP_SITES) {
            fprintf(page->out, "    \u2026 %s more\n",
                    ht_counted(region->site_count - i, "call site"));
            break;
        }
        char *figures =
            ht_format("%s of %s, %s's", ht_counted(site->figures.allocated_blocks, "allocation"),
                      ht_counted(site->figures.allocated_bytes, "byte"), site->tag->name);
        begin_colour(page, BOLD);
        fputs("    ", page->out);
        ht_print_folded(page->out, figures, page->width, 4, 4);
        free(figures);
        end_colour(page, BOLD);
        write_stack(page, site->stack);
    }
}

static void write_regions(const struct page *page)
{
    for (size_t i = 0; i < page->report->profile->region_count && i < TOP_SUSPECTS; i++)
        write_violations(page, page->report->profile->regions[i]);
}

/* ---- what could not be seen ------------------------------------------------------------------ */

static void write_file_quality(const struct page *page)
{
    const struct ht_profile *p = page->report->profile;
    const struct ht_read_state *reading = &p->reading;
    if (reading->torn)
        labelled(page, "torn",
                 ht_format("%s: the last %s of %s are not read", reading->torn,
                           ht_counted(reading->file_size - reading->offset, "byte"),
                           ht_grouped(reading->file_size)));
    else
        labelled(page, "file",
                 ht_format("read to its end, %s", ht_counted(reading->file_size, "byte")));
    if (!p->has_end)
        labelled(page, "no end",
                 ht_format("the process was killed or is still running: "
                           "controllers are as of the last tick, call sites as "
                           "last listed"));
    if (!p->quality.sites_are_exact && p->quality.left_out_bytes > 0)
        labelled(page, "sites",
                 ht_format("%s were allocated or freed by call sites since they were last listed",
                           ht_counted(p->quality.left_out_bytes, "byte")));
    uint64_t strange = reading->malformed + p->quality.contradictions + p->quality.unknown_names;
    if (strange > 0)
        labelled(page, "damaged",
                 ht_format("%s with the rest of the file; what contradicts is left out",
                           ht_counted(strange, "contradiction")));
    if (reading->unknown > 0)
        labelled(
            page, "newer",
            ht_format("%s of a newer format are left out", ht_counted(reading->unknown, "record")));
}

static void write_counting_quality(const struct page *page)
{
    const struct ht_profile *p = page->report->profile;
    const struct htl_tick *last = &p->last;
    if (!p->has_tick)
        return;
    const struct htl_figures *f = &last->fallback;
    uint64_t live = f->allocated_bytes > f->freed_bytes ? f->allocated_bytes - f->freed_bytes : 0;
    labelled(page, "fallback",
             ht_format("%s (%s %% of all allocated, %s live) known by return address or tag only",
                       ht_counted(f->allocated_bytes, "byte"),
                       percent(f->allocated_bytes, last->total.allocated_bytes), ht_grouped(live)));
    labelled(page, "foreign",
             ht_format("%s of blocks never seen, %s", ht_counted(last->foreign_frees, "free"),
                       ht_counted(last->foreign_bytes, "byte")));
    labelled(
        page, "overruns",
        ht_format("%s with an overwritten end", ht_counted(last->suspected_overruns, "block")));
    labelled(page, "dropped",
             ht_format("%s not taken or not written, detail lost in %s",
                       ht_counted(last->dropped_ticks, "tick"),
                       ht_counted(last->truncated, "full table")));
}

static void write_module_quality(const struct page *page)
{
    static const char *const linked_in[] = {
        "unknown whether the program has one linked in",
        "none linked into the program",
        "linked into the program: what it gives out is not seen",
    };
    const struct ht_report *r = page->report;
    const struct ht_profile *p = r->profile;
    labelled(page, "allocator", ht_format("%s", linked_in[ht_report_static_allocator(p) + 1]));
    if (p->has_tick)
        labelled(page, "own",
                 ht_format("%s of heaptally's own memory, in no figure above",
                           ht_counted(p->last.own_bytes, "byte")));
    const struct ht_module *module;
    const char *why;
    size_t i = 0;
    for (; (module = ht_symbolizer_problem(r->symbolizer, i, &why)); i++)
        if (i < TOP_MODULES)
            labelled(page, i ? "" : "symbols",
                     ht_format("%s: %s", ht_base_name(module->label), why));
    if (i > TOP_MODULES)
        labelled(page, "", ht_format("and %s more", ht_counted(i - TOP_MODULES, "module")));
}

void ht_write_text(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    struct page page = {r, style->width, style->colour, out};
    if (page.width < HT_REPORT_LEAST_WIDTH)
        page.width = HT_REPORT_LEAST_WIDTH;
    write_worst(&page);
    putc('\n', out);
    write_process(&page);
    write_table(&page);
    write_suspects(&page);
    write_regions(&page);
    fputs("\nHow far this can be trusted\n", out);
    write_file_quality(&page);
    write_counting_quality(&page);
    write_module_quality(&page);
}
