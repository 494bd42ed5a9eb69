/*
 * What the kernel is asked for, with nothing between: no stdio, no allocation, no lock. Output,
 * small files, and whether memory is there. Everything here may be called from any thread, inside
 * malloc, before libc's own constructors, and keeps errno.
 *
 * The log is descriptor 2, as long as it is a log. Nothing waits for it: where it is a pipe, a
 * terminal or a socket that takes nothing more, the line is lost and counted, and the next line
 * that gets through is preceded by one that says how many were. Programs close descriptors and use
 * them again for their data, so 2 is taken for the log only where it is
 *
 *   what it was when the process began,
 *   a terminal, or /dev/null, or
 *   also descriptor 1, and no socket: then the program has sent both somewhere else on purpose.
 *
 * A regular file is simply written to.
 */
#ifndef HEAPTALLY_RAW_IO_H
#define HEAPTALLY_RAW_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HT_MESSAGE_MAX 1024 /* longer messages are cut */

/* Notes what descriptor 2 is. Once, as early as possible; else at the first message. */
void ht_log_begin(void);

/* Whether descriptor 2 is the log, by the rules above. */
bool ht_log_is_there(void);

/* Lines that were lost so far, for whatever reason. */
uint64_t ht_log_lost(void);

/* Writes one line "heaptally: ..." to the log in one write, or not at all; the newline is added.
 * Control characters become question marks. */
void ht_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What an error number (positive) means, in English. Not strerror(3), which may allocate and takes
 * locks of the program's locale. The text lives for ever. */
const char *ht_error_words(int error);

/* Whether the 8 bytes at `address`, a multiple of 8, can be read. */
bool ht_is_readable(uintptr_t address);

/* Writes all of `data`, going on after short writes and EINTR: 0, or -errno at the first failure.
 */
int ht_write_all(int fd, const void *data, size_t size);

/*
 * Reads a small file (of /proc, say) into `buffer` and ends it with a NUL: the length, or -errno.
 * What does not fit is cut off.
 */
long ht_read_file(const char *path, char *buffer, size_t size);

#endif
