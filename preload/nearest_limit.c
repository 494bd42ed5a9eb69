#include "nearest_limit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "raw_io.h"

#define NO_LIMIT  UINT64_MAX
#define PATH_ROOM 1024 /* the monitor has a small stack; a longer path has no limit */

/* Where control groups are mounted, by every distribution; "unified" where version 2 stands beside
 * version 1. */
#define GROUPS         "/sys/fs/cgroup"
#define GROUPS_UNIFIED GROUPS "/unified"
#define GROUPS_MEMORY  GROUPS "/memory"

/* The names of the files of each version. */
struct group_version {
    const char *limit, *usage, *reclaimable;
};
static const struct group_version version_2 = {"memory.max", "memory.current", "inactive_file "};
static const struct group_version version_1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                               "total_inactive_file "};

const char *ht_limit_name(enum ht_limit_kind kind)
{
#define NAME(id, name) [HT_LIMIT_##id] = name,
    static const char *const names[HT_LIMIT_KINDS] = {HT_LIMITS(NAME)};
#undef NAME
    return names[kind];
}

struct ht_limit ht_limit_nearer(struct ht_limit a, struct ht_limit b)
{
    if (a.kind == HT_LIMIT_NONE || (b.kind != HT_LIMIT_NONE && b.room < a.room))
        return b;
    return a;
}

static uint64_t left(uint64_t limit, uint64_t used)
{
    return limit > used ? limit - used : 0;
}

/* ---- control groups -----------------------------------------------------------------------------
 */

/* A number that is all of a file; NO_LIMIT for "max" and where it cannot be read. */
static uint64_t number_in(const char *directory, const char *name)
{
    static char path[PATH_ROOM];
    char text[64], *end;
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path ||
        ht_read_file(path, text, sizeof text) <= 0)
        return NO_LIMIT;
    unsigned long long number = strtoull(text, &end, 10);
    return end == text ? NO_LIMIT : number;
}

/* The value of a line "KEY NUMBER" of a text; 0 where there is none. */
static uint64_t value_of(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0)
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

/* What is left in one group; NO_LIMIT where it has no limit (version 1 says so by a number that no
 * machine has). */
static uint64_t left_in_group(const char *directory, const struct group_version *version)
{
    static char path[PATH_ROOM], stat[8192];
    uint64_t limit = number_in(directory, version->limit);
    if (limit >= UINT64_C(1) << 62)
        return NO_LIMIT;
    uint64_t used = number_in(directory, version->usage);
    if (used == NO_LIMIT)
        return NO_LIMIT;
    if (snprintf(path, sizeof path, "%s/memory.stat", directory) < (int)sizeof path &&
        ht_read_file(path, stat, sizeof stat) > 0)
        used = left(used, value_of(stat, version->reclaimable));
    return left(limit, used);
}

/* The least that is left in the group at `path` and all around it. */
static uint64_t left_in_groups(const char *mount, const char *path,
                               const struct group_version *version)
{
    static char directory[PATH_ROOM];
    uint64_t least = NO_LIMIT;
    size_t root = strlen(mount);
    if (snprintf(directory, sizeof directory, "%s%s", mount, path) >= (int)sizeof directory)
        return NO_LIMIT;
    for (;;) {
        uint64_t here = left_in_group(directory, version);
        least = here < least ? here : least;
        char *slash = strrchr(directory, '/');
        if (!slash || slash < directory + root)
            return least;
        *slash = '\0'; /* in a container the path may be the host's: then the mount itself is it */
    }
}

static bool is_memory(const char *controllers, size_t length)
{
    for (const char *end = controllers + length; controllers < end;) {
        size_t word = strcspn(controllers, ",:");
        if (word == 6 && strncmp(controllers, "memory", 6) == 0)
            return true;
        controllers += word + 1;
    }
    return false;
}

/* Lines of /proc/thread-self/cgroup are ID:CONTROLLERS:PATH; version 2 is "0::PATH". */
static uint64_t left_in_line(const char *root, char *line)
{
    static char mount[PATH_ROOM];
    char *controllers = strchr(line, ':'),
         *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return NO_LIMIT;
    controllers++;
    path[strcspn(path, "\n")] = '\0';
    if (path == controllers) {
        snprintf(mount, sizeof mount, "%s%s", root, GROUPS_UNIFIED);
        if (access(mount, F_OK) != 0)
            snprintf(mount, sizeof mount, "%s%s", root, GROUPS);
        return left_in_groups(mount, path + 1, &version_2);
    }
    if (!is_memory(controllers, (size_t)(path - controllers)))
        return NO_LIMIT;
    snprintf(mount, sizeof mount, "%s%s", root, GROUPS_MEMORY);
    return left_in_groups(mount, path + 1, &version_1);
}

static struct ht_limit of_groups(const char *root)
{
    static char path[PATH_ROOM], text[8192];
    uint64_t least = NO_LIMIT;
    snprintf(path, sizeof path, "%s/proc/thread-self/cgroup", root);
    if (ht_read_file(path, text, sizeof text) <= 0)
        return (struct ht_limit){0};
    for (char *line = text, *next; line && *line; line = next) {
        if ((next = strchr(line, '\n')))
            *next++ = '\0';
        uint64_t here = left_in_line(root, line);
        least = here < least ? here : least;
    }
    return least == NO_LIMIT ? (struct ht_limit){0} : (struct ht_limit){HT_LIMIT_CGROUP, least};
}

/* ---- the process and the machine ----------------------------------------------------------------
 */

static struct ht_limit of_address_space(const char *root)
{
    char path[PATH_ROOM], text[128];
    struct rlimit limit;
    snprintf(path, sizeof path, "%s/proc/thread-self/statm", root);
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        ht_read_file(path, text, sizeof text) <= 0)
        return (struct ht_limit){0};
    uint64_t size = strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    return (struct ht_limit){HT_LIMIT_ADDRESS_SPACE, left(limit.rlim_cur, size)};
}

static struct ht_limit of_machine(const char *root)
{
    char path[PATH_ROOM], text[4096];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (ht_read_file(path, text, sizeof text) <= 0 || !strstr(text, "MemAvailable:"))
        return (struct ht_limit){0};
    return (struct ht_limit){HT_LIMIT_AVAILABLE, value_of(text, "MemAvailable:") * 1024};
}

struct ht_limit ht_limit_of(enum ht_limit_kind kind, const char *root)
{
    switch (kind) {
    case HT_LIMIT_CGROUP:
        return of_groups(root);
    case HT_LIMIT_ADDRESS_SPACE:
        return of_address_space(root);
    case HT_LIMIT_AVAILABLE:
        return of_machine(root);
    default:
        return (struct ht_limit){0};
    }
}

struct ht_limit ht_limit_of_system(const char *root)
{
    struct ht_limit nearest = {0};
    for (unsigned kind = 0; kind < HT_LIMIT_KINDS; kind++)
        nearest = ht_limit_nearer(nearest, ht_limit_of((enum ht_limit_kind)kind, root));
    return nearest;
}
