/*
 * flaw_few_instances COUNT: COUNT instances that leak 1 MiB each. The reference looks at memory
 * only at every hundredth instance: it sees nothing of 99, and half of 199.
 */
#include "program.h"

int main(int argc, char **argv)
{
    MUST(argc == 2);
    for (int i = atoi(argv[1]); i > 0; i--) {
        HEAPTALLY_CONSTRUCT("leaky")
        {
            char *block = malloc(1 << 20);
            MUST(block != NULL);
            memset(block, 1, 4096);
            program_sink = block;
        }
    }
    sleep_ms(200);
    return 0;
}
