/* Layout of histories; see history.h for the model. Nothing here allocates. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

const char *const history_storage_names[HISTORY_STORAGES] = {
    [HISTORY_CHUNKS] = "chunks",
    [HISTORY_ARRAY] = "array",
    [HISTORY_DOUBLING] = "doubling",
};

const char *const history_bound_names[HISTORY_BOUNDS] = {
    [HISTORY_UNBOUNDED] = "unbounded",
    [HISTORY_IN_RING] = "ring",
    [HISTORY_TRIMMED] = "trim",
};

static size_t row_size(const struct history *h)
{
    return h->row_doubles * sizeof(double);
}

static size_t chunk_size(const struct history *h)
{
    return sizeof(struct history_chunk) + h->shape.rows_per_block * row_size(h);
}

static bool in_chunks(const struct history *h)
{
    return h->shape.storage == HISTORY_CHUNKS && h->shape.bound != HISTORY_IN_RING;
}

bool history_shape_valid(struct history_shape shape)
{
    if (shape.rows_per_block < 1 || shape.rows_per_block > HISTORY_MAX_ROWS_PER_BLOCK)
        return false;
    return shape.storage != HISTORY_CHUNKS || shape.bound != HISTORY_TRIMMED ||
           HISTORY_TRIM_TO % shape.rows_per_block == 0;
}

void history_begin(struct history *history, struct history_shape shape, size_t row_doubles,
                   struct ledger *ledger)
{
    *history = (struct history){.shape = shape, .row_doubles = row_doubles, .ledger = ledger};
}

static void drop_oldest_chunk(struct history *h)
{
    struct history_chunk *chunk = h->first;
    h->first = chunk->next;
    if (!h->first)
        h->last = NULL;
    ledger_released(h->ledger, chunk, chunk_size(h));
    free(chunk);
    h->capacity -= h->shape.rows_per_block;
}

/* Drops all but the last HISTORY_TRIM_TO rows. An array is made smaller by its owner's realloc. */
static void trim(struct history *h)
{
    if (in_chunks(h)) {
        while (h->rows > HISTORY_TRIM_TO) {
            drop_oldest_chunk(h);
            h->rows -= h->shape.rows_per_block;
        }
        return;
    }
    const size_t dropped = h->rows - HISTORY_TRIM_TO;
    memmove(h->array, h->array + dropped * h->row_doubles, HISTORY_TRIM_TO * row_size(h));
    h->rows = HISTORY_TRIM_TO;
}

static struct history_need array_of(const struct history *h, size_t capacity)
{
    return (struct history_need){
        .old = h->array, .old_size = h->capacity * row_size(h), .size = capacity * row_size(h)};
}

static size_t larger_capacity(const struct history *h)
{
    if (h->shape.storage == HISTORY_DOUBLING && h->capacity)
        return 2 * h->capacity;
    return h->capacity + h->shape.rows_per_block;
}

struct history_need history_needs(struct history *h)
{
    static const struct history_need nothing = {NULL, 0, 0};
    if (h->shape.bound == HISTORY_IN_RING)
        return h->array ? nothing : array_of(h, HISTORY_RING);
    if (h->shape.bound == HISTORY_TRIMMED && h->rows == HISTORY_TRIM_FROM) {
        trim(h);
        if (!in_chunks(h))
            return array_of(h, HISTORY_TRIM_TO);
    }
    if (h->rows < h->capacity)
        return nothing;
    if (in_chunks(h))
        return (struct history_need){.size = chunk_size(h)};
    return array_of(h, larger_capacity(h));
}

void history_give(struct history *h, void *block, struct history_need need)
{
    ledger_released(h->ledger, need.old, need.old_size);
    ledger_allocated(h->ledger, block, need.size);
    if (!in_chunks(h)) {
        h->array = block;
        h->capacity = need.size / row_size(h);
        return;
    }
    struct history_chunk *chunk = block;
    chunk->next = NULL;
    if (h->last)
        h->last->next = chunk;
    else
        h->first = chunk;
    h->last = chunk;
    h->capacity += h->shape.rows_per_block;
}

void history_append(struct history *h, const double *row)
{
    double *place;
    if (h->shape.bound == HISTORY_IN_RING && h->rows == HISTORY_RING) {
        place = h->array + h->oldest * h->row_doubles;
        h->oldest = (h->oldest + 1) % HISTORY_RING;
    } else {
        const size_t at = in_chunks(h) ? h->rows % h->shape.rows_per_block : h->rows;
        place = (in_chunks(h) ? h->last->rows : h->array) + at * h->row_doubles;
        h->rows++;
    }
    memcpy(place, row, row_size(h));
}

const double *history_row(const struct history *h, size_t i)
{
    if (i >= h->rows)
        return NULL;
    if (!in_chunks(h)) {
        const size_t wrap = h->shape.bound == HISTORY_IN_RING ? HISTORY_RING : h->capacity;
        return h->array + (h->oldest + i) % wrap * h->row_doubles;
    }
    const struct history_chunk *chunk = h->first;
    for (; i >= h->shape.rows_per_block; i -= h->shape.rows_per_block)
        chunk = chunk->next;
    return chunk->rows + i * h->row_doubles;
}

void history_release(struct history *h)
{
    while (h->first)
        drop_oldest_chunk(h);
    ledger_released(h->ledger, h->array, h->capacity * row_size(h));
    free(h->array);
    history_begin(h, h->shape, h->row_doubles, h->ledger);
}
