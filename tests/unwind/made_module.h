/* Makes ELF files with an unwind table of the test's choice, which no compiler would make. */
#ifndef MADE_MODULE_H
#define MADE_MODULE_H

#include <stddef.h>
#include <stdint.h>

#include "../../preload/unwind_rule.h"

struct made_bytes {
    const uint8_t *bytes;
    size_t length;
};

/* A function: its place in the made text, and its CFI program. */
struct made_function {
    uint64_t start, size; /* link-time address, bytes */
    struct made_bytes program;
};

struct made_module {
    const char *augmentation;      /* of the CIE; NULL: "zR" */
    struct made_bytes cie_program; /* without bytes: CFA := SP + 8, return address at CFA - 8 */
    unsigned return_column;        /* 0: 16 */
    const struct made_function *functions; /* ascending */
    unsigned count;
    uint8_t build_id; /* repeated 20 times; 0: the file has no build-id */
    /* Damage: where not 0, the byte there (an offset in the file) is xored with `flip`. */
    size_t flip_at;
    uint8_t flip;
};

enum {
    MADE_TEXT = 0x10000,      /* link-time addresses from here on are the module's functions */
    MADE_TEXT_SIZE = 0x10000, /* bytes of them */
    MADE_BIAS = 0x55000000,   /* load bias that make_module gives the module */
};

/* Writes the file at `path`, in place of what is there, and describes it in *out, which refers to
 * `path`. Returns the size of the file; ends the test on errors. */
size_t make_module(const char *path, const struct made_module *made, struct unwind_module *out);

#endif
