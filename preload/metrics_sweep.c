#include "metrics_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "raw_io.h"

#define SIGNATURE   "# heaptally "
#define OLD_START   "# HELP heaptally_" /* of versions that did not sign */
#define PREFIX      "heaptally-"
#define SUFFIX      ".prom"
#define ASIDE       ".tmp"
#define MOST_FILES  64 /* looked into in one call */
#define BOOT_ROOM   40
#define SILENT_LONG 3600 /* seconds */
#define FIRST_NAMES                                                                                \
    0xEFFFFFFCu /* the inode of the first pid namespace, the same in all kernels                   \
                 */

/* Who wrote a file. */
struct writer {
    int pid;
    unsigned long long start; /* clock ticks since the machine's start */
    unsigned long long names; /* pid namespace */
    char boot[BOOT_ROOM];     /* the machine, and since when it runs; "": not known */
};

/* What tells this run of this machine from all others, "" where it cannot be found out. */
static void know_boot(char boot[BOOT_ROOM])
{
    if (ht_read_file("/proc/sys/kernel/random/boot_id", boot, BOOT_ROOM) <= 0)
        boot[0] = '\0';
    boot[strcspn(boot, " \n")] = '\0';
}

/* When process `pid` started, 0 where that cannot be read. */
static unsigned long long start_of(int pid)
{
    char path[64], text[1024];
    unsigned long long start;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const char *after_name = ht_read_file(path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    if (!after_name || sscanf(after_name + 1,
                              " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                              "%*s %*s %*s %llu",
                              &start) != 1)
        return 0;
    return start;
}

/* This process; false where /proc does not show it by its number, as one of another namespace. */
static bool know_self(struct writer *self)
{
    char link[32] = "";
    struct stat names;
    *self = (struct writer){.pid = getpid()};
    know_boot(self->boot);
    if (readlink("/proc/self", link, sizeof link - 1) <= 0 || atoi(link) != self->pid ||
        stat("/proc/thread-self/ns/pid", &names) != 0)
        return false;
    self->start = start_of(self->pid);
    self->names = names.st_ino;
    return self->start != 0 && self->boot[0];
}

void ht_metrics_sign(char *out, size_t size)
{
    struct writer self;
    know_self(&self);
    snprintf(out, size, SIGNATURE "%d %llu %llu %s\n", self.pid, self.start, self.names, self.boot);
}

unsigned long long ht_metrics_namespace(void)
{
    struct stat names;
    return stat("/proc/thread-self/ns/pid", &names) == 0 && names.st_ino != FIRST_NAMES
               ? names.st_ino
               : 0;
}

static bool ends_with(const char *name, size_t length, const char *suffix)
{
    size_t end = strlen(suffix);
    return length > end && memcmp(name + length - end, suffix, end) == 0;
}

/* Whether it is heaptally-PROGRAM-PID.prom, or what is written aside before it gets that name. */
static bool is_our_kind(const char *name, bool *aside)
{
    size_t length = strlen(name);
    *aside = ends_with(name, length, ASIDE);
    length -= *aside ? strlen(ASIDE) : 0;
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || !ends_with(name, length, SUFFIX))
        return false;
    size_t end = length - strlen(SUFFIX), digits = 0;
    while (digits < end && name[end - digits - 1] >= '0' && name[end - digits - 1] <= '9')
        digits++;
    return digits > 0 && end - digits > strlen(PREFIX) && name[end - digits - 1] == '-';
}

static bool has_ended(const struct writer *writer)
{
    unsigned long long start = start_of(writer->pid);
    return start ? start != writer->start : kill(writer->pid, 0) != 0 && errno == ESRCH;
}

/* Whether the file behind `fd` is ours to remove, and nobody will write it again. `self`: NULL
 * where processes cannot be told. */
static bool is_left_over(int fd, bool aside, const struct writer *self)
{
    char text[128];
    struct stat status;
    struct writer writer;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
        status.st_nlink != 1)
        return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    if (length < 0)
        return false;
    text[length] = '\0';
    writer.boot[0] = '\0';
    bool signed_by = sscanf(text, SIGNATURE "%d %llu %llu%*[ ]%39[0-9a-f-]", &writer.pid,
                            &writer.start, &writer.names, writer.boot) >= 3 &&
                     strchr(text, '\n');
    if (signed_by && self && strcmp(writer.boot, self->boot) == 0 && writer.names == self->names &&
        writer.pid > 0)
        return has_ended(&writer);
    bool ours =
        signed_by || strncmp(text, OLD_START, strlen(OLD_START)) == 0 || (aside && length == 0);
    return ours && time(NULL) - status.st_mtime > SILENT_LONG;
}

bool ht_metrics_sweep(const char *directory, unsigned *skip)
{
    struct writer self;
    bool aside, known = know_self(&self);
    unsigned seen = 0, looked = 0, removed = 0;
    DIR *stream = opendir(directory);
    struct dirent *entry = NULL;
    while (stream && looked < MOST_FILES && (entry = readdir(stream))) {
        if (!is_our_kind(entry->d_name, &aside) || seen++ < *skip)
            continue;
        looked++;
        int fd =
            openat(dirfd(stream), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            continue;
        if (is_left_over(fd, aside, known ? &self : NULL))
            removed += unlinkat(dirfd(stream), entry->d_name, 0) == 0;
        close(fd);
    }
    if (stream)
        closedir(stream);
    *skip += looked - removed;
    return !entry;
}
