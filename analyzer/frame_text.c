/*
 * Frames in words; see frame_text.h.
 */
#include "frame_text.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

const char *ht_module_name(const struct ht_frame *frame)
{
    return frame->module ? ht_base_name(frame->module->label) : "?";
}

static char *offset_text(const struct ht_frame *frame)
{
    if (!frame->module)
        return ht_format("0x%llx", (unsigned long long)frame->offset);
    return ht_format("%s+0x%llx", ht_module_name(frame), (unsigned long long)frame->offset);
}

char *ht_function_text(const struct ht_frame *frame, const struct ht_function *function)
{
    return function->name ? ht_format("%s", function->name) : offset_text(frame);
}

char *ht_place_text(const struct ht_frame *frame, const struct ht_function *function)
{
    if (!function->file)
        return offset_text(frame);
    if (function->line == 0)
        return ht_format("%s", ht_base_name(function->file));
    return ht_format("%s:%d", ht_base_name(function->file), function->line);
}

bool ht_is_plumbing(const struct ht_frame *frame, const struct ht_function *function)
{
    static const char *const prefixes[] = {
        "std::",     "__gnu_cxx::", "operator new",  "void* std::", "void std::",
        "__rust_",   "alloc::",     "<alloc::",      "core::",      "<core::",
        "__rustc::", "__rdl_",      "__libc_start_",
    };
    static const char *const names[] = {"_start", "start_thread", "clone", "clone3", "__clone3"};
    if (frame->module && (frame->module->flags & HTL_MODULE_RUNTIME))
        return true;
    for (size_t i = 0; function->name && i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(function->name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    for (size_t i = 0; function->name && i < sizeof names / sizeof *names; i++)
        if (strcmp(function->name, names[i]) == 0)
            return true;
    return false;
}

/* The function to blame and, in `*at`, its frame; NULL for a stack without frames. */
static const struct ht_function *blamed(struct ht_symbolizer *symbolizer,
                                        const struct ht_stack *stack, const struct ht_frame **at)
{
    const struct ht_function *innermost = NULL;
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct ht_frame *frame = &stack->frames[i];
        const struct ht_place *place = ht_symbolize(symbolizer, frame);
        for (size_t j = 0; j < place->count; j++) {
            const struct ht_function *function = &place->functions[j];
            bool found = !ht_is_plumbing(frame, function);
            if (!innermost || found) {
                *at = frame;
                innermost = function;
            }
            if (found)
                return function;
        }
    }
    return innermost;
}

char *ht_blamed_text(struct ht_symbolizer *symbolizer, const struct ht_stack *stack)
{
    const struct ht_frame *frame = NULL;
    const struct ht_function *function = blamed(symbolizer, stack, &frame);
    if (!function)
        return ht_format("%s", HT_CALL_SITE_UNKNOWN);
    char *where = ht_place_text(frame, function);
    char *text =
        function->name ? ht_format("%s (%s)", function->name, where) : ht_format("%s", where);
    free(where);
    return text;
}
