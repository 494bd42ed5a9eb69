/*
 * Writes one byte past the end of 200 blocks of 32 bytes, and frees them. glibc rounds such a
 * block up to 40 bytes, so that the program alone gets away with it.
 */
#include "program.h"

int main(void)
{
    volatile size_t size = 32;
    HEAPTALLY_SCOPE("careless")
    {
        for (int i = 0; i < 200; i++) {
            volatile unsigned char *block = malloc(size);
            MUST(block != NULL);
            block[size] ^= 0xff;
            free((void *)block);
        }
    }
    keep_blocks("kept", 1000, 100);
    puts("done");
    return 0;
}
