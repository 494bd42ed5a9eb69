#include "options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal_heap.h"
#include "raw_io.h"

#define CHANGED_TEXT_MAX 64u /* with its NUL */

struct ht_settings ht_settings;

/* Variables that are no options: set by `heaptally run`, or read by other parts. */
static const char *const other_variables[] = {
    "HEAPTALLY_ROOT",
    "HEAPTALLY_LIBRARY",
    "HEAPTALLY_RUNDIR",
};

static void read_option(enum ht_option_id id)
{
    const struct ht_option *option = &ht_options[id];
    const char *text = getenv(option->variable);
    if (text && text[0]) {
        const char *wrong = ht_option_check(id, text, &ht_settings.value[id]);
        size_t size = strlen(text) + 1;
        char *copy = wrong ? NULL : ht_heap_alloc(size, 16);
        if (copy) {
            memcpy(copy, text, size);
            ht_settings.text[id] = copy;
            ht_settings.given[id] = true;
            return;
        }
        ht_settings.value[id] = 0; /* a value out of range was read before it was refused */
        if (wrong)
            ht_say("%s: \"%s\" %s; going on with %s", option->variable, text, wrong,
                   option->standard[0] ? option->standard : "nothing");
    }
    if (option->standard[0]) {
        ht_settings.text[id] = option->standard;
        ht_option_check(id, option->standard, &ht_settings.value[id]);
    }
}

static bool is_known(const char *variable, size_t length)
{
    for (unsigned i = 0; i < HT_OPTION_COUNT; i++)
        if (strlen(ht_options[i].variable) == length &&
            strncmp(ht_options[i].variable, variable, length) == 0)
            return true;
    for (unsigned i = 0; i < sizeof other_variables / sizeof *other_variables; i++)
        if (strlen(other_variables[i]) == length &&
            strncmp(other_variables[i], variable, length) == 0)
            return true;
    return false;
}

void ht_settings_read(void)
{
    for (unsigned id = 0; id < HT_OPTION_COUNT; id++)
        read_option((enum ht_option_id)id);
    for (char **variable = environ; variable && *variable; variable++) {
        if (strncmp(*variable, "HEAPTALLY_", 10) != 0)
            continue;
        size_t length = strcspn(*variable, "=");
        if (!is_known(*variable, length))
            ht_say("%.*s: is no option of heaptally; see 'heaptally run --help'", (int)length,
                   *variable);
    }
}

bool ht_settings_change(enum ht_option_id id, const char *text, uint64_t value)
{
    static char texts[HT_OPTION_COUNT][CHANGED_TEXT_MAX];
    size_t length = strlen(text);
    if (length >= CHANGED_TEXT_MAX)
        return false;
    memcpy(texts[id], text, length + 1);
    ht_settings.text[id] = texts[id];
    ht_settings.value[id] = value;
    ht_settings.given[id] = true;
    return true;
}
