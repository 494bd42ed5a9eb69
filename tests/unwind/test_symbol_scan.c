/* Names of functions of this very program, and of damaged copies of it. */
#include "../../preload/symbol_scan.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_module.h"
#include "../run_suite.h"

#define TEN(text)     text text text text text text text text text text
#define LONG_NAME     TEN(TEN("seven_c")) /* 700 characters */
#define LONG_NAME_LEN (sizeof LONG_NAME - 1)

int with_a_long_name(void) __asm__(LONG_NAME);
int plain_name(void);
int weak_and_strong(void);
int weak_alias(void) __attribute__((weak, alias("weak_and_strong")));

__attribute__((noinline)) int with_a_long_name(void)
{
    return 1;
}

__attribute__((noinline)) int plain_name(void)
{
    return 2;
}

__attribute__((noinline)) int weak_and_strong(void)
{
    return 3;
}

__attribute__((noinline, used)) static int local_name(void)
{
    return 4;
}

static struct unwind_module self;
static char own_path[512];
static uint64_t bias;

static int note_bias(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    bias = info->dlpi_addr; /* the program comes first */
    return 1;
}

static void describe_self(void)
{
    ssize_t length = readlink("/proc/self/exe", own_path, sizeof own_path - 1);
    ck_assert_int_gt(length, 0);
    own_path[length] = 0;
    ck_assert_int_eq(file_module(own_path, &self), 0);
    dl_iterate_phdr(note_bias, NULL);
}

/* The name of one address, in a buffer of `capacity` bytes. */
static struct symbol_request ask(const void *function, char *name, size_t capacity)
{
    struct symbol_request request = {
        .vaddr = (uint64_t)function - bias + 1, .name = name, .capacity = capacity};
    ck_assert_int_eq(symbol_scan(&self.file, &request, 1), 0);
    return request;
}

START_TEST(names_by_address)
{
    char name[SYMBOL_SCAN_NAME];
    struct symbol_request got = ask((void *)plain_name, name, sizeof name);
    ck_assert_str_eq(name, "plain_name");
    ck_assert_uint_eq(got.start, (uint64_t)(void *)plain_name - bias);
    ck_assert_int_eq(got.truncated, 0);
    ask((void *)local_name, name, sizeof name);
    ck_assert_str_eq(name, "local_name");
    /* Two names for one function: the strong one. */
    ask((void *)weak_and_strong, name, sizeof name);
    ck_assert_str_eq(name, "weak_and_strong");
}
END_TEST

START_TEST(long_names_are_cut)
{
    char name[LONG_NAME_LEN + 100];
    struct symbol_request got = ask((void *)with_a_long_name, name, sizeof name);
    ck_assert_int_eq(got.truncated, 1);
    ck_assert_uint_eq(strlen(name), SYMBOL_SCAN_NAME - 1);
    ck_assert_int_eq(strncmp(name, LONG_NAME, SYMBOL_SCAN_NAME - 1), 0);
    memset(name, 'x', sizeof name);
    got = ask((void *)plain_name, name, 6);
    ck_assert_int_eq(got.truncated, 1);
    ck_assert_str_eq(name, "plain");
    ck_assert_int_eq(name[6], 'x');
    got = ask((void *)plain_name, name, sizeof "plain_name");
    ck_assert_int_eq(got.truncated, 0);
    ck_assert_str_eq(name, "plain_name");
    got = ask((void *)plain_name, name, 1);
    ck_assert_int_eq(got.truncated, 1);
    ck_assert_str_eq(name, "");
}
END_TEST

START_TEST(addresses_without_a_name)
{
    char name[SYMBOL_SCAN_NAME] = "before";
    struct symbol_request request = {.vaddr = 3, .name = name, .capacity = sizeof name};
    ck_assert_int_eq(symbol_scan(&self.file, &request, 1), 0);
    ck_assert_str_eq(name, "");
    ck_assert_uint_eq(request.start, 0);
    request.vaddr = UINT64_MAX;
    ck_assert_int_eq(symbol_scan(&self.file, &request, 1), 0);
    ck_assert_str_eq(name, "");
    ck_assert_int_eq(symbol_scan(&self.file, &request, 0), 0);
}
END_TEST

