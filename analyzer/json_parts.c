/*
 * Values, blocks and stacks of the JSON formats; see json_parts.h.
 */
#include "json_parts.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <uthash.h>

#include "heaptally/units.h"
#include "text.h"

enum { STYLE = JSON_COMPACT | JSON_REAL_PRECISION(15) };

struct worded_place {
    struct ht_frame frame; /* key; without padding */
    char *words;           /* objects of its functions, innermost first, with commas between */
    UT_hash_handle hh;
};

struct ht_json_places {
    struct ht_symbolizer *symbolizer;
    struct worded_place *all;
};

/* ---- values ---------------------------------------------------------------------------------- */

json_t *ht_json_number(uint64_t value)
{
    return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

json_t *ht_json_number_if(bool known, uint64_t value)
{
    return known ? ht_json_number(value) : json_null();
}

json_t *ht_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *ht_json_megabytes(uint64_t bytes)
{
    return bytes == HTL_UNKNOWN ? json_null() : json_real((double)bytes / (double)HT_MB);
}

json_t *ht_json_text(const char *value)
{
    return value && *value ? json_string(value) : json_null();
}

json_t *ht_json_moment(uint64_t realtime_ns)
{
    time_t seconds = (time_t)(realtime_ns / HT_SECOND);
    struct tm parts;
    char day[48];
    if (realtime_ns == 0 || !gmtime_r(&seconds, &parts))
        return json_null();
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    return json_sprintf("%s.%03uZ", day, (unsigned)(realtime_ns % HT_SECOND / HT_MILLISECOND));
}

json_t *ht_json_process(const struct ht_profile *p)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:b}", "exe", ht_json_text(p->exe), "pid",
                     (json_int_t)p->start.pid, "host", ht_json_text(p->host), "start",
                     ht_json_moment(p->start.start_realtime_ns), "duration_s",
                     ht_json_real(p->duration_s), "complete", p->has_end);
}

/* ---- writing --------------------------------------------------------------------------------- */

void ht_json_put(FILE *out, json_t *value)
{
    json_dumpf(value, out, STYLE | JSON_ENCODE_ANY);
    json_decref(value);
}

void ht_json_put_inner(FILE *out, json_t *value)
{
    json_dumpf(value, out, STYLE | JSON_EMBED);
    json_decref(value);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

static json_t *frame_object(const struct ht_frame *frame, const struct ht_function *function)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b}", "function", ht_json_text(function->name),
                     "file", ht_json_text(function->file), "line",
                     ht_json_number_if(function->line > 0, (uint64_t)function->line), "module",
                     ht_json_text(frame->module ? frame->module->label : NULL), "offset",
                     ht_json_number(frame->offset), "inlined", function->inlined);
}

static char *words_of(struct ht_symbolizer *symbolizer, const struct ht_frame *frame)
{
    const struct ht_place *known = ht_symbolize(symbolizer, frame);
    json_t *functions = json_array();
    for (size_t i = 0; i < known->count; i++)
        json_array_append_new(functions, frame_object(frame, &known->functions[i]));
    char *words = json_dumps(functions, STYLE | JSON_EMBED);
    json_decref(functions);
    return words ? words : ht_format("%s", "null");
}

static const char *words_at(struct ht_json_places *places, const struct ht_frame *frame)
{
    struct worded_place *place;
    HASH_FIND(hh, places->all, frame, sizeof *frame, place);
    if (!place) {
        place = ht_allocate_zeroed(1, sizeof *place);
        place->frame = *frame;
        place->words = words_of(places->symbolizer, frame);
        HASH_ADD(hh, places->all, frame, sizeof *frame, place);
    }
    return place->words;
}

void ht_json_put_stack(FILE *out, struct ht_json_places *places, const struct ht_stack *stack)
{
    putc('[', out);
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        if (i > 0)
            putc(',', out);
        fputs(words_at(places, &stack->frames[i]), out);
    }
    putc(']', out);
}

struct ht_json_places *ht_json_places_new(struct ht_symbolizer *symbolizer)
{
    struct ht_json_places *places = ht_allocate_zeroed(1, sizeof *places);
    places->symbolizer = symbolizer;
    return places;
}

void ht_json_places_free(struct ht_json_places *places)
{
    struct worded_place *place, *next;
    HASH_ITER(hh, places->all, place, next)
    {
        HASH_DEL(places->all, place);
        free(place->words);
        free(place);
    }
    free(places);
}
