/* A module described from its file instead of from a loaded image: for tests that look at binaries
 * which they don't run. */
#ifndef FILE_MODULE_H
#define FILE_MODULE_H

#include "../../preload/unwind_rule.h"

/* Fills in *module for the ELF file at `path` (kept by reference), with load bias 0. The build-id
 * is kept in a static buffer, so one module at a time. 0, or -1 after a message on stderr. */
int file_module(const char *path, struct unwind_module *module);

#endif
