#include "alert_sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "heaptally/snapshot_format.h"
#include "heaptally/trend_text.h"
#include "internal_heap.h"
#include "module_map.h"
#include "raw_io.h"

#define MOST_FILES   4u
#define LOG_LINE     1000u /* of the log: what ht_say takes, with its prefix */
#define JSON_MAX     4096u
#define FILE_CAP     (4 << 20)
#define PATH_ROOM    4096
#define SYSLOG       "/dev/log"
#define LOG_USER_BIT 8 /* the facility "user" */

static bool to_stderr, to_syslog;
static struct {
    char path[PATH_ROOM];
    bool said; /* that it cannot be written to */
    bool torn; /* the beginning of a line of ours is its end */
} * files;
static unsigned file_count;
static const char *snapshot = "";

/* ---- settings -----------------------------------------------------------------------------------
 */

static void add_file(const char *item, size_t length)
{
    char directory[PATH_ROOM] = "";
    if (item[0] != '/' && !getcwd(directory, sizeof directory))
        directory[0] = '\0';
    if (!files)
        files = ht_heap_alloc(MOST_FILES * sizeof *files, 16);
    if (!files || file_count == MOST_FILES ||
        snprintf(files[file_count].path, sizeof files->path, "%s%s%.*s", directory,
                 directory[0] ? "/" : "", (int)length, item) >= (int)sizeof files->path) {
        ht_say("--alert-log %.*s: cannot be used; give fewer files, or shorter names", (int)length,
               item);
        return;
    }
    file_count++;
}

void ht_alert_sinks_begin(const char *items)
{
    const char *item;
    size_t length;
    while (items && (item = ht_option_next_item(&items, &length))) {
        if (length == 6 && strncmp(item, "stderr", 6) == 0)
            to_stderr = true;
        else if (length == 6 && strncmp(item, "syslog", 6) == 0)
            to_syslog = true;
        else
            add_file(item, length);
    }
    to_stderr |= !to_syslog; /* a file is for programs: people get their line all the same */
}

void ht_alert_sinks_name_file(const char *path)
{
    snapshot = path;
}

/* ---- the log line -------------------------------------------------------------------------------
 */

static const char *level_of(const struct ht_alert *alert)
{
    static const char *const levels[] = {"INFO", "WARNING", "CRITICAL"};
    return alert->state == HT_ALERT_CLEAR ? "CLEAR" : levels[alert->severity];
}

/* Control characters of a tag's name must not break the line. */
static void put_name(struct ht_text *text, const char *name)
{
    char one[2] = "";
    for (; *name; name++) {
        one[0] = (unsigned char)*name < ' ' || *name == 127 ? '?' : *name;
        ht_text_put(text, one);
    }
}

static void make_line(const struct ht_alert *alert, char *line, size_t size)
{
    struct ht_text text = ht_text_begin(line, size);
    ht_text_put(&text, level_of(alert));
    ht_text_put(&text, " ");
    ht_text_put(&text, ht_alert_kind_name(alert->kind));
    ht_text_put(&text, " ");
    put_name(&text, alert->tag_name[0] ? alert->tag_name : "process");
    ht_text_put(&text, alert->message[0] == '+' ? " " : ": ");
    put_name(&text, alert->message);
    if (snapshot[0]) {
        ht_text_put(&text, "; heaptally report ");
        put_name(&text, snapshot);
    }
}

/* One datagram, as syslog(3) sends it, but without its locks and its stdio. */
static void write_to_syslog(const struct ht_alert *alert, const char *line)
{
    static const int priorities[] = {6, 4, 2}; /* info, warning, critical */
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SYSLOG};
    char datagram[LOG_LINE + 100];
    int priority = alert->state == HT_ALERT_CLEAR ? 5 : priorities[alert->severity];
    int length = snprintf(datagram, sizeof datagram, "<%d>heaptally[%d]: %s",
                          LOG_USER_BIT | priority, (int)getpid(), line);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (sendto(fd, datagram, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT,
               (struct sockaddr *)&address, sizeof address) < 0)
        ht_say("%s", line); /* nobody listens there: better here than nowhere */
    close(fd);
}

