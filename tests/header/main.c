/*
 * Runs every case, announcing each with "case NAME". Compiled as C and as C++.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "cases.h"
#include "heaptally.h"
#include "heaptally.h" /* twice does no harm */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void say(const char *text)
{
    char line[128];
    int length = snprintf(line, sizeof line, "# %s\n", text);
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(99);
}

static void run(const struct test_case *list)
{
    for (; list->name; list++) {
        char line[128];
        int length = snprintf(line, sizeof line, "case %s\n", list->name);
        if (write(STDOUT_FILENO, line, (size_t)length) != length)
            _exit(99);
        list->run();
    }
}

int main(void)
{
    say_active();
    say(heaptally_active() ? "main active 1" : "main active 0");
    run(common_cases);
#ifdef __cplusplus
    run(cxx_cases);
#endif
    return 0;
}
