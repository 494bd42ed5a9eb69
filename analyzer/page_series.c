/*
 * One pass over the points of a past for each series.
 */
#include "page_series.h"

void ht_moments_of(const struct ht_profile *p, struct ht_moments *moments)
{
    const struct ht_past *past = &p->process;
    moments->count = past->count < HT_PAGE_MOMENTS ? past->count : HT_PAGE_MOMENTS;
    if (moments->count == 0)
        return;
    uint64_t first = past->points[0].t_ns;
    double span = (double)(past->points[past->count - 1].t_ns - first);
    for (size_t i = 0; i + 1 < moments->count; i++)
        moments->t_ns[i] = past->count <= HT_PAGE_MOMENTS
                               ? past->points[i].t_ns
                               : first + (uint64_t)(span * (double)i / (HT_PAGE_MOMENTS - 1));
    moments->t_ns[moments->count - 1] = past->points[past->count - 1].t_ns;
}

void ht_series_of(const struct ht_past *past, const struct ht_moments *moments, uint64_t before,
                  struct ht_series *series)
{
    size_t next = 0;
    uint64_t value = before;
    for (size_t i = 0; i < moments->count; i++) {
        uint64_t low = value, high = value;
        for (; next < past->count && past->points[next].t_ns <= moments->t_ns[i]; next++) {
            const struct htl_history_point *point = &past->points[next];
            if (point->high_bytes == HTL_UNKNOWN)
                continue;
            value = point->high_bytes;
            uint64_t lowest = point->low_bytes < value ? point->low_bytes : value;
            low = low == HTL_UNKNOWN || lowest < low ? lowest : low;
            high = high == HTL_UNKNOWN || value > high ? value : high;
        }
        series->value[i] = value;
        series->low[i] = low;
        series->high[i] = high;
    }
}
