/*
 * The report for people. What matters comes first: who is to blame, by how much, where, how fast,
 * when it hurts, and what to do next. Then all controllers, the call sites of the suspects, and
 * what could not be seen.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blame.h"
#include "clamped.h"
#include "diagnose.h"
#include "frame_text.h"
#include "heaptally/units.h"
#include "sparkline.h"
#include "text.h"
#include "text_page.h"

enum { TOP_ALERTS = 4, TREND_WIDTH = 32, MOST_WIDTH_OF_TREND = 48 };

/* ---- the first lines ------------------------------------------------------------------------- */

static char *rate_with_interval(const struct ht_verdict *v)
{
    return ht_format("%s MB/hour [%s, %s]", ht_mb(v->mb_per_hour), ht_mb(v->ci_low),
                     ht_mb(v->ci_high));
}

static char *verdict_sentence(const struct ht_verdict *v)
{
    if (isnan(v->mb_per_hour) || v->kind == HT_VERDICT_LEAK) /* then the first line has said it */
        return ht_format("%s: %s", ht_verdict_name(v->kind), v->reason);
    char *rate = rate_with_interval(v);
    char *text = ht_format("%s: %s, %s", ht_verdict_name(v->kind), rate, v->reason);
    free(rate);
    return text;
}

/* What is said of the rate of a controller, below a first line that has told of the worst. */
static char *rate_sentence(const struct ht_report *r, const struct ht_controller *c)
{
    if (isnan(c->mb_per_1000))
        return ht_format("%s", c->tag->latest.instantiations == 0
                                   ? "unknown, no instantiation was counted yet"
                                   : "unknown, instantiations were not counted");
    return ht_format("%s MB per 1000 instantiations, limit %s MB", ht_mb(c->mb_per_1000_recurring),
                     ht_mb(r->limit_mb));
}

/* What the rate leaves out. */
static char *one_off_sentence(const struct ht_controller *c)
{
    char *size = ht_mb_of(c->one_off.bytes);
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

/* Where to look first: what is one-off only where nothing else is live; NULL where nothing is. */
static const struct ht_site *top_site(const struct ht_controller *c)
{
    if (c->one_off.top_recurring)
        return c->one_off.top_recurring;
    return c->tag->site_count && c->tag->sites[0]->live_bytes ? c->tag->sites[0] : NULL;
}

/* How many controllers have a verdict. */
static size_t count_kind(const struct ht_report *r, enum ht_verdict_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < r->controller_count; i++)
        count += r->controllers[i].verdict.kind == kind;
    return count;
}

/* What is said where nobody is to blame. */
static char *no_leak_sentence(const struct ht_report *r, const char *name)
{
    size_t open = count_kind(r, HT_VERDICT_INCONCLUSIVE) + count_kind(r, HT_VERDICT_INVALID);
    if (open == 0)
        return ht_format("no leak: %s bounded; %s holds the most",
                         r->controller_count == 1 ? "the one controller is" : "all controllers are",
                         name);
    return ht_format("no leak found so far: %s of %s cannot be judged yet; %s holds the most",
                     ht_grouped(open), ht_counted(r->controller_count, "controller"), name);
}

static void write_first_line(const struct ht_page *page, const struct ht_controller *c)
{
    const struct ht_report *r = page->report;
    char *name = ht_elide(c->tag->name, page->width / 2);
    if (c->verdict.kind == HT_VERDICT_LEAK) {
        char *rate = rate_with_interval(&c->verdict);
        ht_headline(page, HT_RED, ht_format("%s leaks %s", name, rate));
        free(rate);
    } else if (c->times_limit > 1) {
        ht_headline(page, HT_RED,
                    ht_format("%s: %s MB per 1000 instantiations, above the limit %s%s", name,
                              ht_mb(c->mb_per_1000_recurring), ht_times_sign(page),
                              ht_ratio(c->times_limit)));
    } else if (c->verdict.kind == HT_VERDICT_INVALID) {
        ht_headline(page, HT_YELLOW, ht_format("no figures: %s", c->verdict.reason));
    } else {
        ht_headline(page,
                    count_kind(r, HT_VERDICT_BOUNDED) == r->controller_count ? HT_GREEN : NULL,
                    no_leak_sentence(r, name));
    }
    free(name);
}

