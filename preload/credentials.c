#include "credentials.h"

#include <string.h>

#include "heaptally/units.h"
#include "raw_io.h"

#define SETTLES    HT_SECOND
#define TEXT_BYTES 2048u /* users and groups stand near the top; of very many groups the first */

static uint64_t differ_since; /* 0: they do not */

/* The line of `status` that begins with `key`, its length too; NULL where there is none. */
static const char *line_of(const char *status, const char *key, size_t *length)
{
    const char *line = strstr(status, key);
    if (line)
        *length = strcspn(line + 1, "\n"); /* the key begins with the newline before */
    return line;
}

static bool same_line(const char *a, const char *b, const char *key)
{
    size_t length_a, length_b;
    const char *line_a = line_of(a, key, &length_a), *line_b = line_of(b, key, &length_b);
    if (!line_a || !line_b)
        return true;
    return length_a == length_b && memcmp(line_a, line_b, length_a + 1) == 0;
}

static bool same(void)
{
    static const char *const keys[] = {"\nUid:", "\nGid:", "\nGroups:"};
    char main_thread[TEXT_BYTES], this_thread[TEXT_BYTES];
    if (ht_read_file("/proc/self/status", main_thread, sizeof main_thread) <= 0 ||
        ht_read_file("/proc/thread-self/status", this_thread, sizeof this_thread) <= 0)
        return true;
    if (strstr(main_thread, "\nState:\tZ")) /* it has ended, and changes no more with the others */
        return true;
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!same_line(main_thread, this_thread, keys[i]))
            return false;
    return true;
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
