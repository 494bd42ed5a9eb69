/*
 * Having the library loaded into what this process becomes.
 */
#ifndef HEAPTALLY_ANALYZER_LAUNCH_H
#define HEAPTALLY_ANALYZER_LAUNCH_H

/* The absolute path of the library: HEAPTALLY_LIBRARY, else beside this command, else where it was
 * to be installed. A new string; NULL after a message. */
char *ht_find_library(void);

/* Sets a variable of the environment; ends the command where there is no memory. */
void ht_set_variable(const char *name, const char *value);

/* Puts the library in front of LD_PRELOAD, and marks this process, which is about to exec, as the
 * first that is watched. */
void ht_preload(const char *library);

#endif
