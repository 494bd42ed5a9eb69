/*
 * The profile that `go tool pprof` and its relatives read: gzip around one protocol buffer message.
 *
 * Two messages written one behind the other are one message: single fields of the later one win,
 * repeated fields are joined. So the profile is written in pieces, each string, mapping, function,
 * location and sample by itself as soon as it is first needed, and memory follows the number of
 * places, not of stacks.
 *
 * A location is a place (module, offset); its address is one byte before the return address, inside
 * the call, at the addresses where the module was first loaded. What cannot be named is named
 * module+offset, so that the reader has no cause to look for symbols in files that may be others by
 * now.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "frame_text.h"
#include "pprof.pb-c.h"
#include "text.h"

enum { INUSE_SPACE, INUSE_OBJECTS, ALLOC_SPACE, ALLOC_OBJECTS, VALUES };

static const struct {
    const char *type, *unit;
} value_types[VALUES] = {
    [INUSE_SPACE] = {"inuse_space", "bytes"},
    [INUSE_OBJECTS] = {"inuse_objects", "count"},
    [ALLOC_SPACE] = {"alloc_space", "bytes"},
    [ALLOC_OBJECTS] = {"alloc_objects", "count"},
};

/* Things that have a number in the file. Strings count from 0, all else from 1. */
struct known_string {
    char *text; /* key */
    int64_t index;
    UT_hash_handle hh;
};

struct known_mapping {
    const struct ht_module *module; /* key */
    uint64_t id;
    UT_hash_handle hh;
};

struct function_key {
    int64_t name, file; /* strings */
};

struct known_function {
    struct function_key key;
    uint64_t id;
    UT_hash_handle hh;
};

struct known_location {
    struct ht_frame frame; /* key; without padding */
    uint64_t id;
    UT_hash_handle hh;
};

struct pprof {
    const struct ht_report *report;
    FILE *out;
    z_stream zip;
    uint8_t *packed; /* the piece at hand */
    size_t packed_size;
    struct known_string *strings;
    struct known_mapping *mappings;
    struct known_function *functions;
    struct known_location *locations;
    uint64_t unknown_site; /* the location of what no site covers; 0 until it is needed */
};

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Compresses what the stream holds as input; `flush` as of deflate. */
static void press(struct pprof *w, int flush)
{
    unsigned char buffer[16384];
    do {
        w->zip.next_out = buffer;
        w->zip.avail_out = sizeof buffer;
        deflate(&w->zip, flush);
        fwrite(buffer, 1, sizeof buffer - w->zip.avail_out, w->out);
    } while (w->zip.avail_out == 0);
}

/* Appends a piece of the profile to the file. */
static void put(struct pprof *w, const Pprof__Profile *piece)
{
    size_t size = pprof__profile__get_packed_size(piece);
    if (size > w->packed_size) {
        w->packed_size = 2 * size;
        w->packed = ht_reallocate(w->packed, w->packed_size, 1);
    }
    pprof__profile__pack(piece, w->packed);
    w->zip.next_in = w->packed;
    w->zip.avail_in = (uInt)size;
    press(w, Z_NO_FLUSH);
}

