/*
 * The comparison for programs; schema heaptally-diff/1. Entries that did not change are left out.
 */
#include "diff.h"
#include "json_parts.h"

static json_t *made(const struct ht_tag *tag)
{
    return ht_json_number(tag ? tag->latest.instantiations : HTL_UNKNOWN);
}

static void put_site(FILE *out, struct ht_json_places *places, const struct ht_diff_site *site)
{
    fputc('{', out);
    ht_json_put_inner(out, json_pack("{s:I, s:I, s:o, s:o}", "growth_bytes",
                                     (json_int_t)site->growth_bytes, "growth_blocks",
                                     (json_int_t)site->growth_blocks, "old_bytes",
                                     ht_json_number(site->old_bytes), "new_bytes",
                                     ht_json_number(site->new_bytes)));
    fputs(",\"stack\":", out);
    if (site->stack)
        ht_json_put_stack(out, places, site->stack);
    else
        fputs("[]", out);
    fputc('}', out);
}

static void put_controller(FILE *out, struct ht_json_places *places,
                           const struct ht_diff_controller *c)
{
    fputc('{', out);
    ht_json_put_inner(out, json_pack("{s:s, s:I, s:I, s:o, s:o, s:I, s:o, s:o}", "tag", c->tag,
                                     "growth_bytes", (json_int_t)c->growth_bytes, "growth_blocks",
                                     (json_int_t)c->growth_blocks, "old_bytes",
                                     ht_json_number(c->old_bytes), "new_bytes",
                                     ht_json_number(c->new_bytes), "moved_bytes",
                                     (json_int_t)c->moved_bytes, "old_instantiations",
                                     made(c->old_tag), "new_instantiations", made(c->new_tag)));
    fputs(",\"sites\":[", out);
    for (size_t i = 0; i < c->site_count; i++) {
        fputs(i > 0 ? ",\n" : "\n", out);
        put_site(out, places, &c->sites[i]);
    }
    fputs("]}", out);
}

void ht_diff_json(const struct ht_diff *diff, size_t width, FILE *out)
{
    (void)width;
    struct ht_json_places *places = ht_json_places_new(diff->symbolizer);
    fputs("{\"schema\":\"heaptally-diff/1\",\n\"old\":", out);
    ht_json_put(out, ht_json_process(diff->old_profile));
    fputs(",\n\"new\":", out);
    ht_json_put(out, ht_json_process(diff->new_profile));
    fputs(",\n\"controllers\":[", out);
    for (size_t i = 0; i < diff->controller_count; i++) {
        fputs(i > 0 ? ",\n" : "\n", out);
        put_controller(out, places, &diff->controllers[i]);
    }
    fputs("]}\n", out);
    ht_json_places_free(places);
}
