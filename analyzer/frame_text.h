/*
 * Frames in words, alike in every format.
 */
#ifndef HEAPTALLY_ANALYZER_FRAME_TEXT_H
#define HEAPTALLY_ANALYZER_FRAME_TEXT_H

#include "profile.h"
#include "symbolize.h"

/* What stands for a site of which not one frame is known. */
#define HT_CALL_SITE_UNKNOWN "[call site unknown]"

/* The file name of the frame's module without directories; "?" outside any module. */
const char *ht_module_name(const struct ht_frame *frame);

/* Whether a function stands between the code to blame and the allocator, or between that code and
 * the kernel: of a runtime module, or a wrapper that every allocation of its language goes through.
 */
bool ht_is_plumbing(const struct ht_frame *frame, const struct ht_function *function);

/* Each of these gives a new string. */

/* "history_push", else "libplan.so+0x1234". */
char *ht_function_text(const struct ht_frame *frame, const struct ht_function *function);

/* Where a function of a frame is: "history.c:88", else "libplan.so+0x1234". */
char *ht_place_text(const struct ht_frame *frame, const struct ht_function *function);

/*
 * "history_push (history.c:88)": the innermost function of a stack that is no plumbing; where there
 * is none, the innermost of all.
 */
char *ht_blamed_text(struct ht_symbolizer *symbolizer, const struct ht_stack *stack);

#endif
