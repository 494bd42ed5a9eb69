/* See call_scan.h. The format: "Intel 64 and IA-32 Architectures Software Developer's Manual",
 * volume 2, chapter 2, and CALL, MOV and XCHG in chapter 3. */
#include "call_scan.h"

#include <string.h>

#include "module_bytes.h"

enum {
    CHUNK = 256,      /* bytes fetched at a time */
    LONGEST_CALL = 7, /* without prefixes, which stand in front of what is looked for */
    DIRECT = 0xe8,    /* and a distance of 4 bytes */
    GROUP = 0xff,     /* a call by pointer, if so many bits of the next byte say 2 */
    SHORTLY = 64,     /* bytes between setting the stack pointer and the call */
    STORE = 0x89,     /* MOV to what the next byte says */
    LOAD = 0x8b,      /* MOV to the register that the next byte says */
    EXCHANGE = 0x87,
    SP = 4, /* the register's number in that byte, if the prefix does not add 8 to it */
};

/* The length of the operand of GROUP whose first byte is `form`; `index` follows it. */
static unsigned operand_length(uint8_t form, uint8_t index)
{
    unsigned how = form >> 6, base = form & 7, length = 1;
    if (how == 3)
        return length;
    if (base == 4) {
        length++;
        base = index & 7;
    } else if (how == 0 && base == 5) {
        return length + 4; /* relative to the instruction */
    }
    if (how == 0)
        return base == 5 ? length + 4 : length;
    return length + (how == 1 ? 1 : 4);
}

/* The length of the call that the bytes would be at `at`, 0 if they are none. */
static unsigned call_length(const struct call_scan *code, uint64_t at,
                            const uint8_t bytes[LONGEST_CALL])
{
    if (bytes[0] == DIRECT) {
        int32_t distance;
        memcpy(&distance, bytes + 1, sizeof distance);
        uint64_t target = at + 5 + (uint64_t)(int64_t)distance;
        return target >= code->low && target < code->high ? 5 : 0;
    }
    if (bytes[0] == GROUP && (bytes[1] >> 3 & 7) == 2)
        return 1 + operand_length(bytes[1], bytes[2]);
    return 0;
}

unsigned call_scan(const struct call_scan *code, uint64_t *places, unsigned most)
{
    uint8_t bytes[CHUNK + LONGEST_CALL];
    uint64_t end = code->end;
    unsigned count = 0;
    if (end - code->start > CALL_SCAN_BYTES)
        end = code->start + CALL_SCAN_BYTES;
    for (uint64_t from = code->start; from < end; from += CHUNK) {
        size_t wanted = end - from < sizeof bytes ? (size_t)(end - from) : sizeof bytes;
        memset(bytes, 0, sizeof bytes);
        if (module_bytes_read(from, bytes, wanted))
            break;
        for (unsigned i = 0; i < CHUNK && from + i < end; i++) {
            unsigned length = call_length(code, from + i, bytes + i);
            if (length == 0 || from + i + length > end)
                continue;
            if (count == most)
                return count;
            places[count++] = from + i + length;
        }
    }
    return count;
}

/* Whether the stack pointer is set by the instruction that the bytes would be. Its operands of 64
 * bits have a prefix, 0100 1RXB: R and B are the highest bits of the registers' numbers. */
static bool sets_stack_pointer(const uint8_t bytes[3])
{
    uint8_t prefix = bytes[0], form = bytes[2];
    bool wide = (prefix & 0xf8) == 0x48, both_registers = form >> 6 == 3;
    bool first = (form >> 3 & 7) == SP && !(prefix & 4);
    bool second = both_registers && (form & 7) == SP && !(prefix & 1);
    if (!wide || (first && second))
        return false;
    return bytes[1] == LOAD       ? first
           : bytes[1] == STORE    ? second
           : bytes[1] == EXCHANGE ? first || second
                                  : false;
}

bool call_scan_switches_stack(uint64_t start, uint64_t place)
{
    uint8_t bytes[SHORTLY];
    uint64_t from = place - start > SHORTLY ? place - SHORTLY : start;
    size_t count = (size_t)(place - from);
    if (place < start || module_bytes_read(from, bytes, count))
        return false;
    for (size_t i = 0; i + 3 <= count; i++)
        if (sets_stack_pointer(bytes + i))
            return true;
    return false;
}
