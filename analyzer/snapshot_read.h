/*
 * Reads a snapshot file record by record. The only parser of untrusted bytes.
 *
 * What it promises to its caller, whatever the file holds:
 *   - every pointer of a record covers exactly the length that stands beside it;
 *   - counts and strides agree with the payload, so entries can be taken without further checks;
 *   - memory is one buffer, never longer than the longest record that is wholly in the file;
 *   - the file is read, never mapped: a file that shrinks meanwhile is torn, not a bus error.
 *
 * Reading ends at END, at the end of the file, at a record that must be known and is not, or at the
 * first record that is not whole or whose checksum is wrong: the torn tail. A record whose checksum
 * is right and whose content contradicts itself is left out and counted.
 */
#ifndef HEAPTALLY_ANALYZER_SNAPSHOT_READ_H
#define HEAPTALLY_ANALYZER_SNAPSHOT_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heaptally/snapshot_format.h"

struct ht_snapshot; /* one open file */

/* Bytes inside the reader's buffer; valid until the next record is read. */
struct ht_bytes {
    const unsigned char *data;
    size_t length;
};

/* An array of a record: `count` entries, `stride` bytes apart, at least as long as ours. */
struct ht_entries {
    const unsigned char *data;
    uint32_t count, stride;
};

/* One record, checked. `type` says which member of the union holds it. */
struct ht_record {
    enum htl_record_type type;
    uint64_t offset; /* where its header stands in the file */
    union {
        struct ht_bytes settings;
        struct {
            struct htl_module head;
            struct ht_bytes build_id, path, soname;
        } module;
        struct {
            struct htl_tag head;
            struct ht_bytes name;
        } tag;
        struct {
            struct htl_stack head;
            struct ht_entries frames; /* struct htl_frame */
        } stack;
        struct htl_site site;
        struct {
            struct htl_region head;
            struct ht_bytes name;
        } region;
        struct {
            struct htl_tick head;
            struct ht_entries tags;  /* struct htl_tag_figures */
            struct ht_entries sites; /* struct htl_site_figures */
        } tick;                      /* HTL_TICK and HTL_SNAPSHOT */
        struct {
            struct htl_history head;
            struct ht_entries points; /* struct htl_history_point */
        } history;
        struct {
            struct htl_alert head;
            struct ht_bytes message;
        } alert;
        struct htl_end end;
    };
};

/* How far reading came. */
struct ht_read_state {
    uint64_t file_size;
    uint64_t offset;    /* behind the last record that was read */
    const char *torn;   /* what is wrong with the bytes at `offset`; NULL where all was read */
    uint64_t records;   /* handed to the caller */
    uint64_t unknown;   /* of a type from the future, left out */
    uint64_t malformed; /* contradicting themselves, left out */
};

/* The file header. `exe` and `host` are the reader's, valid until it is closed. */
struct ht_snapshot_header {
    struct htl_file_header fixed;
    struct ht_bytes exe, host;
};

/*
 * Opens the file at `path` and checks its header. NULL with `*error` (a new string: what is wrong,
 * without the path, and how to mend it) where it is no snapshot that can be read.
 */
struct ht_snapshot *ht_snapshot_open(const char *path, char **error);

/* The same on an open descriptor of a regular file, which the reader then owns. */
struct ht_snapshot *ht_snapshot_open_fd(int fd, char **error);

const struct ht_snapshot_header *ht_snapshot_header(const struct ht_snapshot *snapshot);

/* Takes the next record into `*record`; false where reading ends, see ht_snapshot_state. */
bool ht_snapshot_next(struct ht_snapshot *snapshot, struct ht_record *record);

const struct ht_read_state *ht_snapshot_state(const struct ht_snapshot *snapshot);

void ht_snapshot_close(struct ht_snapshot *snapshot);

/* Copies entry `i` (below entries->count) of an array whose elements are `size` bytes for us. */
void ht_entry(const struct ht_entries *entries, uint32_t i, void *element, size_t size);

#endif
