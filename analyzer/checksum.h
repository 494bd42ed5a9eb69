/* The checksum of snapshot files at the speed of the processor; files are up to 64 MB. */
#ifndef HEAPTALLY_ANALYZER_CHECKSUM_H
#define HEAPTALLY_ANALYZER_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The same as htl_crc32c of heaptally/crc32c.h, for any alignment and length. */
uint32_t ht_checksum(uint32_t crc, const void *data, size_t size);

#endif
