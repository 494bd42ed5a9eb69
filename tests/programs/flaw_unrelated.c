/*
 * The application takes a buffer of 50 MiB; a controller that leaks nothing is built 100 times.
 * The reference charges the buffer to the controller: 500 MB per 1000 instances.
 */
#include "program.h"

int main(void)
{
    char *buffer = malloc(50 << 20);
    MUST(buffer != NULL);
    memset(buffer, 1, 50 << 20);
    program_sink = buffer;
    for (int i = 0; i < 100; i++) {
        void *block = NULL;
        HEAPTALLY_CONSTRUCT("clean")
        {
            MUST((block = malloc(4096)) != NULL);
            program_sink = block;
        }
        free(block);
    }
    sleep_ms(200);
    return 0;
}
