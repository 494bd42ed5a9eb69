/*
 * CRC-32C (Castagnoli), the checksum of every record of a snapshot file.
 * Polynomial 0x1EDC6F41 reflected, initial value and final xor ~0, as in RFC 3720 appendix B.4:
 * the check value of "123456789" is 0xE3069283.
 */
#ifndef HEAPTALLY_CRC32C_H
#define HEAPTALLY_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

/* In any way: needs no table in memory, so that it costs a process under mlockall nothing: four
 * bits a step through 16 constants. */
static inline uint32_t htl_crc32c_by_nibbles(uint32_t crc, const void *data, size_t size)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const unsigned char *p = data;
    crc = ~crc;
    while (size--) {
        crc ^= *p++;
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

#ifdef __x86_64__
/* Processors since 2008 have an instruction for it. */
__attribute__((target("sse4.2"))) static inline uint32_t
htl_crc32c_by_instruction(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *p = data;
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

/* Asked of the processor once, and by whoever first needs it: the compiler's __builtin_cpu_supports
 * would ask it a dozen questions in every process that is begun, and each takes a virtual machine
 * 10 us or more. */
static inline int htl_crc32c_has_instruction(void)
{
    static char known; /* 'y' or 'n' */
    char answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!answer) {
        unsigned eax, ebx, ecx, edx;
        __cpuid(1, eax, ebx, ecx, edx);
        answer = ecx & bit_SSE4_2 ? 'y' : 'n';
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer == 'y';
}
#endif

/* Continues `crc` (0 to begin) over `size` bytes at `data`. Pure. */
static inline uint32_t htl_crc32c(uint32_t crc, const void *data, size_t size)
{
#ifdef __x86_64__
    if (htl_crc32c_has_instruction())
        return htl_crc32c_by_instruction(crc, data, size);
#endif
    return htl_crc32c_by_nibbles(crc, data, size);
}

#endif
