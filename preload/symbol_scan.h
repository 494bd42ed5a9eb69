/* Names of functions by link-time address, from the symbol table of a module's file.
 *
 * Tag rules match names of functions. They are wanted once per new stack, for a handful of
 * addresses of a module, by the monitor thread, in bounded memory: so the table is not kept but
 * streamed, once for a whole batch, in blocks of SYMBOL_SCAN_BLOCK bytes; then the names that won
 * are read. .symtab is used where the file has one, else .dynsym (a stripped library names its
 * exported functions only; an address in another function of it stays without a name).
 *
 * Which symbol names an address:
 *   1. one with a size (STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE) whose [value, value + size) holds it:
 *      the one that starts last; global before weak before local among those that start alike;
 *   2. else, for assembly, the nearest one without size before it, in the same executable section,
 *      if the last sized one that begins before the address ends before that label;
 *   3. else none.
 * A symbol version (NAME@VERSION, NAME@@VERSION) is no part of the name.
 *
 * The file is identified first (see module_bytes.h) and its tables are not trusted: whatever is
 * out of bounds ends the scan with an error. Threads: the monitor only. No locks, no stdio. */
#ifndef HEAPTALLY_SYMBOL_SCAN_H
#define HEAPTALLY_SYMBOL_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "module_bytes.h"

enum {
    SYMBOL_SCAN_BLOCK = 65536, /* bytes of the symbol table in memory at a time */
    SYMBOL_SCAN_NAME = 512,    /* the longest name that is returned, with its 0 */
    SYMBOL_SCAN_BATCH = 256,   /* the most addresses in one call */
};

struct symbol_request {
    uint64_t vaddr;  /* in: link-time address; for a return address that of the call: pc - 1 */
    char *name;      /* in: buffer for the name, not NULL; "" where there is none */
    size_t capacity; /* in: its bytes, at least 1; no more than SYMBOL_SCAN_NAME are used */
    int truncated;   /* out: the name was longer and has been cut */
    uint64_t start;  /* out: link-time address of the function, 0 where there is none */
};

/* Finds the names of `count` addresses of one module, in any order.
 * 0 (also where no name was found); else nothing is named and the result is -E2BIG (count over
 * SYMBOL_SCAN_BATCH), -ENOMEM, -ENOEXEC (tables out of bounds), or as of module_bytes_open_file. */
int symbol_scan(const struct module_file *file, struct symbol_request *requests, size_t count);

#endif
