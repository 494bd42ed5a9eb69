/* The part of a module's unwind table that covers one address.
 *
 * .eh_frame_hdr is a sorted table of (function start, its FDE); an FDE in .eh_frame has the
 * function's range and its program of CFI instructions, and names a CIE, which has what functions
 * share. libunwind runs those programs; this file finds the one to run, and reads through it once
 * beforehand, because libunwind can be relied on only within limits:
 *
 *   - an instruction it doesn't know (DW_CFA_val_offset among them) it skips without its operands,
 *     which it then runs as instructions: a wrong rule. Such a program is refused here.
 *   - it takes the caller's SP to be the CFA even where the program says otherwise: refused.
 *   - where no CFA is defined it reads the rule from address 0: refused.
 *   - of the letters of a CIE's augmentation it sees four; the S of a signal frame can be the
 *     fifth. Here all are read.
 *
 * Reads the module of the current batch of module_bytes.h. Threads: the monitor only. */
#ifndef HEAPTALLY_UNWIND_TABLE_H
#define HEAPTALLY_UNWIND_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/* One function's entry; link-time addresses. */
struct unwind_entry {
    uint64_t start, end;   /* the addresses it covers */
    uint64_t search_entry; /* its entry of 8 bytes in the search table */
    bool signal_frame;     /* it describes a signal handler's trampoline */
};

/* Finds the entry that covers `vaddr` in the search table of `size` bytes at `header`.
 * 0 and *out filled; -ENODATA if nothing covers the address; -ENOTSUP if its program, or the
 * table, is malformed or uses what libunwind doesn't know; else as of module_bytes_read. */
int unwind_table_find(uint64_t header, uint64_t size, uint64_t vaddr, struct unwind_entry *out);

#endif
