#include "snapshot_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "heaptally/snapshot_format.h"
#include "metrics_sweep.h"
#include "raw_io.h"

/* Programs look at, close and count the low descriptors; ours stays out of their way. */
#define LOWEST_DESCRIPTOR 700
#define MAX_SEQUENCE      10000
#define SILENT_LONG       3600 /* seconds */

static void append_text(char *out, size_t room, const char *text)
{
    size_t length = strlen(out);
    if (length + 1 < room)
        snprintf(out + length, room - length, "%s", text);
}

/* Names must stay one path component. */
static void append_component(char *out, size_t room, const char *text)
{
    char safe[300];
    snprintf(safe, sizeof safe, "%s", text);
    for (char *p = safe; *p; p++)
        if (*p == '/')
            *p = '_';
    append_text(out, room, safe);
}

/* Expands the pattern; `any` replaces %p, %t and %n by a glob, to find sister files. Returns
 * whether %n was in it. */
static bool expand(char *out, size_t room, const char *pattern, const char *program,
                   uint64_t start_realtime_ns, unsigned sequence, bool any)
{
    bool numbered = false;
    char text[300];
    out[0] = '\0';
    for (const char *p = pattern; *p; p++) {
        if (*p != '%' || !p[1]) {
            text[0] = *p;
            text[1] = '\0';
            append_text(out, room, text);
            continue;
        }
        p++;
        snprintf(text, sizeof text, "%%%c", *p);
        if (*p == 'p')
            snprintf(text, sizeof text, "%d", (int)getpid());
        else if (*p == 't')
            snprintf(text, sizeof text, "%llu",
                     (unsigned long long)(start_realtime_ns / 1000000000u));
        else if (*p == 'n')
            snprintf(text, sizeof text, "%u", sequence);
        else if (*p == 'h' && gethostname(text, sizeof text) != 0)
            strcpy(text, "host");
        else if (*p == 'e')
            snprintf(text, sizeof text, "%s", program);
        else if (*p == '%')
            strcpy(text, "%");
        numbered |= *p == 'n';
        if (any && strchr("ptn", *p))
            strcpy(text, "*");
        append_component(out, room, text);
    }
    return numbered;
}

/* Puts "-N" before the suffix of the last component. */
static void number(char *out, size_t room, unsigned sequence)
{
    char *slash = strrchr(out, '/'), *dot = strrchr(slash ? slash : out, '.'), suffix[64] = "";
    if (dot && dot > (slash ? slash + 1 : out) && strlen(dot) < sizeof suffix) {
        strcpy(suffix, dot);
        *dot = '\0';
    }
    char text[32];
    snprintf(text, sizeof text, "-%u", sequence);
    append_text(out, room, text);
    append_text(out, room, suffix);
}

static int adopt(struct ht_file *file, int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    int high = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR);
    if (high >= 0) {
        close(fd);
        fd = high;
    }
    file->fd = fd;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    return 0;
}

static int create(struct ht_file *file)
{
    int fd =
        open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_APPEND, 0600);
    if (fd < 0)
        return -errno;
    file->size = 0;
    return adopt(file, fd);
}

/* Tries the pattern under `directory` ("" for an absolute pattern). */
static int create_in(struct ht_file *file, const char *directory, const char *pattern,
                     const char *program, uint64_t start)
{
    int result = -EEXIST;
    for (unsigned n = 1; n < MAX_SEQUENCE && result == -EEXIST; n++) {
        char name[PATH_MAX];
        bool numbered = expand(name, sizeof name, pattern, program, start, n, false);
        if (n > 1 && !numbered)
            number(name, sizeof name, n);
        int length = snprintf(file->path, sizeof file->path, "%s%s%s", directory,
                              directory[0] ? "/" : "", name);
        if (length >= (int)sizeof file->path)
            return -ENAMETOOLONG;
        result = create(file);
    }
    return result;
}

int ht_file_create(struct ht_file *file, const char *start_directory, const char *pattern,
                   const char *program, uint64_t start_realtime_ns)
{
    file->fd = -1;
    if (pattern[0] == '/') {
        int error = create_in(file, "", pattern, program, start_realtime_ns);
        if (error)
            file->path[0] = '\0';
        return error;
    }
    char directory[PATH_MAX];
    int result = start_directory[0] == '/'
                     ? create_in(file, start_directory, pattern, program, start_realtime_ns)
                     : -ENOENT;
    const char *state = getenv("STATE_DIRECTORY"), *home = getenv("XDG_STATE_HOME");
    if (result != 0 && state && state[0] == '/') {
        /* A service may have several, separated by colons: the first is meant. */
        snprintf(directory, sizeof directory, "%.*s", (int)strcspn(state, ":"), state);
        if (create_in(file, directory, pattern, program, start_realtime_ns) == 0)
            return 0;
    }
    if (result != 0 && home && home[0] == '/') {
        snprintf(directory, sizeof directory, "%s/heaptally", home);
        mkdir(directory, 0700);
        if (create_in(file, directory, pattern, program, start_realtime_ns) == 0)
            return 0;
    }
    if (result != 0)
        file->path[0] = '\0';
    return result;
}

int ht_file_create_beside(struct ht_file *file, const struct ht_file *old)
{
    file->fd = -1;
    if (snprintf(file->path, sizeof file->path, "%s.new", old->path) >= (int)sizeof file->path)
        return -ENAMETOOLONG;
    unlink(file->path); /* left by an earlier try: only we use this name */
    return create(file);
}

int ht_file_replace(struct ht_file *file, struct ht_file *old)
{
    if (rename(file->path, old->path) != 0)
        return -errno;
    snprintf(file->path, sizeof file->path, "%s", old->path);
    ht_file_close(old);
    return 0;
}