/* "sta leaks, hybrid is above the limit": the other suspects; NULL where there are none. */
static char *others_sentence(const struct ht_report *r)
{
    char *text = NULL;
    for (size_t i = 0; i < r->controller_count; i++) {
        const struct ht_controller *c = &r->controllers[i];
        if (c == r->worst || !ht_is_suspect(c))
            continue;
        char *one =
            c->verdict.kind == HT_VERDICT_LEAK
                ? ht_format("%s leaks %s MB/hour", c->tag->name, ht_mb(c->verdict.mb_per_hour))
                : ht_format("%s is above the limit", c->tag->name);
        char *longer = ht_format("%s%s%s", text ? text : "", text ? "; " : "", one);
        free(one);
        free(text);
        text = longer;
    }
    return text;
}

/* When it hurts; NULL where that is not in sight. */
static char *limit_sentence(const struct ht_verdict *v)
{
    const char *name = ht_limit_name(v->limit);
    if (v->kind != HT_VERDICT_LEAK || isnan(v->seconds_to_limit) || !name)
        return NULL;
    return ht_format("%s is reached in %s, at this rate", name, ht_duration(v->seconds_to_limit));
}

/* A sparkline of live bytes, and between what they lie. */
static void write_trend(const struct ht_page *page, const struct ht_controller *c)
{
    const struct ht_past *past = &c->tag->past;
    double seconds = page->report->profile->duration_s;
    size_t columns = page->width > 90 ? MOST_WIDTH_OF_TREND : TREND_WIDTH;
    if (past->count < 2)
        return;
    char *line = ht_sparkline(past, seconds, columns, page->utf8);
    char *peak = ht_mb_of(c->tag->peak_bytes);
    ht_labelled(page, "trend", ht_format("%s in %s, highest %s", line, ht_duration(seconds), peak));
    free(line);
    free(peak);
}

/* ---- what to do next ------------------------------------------------------------------------- */

/* The time or the instantiations that a verdict needs; NULL where it needs none. */
static char *needs_sentence(const struct ht_report *r, const struct ht_controller *c)
{
    const struct ht_verdict *v = &c->verdict;
    if (v->kind != HT_VERDICT_INCONCLUSIVE || isnan(v->needs_seconds) || v->needs_seconds <= 0)
        return NULL;
    char *made =
        isnan(v->needs_instantiations) || v->needs_instantiations < 1
            ? ht_format("%s", "")
            : ht_format(", or for %s more",
                        ht_counted(ht_clamped_whole(v->needs_instantiations), "instantiation"));
    char *text = ht_format(r->profile->has_end ? "for a verdict, run it %s longer than this time%s"
                                               : "for a verdict, report again in %s%s",
                           ht_duration(v->needs_seconds), made);
    free(made);
    return text;
}

/* What is missing of the module that the blamed function is in; NULL where nothing is. */
static const char *missing_symbols(const struct ht_report *r, const struct ht_stack_line *line)
{
    const struct ht_module *module;
    const char *why;
    for (size_t i = 0; (module = ht_symbolizer_problem(r->symbolizer, i, &why)); i++)
        if (module == line->frame->module)
            return why;
    return NULL;
}

/* Advice on the top site of somebody who is to blame. */
static void advise_on_site(const struct ht_page *page, const struct ht_controller *c,
                           const char **label)
{
    const struct ht_report *r = page->report;
    const struct ht_site *site = top_site(c);
    struct ht_stack_line line;
    if (!site || !ht_blamed_line(r->symbolizer, site, &line))
        return;
    char *where = ht_blamed_text(r->symbolizer, site->stack);
    ht_labelled(page, *label,
                ht_format("find what should free the blocks of %s: %s %% of what %s holds is "
                          "allocated there",
                          where, ht_percent((int64_t)site->live_bytes, (int64_t)c->tag->live_bytes),
                          c->tag->name));
    *label = "";
    free(where);
    const char *why = missing_symbols(r, &line);
    if (why)
        ht_labelled(page, *label,
                    ht_format("for names and lines there: symbols of %s (%s); see --debug-path",
                              ht_base_name(line.frame->module->label), why));
}

