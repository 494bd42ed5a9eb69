#include "checksum.h"

#include "heaptally/crc32c.h"

uint32_t ht_checksum(uint32_t crc, const void *data, size_t size)
{
    return htl_crc32c(crc, data, size);
}