static bool is_ours(const struct ht_file *file, int fd)
{
    struct stat status;
    return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == file->device &&
           status.st_ino == file->inode;
}

/* Makes sure that the descriptor is our file, by opening it again if need be. */
static int reach(struct ht_file *file)
{
    if (is_ours(file, file->fd))
        return 0;
    file->fd = -1; /* closed by the program, or somebody else's by now: not ours to close */
    /* Without waiting: a pipe may stand there now. */
    int fd = open(file->path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_APPEND | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (!is_ours(file, fd)) {
        close(fd);
        return -ESTALE;
    }
    return adopt(file, fd);
}

int ht_file_append(struct ht_file *file, const void *data, size_t size)
{
    int error = reach(file);
    if (error == 0)
        error = ht_write_all(file->fd, data, size);
    if (error == 0)
        file->size += size;
    else if (file->fd >= 0 && ftruncate(file->fd, (off_t)file->size) != 0)
        return error; /* a torn record may stay behind: readers stop there */
    return error;
}

void ht_file_sync(const struct ht_file *file)
{
    int fd = file->fd; /* whoever writes may take another meanwhile */
    if (is_ours(file, fd))
        fdatasync(fd);
}

void ht_file_close(struct ht_file *file)
{
    if (is_ours(file, file->fd))
        close(file->fd);
    file->fd = -1;
}

/* ---- pruning ------------------------------------------------------------------------------------
 */

struct sister {
    char name[256];
    struct timespec time;
};

#define MAX_SISTERS 512

static bool older(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Whether the machine, or container, of a file's header is the one we are in. */
static bool is_from_here(const char *host, size_t length)
{
    struct utsname here;
    return uname(&here) == 0 && strlen(here.nodename) == length &&
           memcmp(here.nodename, host, length) == 0;
}

/* Whether the pid in a file's header says who of us here wrote it. Only in the machine's first pid
 * namespace: of others, two machines may have one of the same number. And not our own pid, which
 * may be one of a namespace that the header does not name. */
static bool is_pid_known(const struct htl_file_header *header, const char *host)
{
    return is_from_here(host, header->host_length) && header->pid_namespace == 0 &&
           ht_metrics_namespace() == 0 && header->pid != (uint32_t)getpid();
}

/* Whether a file is a snapshot of `program` that no living process writes: its pid is gone; where
 * that says nothing, it has been silent for long. */
static bool is_finished(int directory, const char *name, const char *program, time_t written)
{
    struct {
        struct htl_file_header fixed;
        char exe[PATH_MAX + 256]; /* and the host's name */
    } header = {.exe = ""};
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, &header, sizeof header - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n < (ssize_t)sizeof header.fixed ||
        header.fixed.exe_length + header.fixed.host_length >= (int)sizeof header.exe ||
        memcmp(header.fixed.magic, HTL_MAGIC, sizeof header.fixed.magic) != 0)
        return false;
    bool known = is_pid_known(&header.fixed, header.exe + header.fixed.exe_length);
    if (!known && time(NULL) - written < SILENT_LONG)
        return false;
    header.exe[header.fixed.exe_length] = '\0';
    const char *slash = strrchr(header.exe, '/');
    if (strcmp(slash ? slash + 1 : header.exe, program) != 0)
        return false;
    char process[64];
    snprintf(process, sizeof process, "/proc/%u", header.fixed.pid);
    return header.fixed.pid == (uint32_t)getpid() || access(process, F_OK) != 0;
}

/* Whether a name can come from the pattern whose last component is `glob`: as it is, or with a
 * number before the suffix. */
static bool is_sister(const char *glob, const char *name)
{
    char numbered[PATH_MAX];
    const char *dot = strrchr(glob, '.');
    size_t stem = dot && dot > glob ? (size_t)(dot - glob) : strlen(glob);
    snprintf(numbered, sizeof numbered, "%.*s-[0-9]*%s", (int)stem, glob, glob + stem);
    return fnmatch(glob, name, FNM_PERIOD) == 0 || fnmatch(numbered, name, FNM_PERIOD) == 0;
}

void ht_file_prune(const struct ht_file *file, const char *pattern, const char *program,
                   uint64_t keep)
{
    char directory[PATH_MAX], glob[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", file->path);
    char *slash = strrchr(directory, '/');
    if (!slash)
        return;
    const char *own = file->path + (slash - directory) + 1;
    *slash = '\0';
    expand(glob, sizeof glob, pattern, program, 0, 0, true);
    const char *base = strrchr(glob, '/') ? strrchr(glob, '/') + 1 : glob;
    DIR *stream = opendir(directory[0] ? directory : "/");
    struct sister *sisters = stream ? calloc(MAX_SISTERS, sizeof *sisters) : NULL;
    unsigned count = 0;
    for (struct dirent *entry; sisters && count < MAX_SISTERS && (entry = readdir(stream));) {
        struct stat status;
        if (!is_sister(base, entry->d_name) || strcmp(entry->d_name, own) == 0 ||
            fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(status.st_mode) ||
            !is_finished(dirfd(stream), entry->d_name, program, status.st_mtim.tv_sec))
            continue;
        snprintf(sisters[count].name, sizeof sisters[count].name, "%s", entry->d_name);
        sisters[count++].time = status.st_mtim;
    }
    for (; count > keep; count--) {
        unsigned oldest = 0;
        for (unsigned i = 1; i < count; i++)
            if (older(&sisters[i].time, &sisters[oldest].time))
                oldest = i;
        unlinkat(dirfd(stream), sisters[oldest].name, 0);
        sisters[oldest] = sisters[count - 1];
    }
    free(sisters);
    if (stream)
        closedir(stream);
}
