/*
 * close_all_fds range|loop VICTIM: closes every descriptor but the standard ones, as a daemon does,
 * then opens VICTIM, which gets the lowest number that is free: one that was heaptally's, if it
 * held a file open there. What is in VICTIM afterwards must be what this program wrote.
 */
#include "program.h"

#include <fcntl.h>

int main(int argc, char **argv)
{
    MUST(argc == 3);
    keep_blocks("kept", 1000, 100);
    sleep_ms(150);
    if (strcmp(argv[1], "range") == 0)
        MUST(close_range(3, ~0U, 0) == 0);
    else
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
    int victims[16];
    for (int i = 0; i < 16; i++)
        MUST((victims[i] = open(argv[2], O_RDWR | O_CREAT | O_APPEND, 0600)) >= 0);
    keep_blocks("kept", 500, 100);
    sleep_ms(150);
    for (int i = 0; i < 16; i++)
        MUST(write(victims[i], "intact\n", 7) == 7);
    sleep_ms(150);
    for (int i = 0; i < 16; i++)
        MUST(close(victims[i]) == 0); /* nobody else may have closed it */
    return 0;
}
