/*
 * The comparison as a page: one file, no script, nothing fetched. All text from the files passes
 * `put_escaped`; the page forbids scripts and requests by its own policy as well.
 */
#include "diff.h"

#include <stdlib.h>

#include "frame_text.h"
#include "text.h"

enum { TOP_SITES = 200, OPEN_SITES = 3 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>heaptally diff</title>\n<style>\n"
    ":root { color-scheme: light dark; --line: #8884; --grew: #b3261e; --shrank: #2e7d32; }\n"
    "@media (prefers-color-scheme: dark) { :root { --grew: #ff8a80; --shrank: #81c784; } }\n"
    "body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 1.5rem auto;\n"
    "       padding: 0 1rem; }\n"
    "h1 { font-size: 1.4rem; overflow-wrap: anywhere; }\n"
    "h2 { font-size: 1.1rem; margin-top: 2rem; overflow-wrap: anywhere; }\n"
    "dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }\n"
    "dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }\n"
    ".wide { overflow-x: auto; }\n"
    "table { border-collapse: collapse; } th, td { padding: .25rem .7rem; text-align: right;\n"
    "  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums;\n"
    "  white-space: nowrap; }\n"
    "th:first-child, td:first-child { text-align: left; padding-left: 0; max-width: 20rem;\n"
    "  white-space: normal; overflow-wrap: break-word; }\n"
    "@media (max-width: 40rem) { th, td { padding: .25rem .35rem; font-size: .85rem; }\n"
    "  h1 { font-size: 1.2rem; } dl { display: block; } ol { padding-left: 1.5rem; } }\n"
    "details { border-bottom: 1px solid var(--line); padding: .3rem 0; }\n"
    "summary { cursor: pointer; overflow-wrap: anywhere; }\n"
    "ol { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }\n"
    ".grew { color: var(--grew); } .shrank { color: var(--shrank); } .where { opacity: .7; }\n"
    "</style>\n";

static void put_escaped(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            putc(*text, out);
        }
}

/* Writes and frees a text. */
static void put_own(FILE *out, char *text)
{
    put_escaped(out, text);
    free(text);
}

/* One entry of the list of facts; nothing for "". Frees the text. */
static void put_fact(FILE *out, const char *name, char *text)
{
    if (*text) {
        fprintf(out, "<dt>%s<dd>", name);
        put_escaped(out, text);
        putc('\n', out);
    }
    free(text);
}

static void put_cell(FILE *out, int64_t growth)
{
    fprintf(out, "<td class=\"%s\">", growth > 0 ? "grew" : "shrank");
    put_own(out, ht_signed_text(growth));
}

static void put_table(FILE *out, const struct ht_diff *diff)
{
    fputs("<h2>Controllers that changed</h2>\n<div class=\"wide\"><table>\n"
          "<tr><th>controller<th>old bytes<th>new bytes<th>growth<th>blocks\n",
          out);
    for (size_t i = 0; i < diff->controller_count; i++) {
        const struct ht_diff_controller *c = &diff->controllers[i];
        fprintf(out, "<tr><td><a href=\"#c%zu\">", i);
        put_escaped(out, c->tag);
        fprintf(out, "</a><td>%s<td>%s", ht_grouped(c->old_bytes), ht_grouped(c->new_bytes));
        put_cell(out, c->growth_bytes);
        put_cell(out, c->growth_blocks);
        putc('\n', out);
    }
    fputs("</table></div>\n", out);
}

static void put_stack(FILE *out, const struct ht_diff *diff, const struct ht_stack *stack)
{
    fputs("<ol>\n", out);
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct ht_frame *frame = &stack->frames[i];
        const struct ht_place *place = ht_symbolize(diff->symbolizer, frame);
        for (size_t k = 0; k < place->count; k++) {
            const struct ht_function *function = &place->functions[k];
            fputs("<li>", out);
            put_escaped(out, function->name ? function->name : "?");
            fputs(" <span class=\"where\">", out);
            put_own(out, ht_place_text(frame, function));
            fputs(function->inlined ? ", inlined</span>\n" : "</span>\n", out);
        }
    }
    fputs("</ol>\n", out);
    if (stack->flags & HTL_STACK_FALLBACK)
        fputs("<p>Fallback: the callers are not known.</p>\n", out);
}

static void put_controller(FILE *out, const struct ht_diff *diff, size_t i)
{
    const struct ht_diff_controller *c = &diff->controllers[i];
    fprintf(out, "<h2 id=\"c%zu\">", i);
    put_escaped(out, c->tag);
    fputs("</h2>\n", out);
    for (size_t k = 0; k < c->site_count && k < TOP_SITES; k++) {
        const struct ht_diff_site *site = &c->sites[k];
        fputs(k < OPEN_SITES ? "<details open><summary>" : "<details><summary>", out);
        fprintf(out, "<b class=\"%s\">", site->growth_bytes > 0 ? "grew" : "shrank");
        put_own(out, ht_growth_text(site->growth_bytes, site->growth_blocks));
        fputs("</b>: ", out);
        put_own(out, ht_diff_site_text(diff, site));
        fprintf(out, "</summary>\n<p>%s bytes before, %s now.</p>\n", ht_grouped(site->old_bytes),
                ht_grouped(site->new_bytes));
        if (site->stack)
            put_stack(out, diff, site->stack);
        fputs("</details>\n", out);
    }
    if (c->site_count > TOP_SITES)
        fprintf(out, "<p>And %s more; --format json has all.</p>\n",
                ht_counted(c->site_count - TOP_SITES, "call site"));
}

void ht_diff_html(const struct ht_diff *diff, size_t width, FILE *out)
{
    (void)width;
    fputs(head, out);
    fputs("<h1>", out);
    put_own(out, ht_diff_verdict(diff));
    fputs("</h1>\n<dl>\n", out);
    put_fact(out, "old", ht_diff_process_text(diff->old_profile));
    put_fact(out, "new", ht_diff_process_text(diff->new_profile));
    put_fact(out, "growth", ht_diff_growth_text(diff));
    if (diff->moved_bytes > 0)
        put_fact(out, "moved",
                 ht_format("%s between call sites and what is not known of them: no growth",
                           ht_counted(diff->moved_bytes, "byte")));
    put_fact(out, "in doubt", ht_diff_doubt_text(diff));
    fputs("</dl>\n", out);
    if (!ht_diff_is_empty(diff))
        put_table(out, diff);
    for (size_t i = 0; i < diff->controller_count; i++)
        put_controller(out, diff, i);
}
