#include "thresholds.h"

#include "heaptally/snapshot_format.h"
#include "tag.h"

static uint64_t of_process = HT_NO_THRESHOLD;
static uint64_t of_tag[HT_TAGS]; /* one more than the threshold, so that 0 is none */

uint64_t ht_threshold(uint32_t subject)
{
    return subject < HT_TAGS ? of_tag[subject] - 1 : of_process;
}

void ht_threshold_set(uint32_t subject, uint64_t bytes)
{
    if (subject < HT_TAGS)
        of_tag[subject] = bytes + 1;
    else
        of_process = bytes;
}

void ht_thresholds_take(const char *text)
{
    const char *cursor = text, *item;
    size_t length, name_length;
    uint64_t bytes;
    while ((item = ht_option_next_item(&cursor, &length))) {
        if (!ht_option_threshold(item, length, &name_length, &bytes))
            continue;
        ht_threshold_set(name_length ? ht_tag_intern(item, name_length, HTL_TAG_RULE)
                                     : HTL_HISTORY_PROCESS,
                         bytes);
    }
}

/* The standard threshold of the process stays where thresholds of tags only are given. */
void ht_thresholds_begin(const struct ht_settings *settings)
{
    ht_thresholds_take(ht_options[HT_OPT_THRESHOLD].standard);
    if (settings->given[HT_OPT_THRESHOLD])
        ht_thresholds_take(settings->text[HT_OPT_THRESHOLD]);
}
