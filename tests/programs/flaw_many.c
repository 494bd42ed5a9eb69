/*
 * flaw_many COUNT: so many instances come and go in a second and a half. The reference keeps a
 * sample of every hundredth, so that the monitor itself grows with them.
 */
#include "program.h"

#define TURNS 150

int main(int argc, char **argv)
{
    MUST(argc == 2);
    long count = atol(argv[1]);
    for (long turn = 0; turn < TURNS; turn++) {
        long last = count * (turn + 1) / TURNS;
        for (long i = count * turn / TURNS; i < last; i++) {
            void *block = NULL;
            HEAPTALLY_CONSTRUCT("many")
            {
                MUST((block = malloc(64)) != NULL);
                program_sink = block;
            }
            free(block);
        }
        sleep_ms(10);
    }
    return 0;
}
