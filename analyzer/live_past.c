#include "live_past.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "text.h"

struct ht_live_past {
    char *name;
    double values[HT_PAST_BARS]; /* a ring; NaN where the controller was not there */
    size_t next, count;
    UT_hash_handle by_name;
};

static struct ht_live_past *find(const struct ht_live_past *past, const char *name)
{
    struct ht_live_past *found;
    HASH_FIND(by_name, past, name, strlen(name), found);
    return found;
}

void ht_live_past_add(struct ht_live_past **past, const struct ht_live *live)
{
    for (size_t i = 0; i < live->tag_count; i++) {
        const struct ht_live_tag *tag = &live->tags[i];
        struct ht_live_past *one = find(*past, tag->name);
        if (!one) {
            one = ht_allocate_zeroed(1, sizeof *one);
            one->name = ht_format("%s", tag->name);
            HASH_ADD_KEYPTR(by_name, *past, one->name, strlen(one->name), one);
        }
        one->values[one->next] = tag->live_bytes;
        one->next = (one->next + 1) % HT_PAST_BARS;
        one->count += one->count < HT_PAST_BARS;
    }
}

char *ht_live_past_bars(const struct ht_live_past *past, const char *name, size_t width)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    const struct ht_live_past *one = find(past, name);
    size_t known = !one ? 0 : one->count < width ? one->count : width;
    char *text = ht_allocate(width * 4 + 1), *at = text;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < known; i++) {
        double value = one->values[(one->next + HT_PAST_BARS - known + i) % HT_PAST_BARS];
        low = value < low ? value : low;
        high = value > high ? value : high;
    }
    memset(at, ' ', width - known);
    at += width - known;
    for (size_t i = 0; i < known; i++) {
        double value = one->values[(one->next + HT_PAST_BARS - known + i) % HT_PAST_BARS];
        double part = high > low && !isnan(value) ? (value - low) / (high - low) : 0;
        const char *bar = bars[(size_t)(part * 7 + 0.5)];
        memcpy(at, bar, strlen(bar));
        at += strlen(bar);
    }
    *at = '\0';
    return text;
}

void ht_live_past_free(struct ht_live_past *past)
{
    struct ht_live_past *one, *next;
    HASH_ITER(by_name, past, one, next)
    {
        HASH_DELETE(by_name, past, one);
        free(one->name);
        free(one);
    }
}
