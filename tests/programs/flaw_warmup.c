/*
 * The first instance fills a table of 24 MiB that all later ones share: a warm-up, no leak. What
 * an instance takes for itself it gives back. The reference divides the table by the count and
 * calls it 24 MB per 1000 instances.
 */
#include "program.h"

static char *table;

__attribute__((noinline)) static void warm_up(void)
{
    MUST((table = malloc(24 << 20)) != NULL);
    memset(table, 1, 24 << 20);
}

__attribute__((noinline)) static void *construct(void)
{
    void *self = NULL;
    HEAPTALLY_CONSTRUCT("sta")
    {
        if (!table)
            warm_up();
        MUST((self = malloc(20480)) != NULL);
        memset(self, 1, 20480);
    }
    return self;
}

int main(void)
{
    for (int i = 0; i < 1000; i++) {
        void *self = construct();
        program_sink = self;
        free(self);
        if (i % 10 == 0)
            sleep_ms(10);
    }
    program_sink = table;
    return 0;
}
