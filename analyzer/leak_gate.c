/*
 * The process chose the name of its file; what is known here is the pattern. So all files that fit
 * it are looked at, in the places where the library may have gone, and the header tells whose a
 * file is.
 */
#include "leak_gate.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"
#include "text.h"
#include "verdict.h"

/* ---- finding the file ------------------------------------------------------------------------ */

struct found {
    char *path; /* NULL for none */
    uint64_t start_ns;
};

/*
 * A glob for all that a pattern can become: anything for each %x, and a number before the suffix
 * where a file of the name was there already. A new string.
 */
static char *glob_of(const char *directory, const char *pattern)
{
    const char *slash = strrchr(pattern, '/'), *dot = strrchr(slash ? slash : pattern, '.');
    char *text = ht_allocate(2 * strlen(pattern) + 2), *at = text;
    for (const char *p = pattern; *p; p++) {
        if (p == dot)
            *at++ = '*';
        if (*p == '%' && p[1]) {
            *at++ = '*';
            p++;
            continue;
        }
        if (strchr("*?[\\", *p))
            *at++ = '\\';
        *at++ = *p;
    }
    if (!dot)
        *at++ = '*';
    *at = '\0';
    char *whole = ht_format("%s%s%s", directory, *directory ? "/" : "", text);
    free(text);
    return whole;
}

/* Keeps the file at `path` if the process wrote it, and later than what was found before. */
static void consider(struct found *found, const char *path, pid_t pid, uint64_t since_ns)
{
    char *error = NULL;
    struct ht_snapshot *snapshot = ht_snapshot_open(path, &error);
    free(error);
    if (!snapshot)
        return;
    const struct htl_file_header *header = &ht_snapshot_header(snapshot)->fixed;
    if (header->pid == (uint32_t)pid && header->start_monotonic_ns >= since_ns &&
        (!found->path || header->start_monotonic_ns >= found->start_ns)) {
        free(found->path);
        found->path = ht_format("%s", path);
        found->start_ns = header->start_monotonic_ns;
    }
    ht_snapshot_close(snapshot);
}

static void search(struct found *found, const char *directory, const char *pattern, pid_t pid,
                   uint64_t since_ns)
{
    char *pattern_there = glob_of(directory, pattern);
    glob_t names;
    if (glob(pattern_there, GLOB_NOSORT, NULL, &names) == 0) {
        for (size_t i = 0; i < names.gl_pathc; i++)
            consider(found, names.gl_pathv[i], pid, since_ns);
        globfree(&names);
    }
    free(pattern_there);
}

/* Where it was asked to go, else where the library goes when it may not write there. */
static struct found find_file(pid_t pid, uint64_t since_ns, const char *pattern)
{
    struct found found = {NULL, 0};
    const char *state = getenv("STATE_DIRECTORY"), *home = getenv("XDG_STATE_HOME");
    search(&found, "", pattern, pid, since_ns);
    if (!found.path && *pattern != '/' && state && *state == '/') {
        char *first = ht_format("%.*s", (int)strcspn(state, ":"), state);
        search(&found, first, pattern, pid, since_ns);
        free(first);
    }
    if (!found.path && *pattern != '/' && home && *home == '/') {
        char *directory = ht_format("%s/heaptally", home);
        search(&found, directory, pattern, pid, since_ns);
        free(directory);
    }
    return found;
}

/* ---- judging --------------------------------------------------------------------------------- */

/* How many controllers have a verdict of that kind; `*most` is the one with the most live bytes. */
static size_t count(const struct ht_profile *p, enum ht_verdict_kind kind,
                    const struct ht_tag **most, struct ht_verdict *verdict)
{
    size_t n = 0;
    *most = NULL;
    for (size_t i = 0; i < p->tag_count; i++) {
        struct ht_verdict v;
        ht_verdict_of_tag(p, p->tags[i], &v);
        if (v.kind != kind)
            continue;
        n++;
        if (!*most || p->tags[i]->live_bytes > (*most)->live_bytes) {
            *most = p->tags[i];
            *verdict = v;
        }
    }
    return n;
}

static char *and_others(size_t n)
{
    return n > 1 ? ht_format(", and %s more", ht_grouped(n - 1)) : ht_format("%s", "");
}

static enum ht_gate judge(const struct ht_profile *p, const char *path)
{
    const struct ht_tag *tag;
    struct ht_verdict v;
    enum ht_gate gate = HT_GATE_OPEN;
    size_t n = count(p, HT_VERDICT_LEAK, &tag, &v);
    char *others = and_others(n);
    if (n > 0) {
        ht_complain("%s leaks %s MB/hour (%s)%s; 'heaptally report %s' says where", tag->name,
                    ht_mb(v.mb_per_hour), v.reason, others, path);
        gate = HT_GATE_LEAK;
    } else if (!p->has_tick) {
        ht_complain("no leak was found, but nothing could be judged: the program ended before the "
                    "first tick");
    } else if ((n = count(p, HT_VERDICT_INCONCLUSIVE, &tag, &v)) > 0) {
        free(others);
        others = and_others(n);
        ht_complain("no leak was found, but not everything could be judged: %s is inconclusive "
                    "(%s)%s",
                    tag->name, v.reason, others);
    }
    free(others);
    return gate;
}

enum ht_gate ht_leak_gate(pid_t pid, uint64_t since_ns, const char *pattern)
{
    struct found found = find_file(pid, since_ns, pattern);
    char *error = NULL;
    struct ht_profile *p = found.path ? ht_profile_load(found.path, &error) : NULL;
    enum ht_gate gate = HT_GATE_UNKNOWN;
    if (!found.path)
        ht_complain("run --fail-on-leak: the program left no snapshot file, so nothing is known of "
                    "its memory; see what it said above, or try --output");
    else if (!p)
        ht_complain("%s: %s", found.path, error);
    else
        gate = judge(p, found.path);
    ht_profile_free(p);
    free(error);
    free(found.path);
    return gate;
}

char *ht_find_snapshot(pid_t pid, uint64_t since_ns, const char *pattern)
{
    return find_file(pid, since_ns, pattern).path;
}
