/*
 * Which file is mapped at an address, whatever the names of files are like.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../preload/mapped_file.h"
#include "../run_suite.h"

#define PAGE ((size_t)4096)

static char directory[64], path[256], found[256];

static void begin(void)
{
    char pattern[] = "/tmp/mapped-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(pattern));
    ck_assert_ptr_nonnull(realpath(pattern, directory));
}

static void end(void)
{
    unlink(path);
    rmdir(directory);
}

/* Makes a file of that name and maps it. */
static uintptr_t map(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 2 * PAGE), 0);
    void *p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    close(fd);
    return (uintptr_t)p;
}

static const char *usable[] = {"plain", "some name", " before", "a (deleted) b", "b\\c"};

START_TEST(names)
{
    uintptr_t at = map(usable[_i]);
    errno = E2BIG;
    ck_assert(ht_mapped_file(at, found, sizeof found));
    ck_assert_str_eq(found, path);
    ck_assert(ht_mapped_file(at + 2 * PAGE - 1, found, sizeof found));
    ck_assert_str_eq(found, path);
    ck_assert_int_eq(errno, E2BIG);
}
END_TEST

START_TEST(symbolic_link)
{
    char other[300];
    map("target");
    snprintf(other, sizeof other, "%s/link", directory);
    ck_assert_int_eq(symlink(path, other), 0);
    uintptr_t at = map("link");
    ck_assert(ht_mapped_file(at, found, sizeof found));
    unlink(other);
    snprintf(path, sizeof path, "%s/target", directory);
    ck_assert_str_eq(found, path);
}
END_TEST

START_TEST(room)
{
    uintptr_t at = map("plain");
    size_t length = strlen(path);
    memset(found, 'x', sizeof found);
    ck_assert(!ht_mapped_file(at, found, length));
    ck_assert_int_eq(found[length], 'x');
    ck_assert(!ht_mapped_file(at, found, 0));
    ck_assert(ht_mapped_file(at, found, length + 1));
    ck_assert_str_eq(found, path);
}
END_TEST

START_TEST(names_that_lead_nowhere)
{
    uintptr_t at = map("a\nb");
    ck_assert(!ht_mapped_file(at, found, sizeof found));
    unlink(path);
    at = map("gone");
    unlink(path);
    ck_assert(!ht_mapped_file(at, found, sizeof found));
}
END_TEST

START_TEST(no_file)
{
    void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    ck_assert(!ht_mapped_file((uintptr_t)p, found, sizeof found));
    ck_assert(!ht_mapped_file((uintptr_t)&p, found, sizeof found)); /* "[stack]" */
    ck_assert(!ht_mapped_file(0, found, sizeof found));
    ck_assert(!ht_mapped_file(UINTPTR_MAX, found, sizeof found));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mapped_file");
    TCase *test = tcase_create("mapped_file");
    tcase_add_checked_fixture(test, begin, end);
    tcase_add_loop_test(test, names, 0, sizeof usable / sizeof *usable);
    tcase_add_test(test, symbolic_link);
    tcase_add_test(test, room);
    tcase_add_test(test, names_that_lead_nowhere);
    tcase_add_test(test, no_file);
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