static void begin_bytes(struct pprof *w)
{
    enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
    if (deflateInit2(&w->zip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        ht_complain("report --format pprof: zlib cannot start; is memory short?");
        exit(ht_failure_status);
    }
}

/* ---- things with a number -------------------------------------------------------------------- */

static int64_t string_of(struct pprof *w, const char *text)
{
    struct known_string *known;
    HASH_FIND_STR(w->strings, text, known);
    if (!known) {
        known = ht_allocate_zeroed(1, sizeof *known);
        known->text = ht_format("%s", text);
        known->index = HASH_COUNT(w->strings);
        HASH_ADD_KEYPTR(hh, w->strings, known->text, strlen(known->text), known);
        Pprof__Profile piece = PPROF__PROFILE__INIT;
        piece.n_string_table = 1;
        piece.string_table = &known->text;
        put(w, &piece);
    }
    return known->index;
}

static int64_t build_id_of(struct pprof *w, const struct ht_module *module)
{
    char digits[2 * 64 + 1] = "";
    for (size_t i = 0; i < module->build_id_length && i < 64; i++)
        snprintf(digits + 2 * i, 3, "%02x", module->build_id[i]);
    return string_of(w, digits);
}

static uint64_t mapping_of(struct pprof *w, const struct ht_module *module)
{
    struct known_mapping *known;
    HASH_FIND_PTR(w->mappings, &module, known);
    if (known)
        return known->id;
    known = ht_allocate_zeroed(1, sizeof *known);
    known->module = module;
    known->id = HASH_COUNT(w->mappings) + 1;
    HASH_ADD_PTR(w->mappings, module, known);
    Pprof__Mapping mapping = PPROF__MAPPING__INIT, *one = &mapping;
    mapping.id = known->id;
    mapping.memory_start = module->start;
    mapping.memory_limit = module->end;
    mapping.filename = string_of(w, module->label);
    mapping.build_id = build_id_of(w, module);
    mapping.has_functions = mapping.has_filenames = true;
    mapping.has_line_numbers = mapping.has_inline_frames = true;
    Pprof__Profile piece = PPROF__PROFILE__INIT;
    piece.n_mapping = 1;
    piece.mapping = &one;
    put(w, &piece);
    return known->id;
}

static uint64_t function_of(struct pprof *w, const char *name, const char *file)
{
    const struct function_key key = {string_of(w, name), string_of(w, file ? file : "")};
    struct known_function *known;
    HASH_FIND(hh, w->functions, &key, sizeof key, known);
    if (known)
        return known->id;
    known = ht_allocate_zeroed(1, sizeof *known);
    known->key = key;
    known->id = HASH_COUNT(w->functions) + 1;
    HASH_ADD(hh, w->functions, key, sizeof known->key, known);
    Pprof__Function function = PPROF__FUNCTION__INIT, *one = &function;
    function.id = known->id;
    function.name = key.name;
    function.filename = key.file;
    Pprof__Profile piece = PPROF__PROFILE__INIT;
    piece.n_function = 1;
    piece.function = &one;
    put(w, &piece);
    return known->id;
}

static void put_location(struct pprof *w, const Pprof__Location *location)
{
    Pprof__Location *one = (Pprof__Location *)location;
    Pprof__Profile piece = PPROF__PROFILE__INIT;
    piece.n_location = 1;
    piece.location = &one;
    put(w, &piece);
}

/* Writes the functions of a place as the lines of location `id`. */
static void put_place(struct pprof *w, const struct ht_frame *frame, uint64_t id)
{
    const struct ht_place *place = ht_symbolize(w->report->symbolizer, frame);
    Pprof__Line *lines = ht_allocate_zeroed(place->count, sizeof *lines);
    Pprof__Line **pointers = ht_allocate_zeroed(place->count, sizeof(Pprof__Line *));
    for (size_t i = 0; i < place->count; i++) {
        const struct ht_function *function = &place->functions[i];
        char *name = ht_function_text(frame, function);
        pprof__line__init(&lines[i]);
        lines[i].function_id = function_of(w, name, function->file);
        lines[i].line = function->line;
        pointers[i] = &lines[i];
        free(name);
    }
    Pprof__Location location = PPROF__LOCATION__INIT;
    location.id = id;
    location.mapping_id = frame->module ? mapping_of(w, frame->module) : 0;
    location.address = (frame->module ? frame->module->load_bias : 0) + frame->offset - 1;
    location.n_line = place->count;
    location.line = pointers;
    put_location(w, &location);
    free(pointers);
    free(lines);
}

static uint64_t location_of(struct pprof *w, const struct ht_frame *frame)
{
    struct known_location *known;
    HASH_FIND(hh, w->locations, frame, sizeof *frame, known);
    if (!known) {
        known = ht_allocate_zeroed(1, sizeof *known);
        known->frame = *frame;
        known->id = HASH_COUNT(w->locations) + 2; /* 1 is the unknown site */
        HASH_ADD(hh, w->locations, frame, sizeof known->frame, known);
        put_place(w, frame, known->id);
    }
    return known->id;
}

static uint64_t unknown_site(struct pprof *w)
{
    if (w->unknown_site == 0) {
        w->unknown_site = 1;
        Pprof__Line line = PPROF__LINE__INIT, *one = &line;
        line.function_id = function_of(w, HT_CALL_SITE_UNKNOWN, NULL);
        Pprof__Location location = PPROF__LOCATION__INIT;
        location.id = w->unknown_site;
        location.n_line = 1;
        location.line = &one;
        put_location(w, &location);
    }
    return w->unknown_site;
}

/* ---- samples --------------------------------------------------------------------------------- */

static void put_sample(struct pprof *w, const struct ht_tag *tag, uint64_t *locations, size_t count,
                       const uint64_t values[VALUES])
{
    int64_t signed_values[VALUES];
    for (int i = 0; i < VALUES; i++)
        signed_values[i] = values[i] > INT64_MAX ? INT64_MAX : (int64_t)values[i];
    Pprof__Label label = PPROF__LABEL__INIT, *labels = &label;
    label.key = string_of(w, "tag");
    label.str = string_of(w, tag->name);
    Pprof__Sample sample = PPROF__SAMPLE__INIT, *one = &sample;
    sample.n_location_id = count;
    sample.location_id = locations;
    sample.n_value = VALUES;
    sample.value = signed_values;
    sample.n_label = 1;
    sample.label = &labels;
    Pprof__Profile piece = PPROF__PROFILE__INIT;
    piece.n_sample = 1;
    piece.sample = &one;
    put(w, &piece);
}

static void put_site(struct pprof *w, const struct ht_site *site, uint64_t covered[VALUES])
{
    const uint64_t values[VALUES] = {
        [INUSE_SPACE] = site->live_bytes,
        [INUSE_OBJECTS] = site->live_blocks,
        [ALLOC_SPACE] = site->figures.allocated_bytes,
        [ALLOC_OBJECTS] = site->figures.allocated_blocks,
    };
    size_t count = site->stack->frame_count;
    uint64_t *locations = ht_allocate_zeroed(count ? count : 1, sizeof *locations);
    for (size_t i = 0; i < count; i++)
        locations[i] = location_of(w, &site->stack->frames[i]);
    if (count == 0)
        locations[count++] = unknown_site(w);
    put_sample(w, site->tag, locations, count, values);
    for (int i = 0; i < VALUES; i++)
        covered[i] += values[i];
    free(locations);
}

/* The sites of a controller, and what they do not cover of its figures unless filters are why. */
static void put_controller(struct pprof *w, const struct ht_controller *c)
{
    const struct ht_tag *tag = c->tag;
    uint64_t covered[VALUES] = {0};
    const uint64_t all[VALUES] = {
        [INUSE_SPACE] = tag->live_bytes,
        [INUSE_OBJECTS] = tag->live_blocks,
        [ALLOC_SPACE] = tag->latest.figures.allocated_bytes,
        [ALLOC_OBJECTS] = tag->latest.figures.allocated_blocks,
    };
    for (size_t i = 0; i < c->site_count; i++)
        put_site(w, c->sites[i], covered);
    uint64_t rest[VALUES], any = 0;
    for (int i = 0; i < VALUES; i++)
        any |= rest[i] = all[i] > covered[i] ? all[i] - covered[i] : 0;
    if (any > 0 && !ht_selection_filters(&w->report->selection)) {
        uint64_t location = unknown_site(w);
        put_sample(w, tag, &location, 1, rest);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void put_comment(struct pprof *w, const struct ht_profile *p)
{
    char *text = ht_format("heaptally %s: %s, pid %u on %s", HEAPTALLY_VERSION, p->exe,
                           p->start.pid, p->host);
    int64_t comment = string_of(w, text);
    Pprof__Profile piece = PPROF__PROFILE__INIT;
    piece.n_comment = 1;
    piece.comment = &comment;
    put(w, &piece);
    free(text);
}

/* Which process it is, or all of them. */
static void put_comments(struct pprof *w)
{
    const struct ht_report *r = w->report;
    for (size_t i = 0; r->parts && i < r->part_count; i++)
        put_comment(w, r->parts[i].profile);
    if (!r->parts)
        put_comment(w, r->profile);
}

/* What the values are, when, of what; the program's mapping comes before all others. */
static void put_head(struct pprof *w)
{
    const struct ht_profile *p = w->report->profile;
    Pprof__ValueType types[VALUES], *pointers[VALUES];
    string_of(w, "");
    for (int i = 0; i < VALUES; i++) {
        pprof__value_type__init(&types[i]);
        types[i].type = string_of(w, value_types[i].type);
        types[i].unit = string_of(w, value_types[i].unit);
        pointers[i] = &types[i];
    }
    Pprof__Profile piece = PPROF__PROFILE__INIT;
    piece.n_sample_type = VALUES;
    piece.sample_type = pointers;
    piece.default_sample_type = types[INUSE_SPACE].type;
    piece.time_nanos = (int64_t)p->start.start_realtime_ns;
    piece.duration_nanos = (int64_t)fmin(p->duration_s * 1e9, 9e18);
    put(w, &piece);
    put_comments(w);
    for (const struct ht_module *m = p->modules_by_key; m; m = m->by_key.next)
        if (m->flags & HTL_MODULE_MAIN)
            mapping_of(w, m);
}

#define FORGET(type, list)                                                                         \
    do {                                                                                           \
        struct type *item, *next;                                                                  \
        HASH_ITER(hh, list, item, next)                                                            \
        {                                                                                          \
            HASH_DEL(list, item);                                                                  \
            free(item);                                                                            \
        }                                                                                          \
    } while (0)

static void forget_all(struct pprof *w)
{
    for (struct known_string *s = w->strings; s; s = s->hh.next)
        free(s->text);
    FORGET(known_string, w->strings);
    FORGET(known_mapping, w->mappings);
    FORGET(known_function, w->functions);
    FORGET(known_location, w->locations);
    free(w->packed);
}

void ht_write_pprof(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    (void)style;
    struct pprof w = {.report = r, .out = out};
    begin_bytes(&w);
    put_head(&w);
    for (size_t i = 0; i < r->controller_count; i++)
        put_controller(&w, &r->controllers[i]);
    press(&w, Z_FINISH);
    deflateEnd(&w.zip);
    forget_all(&w);
}
