/* See call_scan.h. The format: "Intel 64 and IA-32 Architectures Software Developer's Manual",
 * volume 2, chapter 2, and CALL, MOV and XCHG in chapter 3. */
#include "call_scan.h"

#include <emmintrin.h>
#include <string.h>

#include "module_bytes.h"

enum {
    CHUNK = 256,      /* bytes fetched at a time */
    AT_ONCE = 16,     /* bytes looked at at a time */
    LONGEST_CALL = 7, /* without prefixes, which stand in front of what is looked for */
    DIRECT = 0xe8,    /* and a distance of 4 bytes */
    GROUP = 0xff,     /* a call by pointer, if so many bits of the next byte say 2 */
    SHORTLY = 64,     /* bytes between setting the stack pointer and the call */
    SLACK = AT_ONCE,  /* bytes fetched beyond those, into which an instruction may reach */
    STORE = 0x89,     /* MOV to what the next byte says */
    LOAD = 0x8b,      /* MOV to the register that the next byte says */
    EXCHANGE = 0x87,
    SP = 4, /* the register's number in that byte, if the prefix does not add 8 to it */
};
_Static_assert(SLACK >= LONGEST_CALL && CHUNK % AT_ONCE == 0 && SHORTLY % AT_ONCE == 0, "buffers");

/* ---- sixteen places at a time: code has a branch of its own at every second byte ------------- */

/* All bits of a byte are set where so many bits of it are `value`. */
static inline __m128i are(__m128i bytes, int bits, int value)
{
    __m128i some = _mm_and_si128(bytes, _mm_set1_epi8((char)bits));
    return _mm_cmpeq_epi8(some, _mm_set1_epi8((char)value));
}

static inline __m128i load(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* At which of the bytes the opcode of a call may be; a bit for each. */
static unsigned may_call(const uint8_t *bytes)
{
    __m128i code = load(bytes), form = load(bytes + 1);
    __m128i by_pointer = _mm_and_si128(are(code, 0xff, GROUP), are(form, 7 << 3, 2 << 3));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(are(code, 0xff, DIRECT), by_pointer));
}

/* At which of the bytes an instruction may begin that sets the stack pointer. Its operands of 64
 * bits have a prefix, 0100 1RXB: R and B are the highest bits of the registers' numbers. */
static unsigned may_set_stack_pointer(const uint8_t *bytes)
{
    __m128i prefix = load(bytes), code = load(bytes + 1), form = load(bytes + 2);
    __m128i first = _mm_and_si128(are(form, 7 << 3, SP << 3), are(prefix, 4, 0));
    __m128i second = _mm_and_si128(are(form, 3 << 6 | 7, 3 << 6 | SP), are(prefix, 1, 0));
    __m128i either = _mm_xor_si128(first, second); /* to itself: that sets nothing */
    __m128i load_sets = _mm_and_si128(are(code, 0xff, LOAD), _mm_and_si128(first, either));
    __m128i store_sets = _mm_and_si128(are(code, 0xff, STORE), _mm_and_si128(second, either));
    __m128i exchange_sets = _mm_and_si128(are(code, 0xff, EXCHANGE), either);
    __m128i sets = _mm_or_si128(_mm_or_si128(load_sets, store_sets), exchange_sets);
    return (unsigned)_mm_movemask_epi8(_mm_and_si128(are(prefix, 0xf8, 0x48), sets));
}

/* ---- calls ------------------------------------------------------------------------------------
 */

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

/* The length of the call that the bytes would be at `at`, where one may be; 0 if it would lead out
 * of the module. */
static unsigned call_length(const struct call_scan *code, uint64_t at,
                            const uint8_t bytes[LONGEST_CALL])
{
    if (bytes[0] == DIRECT) {
        int32_t distance;
        memcpy(&distance, bytes + 1, sizeof distance);
        uint64_t target = at + 5 + (uint64_t)(int64_t)distance;
        return target >= code->low && target < code->high ? 5 : 0;
    }
    return 1 + operand_length(bytes[1], bytes[2]);
}

unsigned call_scan(const struct call_scan *code, uint64_t *places, unsigned most, bool *switches)
{
    uint8_t bytes[CHUNK + SLACK];
    uint64_t end = code->end;
    unsigned count = 0;
    *switches = false;
    if (end - code->start > CALL_SCAN_BYTES)
        end = code->start + CALL_SCAN_BYTES;
    for (uint64_t from = code->start; from < end; from += CHUNK) {
        size_t wanted = end - from < sizeof bytes ? (size_t)(end - from) : sizeof bytes;
        memset(bytes, 0, sizeof bytes);
        if (module_bytes_read(from, bytes, wanted)) {
            *switches = true; /* for all that is known: the last call may reach into these */
            break;
        }
        for (unsigned i = 0; i < CHUNK && from + i < end; i += AT_ONCE) {
            *switches |= may_set_stack_pointer(bytes + i) != 0;
            for (unsigned calls = may_call(bytes + i); calls; calls &= calls - 1) {
                unsigned at = i + (unsigned)__builtin_ctz(calls);
                unsigned length = call_length(code, from + at, bytes + at);
                if (length == 0 || from + at + length > end || count == most)
                    continue;
                places[count++] = from + at + length;
                if (count == most && end - (from + at) > LONGEST_CALL)
                    end = from + at + LONGEST_CALL; /* where any call so far returns, or beyond */
            }
        }
    }
    return count;
}

bool call_scan_switches_stack(uint64_t start, uint64_t place)
{
    uint8_t bytes[SHORTLY + SLACK] = {0};
    uint64_t from = place - start > SHORTLY ? place - SHORTLY : start;
    if (place < start || module_bytes_read(from, bytes, (size_t)(place - from)))
        return false;
    unsigned set = 0;
    for (unsigned i = 0; i < SHORTLY; i += AT_ONCE)
        set |= may_set_stack_pointer(bytes + i);
    return set != 0;
}
