#include "raw_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
    ht_write_all(STDERR_FILENO, line, length);
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
