/* 100 blocks are allocated under one tag and, some ticks later, adopted by another. */
#include "program.h"

int main(void)
{
    static void *blocks[100];
    HEAPTALLY_SCOPE("first")
    {
        for (int i = 0; i < 100; i++)
            MUST((blocks[i] = malloc(100)) != NULL);
    }
    sleep_ms(200);
    for (int i = 0; i < 100; i++)
        heaptally_track_instantiation("second", blocks[i]);
    return 0;
}
