/*
 * Which snapshot files are meant by the words of a command line.
 *
 *   FILE   that file
 *   DIR    the newest run in the directory: the newest .htl file, and those of the same run
 *   PID    the file of that process: the one that it has open, once it has written all its figures
 *          if it listens; else the newest in the working directory that a process of that number
 *          wrote
 *   none   as for the working directory
 *
 * Files are of one run where one process descends from the other, as far as the parents in between
 * have files too, on the same host: the run is what grew from the oldest of them. A file that two
 * words mean is taken once.
 */
#ifndef HEAPTALLY_ANALYZER_INPUTS_H
#define HEAPTALLY_ANALYZER_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

struct ht_inputs {
    char **paths;
    size_t count;
    bool failed; /* a word meant nothing: said on stderr, and the others are taken all the same */
};

/* `command` begins the messages. Ask ht_inputs_clear to free what this gives. */
struct ht_inputs ht_inputs_find(const char *command, char *const *words, size_t count);

void ht_inputs_clear(struct ht_inputs *inputs);

#endif
