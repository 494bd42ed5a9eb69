/*
 * Takes 30 MB in small blocks and gives most of it back, in such a way that it stays resident: far
 * above a threshold of 5 MB, and worth a hint that it could be trimmed. The reference gives no hint
 * while it is above the threshold.
 */
#include "program.h"

#define BLOCKS 30000

int main(void)
{
    static void *blocks[BLOCKS];
    sleep_ms(100); /* a tick, for the baseline */
    for (int i = 0; i < BLOCKS; i++) {
        MUST((blocks[i] = malloc(1000)) != NULL);
        memset(blocks[i], 1, 1000);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % 50 != 0)
            free(blocks[i]);
    sleep_ms(2500);
    return 0;
}
