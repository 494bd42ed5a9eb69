/* The entry points of libFuzzer that its user defines, and the one that it offers. */
#ifndef HEAPTALLY_FUZZ_H
#define HEAPTALLY_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_size, unsigned seed);

/* Changes some bytes, returns the new size; libFuzzer's, or that of replay.c. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Whether each input is shown in every view, as it is in a replay. Else in one, which depends on
 * the input. */
extern bool fuzz_takes_all_ways;

#endif