/* Whether all that is live belongs to one tag that no rule or scope has made. */
static bool wants_rules(const struct ht_report *r)
{
    const struct ht_controller *c = r->worst;
    return c->tag->kind == HTL_TAG_DEFAULT && r->controllers_left_out == 0 &&
           c->tag->live_bytes > r->profile->live_bytes / 10 * 9 && c->tag->site_count > 1;
}

static void write_next(const struct ht_page *page)
{
    const struct ht_report *r = page->report;
    const struct ht_controller *c = r->worst;
    const char *label = "next";
    if (ht_is_suspect(c))
        advise_on_site(page, c, &label);
    char *needs = needs_sentence(r, c);
    if (needs) {
        ht_labelled(page, label, needs);
        label = "";
    }
    if (wants_rules(r))
        ht_labelled(page, label,
                    ht_format("'heaptally tags %s' proposes rules that tell apart what is in %s",
                              r->profile->file, c->tag->name));
}

static void write_worst(const struct ht_page *page)
{
    const struct ht_report *r = page->report;
    const struct ht_controller *c = r->worst;
    if (!c) {
        ht_headline(page, HT_YELLOW,
                    ht_format(r->controllers_left_out ? "no controller passes the filters"
                              : r->profile->has_tick
                                  ? "no allocation was seen"
                                  : "no figures: the file ends before its first tick"));
        return;
    }
    write_first_line(page, c);
    char *limit = limit_sentence(&c->verdict), *others = others_sentence(r);
    if (limit)
        ht_labelled(page, "limit", limit);
    ht_labelled(page, "live",
                ht_format("%s in %s", ht_counted(c->tag->live_bytes, "byte"),
                          ht_counted(c->tag->live_blocks, "block")));
    if (!isnan(c->mb_per_1000))
        ht_labelled(page, "each",
                    ht_format("%s bytes per instantiation, %s", bytes_each(c),
                              ht_counted(c->tag->latest.instantiations, "instantiation")));
    ht_labelled(page, "rate", rate_sentence(r, c));
    if (c->one_off.blocks > 0)
        ht_labelled(page, "one-off", one_off_sentence(c));
    write_trend(page, c);
    const struct ht_site *site = top_site(c);
    ht_labelled(page, "top site",
                site ? ht_blamed_text(r->symbolizer, site->stack) : ht_format("none that is live"));
    ht_labelled(page, "verdict", verdict_sentence(&c->verdict));
    if (others)
        ht_labelled(page, "also", others);
    write_next(page);
}

/* ---- the process ----------------------------------------------------------------------------- */

static void write_process(const struct ht_page *page)
{
    static const char *const endings[] = {
        [HTL_END_EXIT] = "ended in good order",
        [HTL_END_EXEC] = "replaced by another program (exec)",
        [HTL_END_STOPPED] = "counting was stopped on request",
        [HTL_END_DORMANT] = "heaptally stepped aside, as it said then",
    };
    const struct ht_profile *p = page->report->profile;
    const char *ending = "killed, or still running";
    if (p->has_end)
        ending = p->end.reason >= HTL_END_EXIT && p->end.reason <= HTL_END_DORMANT
                     ? endings[p->end.reason]
                     : "ended";
    if (page->report->part_count > 0)
        ht_labelled(page, "processes",
                    ht_format("%s of %s on %s, within %s", ht_grouped(page->report->part_count),
                              *p->exe ? p->exe : "unknown", *p->host ? p->host : "unknown host",
                              ht_duration(p->duration_s)));
    else
        ht_labelled(page, "process",
                    ht_format("%s, pid %u on %s, %s, %s", *p->exe ? p->exe : "unknown",
                              p->start.pid, *p->host ? p->host : "unknown host",
                              ht_duration(p->duration_s), ending));
    if (!p->has_tick)
        return;
    char *rss = ht_mb_of(p->rss_last), *live = ht_mb_of(p->live_bytes);
    char *own = ht_mb_of(p->last.own_bytes);
    char *growth = p->rss_last == HTL_UNKNOWN
                       ? ht_format("unknown")
                       : ht_format("%+.2f MB",
                                   ((double)p->rss_last - (double)p->rss_baseline) / (double)HT_MB);
    ht_labelled(page, "memory",
                ht_format("%s resident (%s since the start), %s live in %s, %s heaptally's own",
                          rss, growth, live, ht_counted(p->live_blocks, "block"), own));
    char *diagnosis = ht_diagnosis_of(p);
    if (diagnosis && strncmp(diagnosis, "steady", 6) != 0)
        ht_labelled(page, "growth", ht_format("%s", diagnosis));
    free(diagnosis);
    free(rss);
    free(live);
    free(own);
    free(growth);
}

