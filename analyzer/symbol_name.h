/*
 * Names of functions as rules see them: from the symbol table alone, not demangled, chosen as the
 * preload chooses (see preload/symbol_scan.h):
 *
 *   1. of the symbols with a size that hold the address the one that starts last; global before
 *      weak before local among those that start alike;
 *   2. else the nearest one without size before it, in the same executable section, if the last
 *      sized one that begins before the address ends before that label;
 *   3. else none.
 *
 * Reports show other names: those of the debug information, with what was inlined.
 */
#ifndef HEAPTALLY_ANALYZER_SYMBOL_NAME_H
#define HEAPTALLY_ANALYZER_SYMBOL_NAME_H

#include "profile.h"
#include "symbolize.h"

struct ht_symbol_names;

/* Uses the symbolizer's files; free it before the symbolizer. */
struct ht_symbol_names *ht_symbol_names_new(struct ht_symbolizer *symbolizer);

/* The function of a frame, looked up one byte before its return address; "" where it has none.
 * `*has_file` is false where the module's file was not found. The names' own. */
const char *ht_symbol_name(struct ht_symbol_names *names, const struct ht_frame *frame,
                           bool *has_file);

void ht_symbol_names_free(struct ht_symbol_names *names);

#endif
