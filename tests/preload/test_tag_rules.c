/* Which tag a stack gets: by rule, innermost first; by default; by what was skipped. */
#include "../../preload/tag_rules.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../preload/aggregate.h"
#include "../../preload/frame_info.h"
#include "../../preload/module_map.h"
#include "../../preload/site_table.h"
#include "../../preload/stack_cache.h"
#include "../../preload/tag.h"
#include "support.h"

int rule_inner(void);
int rule_outer(void);

__attribute__((noinline)) int rule_inner(void)
{
    return 1;
}

__attribute__((noinline)) int rule_outer(void)
{
    return 2;
}

static void begin(const char *rules, const char *construct, const char *skip)
{
    static struct ht_settings settings;
    support_begin();
    settings.text[HT_OPT_TAG] = rules;
    settings.text[HT_OPT_CONSTRUCT] = construct;
    settings.text[HT_OPT_TAG_SKIP] = skip;
    ht_rules_begin(&settings);
    ht_modules_refresh(true);
}

/* A return address in a function: after its first byte. */
static uintptr_t in(const void *function)
{
    return (uintptr_t)function + 2;
}

/* The stack of these return addresses, innermost first. */
static uint32_t stack_of(const uintptr_t *pcs, unsigned count)
{
    uint32_t frames[8];
    for (unsigned i = 0; i < count; i++)
        frames[i] = ht_intern(&ht_frames, pcs[i], true);
    uint32_t stack = ht_stack_intern(HT_STACK_WHOLE, frames, count);
    ht_rules_describe_frames();
    ck_assert(ht_rules_described(stack));
    return stack;
}

static const char *tag_of(uint32_t stack)
{
    return ht_tag(ht_rules_tag(stack))->name;
}

/* Addresses of the program, of libc (runtime), and of no module. */
#define PROGRAM_INNER in((void *)rule_inner)
#define PROGRAM_OUTER in((void *)rule_outer)
#define LIBC          in(dlsym(RTLD_DEFAULT, "qsort"))
#define NOWHERE       ((uintptr_t)0x10010)

START_TEST(by_default)
{
    begin(NULL, NULL, NULL);
    const char *program = ht_module(0)->base;
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){LIBC, PROGRAM_INNER}, 2)), program);
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){LIBC, LIBC + 1}, 2)), "[runtime]");
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){LIBC, NOWHERE, PROGRAM_INNER}, 3)), "[anon]");
    ck_assert_str_eq(tag_of(HT_STACK_WHOLE), "[runtime]");
    ck_assert_uint_eq(ht_rules_construct(HT_STACK_TAG_ONLY), 0);
}
END_TEST

START_TEST(innermost_frame_first_rule)
{
    begin("any=rule_*;outer=rule_outer;inner=rule_inner;sort=qsort", NULL, NULL);
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){PROGRAM_OUTER, PROGRAM_INNER}, 2)), "any");
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){LIBC, PROGRAM_INNER}, 2)), "sort");
}
END_TEST

START_TEST(first_rule_within_a_frame)
{
    begin("inner=rule_inner;any=rule_*", "made=rule_outer", NULL);
    uint32_t stack = stack_of((uintptr_t[]){PROGRAM_INNER, PROGRAM_OUTER}, 2);
    ck_assert_str_eq(tag_of(stack), "inner");
    ck_assert_uint_eq(ht_rules_construct(stack), 0);
    stack = stack_of((uintptr_t[]){PROGRAM_OUTER, PROGRAM_INNER}, 2);
    ck_assert_str_eq(tag_of(stack), "any");
    ck_assert_str_eq(ht_tag(ht_rules_construct(stack))->name, "made");
    /* The instantiations of a tag with such a rule are known, though there are none. */
    ck_assert_uint_eq(ht_tag(ht_rules_construct(stack))->counted, HT_TAG_COUNTS_INSTANTIATIONS);
}
END_TEST

START_TEST(by_module)
{
    begin("c=lib:libc.so*;p=exe:test_preload*", NULL, NULL);
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){LIBC, PROGRAM_INNER}, 2)), "c");
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){PROGRAM_INNER}, 1)), "p");
}
END_TEST

START_TEST(skipped_modules_are_blamed_last)
{
    begin(NULL, NULL, "lib:test_preload*");
    const char *program = ht_module(0)->base;
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){LIBC, PROGRAM_INNER}, 2)), program);
    ck_assert_str_eq(tag_of(stack_of((uintptr_t[]){PROGRAM_INNER, NOWHERE}, 2)), "[anon]");
}
END_TEST

START_TEST(bad_rules_are_left_out)
{
    char rule[700] = "x=";
    memset(rule + 2, 'a', 600);
    begin("nonsense;=;a=;=b;ok=rule_inner", rule, NULL);
    uint32_t stack = stack_of((uintptr_t[]){PROGRAM_INNER}, 1);
    ck_assert_str_eq(tag_of(stack), "ok");
    ck_assert_uint_eq(ht_rules_construct(stack), 0);
}
END_TEST

/* A frame that comes in between has its module found, not taken for code outside any. */
START_TEST(modules_that_come_and_go)
{
    begin(NULL, NULL, NULL);
    uint32_t modules = 0;
    while (ht_module(modules))
        modules++;
    void *library = dlopen("libanl.so.1", RTLD_NOW);
    if (!library)
        library = dlopen("libresolv.so.2", RTLD_NOW);
    ck_assert_ptr_nonnull(library);
    void *function = dlsym(library, "getaddrinfo_a");
    if (!function)
        function = dlsym(library, "ns_name_ntop");
    ht_modules_refresh(false);
    const struct ht_module *module = ht_module_of(in(function));
    uint32_t frame = ht_intern(&ht_frames, in(function), true), id = module->id;
    ht_rules_describe_frames();
    ck_assert_uint_eq(HT_INFO_MODULE(ht_intern_slot(&ht_frames, frame)[2]), id);
    uint64_t mark = ht_memo_mark;
    dlclose(library);
    ht_modules_refresh(true);
    if (module->flags & HTL_MODULE_CLOSED) { /* unless something else holds it */
        ck_assert_uint_ne(ht_memo_mark, mark);
        ck_assert_ptr_null(ht_module_of(in(function)));
        ck_assert_uint_eq(ht_intern(&ht_frames, in(function), false), HT_INTERN_FULL);
        ck_assert_uint_eq(HT_INFO_MODULE(ht_intern_slot(&ht_frames, frame)[2]), id);
    }
    ck_assert_ptr_eq(ht_module(id), module);
}
END_TEST

SUPPORT_MAIN("tag_rules", by_default, innermost_frame_first_rule, first_rule_within_a_frame,
             by_module, skipped_modules_are_blamed_last, bad_rules_are_left_out,
             modules_that_come_and_go)
