#include "select.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static const char *const view_names[HT_VIEWS] = {"live", "peak", "cumulative", "growth"};

const char *ht_view_name(enum ht_view view)
{
    return view_names[view];
}

enum ht_view ht_view_named(const char *name)
{
    enum ht_view view = 0;
    while (view < HT_VIEWS && strcmp(name, view_names[view]) != 0)
        view++;
    return view;
}

bool ht_view_looks_back(enum ht_view view)
{
    return view == HT_VIEW_PEAK || view == HT_VIEW_GROWTH;
}

/* ---- amounts --------------------------------------------------------------------------------- */

/* What is live, as far as figures from outside make sense. */
static struct ht_amount live(const struct htl_figures *f)
{
    return (struct ht_amount){
        .bytes = f->allocated_bytes > f->freed_bytes
                     ? (int64_t)((f->allocated_bytes - f->freed_bytes) & INT64_MAX)
                     : 0,
        .blocks = f->allocated_blocks > f->freed_blocks
                      ? (int64_t)((f->allocated_blocks - f->freed_blocks) & INT64_MAX)
                      : 0,
    };
}

static struct ht_amount amount(const struct htl_figures *now, const struct htl_figures *then,
                               enum ht_view view)
{
    struct ht_amount is = live(now), was = live(&then[HT_AT_BASELINE]);
    switch (view) {
    case HT_VIEW_PEAK:
        return live(&then[HT_AT_PEAK]);
    case HT_VIEW_CUMULATIVE:
        return (struct ht_amount){(int64_t)(now->allocated_bytes & INT64_MAX),
                                  (int64_t)(now->allocated_blocks & INT64_MAX)};
    case HT_VIEW_GROWTH:
        return (struct ht_amount){is.bytes - was.bytes, is.blocks - was.blocks};
    default:
        return is;
    }
}

struct ht_amount ht_site_amount(const struct ht_site *site, enum ht_view view)
{
    return amount(&site->figures, site->then, view);
}

struct ht_amount ht_tag_amount(const struct ht_tag *tag, enum ht_view view)
{
    return amount(&tag->latest.figures, tag->then, view);
}

/* ---- filters --------------------------------------------------------------------------------- */

bool ht_selection_filters(const struct ht_selection *s)
{
    return s->tags.count || s->functions.count || s->modules.count || s->least_bytes || s->top;
}

static bool passes(const struct ht_globs *globs, const char *text)
{
    for (size_t i = 0; text && i < globs->count; i++)
        if (fnmatch(globs->globs[i], text, 0) == 0)
            return true;
    return false;
}

bool ht_selects_tag(const struct ht_selection *s, const struct ht_tag *tag)
{
    return s->tags.count == 0 || passes(&s->tags, tag->name);
}

/* A function passes with its parameters or without, as rules have it. */
static bool passes_function(const struct ht_globs *globs, const char *name)
{
    if (!name || passes(globs, name))
        return name;
    const char *parameters = strchr(name, '(');
    if (!parameters || parameters == name)
        return false;
    char *bare = ht_format("%.*s", (int)(parameters - name), name);
    bool found = passes(globs, bare);
    free(bare);
    return found;
}

static bool has_function(const struct ht_globs *globs, struct ht_symbolizer *symbolizer,
                         const struct ht_stack *stack)
{
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct ht_place *place = ht_symbolize(symbolizer, &stack->frames[i]);
        for (size_t j = 0; j < place->count; j++)
            if (passes_function(globs, place->functions[j].name))
                return true;
    }
    return false;
}

static bool has_module(const struct ht_globs *globs, const struct ht_stack *stack)
{
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct ht_module *module = stack->frames[i].module;
        if (module && (passes(globs, module->label) || passes(globs, ht_base_name(module->label))))
            return true;
    }
    return false;
}

bool ht_selects_site(const struct ht_selection *s, struct ht_symbolizer *symbolizer,
                     const struct ht_site *site)
{
    if (s->least_bytes > 0) {
        int64_t bytes = ht_site_amount(site, s->view).bytes;
        if ((uint64_t)(bytes < 0 ? -bytes : bytes) < s->least_bytes)
            return false;
    }
    return (s->modules.count == 0 || has_module(&s->modules, site->stack)) &&
           (s->functions.count == 0 || has_function(&s->functions, symbolizer, site->stack));
}

void ht_globs_add(struct ht_globs *globs, const char *glob)
{
    globs->globs = ht_room_for_one(globs->globs, globs->count, sizeof *globs->globs);
    globs->globs[globs->count++] = glob;
}

void ht_selection_clear(struct ht_selection *s)
{
    free(s->tags.globs);
    free(s->functions.globs);
    free(s->modules.globs);
    *s = HT_SELECT_ALL;
}
