/* What call_scan finds in stretches of code, sixteen places at a time, against a plain reading of
 * one place after the other. The code is random, but made of the bytes that matter. */
#include "../../preload/call_scan.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "../../preload/module_bytes.h"
#include "../run_suite.h"

enum { TEXT = 0x10000, SIZE = 2048, PLACES = 400 };
static uint8_t text[SIZE];

/* In the place of the module's file. */
int module_bytes_read(uint64_t vaddr, void *out, size_t length)
{
    if (vaddr < TEXT || vaddr - TEXT > SIZE || length > SIZE - (vaddr - TEXT))
        return -EFAULT;
    memcpy(out, text + (vaddr - TEXT), length);
    return 0;
}

static uint64_t state = 88172645463325252;

static unsigned draw(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % below);
}

static void fill(unsigned plain)
{
    static const uint8_t telling[] = {0xe8, 0xff, 0x48, 0x4c, 0x49, 0x89, 0x8b, 0x87, 0xe4,
                                      0xec, 0xe5, 0xd4, 0x24, 0x64, 0x10, 0xd0, 0x15, 0x00};
    for (unsigned i = 0; i < SIZE; i++)
        text[i] = (uint8_t)(draw(plain) ? 0x90 : telling[draw(sizeof telling)]);
}

/* The stack pointer is set: MOV to a register or memory 89, MOV from them 8B, XCHG 87; REX.W in
 * front; SP is register 4 without the bit of REX that adds 8. */
static bool sets(const uint8_t *b)
{
    unsigned reg = (b[2] >> 3 & 7) + (b[0] & 4 ? 8 : 0), rm = (b[2] & 7) + (b[0] & 1 ? 8 : 0);
    bool to_reg = reg == 4, to_rm = b[2] >> 6 == 3 && rm == 4;
    if (b[0] < 0x48 || b[0] > 0x4f || (to_reg && to_rm))
        return false;
    switch (b[1]) {
    case 0x8b:
        return to_reg;
    case 0x89:
        return to_rm;
    case 0x87:
        return to_reg || to_rm;
    default:
        return false;
    }
}

/* In the 64 bytes before `place`, and not before `start`. */
static bool set_before(unsigned start, unsigned place)
{
    for (unsigned i = place > start + 64 ? place - 64 : start; i + 3 <= place; i++)
        if (sets(text + i))
            return true;
    return false;
}

START_TEST(the_stack_pointer_is_set_where_a_plain_reading_says_so)
{
    unsigned set = 0;
    for (unsigned turn = 0; turn < 200; turn++) {
        fill(1 + turn % 4);
        for (unsigned again = 0; again < 200; again++) {
            unsigned start = draw(SIZE - 1), place = start + draw(SIZE - start);
            bool expected = set_before(start, place);
            ck_assert_int_eq(call_scan_switches_stack(TEXT + start, TEXT + place), expected);
            set += expected;
        }
    }
    ck_assert_uint_gt(set, 2000);
    ck_assert_uint_lt(set, 38000);
}
END_TEST

/* The first byte of a call by distance is E8, of one by pointer FF with 2 in the next byte. */
static bool may_call(unsigned at)
{
    return text[at] == 0xe8 || (text[at] == 0xff && (text[at + 1] >> 3 & 7) == 2);
}

START_TEST(every_call_is_found_and_no_switch_is_passed_over)
{
    static uint64_t places[PLACES];
    unsigned without = 0, found = 0;
    for (unsigned turn = 0; turn < 2000; turn++) {
        fill(1 + turn % 60);
        unsigned start = draw(64), end = SIZE - draw(1500), most = 1 + draw(PLACES);
        /* Every distance stays within: each E8 counts. */
        const struct call_scan code = {TEXT + start, TEXT + end, 0, UINT64_MAX};
        bool switches;
        unsigned count = call_scan(&code, places, most, &switches), next = 0;
        for (unsigned at = start; at < end && next < count; at++) {
            uint64_t least = TEXT + at + 2, longest = TEXT + at + 7;
            if (may_call(at) && places[next] >= least && places[next] <= longest)
                next++;
        }
        ck_assert_uint_eq(next, count);
        unsigned certain = 0; /* the longest call would end before the code does */
        for (unsigned at = start; at + 7 <= end; at++)
            certain += may_call(at);
        ck_assert_uint_ge(count, certain < most ? certain : most);
        for (unsigned i = 0; i < count && !switches; i++)
            ck_assert(!call_scan_switches_stack(TEXT + start, places[i]));
        without += !switches;
        found += count;
    }
    ck_assert_uint_gt(without, 100);
    ck_assert_uint_gt(found, 10000);
}
END_TEST

START_TEST(known_calls)
{
    static const struct {
        uint8_t bytes[8];
        unsigned length;
    } calls[] = {
        {{0xe8, 0, 0, 0, 0}, 5},
        {{0xff, 0x10}, 2},             /* call *(%rax) */
        {{0xff, 0xd0}, 2},             /* call *%rax */
        {{0xff, 0x14, 0x24}, 3},       /* call *(%rsp) */
        {{0xff, 0x15, 1, 2, 3, 4}, 6}, /* call *0x4030201(%rip) */
        {{0xff, 0x53, 8}, 3},          /* call *8(%rbx) */
        {{0xff, 0x94, 0x24, 1, 2, 3, 4}, 7},
        {{0xff, 0x14, 0xc5, 1, 2, 3, 4}, 7}, /* call *0x4030201(,%rax,8) */
    };
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (unsigned at = 0; at < 300; at++) {
            memset(text, 0x90, sizeof text);
            memcpy(text + at, calls[i].bytes, sizeof calls[i].bytes);
            memset(text + at + calls[i].length, 0x90, sizeof calls[i].bytes - calls[i].length);
            const struct call_scan code = {TEXT, TEXT + SIZE, TEXT, TEXT + SIZE};
            uint64_t places[4];
            bool switches;
            ck_assert_uint_eq(call_scan(&code, places, 4, &switches), 1);
            ck_assert_uint_eq(places[0], TEXT + at + calls[i].length);
            ck_assert(!switches);
        }
}
END_TEST

/* A call that begins earlier may return further out: within the other's operand, here. */
START_TEST(a_switch_within_the_last_call)
{
    static const uint8_t overlapping[] = {0xff, 0x94, 0xff, 0xd0, 0x48, 0x8b, 0x24};
    for (unsigned at = 0; at < 300; at++)
        for (unsigned most = 1; most < 4; most++) {
            memset(text, 0x90, sizeof text);
            memcpy(text + at, overlapping, sizeof overlapping);
            const struct call_scan code = {TEXT, TEXT + SIZE, TEXT, TEXT + SIZE};
            uint64_t places[4];
            bool switches;
            ck_assert_uint_eq(call_scan(&code, places, most, &switches), most < 2 ? 1 : 2);
            ck_assert_uint_eq(places[0], TEXT + at + 7);
            ck_assert(call_scan_switches_stack(TEXT, places[0]));
            ck_assert(switches);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("call_scan");
    TCase *tests = tcase_create("scan");
    tcase_add_test(tests, the_stack_pointer_is_set_where_a_plain_reading_says_so);
    tcase_add_test(tests, every_call_is_found_and_no_switch_is_passed_over);
    tcase_add_test(tests, known_calls);
    tcase_add_test(tests, a_switch_within_the_last_call);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
