/*
 * flaw_per_step BYTES: a control loop of 10,000 steps in some 5 seconds that keeps so many bytes at
 * each. The reference's loop test calls it passed, since less than 50 MB came together.
 */
#include "program.h"

int main(int argc, char **argv)
{
    MUST(argc == 2);
    size_t size = (size_t)atoi(argv[1]);
    for (int i = 0; i < 10000; i++) {
        HEAPTALLY_SCOPE("controller")
        {
            char *block = malloc(size);
            MUST(block != NULL);
            memset(block, 1, size);
            program_sink = block;
        }
        heaptally_cycle("controller");
        if (i % 20 == 0)
            sleep_ms(10);
    }
    return 0;
}
