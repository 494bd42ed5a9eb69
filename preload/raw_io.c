#include "raw_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define PREFIX   "heaptally: "
#define DEV_NULL makedev(1, 3)

/* ---- the log ------------------------------------------------------------------------------------
 */

/* Descriptor 2 at the beginning. Whoever comes first writes it; a second one writes the same. */
static struct stat original;
static enum { NOT_NOTED, NOTED, WAS_CLOSED } noted;
static uint64_t lost;   /* lines, ever */
static uint64_t untold; /* of those, since it was last said */

void ht_log_begin(void)
{
    int saved = errno;
    struct stat status;
    bool open = fstat(STDERR_FILENO, &status) == 0;
    if (open)
        original = status;
    __atomic_store_n(&noted, open ? NOTED : WAS_CLOSED, __ATOMIC_RELEASE);
    errno = saved;
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_rdev == b->st_rdev &&
           (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

/* Whether descriptor 2 is the log; `*log` is what it is. */
static bool find_log(struct stat *log)
{
    struct stat output;
    if (__atomic_load_n(&noted, __ATOMIC_ACQUIRE) == NOT_NOTED)
        ht_log_begin();
    if (fstat(STDERR_FILENO, log) != 0)
        return false;
    if (__atomic_load_n(&noted, __ATOMIC_ACQUIRE) == NOTED && same(log, &original))
        return true;
    if (S_ISCHR(log->st_mode) && (log->st_rdev == DEV_NULL || isatty(STDERR_FILENO)))
        return true;
    return !S_ISSOCK(log->st_mode) && fstat(STDOUT_FILENO, &output) == 0 && same(log, &output);
}

bool ht_log_is_there(void)
{
    int saved = errno;
    struct stat log;
    bool there = find_log(&log);
    errno = saved;
    return there;
}

uint64_t ht_log_lost(void)
{
    return __atomic_load_n(&lost, __ATOMIC_RELAXED);
}

/*
 * A descriptor of the same pipe or terminal on which writing never waits; -1 where it cannot be
 * had. The program's own shares its flags with other processes: they must stay as they are. It is
 * asked for each time, since programs close what they do not know.
 */
static int without_waiting(const struct stat *log)
{
    struct stat status;
    int fd = open("/proc/thread-self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) != 0 || !same(&status, log))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Writes one line, or nothing: 0 or -errno. -EAGAIN where there is no room. */
static int write_at_once(const struct stat *log, const char *line, size_t length)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (S_ISREG(log->st_mode))
        return ht_write_all(STDERR_FILENO, line, length);
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
        return -EAGAIN;
    ssize_t n;
    if (S_ISSOCK(log->st_mode)) {
        n = send(STDERR_FILENO, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        bool may_wait = S_ISFIFO(log->st_mode) || isatty(STDERR_FILENO);
        int fd = may_wait ? without_waiting(log) : -1;
        n = write(fd < 0 ? STDERR_FILENO : fd, line, length);
        int error = errno;
        if (fd >= 0)
            close(fd);
        errno = error;
    }
    return n < 0 ? -errno : n < (ssize_t)length ? -EAGAIN : 0;
}

/* The same without the signals that it may raise, which would end or stop the program: nobody reads
 * the log any more, it has reached the limit for files, this is not the foreground. */
static int write_quietly(const struct stat *log, const char *line, size_t length)
{
    static const struct timespec at_once = {0, 0};
    sigset_t ours, before, pending, raised;
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    sigaddset(&ours, SIGXFSZ);
    sigaddset(&ours, SIGTTOU);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    int error = write_at_once(log, line, length);
    int number = error == -EPIPE ? SIGPIPE : error == -EFBIG ? SIGXFSZ : 0;
    if (number && !sigismember(&pending, number)) {
        sigemptyset(&raised);
        sigaddset(&raised, number);
        sigtimedwait(&raised, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* Writes a line to the log, and before it how many were lost since the last. */
static void put_line(const char *line, size_t length)
{
    struct stat log;
    uint64_t missing = 1;
    if (find_log(&log)) {
        uint64_t before = __atomic_exchange_n(&untold, 0, __ATOMIC_RELAXED);
        int error = 0;
        if (before) {
            char note[100];
            int size =
                snprintf(note, sizeof note, PREFIX "%llu %s lost here: nobody read them\n",
                         (unsigned long long)before, before == 1 ? "line was" : "lines were");
            error = write_quietly(&log, note, (size_t)size);
        }
        if (error)
            __atomic_fetch_add(&untold, before, __ATOMIC_RELAXED);
        else
            missing = write_quietly(&log, line, length) != 0;
    }
    __atomic_fetch_add(&untold, missing, __ATOMIC_RELAXED);
    __atomic_fetch_add(&lost, missing, __ATOMIC_RELAXED);
}

void ht_say(const char *format, ...)
{
    int saved = errno;
    char line[HT_MESSAGE_MAX] = PREFIX;
    size_t length = sizeof PREFIX - 1, room = sizeof line - length - 1;

    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line + length, room, format, arguments);
    va_end(arguments);
    if (n > 0)
        length += (size_t)n < room ? (size_t)n : room - 1;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 127)
            line[i] = '?';
    line[length++] = '\n';
    put_line(line, length);
    errno = saved;
}

const char *ht_error_words(int error)
{
    const char *words = strerrordesc_np(error);
    return words ? words : "unknown error";
}

/* ---- memory -------------------------------------------------------------------------------------
 */

/* The kernel reads the signal set before it finds that there is no such way to apply it. */
bool ht_is_readable(uintptr_t address)
{
    int saved = errno;
    long result = syscall(SYS_rt_sigprocmask, -1, address, NULL, 8);
    bool readable = result == 0 || errno != EFAULT;
    errno = saved;
    return readable;
}

/* ---- files --------------------------------------------------------------------------------------
 */

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
