/*
 * Tables with one row for each tag, laid in chunks as tags come up.
 *
 * Ids of tags are places in a hash table: a process with ten of them has ids all over the range. So
 * each tag that a row is laid for gets a number, 0, 1, 2 and so on, the same in all tables, and the
 * rows stand in that order, 32 a chunk:
 *
 *   ids 7, 412, 88 in this order      numbers 0, 1, 2      rows 0, 1, 2 of chunk 0
 *
 * Rows begin as zeros, are never moved and never go away.
 *
 * Threads: the monitor only, or who stands in for it.
 */
#ifndef HEAPTALLY_TAG_ROWS_H
#define HEAPTALLY_TAG_ROWS_H

#include "tag.h"

#define HT_CHUNK_ROWS 32u

struct ht_tag_rows {
    size_t row_bytes; /* a multiple of 8 */
    char *chunks[HT_TAGS / HT_CHUNK_ROWS];
};

/* The row of a tag (below HT_TAGS); NULL where none is laid. */
void *ht_tag_row(const struct ht_tag_rows *rows, uint32_t tag);

/* The same, laid where it is not there; NULL without memory. */
void *ht_tag_row_lay(struct ht_tag_rows *rows, uint32_t tag);

#endif
