/* Unwind rules of tables made for the purpose, and the reading of module files. */
#include "../../preload/unwind_rule.h"

#include <check.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "made_module.h"
#include "../run_suite.h"

static char directory[] = "/tmp/heaptally-unwind-XXXXXX";
static char path[64], other_path[64];

static void make_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/module", directory);
    snprintf(other_path, sizeof other_path, "%s/other", directory);
    ck_assert_int_eq(unwind_rule_open(), 0);
}

static void remove_directory(void)
{
    unwind_rule_close();
    unlink(path);
    unlink(other_path);
    rmdir(directory);
    memcpy(directory + sizeof directory - 7, "XXXXXX", 6);
}

static void forget_the_cache(void)
{
    unwind_rule_close();
    ck_assert_int_eq(unwind_rule_open(), 0);
}

#define BYTES(...)                                                                                 \
    {                                                                                              \
        (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                     \
    }

/* ---- Every form of rule ---------------------------------------------------------------------- */

#define STEP(base, rbp, cfa, deref, rbp_at)                                                        \
    {                                                                                              \
        UNWIND_STEP, base, rbp, 0, cfa, deref, rbp_at                                              \
    }
#define KIND(kind)                                                                                 \
    {                                                                                              \
        kind, 0, 0, 0, 0, 0, 0                                                                     \
    }
#define PLAIN STEP(UNWIND_CFA_SP, UNWIND_RBP_SAME, 8, 0, 0)

/* The program of a function at MADE_TEXT of 0x40 bytes, and the rule of the return address at
 * MADE_TEXT + pc. CFI: registers 3 rbx, 6 rbp, 7 rsp, 16 return address; offsets in -8. */
static const struct rule_case {
    const char *name;
    struct made_bytes program;
    unsigned pc;
    struct unwind_rule rule;
    const char *augmentation;
    struct made_bytes cie_program;
    unsigned return_column;
} rule_cases[] = {
    {"as the CIE says", BYTES(0), 8, PLAIN, NULL, {0}, 0},
    {"sp offset", BYTES(0x0e, 0x30), 8, STEP(0, 0, 48, 0, 0), NULL, {0}, 0},
    {"rbp saved",
     BYTES(0x0e, 0x20, 0x86, 2),
     8,
     STEP(0, UNWIND_RBP_AT_CFA, 32, 0, -16),
     NULL,
     {0},
     0},
    {"rbp frame",
     BYTES(0x0c, 6, 16, 0x86, 2),
     8,
     STEP(UNWIND_CFA_RBP, UNWIND_RBP_AT_CFA, 16, 0, -16),
     NULL,
     {0},
     0},
    {"rbp frame, negative",
     BYTES(0x12, 6, 2, 0x86, 2),
     8,
     STEP(UNWIND_CFA_RBP, UNWIND_RBP_AT_CFA, -16, 0, -16),
     NULL,
     {0},
     0},
    /* Realigned by gcc: CFA = mem[rbp - 8], rbp at mem[rbp]. */
    {"deref",
     BYTES(0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0),
     8,
     STEP(UNWIND_CFA_RBP_DEREF, UNWIND_RBP_AT_RBP, 0, -8, 0),
     NULL,
     {0},
     0},
    {"deref and offset",
     BYTES(0x0f, 5, 0x76, 0x70, 0x06, 0x23, 0x20, 0x86, 2),
     8,
     STEP(UNWIND_CFA_RBP_DEREF, UNWIND_RBP_AT_CFA, 32, -16, -16),
     NULL,
     {0},
     0},
    {"expression that is sp + 24", BYTES(0x0f, 2, 0x77, 24), 8, STEP(0, 0, 24, 0, 0), NULL, {0}, 0},
    {"deref of sp", BYTES(0x0f, 3, 0x77, 16, 0x06), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"deref of deref",
     BYTES(0x0f, 4, 0x76, 0x78, 0x06, 0x06),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"cfa from rbx", BYTES(0x0c, 3, 16), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"cfa from r10", BYTES(0x0c, 10, 0), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"masked sp",
     BYTES(0x0f, 6, 0x77, 16, 0x09, 0xf0, 0x1a, 0x96),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"sp aligned down to 16",
     BYTES(0x0f, 7, 0x77, 32, 0x09, 0xf0, 0x1a, 0x23, 0),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"sp aligned down to 4096",
     BYTES(0x0f, 8, 0x77, 32, 0x0b, 0x00, 0xf0, 0x1a, 0x23, 0),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"sp plus rbx",
     BYTES(0x0f, 5, 0x77, 8, 0x73, 0, 0x22),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"sp times two",
     BYTES(0x0f, 5, 0x77, 0, 0x12, 0x22, 0x96),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"greater of sp and rbp",
     BYTES(0x0f, 12, 0x77, 8, 0x76, 8, 0x14, 0x14, 0x2a, 0x28, 1, 0, 0x16, 0x13),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"below sp", BYTES(0x0e, 0), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"not a multiple of 8", BYTES(0x0e, 0x1c), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"largest offset",
     BYTES(0x0e, 0xf8, 0xff, 0xff, 7),
     8,
     STEP(0, 0, (1 << 24) - 8, 0, 0),
     NULL,
     {0},
     0},
    {"too large an offset",
     BYTES(0x0e, 0x80, 0x80, 0x80, 8),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"rbp saved too far off",
     BYTES(0x0e, 0x20, 0x86, 0x81, 0x20),
     8,
     STEP(0, UNWIND_RBP_UNKNOWN, 32, 0, 0),
     NULL,
     {0},
     0},
    {"rbp undefined", BYTES(0x07, 6), 8, STEP(0, UNWIND_RBP_UNKNOWN, 8, 0, 0), NULL, {0}, 0},
    {"rbp in rbx", BYTES(0x09, 6, 3), 8, STEP(0, UNWIND_RBP_UNKNOWN, 8, 0, 0), NULL, {0}, 0},
    {"rbp is a value",
     BYTES(0x16, 6, 2, 0x77, 8),
     8,
     STEP(0, UNWIND_RBP_UNKNOWN, 8, 0, 0),
     NULL,
     {0},
     0},
    {"rbp at mem[rbx]",
     BYTES(0x10, 6, 2, 0x73, 8),
     8,
     STEP(0, UNWIND_RBP_UNKNOWN, 8, 0, 0),
     NULL,
     {0},
     0},
    {"rbp by mem[rbp + 8]",
     BYTES(0x10, 6, 2, 0x76, 8),
     8,
     STEP(0, UNWIND_RBP_AT_RBP, 8, 0, 8),
     NULL,
     {0},
     0},
    {"rbp at mem[mem[sp]]",
     BYTES(0x10, 6, 3, 0x77, 0, 0x06),
     8,
     STEP(0, UNWIND_RBP_UNKNOWN, 8, 0, 0),
     NULL,
     {0},
     0},
    {"rbp same again", BYTES(0x86, 2, 0x08, 6), 8, PLAIN, NULL, {0}, 0},
    {"return address undefined", BYTES(0x07, 16), 8, KIND(UNWIND_END), NULL, {0}, 0},
    {"return address elsewhere", BYTES(0x90, 2), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"return address in rbx", BYTES(0x09, 16, 3), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"return address is a value",
     BYTES(0x16, 16, 2, 0x77, 8),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"sp has a rule of its own", BYTES(0x87, 2), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    /* pc is the end of a call: rows that begin at it aren't in force yet. */
    {"row that begins at pc",
     BYTES(0x0e, 16, 0x48, 0x0e, 32),
     8,
     STEP(0, 0, 16, 0, 0),
     NULL,
     {0},
     0},
    {"row that begins before pc",
     BYTES(0x0e, 16, 0x47, 0x0e, 32),
     8,
     STEP(0, 0, 32, 0, 0),
     NULL,
     {0},
     0},
    {"row after advance_loc1, 2, 4",
     BYTES(0x02, 1, 0x0e, 16, 0x03, 1, 0, 0x0e, 24, 0x04, 1, 0, 0, 0, 0x0e, 32),
     4,
     STEP(0, 0, 32, 0, 0),
     NULL,
     {0},
     0},
    {"remember and restore",
     BYTES(0x0e, 16, 0x0a, 0x42, 0x0e, 64, 0x86, 2, 0x42, 0x0b),
     5,
     STEP(0, 0, 16, 0, 0),
     NULL,
     {0},
     0},
    {"between remember and restore",
     BYTES(0x0e, 16, 0x0a, 0x42, 0x0e, 64, 0x86, 2, 0x42, 0x0b),
     3,
     STEP(0, UNWIND_RBP_AT_CFA, 64, 0, -16),
     NULL,
     {0},
     0},
    {"restore of rbp", BYTES(0x86, 2, 0x42, 0xc6), 4, PLAIN, NULL, {0}, 0},
    {"first address of the function", BYTES(0x0e, 16), 0, KIND(UNWIND_NONE), NULL, {0}, 0},
    {"call that ends the function", BYTES(0x0e, 16), 0x40, STEP(0, 0, 16, 0, 0), NULL, {0}, 0},
    {"after the function", BYTES(0x0e, 16), 0x41, KIND(UNWIND_NONE), NULL, {0}, 0},
    /* What libunwind would get wrong, or what isn't for us. */
    {"val_offset", BYTES(0x14, 3, 0x0e, 0x0e, 0x48), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"unknown instruction", BYTES(0x3f), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"unknown instruction later on", BYTES(0x60, 0x3f), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"register 17", BYTES(0x91, 2), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"restore without remember", BYTES(0x0b), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 0},
    {"operand cut off",
     BYTES(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x04),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"block longer than the program",
     BYTES(0x0f, 0x7f, 0x77, 8),
     8,
     KIND(UNWIND_UNSUPPORTED),
     NULL,
     {0},
     0},
    {"no cfa at all", BYTES(0), 8, KIND(UNWIND_UNSUPPORTED), NULL, BYTES(0x90, 1), 0},
    {"cfa defined too late", BYTES(0x44, 0x0c, 7, 8), 8, KIND(UNWIND_UNSUPPORTED), NULL,
     BYTES(0x90, 1), 0},
    {"cfa by the function only", BYTES(0x0c, 7, 8), 8, PLAIN, NULL, BYTES(0x90, 1), 0},
    {"signal frame", BYTES(0x0e, 16), 8, KIND(UNWIND_SIGNAL), "zRS", {0}, 0},
    {"signal frame, letters before", BYTES(0x0e, 16), 8, KIND(UNWIND_SIGNAL), "zLPRS", {0}, 0},
    {"personality and language data", BYTES(0x0e, 16), 8, STEP(0, 0, 16, 0, 0), "zPLR", {0}, 0},
    {"unknown letter", BYTES(0x0e, 16), 8, KIND(UNWIND_UNSUPPORTED), "zRX", {0}, 0},
    {"no augmentation", BYTES(0x0e, 16), 8, STEP(0, 0, 16, 0, 0), "", {0}, 0},
    {"old augmentation", BYTES(0x0e, 16), 8, KIND(UNWIND_UNSUPPORTED), "eh", {0}, 0},
    {"other return column", BYTES(0x0e, 16), 8, KIND(UNWIND_UNSUPPORTED), NULL, {0}, 15},
};

START_TEST(rules_of_every_form)
{
    const struct rule_case *wanted = &rule_cases[_i];
    struct made_function function = {MADE_TEXT, 0x40, wanted->program};
    struct made_module made = {
        .augmentation = wanted->augmentation,
        .cie_program = wanted->cie_program,
        .return_column = wanted->return_column,
        .functions = &function,
        .count = 1,
        .build_id = 1,
    };
    struct unwind_module module;
    struct unwind_rule rule, again;
    make_module(path, &made, &module);
    ck_assert_int_eq(unwind_rule_find(&module, MADE_BIAS + MADE_TEXT + wanted->pc, &rule), 0);
    ck_assert_msg(!memcmp(&rule, &wanted->rule, sizeof rule),
                  "%s: kind %d, cfa %d %d [%d], rbp %d %d", wanted->name, rule.kind, rule.cfa_base,
                  rule.cfa_offset, rule.deref_offset, rule.rbp_kind, rule.rbp_offset);
    again = unwind_rule_unpack(unwind_rule_pack(&rule));
    ck_assert_mem_eq(&again, &rule, sizeof rule);
}
END_TEST

START_TEST(one_of_many_functions)
{
    enum { COUNT = 60 };
    struct made_function functions[COUNT];
    uint8_t bytes[COUNT][2];
    for (unsigned i = 0; i < COUNT; i++) {
        bytes[i][0] = 0x0e;
        bytes[i][1] = (uint8_t)(8 + 8 * (i % 15));
        functions[i] =
            (struct made_function){MADE_TEXT + 0x100 * i, i % 7 ? 0x100 : 0x80, {bytes[i], 2}};
    }
    struct made_module made = {.functions = functions, .count = COUNT, .build_id = 2};
    struct unwind_module module;
    make_module(path, &made, &module);
    for (unsigned at = 1; at <= 0x100 * COUNT; at++) {
        struct unwind_rule rule;
        unsigned of = (at - 1) / 0x100;
        ck_assert_int_eq(unwind_rule_find(&module, MADE_BIAS + MADE_TEXT + at, &rule), 0);
        if (of % 7 == 0 && (at - 1) % 0x100 >= 0x80) {
            ck_assert_int_eq(rule.kind, UNWIND_NONE);
            continue;
        }
        ck_assert_int_eq(rule.kind, UNWIND_STEP);
        ck_assert_int_eq(rule.cfa_offset, 8 + 8 * (int)(of % 15));
    }
}
END_TEST

/* Whatever is in the table: no crash, no endless loop, no read out of bounds (sanitizers). */
START_TEST(damaged_tables)
{
    static const uint8_t program[] = {0x0e, 0x20, 0x86, 2, 0x42, 0x0a, 0x0f, 3,    0x76, 0x78,
                                      0x06, 0x10, 6,    2, 0x76, 0,    0x42, 0x0b, 7,    16};
    struct made_function functions[2] = {{MADE_TEXT, 0x40, {program, sizeof program}},
                                         {MADE_TEXT + 0x40, 0x40, {program, sizeof program}}};
    struct made_module made = {.functions = functions, .count = 2, .build_id = 3};
    struct unwind_module module;
    size_t length = make_module(path, &made, &module);
    unsigned kinds[UNWIND_UNSUPPORTED + 1] = {0};
    for (made.flip_at = module.file.eh_frame_hdr_vaddr; made.flip_at < length; made.flip_at++) {
        for (unsigned bit = 0; bit < 8; bit += 1 + made.flip_at % 3) {
            made.flip = (uint8_t)(1u << bit);
            make_module(path, &made, &module);
            forget_the_cache();
            for (unsigned pc = 1; pc < 0x80; pc += 13) {
                struct unwind_rule rule;
                unwind_rule_find(&module, MADE_BIAS + MADE_TEXT + pc, &rule);
                ck_assert_uint_le(rule.kind, UNWIND_UNSUPPORTED);
                kinds[rule.kind]++;
            }
        }
    }
    ck_assert_uint_gt(kinds[UNWIND_STEP], 0);
    ck_assert_uint_gt(kinds[UNWIND_NONE], 0);
    ck_assert_uint_gt(kinds[UNWIND_UNSUPPORTED], 0);
}
END_TEST

/* ---- Packing --------------------------------------------------------------------------------- */

START_TEST(packing_keeps_every_rule)
{
    static const int32_t cfa[] = {UNWIND_PACK_CFA_MIN, -8, 0, 8, UNWIND_PACK_CFA_MAX};
    static const int32_t offset[] = {UNWIND_PACK_OFFSET_MIN, -1, 0, 1, UNWIND_PACK_OFFSET_MAX};
    for (unsigned base = 0; base <= UNWIND_CFA_RBP_DEREF; base++)
        for (unsigned rbp = 0; rbp <= UNWIND_RBP_UNKNOWN; rbp++)
            for (unsigned i = 0; i < 125; i++) {
                struct unwind_rule rule = STEP((uint8_t)base, (uint8_t)rbp, cfa[i % 5],
                                               offset[i / 5 % 5], offset[i / 25]);
                struct unwind_rule again = unwind_rule_unpack(unwind_rule_pack(&rule));
                ck_assert_mem_eq(&again, &rule, sizeof rule);
            }
    for (uint8_t kind = UNWIND_NONE; kind <= UNWIND_UNSUPPORTED; kind++) {
        struct unwind_rule rule = KIND(kind), again = unwind_rule_unpack(unwind_rule_pack(&rule));
        ck_assert_uint_ne(unwind_rule_pack(&rule), 0);
        ck_assert_mem_eq(&again, &rule, sizeof rule);
    }
}
END_TEST

START_TEST(packing_refuses_what_does_not_fit)
{
    struct unwind_rule rules[] = {
        STEP(0, 0, UNWIND_PACK_CFA_MAX + 1, 0, 0),    STEP(0, 0, UNWIND_PACK_CFA_MIN - 1, 0, 0),
        STEP(2, 0, 8, UNWIND_PACK_OFFSET_MAX + 1, 0), STEP(2, 0, 8, UNWIND_PACK_OFFSET_MIN - 1, 0),
        STEP(0, 1, 8, 0, UNWIND_PACK_OFFSET_MAX + 1), STEP(0, 1, 8, 0, UNWIND_PACK_OFFSET_MIN - 1),
    };
    for (unsigned i = 0; i < sizeof rules / sizeof rules[0]; i++)
        ck_assert_int_eq(unwind_rule_unpack(unwind_rule_pack(&rules[i])).kind, UNWIND_UNSUPPORTED);
}
END_TEST

/* ---- Without a table ------------------------------------------------------------------------- */

START_TEST(ends_and_nothing)
{
    struct unwind_rule rule;
    struct made_function function = {MADE_TEXT, 0x40, BYTES(0x0e, 16)};
    struct made_module made = {.functions = &function, .count = 1, .build_id = 4};
    struct unwind_module module;
    make_module(path, &made, &module);
    ck_assert_int_eq(unwind_rule_find(&module, 0, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_END);
    ck_assert_int_eq(unwind_rule_find(NULL, 0, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_END);
    ck_assert_int_eq(unwind_rule_find(NULL, 0x1234, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_NONE);
    ck_assert_int_eq(unwind_rule_find(&module, module.start, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_NONE);
    ck_assert_int_eq(unwind_rule_find(&module, module.end + 1, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_NONE);
    module.file.eh_frame_hdr_size = 0;
    ck_assert_int_eq(unwind_rule_find(&module, MADE_BIAS + MADE_TEXT + 8, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_NONE);
}
END_TEST

START_TEST(closed_means_none)
{
    struct unwind_rule rule;
    struct made_function function = {MADE_TEXT, 0x40, BYTES(0x0e, 16)};
    struct made_module made = {.functions = &function, .count = 1, .build_id = 5};
    struct unwind_module module;
    make_module(path, &made, &module);
    unwind_rule_close();
    ck_assert_int_eq(unwind_rule_find(&module, MADE_BIAS + MADE_TEXT + 8, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_NONE);
    ck_assert_int_eq(unwind_rule_open(), 0);
    ck_assert_int_eq(unwind_rule_find(&module, MADE_BIAS + MADE_TEXT + 8, &rule), 0);
    ck_assert_int_eq(rule.kind, UNWIND_STEP);
}
END_TEST

/* ---- The file behind the module -------------------------------------------------------------- */

static const uint8_t sp16[] = {0x0e, 16}, sp32[] = {0x0e, 32};

static void make_sp(const char *at, const uint8_t *program, uint8_t build_id,
                    struct unwind_module *module)
{
    struct made_function function = {MADE_TEXT, 0x40, {program, 2}};
    struct made_module made = {.functions = &function, .count = 1, .build_id = build_id};
    make_module(at, &made, module);
}

static struct unwind_rule find(const struct unwind_module *module, int expected)
{
    struct unwind_rule rule;
    ck_assert_int_eq(unwind_rule_find(module, MADE_BIAS + MADE_TEXT + 8, &rule), expected);
    if (expected)
        ck_assert_int_eq(rule.kind, UNWIND_NONE);
    return rule;
}

START_TEST(replaced_file)
{
    struct unwind_module loaded, replacement;
    make_sp(other_path, sp32, 7, &replacement);
    make_sp(path, sp16, 6, &loaded);
    uint8_t id[20];
    memcpy(id, loaded.file.build_id, sizeof id);
    loaded.file.build_id = id;
    ck_assert_int_eq(find(&loaded, 0).cfa_offset, 16);
    ck_assert_int_eq(rename(other_path, path), 0);
    /* What was read from the right file stays right; nothing is read from the wrong one. */
    ck_assert_int_eq(find(&loaded, 0).cfa_offset, 16);
    forget_the_cache();
    find(&loaded, -ESTALE);
    /* And the right one again. */
    make_sp(path, sp16, 6, &replacement);
    ck_assert_int_eq(find(&loaded, 0).cfa_offset, 16);
}
END_TEST

/* A file with tables of several pages, made with or without care for what was there before. */
enum { LARGE_COUNT = 60, LARGE_PROGRAM = 600 };

static void make_large(const char *at, const uint8_t *program, uint8_t build_id,
                       struct unwind_module *module)
{
    static uint8_t bytes[LARGE_PROGRAM];
    struct made_function functions[LARGE_COUNT];
    memcpy(bytes, program, 2); /* the rest does nothing */
    for (unsigned i = 0; i < LARGE_COUNT; i++)
        functions[i] = (struct made_function){MADE_TEXT + 0x40 * i, 0x40, {bytes, LARGE_PROGRAM}};
    struct made_module made = {.functions = functions, .count = LARGE_COUNT, .build_id = build_id};
    make_module(at, &made, module);
}

static int find_large(const struct unwind_module *module, unsigned function, int expected)
{
    struct unwind_rule rule;
    uint64_t pc = MADE_BIAS + MADE_TEXT + 0x40 * function + 8;
    ck_assert_int_eq(unwind_rule_find(module, pc, &rule), expected);
    ck_assert_int_eq(rule.kind, expected ? UNWIND_NONE : UNWIND_STEP);
    return rule.cfa_offset;
}

START_TEST(replaced_after_some_pages_were_read)
{
    struct unwind_module loaded, replacement;
    static const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
    uint8_t id[20];
    make_large(path, sp16, 20, &loaded);
    memcpy(id, loaded.file.build_id, sizeof id);
    loaded.file.build_id = id;
    ck_assert_int_eq(find_large(&loaded, 0, 0), 16);
    make_large(path, sp32, 21, &replacement);
    find_large(&loaded, LARGE_COUNT - 1, -ESTALE);
    ck_assert_int_eq(find_large(&loaded, 0, 0), 16);
    /* The right file under a new inode, then with other times. */
    make_large(path, sp16, 20, &replacement);
    ck_assert_int_eq(find_large(&loaded, LARGE_COUNT - 1, 0), 16);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    ck_assert_int_eq(find_large(&loaded, LARGE_COUNT / 2, 0), 16);
}
END_TEST

START_TEST(replaced_file_without_build_id)
{
    struct unwind_module loaded, replacement;
    make_sp(path, sp16, 0, &loaded);
    ck_assert_int_eq(find(&loaded, 0).cfa_offset, 16);
    forget_the_cache();
    /* A table of another form. */
    struct made_function function = {MADE_TEXT + 4, 0x40, {sp32, 2}};
    struct made_module made = {.functions = &function, .count = 1};
    make_module(path, &made, &replacement);
    find(&loaded, -ESTALE);
    /* The same search table, but other frames. */
    make_sp(path, sp32, 0, &replacement);
    ck_assert_uint_ne(replacement.file.unwind_digest, loaded.file.unwind_digest);
    find(&loaded, -ESTALE);
    /* A file with a build-id where the loaded one had none. */
    make_sp(path, sp16, 9, &replacement);
    find(&loaded, -ESTALE);
    make_sp(path, sp16, 0, &replacement);
    ck_assert_int_eq(find(&loaded, 0).cfa_offset, 16);
    /* Nothing to identify it by. */
    forget_the_cache();
    loaded.file.unwind_digest = 0;
    find(&loaded, -ESTALE);
}
END_TEST

START_TEST(deleted_file)
{
    struct unwind_module module;
    make_sp(path, sp16, 10, &module);
    ck_assert_int_eq(unlink(path), 0);
    find(&module, -ENOENT);
    make_sp(path, sp16, 10, &module);
    ck_assert_int_eq(find(&module, 0).cfa_offset, 16);
}
END_TEST

START_TEST(not_a_file_to_read)
{
    struct unwind_module module;
    make_sp(path, sp16, 11, &module);
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0); /* must not wait for a writer */
    find(&module, -ESTALE);
    unlink(path);
    FILE *stream = fopen(path, "w");
    fputs("not an ELF file, but long enough to hold the header of one, were it one, as it is not",
          stream);
    fclose(stream);
    find(&module, -ENOEXEC);
    ck_assert_int_eq(truncate(path, 10), 0);
    find(&module, -ENOEXEC);
}
END_TEST

START_TEST(truncated_file)
{
    struct unwind_module module;
    struct made_function function = {MADE_TEXT, 0x40, {sp16, 2}};
    struct made_module made = {.functions = &function, .count = 1, .build_id = 12};
    size_t length = make_module(path, &made, &module);
    ck_assert_int_eq(truncate(path, (off_t)length - 20), 0);
    find(&module, -ENOEXEC);
}
END_TEST

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *list = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(list);
    while (readdir(list))
        count++;
    closedir(list);
    return count;
}

START_TEST(no_descriptor_stays_open)
{
    struct unwind_module module;
    unsigned before = open_descriptors();
    make_sp(path, sp16, 13, &module);
    find(&module, 0);
    ck_assert_uint_eq(open_descriptors(), before);
    unlink(path);
    forget_the_cache();
    find(&module, -ENOENT);
    make_sp(path, sp32, 14, &module);
    module.file.build_id_length = 19;
    find(&module, -ESTALE);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

/* More modules and more pages than the caches hold, in turns. */
START_TEST(caches_are_evicted)
{
    enum { FILES = MODULE_BYTES_FILES + 6 };
    static struct unwind_module modules[FILES];
    static char paths[FILES][64];
    static uint8_t ids[FILES][20];
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/m%u", directory, i);
        make_sp(paths[i], i % 2 ? sp16 : sp32, (uint8_t)(i + 1), &modules[i]);
        memcpy(ids[i], modules[i].file.build_id, sizeof ids[i]);
        modules[i].file.build_id = ids[i];
    }
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < FILES; i++)
            ck_assert_int_eq(find(&modules[i], 0).cfa_offset, i % 2 ? 16 : 32);
    for (unsigned i = 0; i < FILES; i++)
        unlink(paths[i]);
}
END_TEST

START_TEST(reads_by_segment)
{
    struct unwind_module module;
    uint8_t bytes[64];
    size_t length = 0;
    struct made_function function = {MADE_TEXT, 0x40, {sp16, 2}};
    struct made_module made = {.functions = &function, .count = 1, .build_id = 15};
    length = make_module(path, &made, &module);
    ck_assert_int_eq(module_bytes_read(0, bytes, 4), -ENOMEM); /* outside of a batch */
    ck_assert_int_eq(module_bytes_begin(&module.file), 0);
    ck_assert_int_eq(module_bytes_read(0, bytes, 4), 0);
    ck_assert_mem_eq(bytes, "\177ELF", 4);
    /* Past the end of the file but within the segment. */
    ck_assert_int_eq(module_bytes_read(length - 4, bytes, 16), 0);
    ck_assert_int_eq(bytes[15], 0);
    ck_assert_int_eq(module_bytes_read(MADE_TEXT + MADE_TEXT_SIZE - 4, bytes, 4), 0);
    ck_assert_int_eq(module_bytes_read(MADE_TEXT + MADE_TEXT_SIZE - 4, bytes, 5), -EFAULT);
    ck_assert_int_eq(module_bytes_read(UINT64_MAX - 3, bytes, 8), -EFAULT);
    module_bytes_end();
}
END_TEST

/* The vDSO has no file: its table is read from a copy. */
START_TEST(vdso)
{
    const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
    struct module_file file = {.path = NULL};
    uint8_t bytes[64];
    if (!image) {
        ck_assert_int_eq(module_bytes_begin(&file), -ENOENT);
        return;
    }
    ck_assert_int_eq(module_bytes_begin(&file), 0);
    ck_assert_int_eq(module_bytes_read(0, bytes, sizeof bytes), 0);
    ck_assert_mem_eq(bytes, image, sizeof bytes);
    module_bytes_end();
}
END_TEST

/* ---- libunwind's place ----------------------------------------------------------------------- */

START_TEST(library_stays_out_of_scope)
{
    ck_assert_ptr_null(dlsym(RTLD_DEFAULT, "_Ux86_64_step"));
    void *raise = dlsym(RTLD_DEFAULT, "_Unwind_RaiseException");
    Dl_info info;
    if (raise && dladdr(raise, &info))
        ck_assert_ptr_null(strstr(info.dli_fname, "libunwind"));
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("unwind_rule");
    TCase *rules = tcase_create("rules");
    tcase_add_checked_fixture(rules, make_directory, remove_directory);
    tcase_add_loop_test(rules, rules_of_every_form, 0, sizeof rule_cases / sizeof rule_cases[0]);
    tcase_add_test(rules, one_of_many_functions);
    tcase_add_test(rules, damaged_tables);
    tcase_add_test(rules, packing_keeps_every_rule);
    tcase_add_test(rules, packing_refuses_what_does_not_fit);
    tcase_add_test(rules, ends_and_nothing);
    tcase_add_test(rules, closed_means_none);
    tcase_add_test(rules, library_stays_out_of_scope);
    tcase_set_timeout(rules, 120);
    suite_add_tcase(all, rules);
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, make_directory, remove_directory);
    tcase_add_test(files, replaced_file);
    tcase_add_test(files, replaced_after_some_pages_were_read);
    tcase_add_test(files, replaced_file_without_build_id);
    tcase_add_test(files, deleted_file);
    tcase_add_test(files, not_a_file_to_read);
    tcase_add_test(files, truncated_file);
    tcase_add_test(files, no_descriptor_stays_open);
    tcase_add_test(files, caches_are_evicted);
    tcase_add_test(files, reads_by_segment);
    tcase_add_test(files, vdso);
    suite_add_tcase(all, files);
    return all;
}

int main(void)
{
    return run_suite(suite());
}
