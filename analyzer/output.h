/*
 * Where a command writes what it has to say: a file that was named, or the standard output.
 */
#ifndef HEAPTALLY_ANALYZER_OUTPUT_H
#define HEAPTALLY_ANALYZER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Opens `path` for writing; NULL stands for stdout. NULL after a message if it cannot be. */
FILE *ht_output_open(const char *path);

/* Ends what ht_output_open gave; false after a message if not all of it reached its place. */
bool ht_output_close(FILE *out, const char *path);

/* Columns to write in: of the terminal, or as $COLUMNS says, else 100; never below `least`. */
size_t ht_output_width(FILE *out, size_t least);

#endif
