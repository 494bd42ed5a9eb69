/*
 * Names, files and lines for the frames of a profile, with inlined functions.
 *
 * A module's file is used only if it is the very build that ran: where a build-id was recorded it
 * must agree. Looked for in this order: the recorded path; by build-id in the directories of debug
 * files and, where DEBUGINFOD_URLS is set, on debuginfod servers. Debug information that lies in a
 * file of its own is found the same way, and by .gnu_debuglink.
 *
 * What cannot be named stays module + offset, and says why: see ht_symbolizer_problem.
 */
#ifndef HEAPTALLY_ANALYZER_SYMBOLIZE_H
#define HEAPTALLY_ANALYZER_SYMBOLIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "profile.h"

/* One function at a place in a module. Strings are clean and the symbolizer's. */
struct ht_function {
    char *name;       /* demangled; NULL where unknown */
    char *file;       /* as the compiler recorded it; NULL where unknown */
    int line;         /* 0 where unknown */
    bool inlined;     /* into the next one of the place */
    bool approximate; /* only the nearest symbol before the place: name is "symbol+?" */
};

/* A place: the inlined functions there, innermost first, then the function that holds them. */
struct ht_place {
    size_t count; /* at least 1 */
    struct ht_function *functions;
};

struct ht_symbolizer;

/*
 * `debug_path`: directories of debug files, separated by ':'; NULL for the standard ones. The
 * symbolizer keeps pointers to modules: free it before their profile.
 */
struct ht_symbolizer *ht_symbolizer_new(const char *debug_path);

/* The place of a frame, looked up one byte before its return address; never NULL. */
const struct ht_place *ht_symbolize(struct ht_symbolizer *symbolizer, const struct ht_frame *frame);

/*
 * Module number `i` of those looked at that lack symbols, and in `*why` what is missing; NULL past
 * the last one.
 */
const struct ht_module *ht_symbolizer_problem(const struct ht_symbolizer *symbolizer, size_t i,
                                              const char **why);

/*
 * The file of a module, for others to look into, and in `*bias` what is to be added to offsets in
 * it; NULL where none could be used. The symbolizer's.
 */
struct Dwfl_Module *ht_symbolizer_file(struct ht_symbolizer *symbolizer,
                                       const struct ht_module *module, uint64_t *bias);

void ht_symbolizer_free(struct ht_symbolizer *symbolizer);

#endif
