/*
 * Which sites are listed, and what is said of each: one line a site, written column by column.
 */
#include "page_sites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "page_tables.h"
#include "text.h"

enum {
    MAX_SITES = 10000, /* listed one by one; those with less are added up per controller */
    MAX_JUDGED = 200,  /* largest sites that have a verdict of their own: one takes a while */
};

/* Bits of a site; data.js knows them. */
enum {
    SITE_CUT = 1,
    SITE_FALLBACK = 2,
    SITE_REST = 4,  /* a controller's smaller sites together */
    SITE_TOP = 8,   /* where to look first in its controller */
    SITE_DEEP = 16, /* cut for its depth */
};

/* What is said of a line of the table of sites in whole numbers. */
enum column {
    CONTROLLER,
    FLAGS,
    SITES, /* that the line stands for: one, or a controller's smaller ones together */
    LIVE,
    BLOCKS,
    ALLOCATED,
    ALLOCATED_BLOCKS,
    PEAK,
    PEAK_BLOCKS,
    BASELINE,
    BASELINE_BLOCKS,
    VERDICT, /* HTL_UNKNOWN where it was not judged */
    REGION,  /* whose promise not to allocate is broken there; HTL_UNKNOWN for none */
    COLUMNS
};

static const char *const column_names[COLUMNS] = {
    [CONTROLLER] = "controller",
    [FLAGS] = "flags",
    [SITES] = "sites",
    [LIVE] = "live",
    [BLOCKS] = "blocks",
    [ALLOCATED] = "allocated",
    [ALLOCATED_BLOCKS] = "allocatedBlocks",
    [PEAK] = "peak",
    [PEAK_BLOCKS] = "peakBlocks",
    [BASELINE] = "baseline",
    [BASELINE_BLOCKS] = "baselineBlocks",
    [VERDICT] = "verdict",
    [REGION] = "region",
};

struct line {
    uint64_t columns[COLUMNS];
    int64_t node;
    double mb_per_hour; /* NaN where unknown */
};

struct table {
    const struct ht_report *report;
    struct ht_page_json *json;
    struct line *lines;
    size_t line_count;
};

static uint64_t difference(uint64_t allocated, uint64_t freed)
{
    return allocated > freed ? allocated - freed : 0;
}

static uint64_t weight_of(const struct ht_site *site)
{
    const struct htl_figures *peak = &site->then[HT_AT_PEAK];
    uint64_t then = difference(peak->allocated_bytes, peak->freed_bytes);
    return site->live_bytes > then ? site->live_bytes : then;
}

static int by_weight(const void *a, const void *b)
{
    const struct ht_site *x = *(const struct ht_site *const *)a;
    const struct ht_site *y = *(const struct ht_site *const *)b;
    uint64_t m = weight_of(x), n = weight_of(y);
    if (m != n)
        return m < n ? 1 : -1;
    m = x->figures.allocated_bytes, n = y->figures.allocated_bytes;
    return m != n ? (m < n ? 1 : -1) : 0;
}

static int by_address(const void *a, const void *b)
{
    const struct ht_site *x = *(const struct ht_site *const *)a;
    const struct ht_site *y = *(const struct ht_site *const *)b;
    return x < y ? -1 : x > y;
}

/* Sites that are listed, and those of them that are judged: arrays by address. */
struct chosen {
    const struct ht_site **sites, **judged;
    size_t site_count, judged_count;
};

/* The largest sites of all controllers, live or at the peak. */
static struct chosen choose_sites(const struct ht_report *r)
{
    struct chosen c = {0};
    size_t all = 0;
    for (size_t i = 0; i < r->controller_count; i++)
        all += r->controllers[i].site_count;
    c.sites = ht_allocate_zeroed(all + 1, sizeof *c.sites);
    for (size_t i = 0; i < r->controller_count; i++)
        for (size_t k = 0; k < r->controllers[i].site_count; k++)
            c.sites[c.site_count++] = r->controllers[i].sites[k];
    qsort(c.sites, c.site_count, sizeof *c.sites, by_weight);
    c.site_count = all < MAX_SITES ? all : MAX_SITES;
    c.judged_count = all < MAX_JUDGED ? all : MAX_JUDGED;
    c.judged = ht_allocate_zeroed(MAX_JUDGED, sizeof *c.judged);
    memcpy(c.judged, c.sites, c.judged_count * sizeof *c.judged);
    qsort(c.sites, c.site_count, sizeof *c.sites, by_address);
    qsort(c.judged, c.judged_count, sizeof *c.judged, by_address);
    return c;
}

static bool is_among(const struct ht_site *site, const struct ht_site **sites, size_t count)
{
    return bsearch(&site, sites, count, sizeof *sites, by_address) != NULL;
}

