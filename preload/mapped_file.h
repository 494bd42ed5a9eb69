/*
 * Which file is mapped at an address, by the kernel's own list: a whole path without symbolic
 * links, whatever name the program had for the file and wherever its working directory is now.
 */
#ifndef HEAPTALLY_MAPPED_FILE_H
#define HEAPTALLY_MAPPED_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writes the path, ended by a NUL, to `path`, which has `room` bytes. False, and nothing that means
 * anything there, where no file is mapped at the address, where it has no name any more, or one
 * that does not fit, or where /proc does not say. Reads up to the whole list with system calls
 * alone, which takes a while; any thread; keeps errno.
 */
bool ht_mapped_file(uintptr_t address, char *path, size_t room);

#endif
