#include "sparkline.h"

#include <string.h>

#include "text.h"

enum { LEVELS = 8 };

char *ht_sparkline(const struct ht_past *past, double end_s, size_t columns, bool utf8)
{
    static const char *const blocks[2][LEVELS] = {
        {"_", ".", "-", "~", "=", "+", "*", "#"},
        {"\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"},
    };
    uint64_t top = 0, held = 0;
    size_t next = 0;
    for (size_t i = 0; i < past->count; i++) {
        uint64_t bytes = past->points[i].high_bytes;
        if (bytes != HTL_UNKNOWN && bytes > top)
            top = bytes;
    }
    if (past->count == 0)
        return ht_format("%s", "");
    char *line = ht_allocate_zeroed(columns + 1, strlen(blocks[1][0]) + 1);
    for (size_t column = 0; column < columns; column++) {
        double until = end_s * 1e9 / (double)columns * (double)(column + 1);
        uint64_t most = held;
        bool last = column + 1 == columns; /* rounding loses no point */
        for (; next < past->count && (last || (double)past->points[next].t_ns <= until); next++) {
            uint64_t bytes = past->points[next].high_bytes;
            if (bytes == HTL_UNKNOWN)
                continue;
            held = bytes;
            most = bytes > most ? bytes : most;
        }
        size_t level = top ? (size_t)((double)most / (double)top * (LEVELS - 1) + 0.5) : 0;
        strcat(line, blocks[utf8][level < LEVELS ? level : LEVELS - 1]);
    }
    return line;
}
