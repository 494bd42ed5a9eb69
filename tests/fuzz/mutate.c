/*
 * Mutations that know the format: a file is taken apart into its header and its records, one thing
 * is changed, and it is put together again with right lengths and checksums, so that what is behind
 * the checksum is reached while the parser stays the shipped one. One mutation in sixteen changes
 * raw bytes and mends nothing.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "heaptally/crc32c.h"
#include "heaptally/snapshot_format.h"

enum { MOST_RECORDS = 2048, MOST_PAYLOAD = 1 << 16 };

struct piece {
    uint16_t type, flags;
    size_t length;
    const uint8_t *payload;
};

struct parts {
    struct htl_file_header head;
    const uint8_t *names; /* exe, then host */
    size_t name_bytes;
    struct piece pieces[MOST_RECORDS];
    size_t count;
};

static struct parts parts, other_parts;
static uint8_t scratch[MOST_PAYLOAD];

static uint64_t state;

static size_t draw(size_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % below;
}

/* Takes a file apart as far as it goes; false where it has not even a header. */
static bool take_apart(const uint8_t *data, size_t size, struct parts *p)
{
    p->count = 0;
    if (size < sizeof p->head)
        return false;
    memcpy(&p->head, data, sizeof p->head);
    size_t at = p->head.header_size;
    if (at < sizeof p->head || at > size)
        return false;
    p->names = data + sizeof p->head;
    p->name_bytes = at - sizeof p->head;
    while (p->count < MOST_RECORDS && size - at >= sizeof(struct htl_record_header)) {
        struct htl_record_header h;
        memcpy(&h, data + at, sizeof h);
        at += sizeof h;
        size_t length = h.length < size - at ? h.length : size - at;
        p->pieces[p->count++] = (struct piece){h.type, h.flags, length, data + at};
        size_t padded = (length + HTL_ALIGNMENT - 1) / HTL_ALIGNMENT * HTL_ALIGNMENT;
        at = padded < size - at ? at + padded : size;
    }
    return true;
}

static size_t put_record(uint8_t *out, size_t at, size_t max_size, const struct piece *piece)
{
    struct htl_record_header h = {piece->type, piece->flags, (uint32_t)piece->length, 0, 0};
    size_t padded = (piece->length + HTL_ALIGNMENT - 1) / HTL_ALIGNMENT * HTL_ALIGNMENT;
    if (max_size - at < sizeof h + padded)
        return at;
    uint32_t crc = htl_crc32c(0, &h, sizeof h);
    h.crc = htl_crc32c(crc, piece->payload, piece->length);
    memcpy(out + at, &h, sizeof h);
    at += sizeof h;
    memcpy(out + at, piece->payload, piece->length);
    memset(out + at + piece->length, 0, padded - piece->length);
    return at + padded;
}

/* Puts the parts together in `out`, as many as fit; the size of the file. */
static size_t put_together(const struct parts *p, uint8_t *out, size_t max_size)
{
    size_t at = sizeof p->head + p->name_bytes;
    if (max_size < at)
        return 0;
    struct htl_file_header head = p->head;
    head.header_size = (uint32_t)at;
    head.crc = 0;
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, p->names, p->name_bytes);
    head.crc = htl_crc32c(0, out, at);
    memcpy(out, &head, sizeof head);
    for (size_t i = 0; i < p->count; i++)
        at = put_record(out, at, max_size, &p->pieces[i]);
    return at;
}

/* ---- the changes, each on `parts`, which has at least one record ----------------------------- */

static struct piece *some_piece(void)
{
    return &parts.pieces[draw(parts.count)];
}

/* A copy of the payload that may be written to. */
static uint8_t *own_payload(struct piece *piece)
{
    if (piece->length > sizeof scratch)
        piece->length = sizeof scratch;
    memcpy(scratch, piece->payload, piece->length);
    piece->payload = scratch;
    return scratch;
}

