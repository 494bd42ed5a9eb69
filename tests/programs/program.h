/* What the tiny programs share: time, blocks that stay, and a way to fail loudly. */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "heaptally.h"

/* Ends the program with status 3 and a line on stderr unless `condition` holds. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));   \
            _exit(3);                                                                              \
        }                                                                                          \
    } while (0)

static inline void sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* A pointer stored here is out of the compiler's sight: its block cannot be optimised away. */
static void *volatile program_sink;

/* `count` blocks of `size` bytes under `tag`, never freed. */
static inline void keep_blocks(const char *tag, int count, size_t size)
{
    HEAPTALLY_SCOPE(tag)
    {
        for (int i = 0; i < count; i++)
            MUST((program_sink = malloc(size)) != NULL);
    }
}

#endif
