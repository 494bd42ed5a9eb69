#include "inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control_client.h"
#include "snapshot_read.h"
#include "text.h"

/* A snapshot file of a directory, as its header has it. */
struct candidate {
    char *path, *host;
    struct timespec written;
    uint32_t pid, parent;
    uint64_t start_ns;
};

struct candidates {
    struct candidate *list;
    size_t count;
};

static void add_path(struct ht_inputs *inputs, const char *path)
{
    struct stat status, other;
    bool known = stat(path, &status) == 0;
    for (size_t i = 0; known && i < inputs->count; i++)
        if (stat(inputs->paths[i], &other) == 0 && other.st_dev == status.st_dev &&
            other.st_ino == status.st_ino)
            return;
    inputs->paths = ht_room_for_one(inputs->paths, inputs->count, sizeof *inputs->paths);
    inputs->paths[inputs->count++] = ht_format("%s", path);
}

/* ---- directories ----------------------------------------------------------------------------- */

static bool ends_as_snapshot(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".htl") == 0;
}

/* Takes a file in unless it cannot be read as a snapshot: another one of the directory is meant
 * then, and who names it will hear why. */
static void consider(struct candidates *all, const char *path)
{
    struct stat status;
    char *error = NULL;
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    struct ht_snapshot *snapshot = ht_snapshot_open(path, &error);
    free(error);
    if (!snapshot)
        return;
    const struct ht_snapshot_header *header = ht_snapshot_header(snapshot);
    all->list = ht_room_for_one(all->list, all->count, sizeof *all->list);
    all->list[all->count++] = (struct candidate){
        .path = ht_format("%s", path),
        .host = ht_clean(header->host.data, header->host.length),
        .written = status.st_mtim,
        .pid = header->fixed.pid,
        .parent = header->fixed.parent_pid,
        .start_ns = header->fixed.start_realtime_ns,
    };
    ht_snapshot_close(snapshot);
}

/* The snapshot files of a directory; false where it cannot be read, with errno. */
static bool list_directory(const char *directory, struct candidates *all)
{
    DIR *stream = opendir(directory);
    *all = (struct candidates){NULL, 0};
    if (!stream)
        return false;
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (!ends_as_snapshot(entry->d_name))
            continue;
        char *path = strcmp(directory, ".") == 0 ? ht_format("%s", entry->d_name)
                                                 : ht_format("%s/%s", directory, entry->d_name);
        consider(all, path);
        free(path);
    }
    closedir(stream);
    return true;
}

static void free_candidates(struct candidates *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free(all->list[i].path);
        free(all->list[i].host);
    }
    free(all->list);
}

static bool is_newer(const struct candidate *a, const struct candidate *b)
{
    if (a->written.tv_sec != b->written.tv_sec)
        return a->written.tv_sec > b->written.tv_sec;
    return a->written.tv_nsec > b->written.tv_nsec;
}

static const struct candidate *newest(const struct candidates *all)
{
    const struct candidate *found = NULL;
    for (size_t i = 0; i < all->count; i++)
        if (!found || is_newer(&all->list[i], found))
            found = &all->list[i];
    return found;
}

/* The file of the process that made this one: the last of that number to begin before it. */
static const struct candidate *parent_of(const struct candidates *all, const struct candidate *c)
{
    const struct candidate *parent = NULL;
    for (size_t i = 0; i < all->count; i++) {
        const struct candidate *other = &all->list[i];
        if (other->pid == c->parent && other->start_ns < c->start_ns &&
            strcmp(other->host, c->host) == 0 && (!parent || other->start_ns > parent->start_ns))
            parent = other;
    }
    return parent;
}

/* The oldest one that a process descends from. Starts fall on the way, so it ends. */
static const struct candidate *root_of(const struct candidates *all, const struct candidate *c)
{
    for (const struct candidate *parent; (parent = parent_of(all, c));)
        c = parent;
    return c;
}

static int by_start(const void *a, const void *b)
{
    const struct candidate *x = *(const struct candidate *const *)a;
    const struct candidate *y = *(const struct candidate *const *)b;
    return x->start_ns < y->start_ns ? -1 : x->start_ns > y->start_ns;
}

