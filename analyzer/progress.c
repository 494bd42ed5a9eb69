/* Nothing is shown in the first moment, nor more often than the eye can follow. */
#include "progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

enum { MOMENT_MS = 300, BETWEEN_MS = 100, WIDEST = 60 };

static uint64_t next_ms; /* when the line may change; 0 before the first call */
static bool shown;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void ht_progress(const char *what, uint64_t done, uint64_t total)
{
    uint64_t now = now_ms();
    if (next_ms == 0)
        next_ms = now + MOMENT_MS;
    if (now < next_ms || !isatty(STDERR_FILENO))
        return;
    next_ms = now + BETWEEN_MS;
    char *line = ht_elide(what, WIDEST);
    if (total > 0)
        fprintf(stderr, "\r\033[K%s %u %%", line,
                (unsigned)(100 * (double)done / (double)total + 0.5));
    else
        fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    free(line);
    shown = true;
}

void ht_progress_end(void)
{
    if (shown)
        fputs("\r\033[K", stderr);
    shown = false;
}
