/*
 * Which tag a stack belongs to where no scope was open: by rule, else by default.
 *
 * Rules come from --tag, --tag-file and --construct; what they mean, and what the default is, is in
 * heaptally/tagging.h.
 *
 * All of this is worked out once for each frame (frame_info.h), by the monitor.
 */
#ifndef HEAPTALLY_TAG_RULES_H
#define HEAPTALLY_TAG_RULES_H

#include <stdint.h>

#include "heaptally/tagging.h"
#include "options.h"

/* Takes the rules from the settings; the texts must live for ever. Once, at start. */
void ht_rules_begin(const struct ht_settings *settings);

/* Finds out about every frame that is not final yet: module, names where a rule needs them. The
 * monitor, or whoever stands in for it. */
void ht_rules_describe_frames(void);

/* Whether all frames of a stack are described; a thread may have added some since. */
bool ht_rules_described(uint32_t stack);

/* The tag of a stack, all of whose frames are described. */
uint32_t ht_rules_tag(uint32_t stack);

/* The tag whose instantiations the blocks of this stack count, or 0. */
uint32_t ht_rules_construct(uint32_t stack);

/* The demangler of the program's own C++ runtime, once it is there and `name` needs one; NULL else,
 * or one that is not needed. The monitor, or who holds the gate. */
ht_demangler *ht_rules_demangler(const char *name);

#endif
