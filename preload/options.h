/*
 * What the user asked for, read from the environment once, at start. The texts are copies: a
 * program may overwrite its environment.
 */
#ifndef HEAPTALLY_PRELOAD_OPTIONS_H
#define HEAPTALLY_PRELOAD_OPTIONS_H

#include "heaptally/options.h"

struct ht_settings {
    const char *text[HT_OPTION_COUNT]; /* as given, else the default; NULL where there is neither */
    uint64_t value[HT_OPTION_COUNT];   /* what ht_option_check made of it */
    bool given[HT_OPTION_COUNT];       /* taken from the environment */
};

extern struct ht_settings ht_settings;

/* Reads the environment. A malformed value, or a HEAPTALLY_ variable that is no option, is one
 * line of warning; the default is kept. */
void ht_settings_read(void);

#endif
