/*
 * 60,000 blocks of 1000 bytes, of which every fiftieth stays. The freed ones lie between those
 * that stay, so resident memory does not fall; live memory does.
 */
#include "program.h"

#define BLOCKS 60000

int main(void)
{
    static void *blocks[BLOCKS];
    HEAPTALLY_SCOPE("batch")
    {
        for (int i = 0; i < BLOCKS; i++) {
            MUST((blocks[i] = malloc(1000)) != NULL);
            memset(blocks[i], 1, 1000);
        }
    }
    sleep_ms(300); /* some ticks, that the peak is seen */
    for (int i = 0; i < BLOCKS; i++)
        if (i % 50 != 0)
            free(blocks[i]);
    sleep_ms(100);
    return 0;
}
