/*
 * The file behind the snapshot: its name, its descriptor, and what can go wrong with both.
 */
#ifndef HEAPTALLY_SNAPSHOT_FILE_H
#define HEAPTALLY_SNAPSHOT_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ht_file {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
    uint64_t size; /* bytes that are whole records */
    char path[PATH_MAX];
};

/*
 * Creates the file that `pattern` names (%e program, %p pid, %h host, %t start time, %n sequence;
 * relative to `directory`, else to $STATE_DIRECTORY, else to $XDG_STATE_HOME/heaptally).
 * Never overwrites and never follows a symlink: where the name is taken, "-N" is put before the
 * suffix. 0 or -errno of the first choice.
 */
int ht_file_create(struct ht_file *file, const char *directory, const char *pattern,
                   const char *program, uint64_t start_realtime_ns);

/* Creates `path` anew for the same process, to replace `old` later. 0 or -errno. */
int ht_file_create_beside(struct ht_file *file, const struct ht_file *old);

/* Renames `file` over `old` and closes `old`; `file` takes its path. 0 or -errno. */
int ht_file_replace(struct ht_file *file, struct ht_file *old);

/* Appends all of `data`, or nothing: 0 or -errno. */
int ht_file_append(struct ht_file *file, const void *data, size_t size);

/* Has what was written brought to the disk; nothing where the descriptor is ours no more. */
void ht_file_sync(const struct ht_file *file);

void ht_file_close(struct ht_file *file);

/* Removes the oldest finished files that the same pattern made, beyond `keep`; `file` stays. */
void ht_file_prune(const struct ht_file *file, const char *pattern, const char *program,
                   uint64_t keep);

#endif
