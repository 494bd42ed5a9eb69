/*
 * What the test program's parts share: a case is a function with a name; say() writes one line of
 * the transcript, "# TEXT", in order with the lines of the fake provider.
 */
#ifndef HEADER_TEST_CASES_H
#define HEADER_TEST_CASES_H

#include <stddef.h>

struct test_case {
    const char *name;
    void (*run)(void);
};

#ifdef __cplusplus
extern "C" {
#endif
extern const struct test_case common_cases[]; /* ends with a NULL name; C and C++ */
extern const struct test_case cxx_cases[];    /* likewise; C++ only */
void say(const char *text);
void say_active(void); /* "# active 0" or "# active 1", from the unit that holds common_cases */
#ifdef __cplusplus
}
#endif
#endif
