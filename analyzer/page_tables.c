/*
 * Three dictionaries, each an array that is written in its order and a hash that finds an entry.
 * Strings are the symbolizer's and the profile's, and compared by content.
 */
#include "page_tables.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "frame_text.h"
#include "text.h"

/* Bits of a function; page.js knows them. */
enum {
    FUNCTION_INLINED = 1,
    FUNCTION_APPROXIMATE = 2, /* only the nearest symbol */
    FUNCTION_PLUMBING = 4,    /* never to blame, see ht_is_plumbing */
};

/* Beyond 2^53 a number of JavaScript is not exact: such an offset is written as text. */
#define EXACT_IN_JAVASCRIPT (UINT64_C(1) << 53)

struct string_entry {
    const char *text;
    uint64_t index;
    UT_hash_handle hh;
};

struct function_entry {
    uint64_t name, file, module; /* strings; HTL_UNKNOWN where unknown */
    uint64_t line;               /* HTL_UNKNOWN where unknown */
    uint64_t offset;
    unsigned flags;
};

/* The functions at one place stand side by side. */
struct place_entry {
    struct ht_frame frame; /* key */
    size_t first, count;
    UT_hash_handle hh;
};

struct node_key {
    int64_t parent; /* HT_NO_NODE for the outermost */
    uint64_t function;
};

struct node_entry {
    struct node_key key;
    int64_t index;
    UT_hash_handle hh;
};

struct ht_page_tables {
    struct ht_symbolizer *symbolizer;
    struct string_entry *strings_by_text;
    const char **strings;
    size_t string_count;
    struct place_entry *places;
    struct function_entry *functions;
    size_t function_count;
    struct node_entry *nodes_by_key;
    struct node_key *nodes;
    size_t node_count;
};

struct ht_page_tables *ht_page_tables_new(struct ht_symbolizer *symbolizer)
{
    struct ht_page_tables *t = ht_allocate_zeroed(1, sizeof *t);
    t->symbolizer = symbolizer;
    return t;
}

/* HTL_UNKNOWN for NULL. */
static uint64_t string_of(struct ht_page_tables *t, const char *text)
{
    struct string_entry *entry;
    if (!text)
        return HTL_UNKNOWN;
    HASH_FIND_STR(t->strings_by_text, text, entry);
    if (entry)
        return entry->index;
    entry = ht_allocate_zeroed(1, sizeof *entry);
    entry->text = text;
    entry->index = t->string_count;
    HASH_ADD_KEYPTR(hh, t->strings_by_text, text, strlen(text), entry);
    t->strings = ht_room_for_one(t->strings, t->string_count, sizeof *t->strings);
    t->strings[t->string_count++] = text;
    return entry->index;
}

static void add_function(struct ht_page_tables *t, const struct ht_frame *frame,
                         const struct ht_function *function)
{
    unsigned flags = 0;
    if (function->inlined)
        flags |= FUNCTION_INLINED;
    if (function->approximate)
        flags |= FUNCTION_APPROXIMATE;
    if (ht_is_plumbing(frame, function))
        flags |= FUNCTION_PLUMBING;
    t->functions = ht_room_for_one(t->functions, t->function_count, sizeof *t->functions);
    t->functions[t->function_count++] = (struct function_entry){
        .name = string_of(t, function->name),
        .file = string_of(t, function->file),
        .module = string_of(t, frame->module ? frame->module->label : NULL),
        .line = function->line > 0 ? (uint64_t)function->line : HTL_UNKNOWN,
        .offset = frame->offset,
        .flags = flags,
    };
}

static const struct place_entry *place_of(struct ht_page_tables *t, const struct ht_frame *frame)
{
    struct place_entry *entry;
    HASH_FIND(hh, t->places, frame, sizeof *frame, entry);
    if (entry)
        return entry;
    const struct ht_place *place = ht_symbolize(t->symbolizer, frame);
    entry = ht_allocate_zeroed(1, sizeof *entry);
    entry->frame = *frame;
    entry->first = t->function_count;
    entry->count = place->count;
    for (size_t i = 0; i < place->count; i++)
        add_function(t, frame, &place->functions[i]);
    HASH_ADD(hh, t->places, frame, sizeof *frame, entry);
    return entry;
}

