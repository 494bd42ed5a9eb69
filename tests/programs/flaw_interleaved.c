/*
 * Four controllers are built in turn, 1000 times. Each takes 20480 bytes for its work; A never
 * gives them back. The reference, which divides the growth of the whole process, blames all four.
 */
#include "program.h"

#define BLOCK 20480

int main(void)
{
    static const char *const names[] = {"A", "B", "C", "D"};
    for (int i = 0; i < 1000; i++) {
        for (int n = 0; n < 4; n++) {
            void *block = NULL;
            HEAPTALLY_CONSTRUCT(names[n])
            {
                MUST((block = malloc(BLOCK)) != NULL);
                memset(block, n + 1, BLOCK);
            }
            program_sink = block;
            if (n > 0)
                free(block);
        }
    }
    sleep_ms(50);
    return 0;
}