/* ---- JSON lines ---------------------------------------------------------------------------------
 */

/* The length of the UTF-8 character at `p`, 0 where there is none. */
static unsigned utf8_length(const unsigned char *p)
{
    unsigned length = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : 4;
    if (length == 1)
        return 1;
    if (*p < 0xc2 || *p > 0xf4)
        return 0;
    for (unsigned i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
               (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f);
    return bad ? 0 : length;
}

static void put_string(struct ht_text *text, const char *words)
{
    const unsigned char *p = (const unsigned char *)words;
    char piece[8];
    ht_text_put(text, "\"");
    for (unsigned length; *p; p += length) {
        length = utf8_length(p);
        if (length == 0) {
            ht_text_put(text, "\\ufffd");
            length = 1;
            continue;
        }
        if (*p < ' ' || *p == 127)
            snprintf(piece, sizeof piece, "\\u%04x", *p);
        else
            snprintf(piece, sizeof piece, "%s%.*s", *p == '"' || *p == '\\' ? "\\" : "",
                     (int)length, (const char *)p);
        ht_text_put(text, piece);
    }
    ht_text_put(text, "\"");
}

static void put_key(struct ht_text *text, const char *key)
{
    ht_text_put(text, text->at[-1] == '{' ? "" : ", ");
    put_string(text, key);
    ht_text_put(text, ": ");
}

static void put_text(struct ht_text *text, const char *key, const char *words)
{
    put_key(text, key);
    if (words)
        put_string(text, words);
    else
        ht_text_put(text, "null");
}

static void put_number(struct ht_text *text, const char *key, double number, unsigned decimals)
{
    put_key(text, key);
    if (isfinite(number) && fabs(number) < 1e12)
        ht_text_number(text, number, decimals);
    else
        ht_text_put(text, "null");
}

/* UTC. Not gmtime_r: that takes libc's lock on time zones and may read a file. The year is taken to
 * begin in March, so that the leap day is its last. */
static void put_time(struct ht_text *text, uint64_t realtime_ns)
{
    char words[64];
    uint64_t ms = realtime_ns / 1000000u, second = ms / 1000, days = second / 86400 + 719468;
    unsigned era = (unsigned)(days / 146097), day = (unsigned)(days % 146097);
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    unsigned month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    snprintf(words, sizeof words, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             year + era * 400 + (month >= 10), month < 10 ? month + 3 : month - 9, day + 1,
             (unsigned)(second / 3600 % 24), (unsigned)(second / 60 % 60), (unsigned)(second % 60),
             (unsigned)(ms % 1000));
    put_text(text, "time", words);
}

static size_t make_json(const struct ht_alert *alert, char *json, size_t size)
{
    struct ht_text text = ht_text_begin(json, size);
    const struct ht_module *program = ht_module(0);
    ht_text_put(&text, "{");
    put_time(&text, alert->realtime_ns);
    put_text(&text, "kind", ht_alert_kind_name(alert->kind));
    put_text(&text, "state", ht_alert_state_name(alert->state));
    put_text(&text, "severity", ht_alert_severity_name(alert->severity));
    put_text(&text, "tag", alert->tag_name[0] ? alert->tag_name : NULL);
    put_number(&text, "value_mb", alert->value_mb, 6);
    put_number(&text, "threshold_mb", alert->threshold_mb, 6);
    put_number(&text, "rss_mb", alert->rss_mb, 3);
    put_number(&text, "growth_mb", alert->growth_mb, 6);
    put_text(&text, "message", alert->message);
    put_text(&text, "exe", program ? program->base : NULL);
    put_number(&text, "pid", getpid(), 0);
    put_number(&text, "number", (double)alert->number, 0);
    put_text(&text, "snapshot", snapshot[0] ? snapshot : NULL);
    ht_text_put(&text, "}\n");
    return (size_t)(text.at - json);
}

/* Opens a file for one line; -errno where it is not one that may be written to. */
static int open_file(const char *path, struct stat *status)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    int wrong = fstat(fd, status) != 0        ? errno
                : !S_ISREG(status->st_mode)   ? EINVAL
                : status->st_uid != geteuid() ? EPERM
                : status->st_nlink != 1       ? EMLINK
                                              : 0;
    if (wrong == 0)
        return fd;
    close(fd);
    return -wrong;
}