START_TEST(whole_batch_in_any_order)
{
    static char names[SYMBOL_SCAN_BATCH + 1][32];
    struct symbol_request requests[SYMBOL_SCAN_BATCH + 1];
    const void *const functions[] = {(void *)plain_name, (void *)local_name,
                                     (void *)weak_and_strong};
    static const char *const wanted[] = {"plain_name", "local_name", "weak_and_strong"};
    for (unsigned i = 0; i <= SYMBOL_SCAN_BATCH; i++)
        requests[i] = (struct symbol_request){
            .vaddr = (uint64_t)functions[i * 7 % 3] - bias, .name = names[i], .capacity = 32};
    ck_assert_int_eq(symbol_scan(&self.file, requests, SYMBOL_SCAN_BATCH), 0);
    for (unsigned i = 0; i < SYMBOL_SCAN_BATCH; i++)
        ck_assert_str_eq(names[i], wanted[i * 7 % 3]);
    ck_assert_int_eq(symbol_scan(&self.file, requests, SYMBOL_SCAN_BATCH + 1), -E2BIG);
    ck_assert_str_eq(names[0], "");
}
END_TEST

START_TEST(another_file)
{
    char name[SYMBOL_SCAN_NAME];
    struct symbol_request request = {
        .vaddr = (uint64_t)(void *)plain_name - bias, .name = name, .capacity = sizeof name};
    struct module_file other = self.file;
    uint8_t id[64] = {1};
    other.build_id = id;
    other.build_id_length = 20;
    ck_assert_int_eq(symbol_scan(&other, &request, 1), -ESTALE);
    ck_assert_str_eq(name, "");
    other.path = "/nonexistent";
    ck_assert_int_eq(symbol_scan(&other, &request, 1), -ENOENT);
    other.path = NULL;
    ck_assert_int_eq(symbol_scan(&other, &request, 1), -ENOENT);
}
END_TEST

/* Section headers, symbols and names with bits flipped, and the file cut off: any result but a
 * crash, an endless loop or a read out of bounds (sanitizers). */
static size_t copy_of_self(int to)
{
    char block[65536];
    size_t total = 0;
    int from = open(own_path, O_RDONLY);
    ck_assert_int_ge(from, 0);
    for (ssize_t got; (got = read(from, block, sizeof block)) > 0; total += (size_t)got)
        ck_assert_int_eq(write(to, block, (size_t)got), got);
    close(from);
    return total;
}

START_TEST(damaged_files)
{
    static char names[4][64];
    const void *const functions[] = {(void *)plain_name, (void *)local_name,
                                     (void *)with_a_long_name, (void *)weak_and_strong};
    struct symbol_request requests[4];
    char path[] = "/tmp/heaptally-symbols-XXXXXX";
    int copy = mkstemp(path);
    ck_assert_int_ge(copy, 0);
    size_t length = copy_of_self(copy);
    struct module_file file = self.file;
    Elf64_Ehdr header;
    unsigned named = 0;
    file.path = path;
    ck_assert_int_eq(pread(copy, &header, sizeof header, 0), sizeof header);
    srandom(3);
    for (unsigned i = 0; i < 3000; i++) {
        /* Mostly the section headers, else anywhere past the program headers and notes. */
        size_t at = i % 3 ? header.e_shoff + (size_t)random() % (header.e_shnum * 64u)
                          : 0x1000 + (size_t)random() % (length - 0x1000);
        uint8_t byte, flipped;
        for (unsigned j = 0; j < 4; j++)
            requests[j] = (struct symbol_request){
                .vaddr = (uint64_t)functions[j] - bias, .name = names[j], .capacity = 64};
        ck_assert_int_eq(pread(copy, &byte, 1, (off_t)at), 1);
        flipped = byte ^ (uint8_t)(1u << random() % 8);
        ck_assert_int_eq(pwrite(copy, &flipped, 1, (off_t)at), 1);
        if (symbol_scan(&file, requests, 4) == 0)
            named += names[0][0] != 0;
        ck_assert_int_eq(pwrite(copy, &byte, 1, (off_t)at), 1);
    }
    ck_assert_uint_gt(named, 0);
    for (; length > 4096; length = length * 7 / 8) {
        ck_assert_int_eq(ftruncate(copy, (off_t)length - 1), 0);
        ck_assert_int_eq(symbol_scan(&file, requests, 4), -ENOEXEC);
    }
    close(copy);
    unlink(path);
}
END_TEST

int main(void)
{
    Suite *all = suite_create("symbol_scan");
    TCase *scan = tcase_create("scan");
    tcase_add_checked_fixture(scan, describe_self, NULL);
    tcase_add_test(scan, names_by_address);
    tcase_add_test(scan, long_names_are_cut);
    tcase_add_test(scan, addresses_without_a_name);
    tcase_add_test(scan, whole_batch_in_any_order);
    tcase_add_test(scan, another_file);
    tcase_add_test(scan, damaged_files);
    tcase_set_timeout(scan, 120);
    suite_add_tcase(all, scan);
    return run_suite(all);
}
