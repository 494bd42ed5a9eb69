#include "raw_io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Writes to the log. Where nobody reads it any more, that raises a signal which would end the
 * program, and which it must not get. */
static void write_line(const char *line, size_t length)
{
    static const struct timespec at_once = {0, 0};
    sigset_t broken, before, pending;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    if (ht_write_all(STDERR_FILENO, line, length) == -EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&broken, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void ht_say(const char *format, ...)
{
    static const char prefix[] = "heaptally: ";
    int saved = errno;
    char line[HT_MESSAGE_MAX];
    memcpy(line, prefix, sizeof prefix);
    size_t room = sizeof line - sizeof prefix - 1, length = sizeof prefix - 1;

    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line + length, room, format, arguments);
    va_end(arguments);
    if (n > 0)
        length += (size_t)n < room ? (size_t)n : room - 1;
    line[length++] = '\n';
    write_line(line, length);
    errno = saved;
}

int ht_write_all(int fd, const void *data, size_t size)
{
    int saved = errno, result = 0;
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            result = -errno;
            break;
        }
        p += n;
        size -= (size_t)n;
    }
    errno = saved;
    return result;
}

long ht_read_file(const char *path, char *buffer, size_t size)
{
    int saved = errno;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        long error = -errno;
        errno = saved;
        return error;
    }
    size_t length = 0;
    ssize_t n = 1;
    while (length < size - 1 && n > 0) {
        n = read(fd, buffer + length, size - 1 - length);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            length += (size_t)n;
    }
    long result = n < 0 ? -errno : (long)length;
    buffer[length] = '\0';
    close(fd);
    errno = saved;
    return result;
}
