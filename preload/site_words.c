#include "site_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame_info.h"
#include "frame_table.h"
#include "module_map.h"
#include "site_table.h"
#include "symbol_scan.h"
#include "tag_rules.h"

static uint64_t info_of(uint32_t frame)
{
    return __atomic_load_n(ht_intern_slot(&ht_frames, frame) + 2, __ATOMIC_ACQUIRE);
}

uint32_t ht_blamed_frame(uint32_t stack)
{
    uint32_t second_best = UINT32_MAX;
    for (; stack >= HT_STACK_ROOTS; stack = ht_stack_outer(stack)) {
        uint32_t frame = ht_stack_frame(stack);
        uint64_t info = info_of(frame);
        if (!HT_INFO_HAS_MODULE(info) || (info & HT_INFO_RUNTIME))
            continue;
        if (!(info & HT_INFO_SKIPPED))
            return frame;
        if (second_best == UINT32_MAX)
            second_best = frame;
    }
    return second_best;
}

/* Where the parameters of a demangled function begin: at the parenthesis that its last one closes.
 * What stands behind that ("const", "[clone .cold]") is no part of the name either. */
static size_t name_length(const char *full)
{
    const char *end = strrchr(full, ')');
    int depth = 0;
    for (const char *at = end; at && at > full; at--) {
        depth += *at == ')' ? 1 : *at == '(' ? -1 : 0;
        if (depth == 0)
            return (size_t)(at - full);
    }
    return strlen(full);
}

/* Puts the name as C++ writes it, without parameters, in the place of the mangled one. */
static void demangle(char *name, size_t size)
{
    int status = -1;
    ht_demangler *demangler = strncmp(name, "_Z", 2) == 0 ? ht_rules_demangler(name) : NULL;
    char *full = demangler ? demangler(name, NULL, NULL, &status) : NULL;
    if (full)
        snprintf(name, size, "%.*s", (int)name_length(full), full);
    free(full);
}

void ht_site_words(uint32_t site, char *buffer, size_t size)
{
    uint32_t frame = ht_blamed_frame(ht_site_stack(site));
    const struct ht_module *module =
        frame == UINT32_MAX ? NULL : ht_module(HT_INFO_MODULE(info_of(frame)));
    buffer[0] = '\0';
    if (!module)
        return;
    char name[SYMBOL_SCAN_NAME] = "";
    uint64_t offset = ht_frame_pc(frame) - module->unwind.load_bias; /* as in reports */
    struct symbol_request request = {.vaddr = offset - 1, .name = name, .capacity = sizeof name};
    if (symbol_scan(&module->unwind.file, &request, 1) != 0)
        name[0] = '\0';
    demangle(name, sizeof name);
    snprintf(buffer, size, name[0] ? "%.120s (%s+0x%llx)" : "%.0s%s+0x%llx", name, module->base,
             (unsigned long long)offset);
}
