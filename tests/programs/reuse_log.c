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

int main(int argc, char **argv)
{
    int pair[2] = {-1, -1}, fd;
    MUST(argc == 3);
    sleep_ms(50);
    close(2);
    if (strcmp(argv[1], "socket") == 0) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pair[0] == 2);
        MUST(write(2, "intact\n", 7) == 7);
    } else {
        fd = open_victim(argv[2]);
        MUST(fd == 2 && write(fd, "intact\n", 7) == 7);
    }
    if (strcmp(argv[1], "redirect") == 0)
        MUST(dup2(2, 1) == 1);
    keep_blocks("ctl", 100, 1000);
    sleep_ms(300);
    if (pair[1] >= 0)
        empty_into(pair[1], argv[2]);
    return 0;
}