/*
 * Renames a file that is full, so that the next one who opens it begins it anew. Other processes
 * may write to the same one: who has it locked, and finds it still in its place, is alone in
 * renaming it. Nobody waits; a file that somebody else is renaming takes one more line.
 */
static int set_aside(int fd, const char *path, const struct stat *status)
{
    char old[PATH_ROOM];
    struct stat there;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return 0; /* where there are no locks, nobody is waited for */
    if (lstat(path, &there) != 0 || there.st_dev != status->st_dev ||
        there.st_ino != status->st_ino)
        return 0;
    bool renamed =
        snprintf(old, sizeof old, "%s.1", path) < (int)sizeof old && rename(path, old) == 0;
    return renamed ? 0 : -EFBIG;
}

/* The descriptor of a file with room for a line, or -errno. */
static int open_with_room(const char *path)
{
    struct stat status;
    int fd = open_file(path, &status);
    if (fd < 0 || status.st_size < FILE_CAP)
        return fd;
    int error = set_aside(fd, path, &status);
    close(fd); /* and so unlocked */
    return error ? error : open_file(path, &status);
}

/*
 * Takes back the last `size` bytes, which we have just written: the beginning of a line, for which
 * the disk had no room. False where they cannot be taken back, or where others have written behind
 * them.
 */
static bool take_back(int fd, size_t size)
{
    struct stat status;
    off_t end = lseek(fd, 0, SEEK_CUR); /* where our write ended, wherever the file did */
    return end >= (off_t)size && fstat(fd, &status) == 0 && status.st_size == end &&
           ftruncate(fd, end - (off_t)size) == 0;
}

/* Writes a line, whole or not at all: 0 or -errno. A beginning that had to stay sets `*torn`, and
 * is ended before the next line. */
static int write_line(int fd, const char *json, size_t size, bool *torn)
{
    bool begun = *torn && lseek(fd, 0, SEEK_END) > 0; /* not so of a file that was begun anew */
    int error = begun ? ht_write_all(fd, "\n", 1) : 0;
    size_t done = 0;
    *torn = error != 0;
    while (!error && done < size) {
        ssize_t n = write(fd, json + done, size - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            error = n == 0 ? -EIO : -errno;
    }
    if (error && done > 0)
        *torn = !take_back(fd, done);
    return error;
}

static void write_to_files(const struct ht_alert *alert)
{
    static char json[JSON_MAX + PATH_ROOM]; /* not on the monitor's stack */
    size_t size = make_json(alert, json, sizeof json);
    for (unsigned i = 0; i < file_count; i++) {
        int fd = open_with_room(files[i].path);
        int error = fd < 0 ? fd : write_line(fd, json, size, &files[i].torn);
        if (fd >= 0)
            close(fd);
        if (error && !files[i].said)
            ht_say("%s: alerts cannot be written (%s)%s; name another file with --alert-log",
                   files[i].path, ht_error_words(-error),
                   files[i].torn ? ", and the last line there is unfinished" : "");
        files[i].said = error != 0;
    }
}

void ht_alert_sinks_write(const struct ht_alert *alert)
{
    int saved = errno;
    char line[LOG_LINE];
    make_line(alert, line, sizeof line);
    if (to_stderr)
        ht_say("%s", line);
    if (to_syslog)
        write_to_syslog(alert, line);
    if (file_count)
        write_to_files(alert);
    errno = saved;
}
