/*
 * Folded stacks, as flame graph tools read them: one line a site, outermost first,
 * "tag;frame;frame bytes", by the figures of the report's view; what shrank has no line. What the
 * sites of a tag do not cover stands under a frame that says so, so that the lines of a tag add up
 * to its bytes.
 *
 * ';' ends a frame there, so in names it becomes ':'.
 */
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "clamped.h"
#include "frame_text.h"
#include "text.h"

static void put_name(FILE *out, const char *name)
{
    for (; *name; name++)
        putc(*name == ';' ? ':' : *name, out);
}

/* The functions of a frame, outermost first, each after a ';'. */
static void put_frame(FILE *out, struct ht_symbolizer *symbolizer, const struct ht_frame *frame)
{
    const struct ht_place *place = ht_symbolize(symbolizer, frame);
    for (size_t i = place->count; i-- > 0;) {
        char *name = ht_function_text(frame, &place->functions[i]);
        putc(';', out);
        put_name(out, name);
        free(name);
    }
}

static void put_site(FILE *out, struct ht_symbolizer *symbolizer, const struct ht_site *site,
                     int64_t bytes)
{
    const struct ht_stack *stack = site->stack;
    put_name(out, site->tag->name);
    for (uint32_t i = stack->frame_count; i-- > 0;)
        put_frame(out, symbolizer, &stack->frames[i]);
    if (stack->frame_count == 0)
        fputs(";" HT_CALL_SITE_UNKNOWN, out);
    fprintf(out, " %" PRId64 "\n", bytes);
}

void ht_write_folded(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    (void)style;
    enum ht_view view = r->selection.view;
    for (size_t i = 0; i < r->controller_count; i++) {
        const struct ht_controller *c = &r->controllers[i];
        int64_t covered = 0, all = ht_tag_amount(c->tag, view).bytes;
        for (size_t k = 0; k < c->site_count; k++) {
            int64_t bytes = ht_site_amount(c->sites[k], view).bytes;
            covered = ht_clamped_sum(covered, bytes);
            if (bytes > 0)
                put_site(out, r->symbolizer, c->sites[k], bytes);
        }
        if (covered < all && !ht_selection_filters(&r->selection)) {
            put_name(out, c->tag->name);
            fprintf(out, ";" HT_CALL_SITE_UNKNOWN " %" PRId64 "\n",
                    ht_clamped_difference(all, covered));
        }
    }
}
