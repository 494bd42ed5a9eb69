/*
 * What the user asked for, read from the environment once, at start, and changed by requests since.
 * The texts are copies: a program may overwrite its environment.
 */
#ifndef HEAPTALLY_PRELOAD_OPTIONS_H
#define HEAPTALLY_PRELOAD_OPTIONS_H

#include "heaptally/options.h"

struct ht_settings {
    const char *text[HT_OPTION_COUNT]; /* as given, else the default; NULL where there is neither */
    uint64_t value[HT_OPTION_COUNT];   /* what ht_option_check made of it */
    bool given[HT_OPTION_COUNT];       /* by the environment or a request: not the default */
};

extern struct ht_settings ht_settings;

/* Reads the environment. A malformed value, or a HEAPTALLY_ variable that is no option, is one
 * line of warning; the default is kept. */
void ht_settings_read(void);

/* Puts a value that ht_option_check made of `text` in force. False, with nothing changed, where the
 * text is too long to be kept. The monitor, or who holds the gate. */
bool ht_settings_change(enum ht_option_id id, const char *text, uint64_t value);

#endif
