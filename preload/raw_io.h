/*
 * Output that needs nothing: no stdio, no allocation, no lock. Everything here may be called from
 * any thread, inside malloc, before libc's own constructors, and keeps errno.
 */
#ifndef HEAPTALLY_RAW_IO_H
#define HEAPTALLY_RAW_IO_H

#include <stdbool.h>
#include <stddef.h>

#define HT_MESSAGE_MAX 1024 /* longer messages are cut */

/* Writes one line "heaptally: ..." to stderr in one write; the newline is added. */
void ht_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes all of `data`, going on after short writes and EINTR: 0, or -errno at the first failure.
 */
int ht_write_all(int fd, const void *data, size_t size);

/*
 * Reads a small file (of /proc, say) into `buffer` and ends it with a NUL: the length, or -errno.
 * What does not fit is cut off.
 */
long ht_read_file(const char *path, char *buffer, size_t size);

#endif
