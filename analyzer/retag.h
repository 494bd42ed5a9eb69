/*
 * Tags assigned afresh, from the stacks of an old file, by the rules that the preload goes by
 * (heaptally/tagging.h): nobody runs three weeks again for want of a rule.
 *
 * The rules that are given replace those of the run, all of them; the lists of runtime modules and
 * middleware are today's. What a scope was open for stays with the scope. Figures of a tag that got
 * other call sites are the sums of theirs, as last listed; its past is the sum of theirs where the
 * file has it, else it has none; its peak is the highest point of that.
 */
#ifndef HEAPTALLY_ANALYZER_RETAG_H
#define HEAPTALLY_ANALYZER_RETAG_H

#include <stdbool.h>

#include "profile.h"
#include "symbolize.h"

struct ht_retagging;

struct ht_retagging *ht_retagging_new(void);

/*
 * One value of --tag, --construct (NAME=PATTERN), --tag-skip (lib:GLOB) or --tag-file. False after
 * a message that begins with `command`. The text must outlive the re-tagging.
 */
bool ht_retagging_tag(struct ht_retagging *retagging, const char *command, const char *value);
bool ht_retagging_construct(struct ht_retagging *retagging, const char *command, const char *value);
bool ht_retagging_skip(struct ht_retagging *retagging, const char *command, const char *value);
bool ht_retagging_file(struct ht_retagging *retagging, const char *command, const char *path);

struct ht_retagged {
    uint64_t nameless_frames; /* in modules whose file was not found: rules on names pass them by */
    uint64_t unlisted_bytes;  /* live, of call sites that the file does not list: in no tag now */
};

/* Changes the profile: its tags, whose sites they are, the flags of its modules. */
struct ht_retagged ht_retag(struct ht_profile *profile, struct ht_symbolizer *symbolizer,
                            const struct ht_retagging *retagging);

void ht_retagging_free(struct ht_retagging *retagging);

#endif
