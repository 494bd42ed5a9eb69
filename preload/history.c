#include "history.h"

#include "counters.h"
#include "internal_heap.h"

static struct ht_history *histories[HT_TAGS + 1]; /* the last is the process's */

static struct ht_history **place(uint32_t subject)
{
    return &histories[subject < HT_TAGS ? subject : HT_TAGS];
}

/* Takes what the later of two spans adds to the earlier: counters are those of the end. */
static void merge(struct htl_history_point *into, const struct htl_history_point *later)
{
    uint64_t low = into->low_bytes < later->low_bytes ? into->low_bytes : later->low_bytes;
    uint64_t high = into->high_bytes > later->high_bytes ? into->high_bytes : later->high_bytes;
    *into = *later;
    into->low_bytes = low;
    into->high_bytes = high;
}

static void thin(struct ht_history *history)
{
    for (uint32_t i = 0; i < history->capacity / 2; i++) {
        history->points[i] = history->points[2 * i];
        merge(&history->points[i], &history->points[2 * i + 1]);
    }
    history->count = history->capacity / 2;
    history->stride *= 2;
    history->merged = history->stride;
}

size_t ht_history_bytes(uint32_t capacity)
{
    return sizeof(struct ht_history) + capacity * sizeof(struct htl_history_point);
}

struct ht_history *ht_history_init(void *bytes, uint32_t capacity)
{
    struct ht_history *history = bytes;
    history->capacity = capacity;
    ht_history_clear(history);
    return history;
}

struct ht_history *ht_history_new(uint32_t capacity)
{
    void *bytes = ht_heap_alloc(ht_history_bytes(capacity), 16);
    return bytes ? ht_history_init(bytes, capacity) : NULL;
}

void ht_history_clear(struct ht_history *history)
{
    history->count = 0;
    history->stride = history->merged = 1;
}

void ht_history_append(struct ht_history *history, const struct htl_history_point *point)
{
    if (history->merged == history->stride && history->count == history->capacity)
        thin(history);
    if (history->merged < history->stride) {
        merge(&history->points[history->count - 1], point);
        history->merged++;
        return;
    }
    history->points[history->count++] = *point;
    history->merged = 1;
}

void ht_history_add(uint32_t subject, const struct htl_history_point *point)
{
    struct ht_history **at = place(subject);
    if (!*at)
        *at = ht_history_new(HT_HISTORY_POINTS);
    if (*at)
        ht_history_append(*at, point);
}

void ht_history_forget(void)
{
    for (uint32_t i = 0; i <= HT_TAGS; i++)
        if (histories[i])
            ht_history_clear(histories[i]);
}

const struct ht_history *ht_history(uint32_t subject)
{
    return *place(subject);
}

uint32_t ht_history_thinned(const struct ht_history *history, uint32_t step,
                            struct htl_history_point *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < history->count; i++) {
        if (i % step == 0)
            out[count++] = history->points[i];
        else
            merge(&out[count - 1], &history->points[i]);
    }
    return count;
}
