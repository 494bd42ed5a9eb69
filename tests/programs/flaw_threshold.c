/*
 * Holds 12 MB for many ticks, then 20 MB, with small blocks coming and going all the time, then
 * gives everything back. The reference calls its callback at every check while it is above 10 MB.
 */
#include "program.h"

static void hold(int ms)
{
    for (int i = 0; i < ms; i++) {
        void *block = malloc(30000);
        program_sink = block;
        sleep_ms(1);
        free(block);
    }
}

static char *take(size_t size)
{
    char *block = malloc(size);
    MUST(block != NULL);
    memset(block, 1, size);
    return block;
}

int main(void)
{
    char *first = NULL, *second = NULL;
    HEAPTALLY_SCOPE("storm")
    {
        sleep_ms(100);
        first = take(12 << 20);
        hold(800);
        second = take(8 << 20);
        hold(800);
        free(first);
        free(second);
        hold(600);
    }
    return 0;
}
