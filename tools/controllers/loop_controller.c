/*
 * One of the four laws as a shared object for `heaptally loop`; built once for each, with
 * -DLAW=classical and so on.
 *
 * The text of --config is "KEY = VALUE" lines; empty lines and lines that begin with '#' are none:
 *
 *   leak      what the controller forgets (law.h): none, forget-history, no-cleanup, noop-cleanup,
 *             no-destructor or growing
 *   history   ring (of 100 steps), trim (1000 to 500) or unbounded
 *   storage   chunks, array or doubling
 *   rows      rows of history by which it grows
 *
 * Without a leak each cleanup gives the history back, whatever its bound: it begins anew.
 */
#include <stdio.h>
#include <string.h>

#include "heaptally/controller.h"
#include "heaptally/units.h"

#define JOIN_(a, b)  a##b
#define JOIN(a, b)   JOIN_(a, b)
#define QUOTE_(text) #text
#define QUOTE(text)  QUOTE_(text)
#define OF_LAW(rest) JOIN(LAW, rest)

#include LAW_HEADER

static struct ledger ledger = {.name = QUOTE(LAW)};

struct loop_controller {
    struct LAW *law;
    enum leak_mode leak;
};

static const char *const leak_names[LEAK_MODES] = {
    [LEAK_NONE] = "none",
    [LEAK_FORGET_HISTORY] = "forget-history",
    [LEAK_NO_CLEANUP] = "no-cleanup",
    [LEAK_NOOP_CLEANUP] = "noop-cleanup",
    [LEAK_NO_DESTRUCTOR] = "no-destructor",
    [LEAK_GROWING] = "growing",
};

/* Index of the name that the first `length` bytes of `text` are, or -1. */
static int pick(const char *const names[], int count, const char *text, size_t length)
{
    for (int i = 0; i < count; i++)
        if (strlen(names[i]) == length && memcmp(names[i], text, length) == 0)
            return i;
    return -1;
}

static bool is_key(const char *key, size_t length, const char *name)
{
    return strlen(name) == length && memcmp(key, name, length) == 0;
}

static bool set(struct law_options *o, const char *key, size_t key_length, const char *value,
                size_t length)
{
    int index = -1;
    if (is_key(key, key_length, "leak") &&
        (index = pick(leak_names, LEAK_MODES, value, length)) >= 0)
        o->leak = (enum leak_mode)index;
    else if (is_key(key, key_length, "history") &&
             (index = pick(history_bound_names, HISTORY_BOUNDS, value, length)) >= 0)
        o->history.bound = (enum history_bound)index;
    else if (is_key(key, key_length, "storage") &&
             (index = pick(history_storage_names, HISTORY_STORAGES, value, length)) >= 0)
        o->history.storage = (enum history_storage)index;
    uint64_t rows;
    if (is_key(key, key_length, "rows") && ht_parse_count(value, length, &rows)) {
        o->history.rows_per_block = rows;
        index = 0;
    }
    return index >= 0;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

static const char *without_blanks(const char *start, const char *end)
{
    while (end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    return end;
}

/* False, with the line in `error`, where a line is not understood. */
static bool read_config(const char *text, struct law_options *o, char *error, size_t size)
{
    while (*text) {
        const char *line_end = text + strcspn(text, "\n"), *next = line_end + (*line_end != '\0');
        const char *key = skip_blanks(text, line_end), *end = without_blanks(key, line_end);
        const char *equals = memchr(key, '=', (size_t)(end - key));
        text = next;
        if (key == end || *key == '#')
            continue;
        const char *key_end = equals ? without_blanks(key, equals) : end;
        const char *value = equals ? skip_blanks(equals + 1, end) : end;
        if (!set(o, key, (size_t)(key_end - key), value, (size_t)(end - value))) {
            snprintf(error, size, "'%.*s' is not understood", (int)(end - key), key);
            return false;
        }
    }
    return true;
}

static void *create(const char *config, char *error, size_t size)
{
    struct surface standing;
    surface_standing(PLANT_FULLM, &standing);
    struct OF_LAW(_config) law = OF_LAW(_standing)(&standing);
    law.options.history = (struct history_shape){HISTORY_CHUNKS, HISTORY_IN_RING, 100};
    law.options.ledger = &ledger;
    if (!read_config(config, &law.options, error, size))
        return NULL;
    if (law.options.leak == LEAK_GROWING || law.options.leak == LEAK_NO_CLEANUP)
        law.options.history.bound = HISTORY_UNBOUNDED;
    struct loop_controller *c = malloc(sizeof *c);
    if (c)
        *c = (struct loop_controller){OF_LAW(_create)(&law), law.options.leak};
    if (c && c->law)
        return c;
    free(c);
    snprintf(error, size, "out of memory, or an impossible shape of history");
    return NULL;
}

static int initialise(void *controller)
{
    struct loop_controller *c = controller;
    return OF_LAW(_initialise)(c->law) ? 0 : -1;
}

static int compute(void *controller, const double x[HEAPTALLY_CONTROLLER_STATES], double *u)
{
    struct loop_controller *c = controller;
    *u = OF_LAW(_compute)(c->law, x).u;
    return 0;
}

/* Whoever never cleans up, or keeps everything in service, goes on with the same history. */
static void cleanup(void *controller)
{
    struct loop_controller *c = controller;
    if (c->leak == LEAK_NO_CLEANUP || c->leak == LEAK_GROWING)
        return;
    OF_LAW(_cleanup)(c->law);
    OF_LAW(_initialise)(c->law);
}

static void destroy(void *controller)
{
    struct loop_controller *c = controller;
    if (c->leak != LEAK_NO_CLEANUP)
        OF_LAW(_cleanup)(c->law);
    OF_LAW(_destroy)(c->law);
    free(c);
}

const struct heaptally_controller heaptally_controller = {
    HEAPTALLY_CONTROLLER_VERSION,
    sizeof(struct heaptally_controller),
    create,
    initialise,
    compute,
    cleanup,
    destroy,
};
