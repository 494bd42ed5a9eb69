#include "tag_rows.h"

#include "internal_heap.h"

static uint16_t numbers[HT_TAGS]; /* by id, counted from 1; 0: it has none */
static uint32_t count;

static void *row(const struct ht_tag_rows *rows, uint32_t number)
{
    char *chunk = rows->chunks[number / HT_CHUNK_ROWS];
    return chunk ? chunk + number % HT_CHUNK_ROWS * rows->row_bytes : NULL;
}

void *ht_tag_row(const struct ht_tag_rows *rows, uint32_t tag)
{
    return numbers[tag] ? row(rows, numbers[tag] - 1u) : NULL;
}

void *ht_tag_row_lay(struct ht_tag_rows *rows, uint32_t tag)
{
    if (!numbers[tag])
        numbers[tag] = (uint16_t)++count;
    char **chunk = &rows->chunks[(numbers[tag] - 1u) / HT_CHUNK_ROWS];
    if (!*chunk)
        *chunk = ht_heap_alloc(HT_CHUNK_ROWS * rows->row_bytes, 16);
    return row(rows, numbers[tag] - 1u);
}
