/*
 * History: the record a controller keeps of its own steps, one row of doubles a step.
 *
 *   storage   chunks    linked blocks of `rows_per_block` rows: a pointer and the rows
 *             array     one block, made larger by `rows_per_block` rows whenever it is full
 *             doubling  one block, of twice the rows whenever it is full
 *   bound     unbounded keeps every row: the leak this project is about
 *             ring      keeps the last HISTORY_RING rows in one block, whatever the storage
 *             trim      keeps at most HISTORY_TRIM_FROM rows; the next drops all but the last
 *                       HISTORY_TRIM_TO: a sawtooth, which grows for a while and is no leak
 *
 * This module lays rows out and releases blocks, but never allocates: the controller asks what is
 * needed, allocates it in a function of its own and hands it over, so that each block's call site
 * belongs to the controller:
 *
 *     struct history_need need;
 *     while ((need = history_needs(h)).size) {
 *         void *block = realloc(need.old, need.size);   // in classical_history_push, say
 *         if (!block) return false;                     // the history stays as it was
 *         history_give(h, block, need);
 *     }
 *     history_append(h, row);
 *
 * The sizes, for rows of r bytes: a chunk is sizeof(struct history_chunk) + rows_per_block * r,
 * an array its capacity in rows * r.
 */
#ifndef CONTROLLERS_HISTORY_H
#define CONTROLLERS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "ledger.h"

enum {
    HISTORY_RING = 100,
    HISTORY_TRIM_FROM = 1000,
    HISTORY_TRIM_TO = 500,
    HISTORY_MAX_ROWS_PER_BLOCK = 1000000,
};

enum history_storage { HISTORY_CHUNKS, HISTORY_ARRAY, HISTORY_DOUBLING, HISTORY_STORAGES };
enum history_bound { HISTORY_UNBOUNDED, HISTORY_IN_RING, HISTORY_TRIMMED, HISTORY_BOUNDS };

extern const char *const history_storage_names[HISTORY_STORAGES];
extern const char *const history_bound_names[HISTORY_BOUNDS];

struct history_shape {
    enum history_storage storage;
    enum history_bound bound;
    size_t rows_per_block; /* 1 to a million; trimmed chunks: a divisor of HISTORY_TRIM_TO */
};

struct history_chunk {
    struct history_chunk *next; /* towards newer rows */
    double rows[];
};

struct history {
    struct history_shape shape;
    size_t row_doubles;
    struct ledger *ledger;
    size_t rows;                        /* kept now */
    size_t capacity;                    /* rows that fit into what is allocated */
    size_t oldest;                      /* ring: place of the oldest row; else 0 */
    double *array;                      /* array, doubling, ring */
    struct history_chunk *first, *last; /* chunks; the last is the one being filled */
};

struct history_need {
    void *old;       /* block to be made `size` by realloc, or NULL for a new one */
    size_t old_size; /* its size now, 0 if NULL */
    size_t size;     /* wanted, 0 if the next row has room */
};

/* Whether a history can have that shape. */
bool history_shape_valid(struct history_shape shape);

/* Begins an empty history in `history`; holds no block yet. */
void history_begin(struct history *history, struct history_shape shape, size_t row_doubles,
                   struct ledger *ledger);

/* What must be allocated before the next row; a trimmed history drops its old rows here. */
struct history_need history_needs(struct history *history);

/* Takes over a block that was allocated as `need` says, and enters it into the ledger. */
void history_give(struct history *history, void *block, struct history_need need);

/* Adds a row of row_doubles values. history_needs must have said that there is room. */
void history_append(struct history *history, const double *row);

/* The i-th oldest row that is kept, or NULL if there is none. */
const double *history_row(const struct history *history, size_t i);

/* Releases every block; the history is empty as after history_begin. */
void history_release(struct history *history);

#endif
