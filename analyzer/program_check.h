/*
 * Looks at a program before it is run: whether LD_PRELOAD can reach it at all.
 */
#ifndef HEAPTALLY_ANALYZER_PROGRAM_CHECK_H
#define HEAPTALLY_ANALYZER_PROGRAM_CHECK_H

#include <stdbool.h>

enum ht_program_fate {
    HT_PROGRAM_FINE,
    HT_PROGRAM_WARN,    /* it runs, but not all of it will be seen */
    HT_PROGRAM_REFUSED, /* preloading cannot work */
};

/*
 * Finds `name` as execvp would. Returns the path, a new string; NULL with `*status` 127 (not found)
 * or 126 (found, not executable) and in `*why` a static text: what is wrong and how to mend it.
 */
char *ht_program_find(const char *name, int *status, const char **why);

/*
 * Whether a library built like this command can be preloaded into the program at `path`; a script
 * is judged by its interpreter. `*why` (a new string) says what is wrong, naming the interpreter if
 * it is not the program itself, and how to mend it; NULL where all is fine. A program that cannot
 * be read passes.
 */
enum ht_program_fate ht_program_check(const char *path, char **why);

#endif
