/*
 * What the preload's modules need to run inside an ordinary program: the allocator beneath is the
 * C library's own, nothing is interposed. Plus what the tests have in common.
 */
#ifndef TESTS_PRELOAD_SUPPORT_H
#define TESTS_PRELOAD_SUPPORT_H

/* gcc says so by itself. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether glibc's own allocator lies beneath, not a sanitizer's. */
bool support_has_glibc_malloc(void);

/* Lays the tables of the malloc path. */
void support_begin(void);

/* An empty directory of this test's own, once. */
const char *support_directory(void);

/* xorshift: the same sequence for the same seed, which must not be 0. */
uint64_t support_random(uint64_t *state);

/* Runs all tests of one case; the exit status of the program. Each test is a process of its own. */
int support_run(const char *name, const TTest *const *tests, unsigned count);

#define SUPPORT_MAIN(name, ...)                                                                    \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        return support_run(name, tests, sizeof tests / sizeof *tests);                             \
    }

#endif