static void change_payload(void)
{
    struct piece *piece = some_piece();
    uint8_t *bytes = own_payload(piece);
    piece->length = LLVMFuzzerMutate(bytes, piece->length, sizeof scratch);
}

/* A number that stands at the edge of something, or one from another record: an identifier. */
static uint64_t nasty_number(void)
{
    static const uint64_t numbers[] = {
        0,         1,          2,
        16,        40,         64,
        72,        127,        128,
        4096,      65535,      1u << 20,
        1u << 31,  UINT32_MAX, (uint64_t)1 << 40,
        INT64_MAX, UINT64_MAX, UINT64_MAX - 7,
    };
    uint64_t number = 0;
    const struct piece *from = some_piece();
    if (draw(3) || from->length < 8)
        return numbers[draw(sizeof numbers / sizeof *numbers)];
    memcpy(&number, from->payload + draw(from->length / 4) / 2 * 8, draw(2) ? 4 : 8);
    return number;
}

static void change_field(void)
{
    struct piece *piece = some_piece();
    uint64_t number = nasty_number() + (draw(4) ? 0 : draw(3) - (uint64_t)1);
    size_t width = (size_t)1 << draw(4);
    if (piece->length < width)
        return;
    memcpy(own_payload(piece) + draw(piece->length / width) * width, &number, width);
}

static void change_kind(void)
{
    struct piece *piece = some_piece();
    piece->type = (uint16_t)draw(HTL_END + 2);
    if (draw(8) == 0)
        piece->flags ^= HTL_RECORD_REQUIRED;
}

static void insert(size_t at, struct piece piece)
{
    if (parts.count == MOST_RECORDS)
        return;
    memmove(parts.pieces + at + 1, parts.pieces + at, (parts.count - at) * sizeof piece);
    parts.pieces[at] = piece;
    parts.count++;
}

static void double_record(void)
{
    insert(draw(parts.count + 1), *some_piece());
}

static void drop_record(void)
{
    size_t at = draw(parts.count);
    parts.count--;
    memmove(parts.pieces + at, parts.pieces + at + 1, (parts.count - at) * sizeof *parts.pieces);
}

static void swap_records(void)
{
    struct piece *a = some_piece(), *b = some_piece(), kept = *a;
    *a = *b;
    *b = kept;
}

static void change_head(void)
{
    uint64_t number = nasty_number();
    size_t fields[] = {offsetof(struct htl_file_header, start_realtime_ns),
                       offsetof(struct htl_file_header, start_monotonic_ns),
                       offsetof(struct htl_file_header, exe_length),
                       offsetof(struct htl_file_header, pid),
                       offsetof(struct htl_file_header, version),
                       offsetof(struct htl_file_header, compatible)};
    size_t widths[] = {8, 8, 4, 4, 2, 4}, i = draw(6);
    memcpy((uint8_t *)&parts.head + fields[i], &number, widths[i]);
}

static void (*const changes[])(void) = {
    change_payload, change_payload, change_payload, change_field,  change_field,
    change_field,   change_field,   change_kind,    double_record, double_record,
    drop_record,    swap_records,   change_head,
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    state = seed;
    draw(2);
    if (draw(16) == 0 || !take_apart(data, size, &parts) || parts.count == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    changes[draw(sizeof changes / sizeof *changes)]();
    uint8_t *out = malloc(max_size);
    size_t length = put_together(&parts, out, max_size);
    memcpy(data, out, length);
    free(out);
    return length;
}

/* The first records of one file, then some of the other, then the rest of the first. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_size, unsigned seed)
{
    state = seed;
    draw(2);
    if (!take_apart(data1, size1, &parts) || !take_apart(data2, size2, &other_parts) ||
        other_parts.count == 0)
        return 0;
    size_t at = draw(parts.count + 1), from = draw(other_parts.count);
    size_t count = 1 + draw(other_parts.count - from < 8 ? other_parts.count - from : 8);
    for (size_t i = 0; i < count; i++)
        insert(at + i, other_parts.pieces[from + i]);
    return put_together(&parts, out, max_size);
}