/* The files of the newest run; false where the directory has none. */
static bool add_newest_run(struct ht_inputs *inputs, const struct candidates *all)
{
    const struct candidate *last = newest(all);
    if (!last)
        return false;
    const struct candidate *root = root_of(all, last);
    const struct candidate **run = ht_allocate_zeroed(all->count, sizeof *run);
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++)
        if (root_of(all, &all->list[i]) == root)
            run[count++] = &all->list[i];
    qsort(run, count, sizeof *run, by_start);
    for (size_t i = 0; i < count; i++)
        add_path(inputs, run[i]->path);
    free(run);
    return true;
}

static bool take_directory(struct ht_inputs *inputs, const char *command, const char *directory)
{
    struct candidates all;
    bool here = strcmp(directory, ".") == 0, found = false;
    if (!list_directory(directory, &all)) {
        ht_complain("%s %s: cannot be listed: %s; name another directory", command, directory,
                    strerror(errno));
        return false;
    }
    found = add_newest_run(inputs, &all);
    free_candidates(&all);
    if (!found && here)
        ht_complain("%s: no .htl file in the working directory; name one, or make one with "
                    "'heaptally run PROGRAM'",
                    command);
    else if (!found)
        ht_complain("%s %s: no .htl file in this directory; name another one", command, directory);
    return found;
}

/* ---- processes ------------------------------------------------------------------------------- */

/* The snapshot file that a process has open, a new string; NULL where it cannot be seen. */
static char *file_held_by(const char *pid)
{
    char *directory = ht_format("/proc/%s/fd", pid), *found = NULL;
    DIR *stream = opendir(directory);
    for (struct dirent *entry; stream && !found && (entry = readdir(stream));) {
        char *link = ht_format("%s/%s", directory, entry->d_name), target[4096];
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        if (ends_as_snapshot(target) && access(target, F_OK) == 0)
            found = ht_format("%s", target);
        free(link);
    }
    if (stream)
        closedir(stream);
    free(directory);
    return found;
}

/* The newest file in the working directory that a process of this number wrote. */
static char *file_written_by(const char *pid)
{
    struct candidates all, of_pid = {NULL, 0};
    list_directory(".", &all);
    for (size_t i = 0; i < all.count; i++)
        if (all.list[i].pid == strtoul(pid, NULL, 10)) {
            of_pid.list = ht_room_for_one(of_pid.list, of_pid.count, sizeof *of_pid.list);
            of_pid.list[of_pid.count++] = all.list[i];
        }
    const struct candidate *last = newest(&of_pid);
    char *path = last ? ht_format("%s", last->path) : NULL;
    free(of_pid.list);
    free_candidates(&all);
    return path;
}

/* Has a process that listens write all its figures first. One that does not has written what it
 * has; its last tick is in the file all the same. */
static void ask_for_snapshot(const char *pid)
{
    struct ht_client client = {.fd = -1};
    char *error = NULL;
    if (ht_client_open(&client, (pid_t)strtoul(pid, NULL, 10), &error))
        free(ht_client_ask(&client, "snapshot", NULL, &error));
    ht_client_close(&client);
    free(error);
}

static bool take_process(struct ht_inputs *inputs, const char *command, const char *pid)
{
    ask_for_snapshot(pid);
    char *path = file_held_by(pid);
    if (!path)
        path = file_written_by(pid);
    if (path)
        add_path(inputs, path);
    else
        ht_complain("%s %s: no process of this number writes a snapshot file that can be seen, and "
                    "no file here is from one; name the file",
                    command, pid);
    free(path);
    return path;
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool is_number(const char *word)
{
    return *word && strspn(word, "0123456789") == strlen(word) && strlen(word) < 10;
}

static bool take_word(struct ht_inputs *inputs, const char *command, const char *word)
{
    struct stat status;
    bool there = stat(word, &status) == 0;
    if (!*word) {
        ht_complain("%s: an empty name is given; name a file, a directory or a process", command);
        return false;
    }
    if (there && S_ISDIR(status.st_mode))
        return take_directory(inputs, command, word);
    if (!there && is_number(word))
        return take_process(inputs, command, word);
    add_path(inputs, word); /* what is wrong with it, its reader will say */
    return true;
}

struct ht_inputs ht_inputs_find(const char *command, char *const *words, size_t count)
{
    struct ht_inputs inputs = {NULL, 0, false};
    if (count == 0)
        inputs.failed = !take_directory(&inputs, command, ".");
    for (size_t i = 0; i < count; i++)
        inputs.failed |= !take_word(&inputs, command, words[i]);
    return inputs;
}

void ht_inputs_clear(struct ht_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        free(inputs->paths[i]);
    free(inputs->paths);
    *inputs = (struct ht_inputs){NULL, 0, false};
}
