/* x86-64 processors since 2008 have an instruction for it; where it is missing, htl_crc32c serves.
 */
#include "checksum.h"

#include <string.h>

#include "heaptally/crc32c.h"

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t crc, const unsigned char *p, size_t size)
{
    uint64_t state = ~crc;
    for (; size >= sizeof state; size -= sizeof state, p += sizeof state) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        state = __builtin_ia32_crc32di(state, word);
    }
    while (size--)
        state = __builtin_ia32_crc32qi((uint32_t)state, *p++);
    return ~(uint32_t)state;
}
#endif

uint32_t ht_checksum(uint32_t crc, const void *data, size_t size)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return by_instruction(crc, data, size);
#endif
    return htl_crc32c(crc, data, size);
}
