#include "credentials.h"

#include <string.h>

#include "heaptally/units.h"
#include "raw_io.h"

#define SETTLES    HT_SECOND
#define TEXT_BYTES 2048u /* users and groups stand near the top; of very many groups the first */

static uint64_t differ_since; /* 0: they do not */

/* A line of a `status`. */
struct line {
    const char *at; /* NULL: there is none */
    size_t length;
    bool cut; /* its end did not fit into the buffer */
};

/* The line that begins with `key`, which begins with the newline before it. */
static struct line line_of(const char *status, const char *key)
{
    const char *before = strstr(status, key);
    if (!before)
        return (struct line){.at = NULL};
    size_t length = strcspn(before + 1, "\n");
    return (struct line){before + 1, length, before[1 + length] == '\0'};
}

/* What precedes a line differs in length, and so does what is left of two that were cut. */
static bool same_line(const char *status_a, const char *status_b, const char *key)
{
    struct line a = line_of(status_a, key), b = line_of(status_b, key);
    if (!a.at || !b.at)
        return true;
    struct line shorter = a.length < b.length ? a : b;
    if (a.length != b.length && !shorter.cut)
        return false;
    return memcmp(a.at, b.at, shorter.length) == 0;
}

bool ht_credentials_alike(const char *status_a, const char *status_b)
{
    static const char *const keys[] = {"\nUid:", "\nGid:", "\nGroups:"};
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!same_line(status_a, status_b, keys[i]))
            return false;
    return true;
}

static bool same(void)
{
    char main_thread[TEXT_BYTES], this_thread[TEXT_BYTES];
    if (ht_read_file("/proc/self/status", main_thread, sizeof main_thread) <= 0 ||
        ht_read_file("/proc/thread-self/status", this_thread, sizeof this_thread) <= 0)
        return true;
    if (strstr(main_thread, "\nState:\tZ")) /* it has ended, and changes no more with the others */
        return true;
    return ht_credentials_alike(main_thread, this_thread);
}

enum ht_credentials ht_credentials_look(uint64_t now)
{
    if (same()) {
        differ_since = 0;
        return HT_CREDENTIALS_SAME;
    }
    if (differ_since == 0)
        differ_since = now;
    return now - differ_since < SETTLES ? HT_CREDENTIALS_CHANGING : HT_CREDENTIALS_FOREIGN;
}

void ht_credentials_forget(void)
{
    differ_since = 0;
}