static int64_t node_of(struct ht_page_tables *t, int64_t parent, uint64_t function)
{
    struct node_key key = {parent, function};
    struct node_entry *entry;
    HASH_FIND(hh, t->nodes_by_key, &key, sizeof key, entry);
    if (entry)
        return entry->index;
    entry = ht_allocate_zeroed(1, sizeof *entry);
    entry->key = key;
    entry->index = (int64_t)t->node_count;
    HASH_ADD(hh, t->nodes_by_key, key, sizeof entry->key, entry);
    t->nodes = ht_room_for_one(t->nodes, t->node_count, sizeof *t->nodes);
    t->nodes[t->node_count++] = key;
    return entry->index;
}

int64_t ht_page_stack(struct ht_page_tables *t, const struct ht_stack *stack)
{
    int64_t node = HT_NO_NODE;
    for (uint32_t i = stack->frame_count; i-- > 0;) {
        const struct place_entry *place = place_of(t, &stack->frames[i]);
        for (size_t j = place->count; j-- > 0;)
            node = node_of(t, node, place->first + j);
    }
    return node;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_functions(const struct ht_page_tables *t, struct ht_page_json *json)
{
    static const struct {
        const char *key;
        size_t place; /* in struct function_entry */
    } columns[] = {
        {"name", offsetof(struct function_entry, name)},
        {"file", offsetof(struct function_entry, file)},
        {"module", offsetof(struct function_entry, module)},
        {"line", offsetof(struct function_entry, line)},
    };
    ht_page_open(json, "functions", '{');
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        ht_page_open(json, columns[c].key, '[');
        for (size_t i = 0; i < t->function_count; i++)
            ht_page_number(json, NULL, *(uint64_t *)((char *)&t->functions[i] + columns[c].place));
        ht_page_close(json, ']');
    }
    ht_page_open(json, "offset", '[');
    for (size_t i = 0; i < t->function_count; i++) {
        char text[32];
        uint64_t offset = t->functions[i].offset;
        snprintf(text, sizeof text, "%llx", (unsigned long long)offset);
        if (offset > EXACT_IN_JAVASCRIPT)
            ht_page_text(json, NULL, text);
        else
            ht_page_number(json, NULL, offset);
    }
    ht_page_close(json, ']');
    ht_page_open(json, "flags", '[');
    for (size_t i = 0; i < t->function_count; i++)
        ht_page_number(json, NULL, t->functions[i].flags);
    ht_page_close(json, ']');
    ht_page_close(json, '}');
}

void ht_page_tables_write(const struct ht_page_tables *t, struct ht_page_json *json)
{
    ht_page_open(json, "strings", '[');
    for (size_t i = 0; i < t->string_count; i++)
        ht_page_text(json, NULL, t->strings[i]);
    ht_page_close(json, ']');
    write_functions(t, json);
    ht_page_open(json, "nodes", '{');
    ht_page_open(json, "parent", '[');
    for (size_t i = 0; i < t->node_count; i++)
        ht_page_signed(json, NULL, t->nodes[i].parent);
    ht_page_close(json, ']');
    ht_page_open(json, "function", '[');
    for (size_t i = 0; i < t->node_count; i++)
        ht_page_number(json, NULL, t->nodes[i].function);
    ht_page_close(json, ']');
    ht_page_close(json, '}');
}

void ht_page_tables_free(struct ht_page_tables *t)
{
    struct string_entry *string, *next_string;
    struct place_entry *place, *next_place;
    struct node_entry *node, *next_node;
    HASH_ITER(hh, t->strings_by_text, string, next_string)
    {
        HASH_DEL(t->strings_by_text, string);
        free(string);
    }
    HASH_ITER(hh, t->places, place, next_place)
    {
        HASH_DEL(t->places, place);
        free(place);
    }
    HASH_ITER(hh, t->nodes_by_key, node, next_node)
    {
        HASH_DEL(t->nodes_by_key, node);
        free(node);
    }
    free(t->strings);
    free(t->functions);
    free(t->nodes);
    free(t);
}
