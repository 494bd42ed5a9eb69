/*
 * reuse_log file|socket|redirect VICTIM: puts something else at descriptor 2, as daemons do,
 * then grows the tag "ctl" beyond its threshold.
 *
 *   file      closes 2 and opens VICTIM, which gets its number: data, not a log
 *   socket    the same with one end of a pair of sockets; what came out of the other is in VICTIM
 *   redirect  sends output and errors into VICTIM, a log
 */
#include "program.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>

static int open_victim(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
    MUST(fd >= 0);
    return fd;
}

static void empty_into(int socket, const char *path)
{
    char data[4096];
    int victim = open_victim(path);
    ssize_t n;
    while ((n = recv(socket, data, sizeof data, MSG_DONTWAIT)) > 0)
        MUST(write(victim, data, (size_t)n) == n);
}

/* Opens what is to get the number 2; false, with nothing open, if it got another. */
static bool at_two(const char *kind, const char *path, int *pair)
{
    if (strcmp(kind, "socket") == 0)
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int fd = pair[0] >= 0 ? pair[0] : open_victim(path);
    if (fd == 2)
        return true;
    close(fd);
    if (pair[1] >= 0)
        close(pair[1]);
    return false;
}

int main(int argc, char **argv)
{
    int pair[2] = {-1, -1};
    MUST(argc == 3);
    sleep_ms(50);
    close(2);
    while (!at_two(argv[1], argv[2], pair)) /* the monitor opens files, too: it may be one of its */
        sleep_ms(1);
    MUST(write(2, "intact\n", 7) == 7);
    if (strcmp(argv[1], "redirect") == 0)
        MUST(dup2(2, 1) == 1);
    keep_blocks("ctl", 100, 1000);
    sleep_ms(300);
    if (pair[1] >= 0)
        empty_into(pair[1], argv[2]);
    return 0;
}
