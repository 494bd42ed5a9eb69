/*
 * What could not be seen: the part of every report that says how far the rest can be trusted.
 */
#include "text_page.h"

#include "text.h"

enum { TOP_MODULES = 6 }; /* without symbols, by name */

static void file_quality(const struct ht_page *page)
{
    const struct ht_profile *p = page->report->profile;
    const struct ht_read_state *reading = &p->reading;
    if (reading->torn)
        ht_labelled(page, "torn",
                    ht_format("%s: the last %s of %s are not read", reading->torn,
                              ht_counted(reading->file_size - reading->offset, "byte"),
                              ht_grouped(reading->file_size)));
    else
        ht_labelled(page, "file",
                    ht_format("read to its end, %s", ht_counted(reading->file_size, "byte")));
    if (!p->has_end)
        ht_labelled(page, "no end",
                    ht_format("the process was killed or is still running: "
                              "controllers are as of the last tick, call sites as "
                              "last listed"));
    if (!p->quality.sites_are_exact && p->quality.left_out_bytes > 0)
        ht_labelled(page, "sites",
                    ht_format("%s were allocated or freed by call sites %s",
                              ht_counted(p->quality.left_out_bytes, "byte"),
                              p->quality.listing_is_cut
                                  ? "for which the file has no room: see --max-file"
                                  : "since they were last listed"));
    uint64_t strange = reading->malformed + p->quality.contradictions + p->quality.unknown_names;
    if (strange > 0)
        ht_labelled(page, "damaged",
                    ht_format("%s with the rest of the file; what contradicts is left out",
                              ht_counted(strange, "contradiction")));
    if (reading->unknown > 0)
        ht_labelled(
            page, "newer",
            ht_format("%s of a newer format are left out", ht_counted(reading->unknown, "record")));
}

static void counting_quality(const struct ht_page *page)
{
    const struct ht_profile *p = page->report->profile;
    const struct htl_tick *last = &p->last;
    if (!p->has_tick)
        return;
    const struct htl_figures *f = &last->fallback;
    uint64_t live = f->allocated_bytes > f->freed_bytes ? f->allocated_bytes - f->freed_bytes : 0;
    ht_labelled(
        page, "fallback",
        ht_format("%s (%s %% of all allocated, %s live) known by return address or tag only",
                  ht_counted(f->allocated_bytes, "byte"),
                  ht_percent((int64_t)(f->allocated_bytes & INT64_MAX),
                             (int64_t)(last->total.allocated_bytes & INT64_MAX)),
                  ht_grouped(live)));
    ht_labelled(page, "foreign",
                ht_format("%s of blocks never seen, %s%s", ht_counted(last->foreign_frees, "free"),
                          ht_counted(last->foreign_bytes, "byte"),
                          last->foreign_frees && ht_report_was_stopped(page->report)
                              ? "; of those allocated while counting was stopped, too"
                              : ""));
    ht_labelled(
        page, "overruns",
        ht_format("%s with an overwritten end", ht_counted(last->suspected_overruns, "block")));
    ht_labelled(page, "dropped",
                ht_format("%s not taken or not written, detail lost in %s",
                          ht_counted(last->dropped_ticks, "tick"),
                          ht_counted(last->truncated, "full table")));
}

static void module_quality(const struct ht_page *page)
{
    static const char *const linked_in[] = {
        "unknown whether the program has one linked in",
        "none linked into the program",
        "linked into the program: what it gives out is not seen",
    };
    const struct ht_report *r = page->report;
    const struct ht_profile *p = r->profile;
    ht_labelled(page, "allocator", ht_format("%s", linked_in[ht_report_static_allocator(p) + 1]));
    if (p->has_tick)
        ht_labelled(page, "own",
                    ht_format("%s of heaptally's own memory, in no figure above",
                              ht_counted(p->last.own_bytes, "byte")));
    const struct ht_module *module;
    const char *why;
    size_t i = 0;
    for (; (module = ht_symbolizer_problem(r->symbolizer, i, &why)); i++)
        if (i < TOP_MODULES)
            ht_labelled(page, i ? "" : "symbols",
                        ht_format("%s: %s", ht_base_name(module->label), why));
    if (i > TOP_MODULES)
        ht_labelled(page, "", ht_format("and %s more", ht_counted(i - TOP_MODULES, "module")));
}

void ht_text_quality(const struct ht_page *page)
{
    ht_heading(page, "How far this can be trusted");
    file_quality(page);
    counting_quality(page);
    module_quality(page);
}
