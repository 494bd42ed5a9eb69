/* Where calls may return to in a stretch of machine code, and which calls may be made on another
 * stack.
 *
 * Instructions of x86-64 have no fixed length, and where one begins is not looked into: every byte
 * that could begin a call is taken for one. So all places that calls return to are found, and a few
 * more. It is for guessing what will be asked for next; nothing may rest upon it. In the same way
 * every place is found at which the stack pointer is set, and hardly ever one more.
 *
 * Reads the module of the current batch of module_bytes.h. Threads: the monitor only. */
#ifndef HEAPTALLY_CALL_SCAN_H
#define HEAPTALLY_CALL_SCAN_H

#include <stdbool.h>
#include <stdint.h>

/* The code looked through, [start, end), and what a call with a known target may lead to: the
 * module, [low, high). Link-time addresses. */
struct call_scan {
    uint64_t start, end;
    uint64_t low, high;
};

/* Writes up to `most` places to `places`, in the order of the calls: how many. No more than the
 * first CALL_SCAN_BYTES of the code are looked through; none where its bytes cannot be had. Where
 * `switches` comes out false, call_scan_switches_stack is so for all of them. */
enum { CALL_SCAN_BYTES = 16384 };
unsigned call_scan(const struct call_scan *code, uint64_t *places, unsigned most, bool *switches);

/* Whether the stack pointer is set from another register, or from memory, shortly before the call
 * that returns to `place`, in the function that begins at `start`. False where its bytes cannot be
 * had. */
bool call_scan_switches_stack(uint64_t start, uint64_t place);

#endif