static void add_to_line(struct line *line, const struct ht_site *site)
{
    const struct htl_figures *peak = &site->then[HT_AT_PEAK];
    const struct htl_figures *baseline = &site->then[HT_AT_BASELINE];
    const uint64_t more[COLUMNS] = {
        [SITES] = 1,
        [LIVE] = site->live_bytes,
        [BLOCKS] = site->live_blocks,
        [ALLOCATED] = site->figures.allocated_bytes,
        [ALLOCATED_BLOCKS] = site->figures.allocated_blocks,
        [PEAK] = difference(peak->allocated_bytes, peak->freed_bytes),
        [PEAK_BLOCKS] = difference(peak->allocated_blocks, peak->freed_blocks),
        [BASELINE] = difference(baseline->allocated_bytes, baseline->freed_bytes),
        [BASELINE_BLOCKS] = difference(baseline->allocated_blocks, baseline->freed_blocks),
    };
    for (enum column i = 0; i < COLUMNS; i++)
        line->columns[i] += more[i];
}

static struct line empty_line(size_t controller, unsigned flags)
{
    return (struct line){
        .columns = {[CONTROLLER] = controller,
                    [FLAGS] = flags,
                    [VERDICT] = HTL_UNKNOWN,
                    [REGION] = HTL_UNKNOWN},
        .node = HT_NO_NODE,
        .mb_per_hour = NAN,
    };
}

static void add_line(struct table *t, const struct line *line)
{
    t->lines = ht_room_for_one(t->lines, t->line_count, sizeof *t->lines);
    t->lines[t->line_count++] = *line;
}

static void judge_line(const struct table *t, const struct ht_site *site, struct line *line)
{
    struct ht_verdict verdict;
    ht_verdict_of_site(t->report->profile, site, &verdict);
    line->columns[VERDICT] = verdict.kind;
    line->mb_per_hour = verdict.mb_per_hour;
}

static const struct ht_site *top_site(const struct ht_controller *c)
{
    if (c->one_off.top_recurring)
        return c->one_off.top_recurring;
    return c->tag->site_count > 0 && c->tag->sites[0]->live_bytes > 0 ? c->tag->sites[0] : NULL;
}

static uint64_t flags_of(const struct ht_controller *c, const struct ht_site *site)
{
    uint64_t flags = site == top_site(c) ? SITE_TOP : 0;
    if (site->stack->flags & HTL_STACK_FALLBACK)
        return flags | SITE_FALLBACK;
    if (!(site->stack->flags & HTL_STACK_CUT))
        return flags;
    return flags | SITE_CUT | (site->stack->frame_count < HTL_STACK_DEPTH ? 0 : SITE_DEEP);
}

static uint64_t region_of(const struct ht_profile *p, const struct ht_site *site)
{
    for (size_t i = 0; site->region && i < p->region_count && i < HT_PAGE_REGIONS; i++)
        if (p->regions[i] == site->region)
            return i;
    return HTL_UNKNOWN;
}

/* One line for each chosen site of a controller, and one for all others. */
static void add_lines(struct table *t, struct ht_page_tables *tables, size_t controller,
                      const struct chosen *chosen)
{
    const struct ht_controller *c = &t->report->controllers[controller];
    struct line rest = empty_line(controller, SITE_REST);
    for (size_t i = 0; i < c->site_count; i++) {
        const struct ht_site *site = c->sites[i];
        if (!is_among(site, chosen->sites, chosen->site_count)) {
            add_to_line(&rest, site);
            continue;
        }
        struct line line = empty_line(controller, 0);
        add_to_line(&line, site);
        line.columns[FLAGS] = flags_of(c, site);
        line.columns[REGION] = region_of(t->report->profile, site);
        line.node = ht_page_stack(tables, site->stack);
        if (is_among(site, chosen->judged, chosen->judged_count))
            judge_line(t, site, &line);
        add_line(t, &line);
    }
    if (rest.columns[SITES] > 0)
        add_line(t, &rest);
}

static void write_lines(struct table *t)
{
    struct ht_page_json *j = t->json;
    ht_page_open(j, "sites", '{');
    for (enum column column = 0; column < COLUMNS; column++) {
        ht_page_open(j, column_names[column], '[');
        for (size_t i = 0; i < t->line_count; i++)
            ht_page_number(j, NULL, t->lines[i].columns[column]);
        ht_page_close(j, ']');
    }
    ht_page_open(j, "node", '[');
    for (size_t i = 0; i < t->line_count; i++)
        ht_page_signed(j, NULL, t->lines[i].node);
    ht_page_close(j, ']');
    ht_page_open(j, "rate", '[');
    for (size_t i = 0; i < t->line_count; i++)
        ht_page_real(j, NULL, t->lines[i].mb_per_hour);
    ht_page_close(j, ']');
    ht_page_close(j, '}');
}

void ht_page_sites_write(const struct ht_report *r, size_t controller_count,
                         struct ht_page_json *json)
{
    struct table t = {.report = r, .json = json};
    struct ht_page_tables *tables = ht_page_tables_new(r->symbolizer);
    struct chosen chosen = choose_sites(r);
    for (size_t i = 0; i < controller_count; i++)
        add_lines(&t, tables, i, &chosen);
    write_lines(&t);
    ht_page_tables_write(tables, json);
    ht_page_tables_free(tables);
    free(chosen.sites);
    free(chosen.judged);
    free(t.lines);
}
