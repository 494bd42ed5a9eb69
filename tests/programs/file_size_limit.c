/*
 * Sets RLIMIT_FSIZE to the bytes of its argument, as a controller may, and goes on to allocate:
 * whoever writes past the limit gets SIGXFSZ, which ends a process that does not expect it.
 */
#include "program.h"

#include <sys/resource.h>

int main(int argc, char **argv)
{
    MUST(argc == 2);
    keep_blocks("kept", 1000, 100);
    sleep_ms(100);
    struct rlimit limit = {(rlim_t)atol(argv[1]), (rlim_t)atol(argv[1])};
    MUST(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (int i = 0; i < 100; i++) {
        char tag[32];
        snprintf(tag, sizeof tag, "tag-%d", i);
        keep_blocks(tag, 1, 100);
        sleep_ms(5);
    }
    keep_blocks("kept", 500, 100);
    puts("done");
    return 0;
}