/* Which figures the table and the call sites show, where it is not what is live now. */
static void write_view(const struct ht_page *page)
{
    const struct ht_report *r = page->report;
    enum ht_view view = r->selection.view;
    const struct ht_look_back *then =
        &r->moments[view == HT_VIEW_PEAK ? HT_AT_PEAK : HT_AT_BASELINE];
    if (view == HT_VIEW_LIVE)
        return;
    if (view == HT_VIEW_CUMULATIVE) {
        ht_labelled(page, "view", ht_format("all that was ever allocated, freed or not"));
        return;
    }
    if (!then->known) {
        ht_labelled(page, "view", ht_format("unknown: the file has no tick to take"));
        return;
    }
    char *size = ht_mb_of(then->live_bytes);
    const char *each = r->part_count > 0 ? " (of the first process; each has its own moment)" : "";
    char *unlisted = then->left_out_bytes == 0
                         ? ht_format("%s", "")
                         : ht_format("; call sites as last listed, %s had moved since",
                                     ht_counted(then->left_out_bytes, "byte"));
    char *text = ht_format(
        "%s %s after the start%s, %s live%s%s",
        view == HT_VIEW_PEAK ? "live at the peak," : "growth since",
        ht_duration((double)then->t_ns / 1e9), each, size,
        then->before_the_file ? ": the first tick in the file; of the moment itself it says no more"
                              : "",
        unlisted);
    ht_labelled(page, "view", text);
    free(size);
    free(unlisted);
}

static void write_alerts(const struct ht_page *page)
{
    static const char *const states[] = {"", ", worse", ", over"};
    const struct ht_profile *p = page->report->profile;
    if (p->alert_count == 0)
        return;
    ht_heading(page, "Alerts");
    size_t first = p->alert_count > TOP_ALERTS ? p->alert_count - TOP_ALERTS : 0;
    if (first > 0)
        fprintf(page->out, "  %s %s before these\n", ht_dots(page), ht_counted(first, "alert"));
    for (size_t i = first; i < p->alert_count; i++) {
        const struct htl_alert *a = &p->alerts[i].head;
        uint64_t start = p->start.start_monotonic_ns;
        double after = a->monotonic_ns > start ? (double)(a->monotonic_ns - start) / 1e9 : 0;
        char *label = ht_format("%s", ht_duration(after));
        const char *kind = ht_alert_kind_name(a->kind);
        ht_labelled(page, label,
                    ht_format(" %s%s: %s", kind ? kind : "of a newer kind",
                              a->state < 3 ? states[a->state] : "", p->alerts[i].message));
        free(label);
    }
}

void ht_write_text(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    struct ht_page page = {r, style->width, style->colour, ht_utf8, style->all_frames, out};
    if (page.width < HT_REPORT_LEAST_WIDTH)
        page.width = HT_REPORT_LEAST_WIDTH;
    write_worst(&page);
    putc('\n', out);
    write_process(&page);
    write_view(&page);
    ht_text_controllers(&page);
    ht_text_processes(&page);
    ht_text_sites(&page);
    ht_text_regions(&page);
    write_alerts(&page);
    ht_text_quality(&page);
}
