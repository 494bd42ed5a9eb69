/*
 * The reader keeps a window of the file in one buffer: bytes [start, start + filled) of the file.
 * `bring_in` slides and refills it so that a whole record lies in it; its size follows the longest
 * record seen, and a record's length is believed only once it fits what is left of the file.
 */
#include "snapshot_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"
#include "text.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "records are read as they lie in the file");

enum { WINDOW = 256 << 10 };

#define ENDS_EARLY "ends within its header: the program ended too early; let it run longer"
#define NOT_OURS   "is not a heaptally snapshot; name a file that 'heaptally run' has written"

struct ht_snapshot {
    int fd;
    unsigned char *buffer;
    size_t capacity, filled;
    uint64_t start; /* file offset of buffer[0] */
    bool ended;
    struct ht_snapshot_header header;
    unsigned char *header_bytes; /* what header.exe and header.host point into */
    struct ht_read_state state;
};

/* ---- bytes ----------------------------------------------------------------------------------- */

/*
 * The `length` bytes at `offset`, which lie within the file's size; NULL where the file has become
 * shorter meanwhile or cannot be read. Valid until the next call.
 */
static const unsigned char *bring_in(struct ht_snapshot *s, uint64_t offset, size_t length)
{
    if (offset >= s->start && offset + length <= s->start + s->filled)
        return s->buffer + (offset - s->start);
    size_t keep = 0;
    if (offset >= s->start && offset < s->start + s->filled)
        keep = (size_t)(s->start + s->filled - offset);
    memmove(s->buffer, s->buffer + (s->filled - keep), keep);
    if (length > s->capacity) {
        s->buffer = ht_reallocate(s->buffer, length, 1);
        s->capacity = length;
    }
    s->start = offset;
    s->filled = keep;
    while (s->filled < length) {
        ssize_t n = pread(s->fd, s->buffer + s->filled, s->capacity - s->filled,
                          (off_t)(s->start + s->filled));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return NULL;
        s->filled += (size_t)n;
    }
    return s->buffer;
}

static uint64_t padded(uint64_t length)
{
    return (length + HTL_ALIGNMENT - 1) / HTL_ALIGNMENT * HTL_ALIGNMENT;
}

void ht_entry(const struct ht_entries *entries, uint32_t i, void *element, size_t size)
{
    memcpy(element, entries->data + (size_t)i * entries->stride, size);
}

/* ---- file header ----------------------------------------------------------------------------- */

/* What is wrong with the fixed part of the header; NULL where nothing is. A new string. */
static char *refusal(const struct htl_file_header *h, uint64_t file_size)
{
    if (memcmp(h->magic, HTL_MAGIC, 4) != 0)
        return ht_format(NOT_OURS);
    if (memcmp(h->magic, HTL_MAGIC, 8) != 0)
        return ht_format("was changed by a copy in text mode; copy it again in binary mode");
    if (h->version != HTL_VERSION)
        return ht_format("has format version %u, and this heaptally reads version %u; use the "
                         "heaptally that wrote it",
                         h->version, HTL_VERSION);
    if (h->incompatible & ~HTL_INCOMPATIBLE_KNOWN)
        return ht_format("uses features that this heaptally does not know (bits 0x%x); use a newer "
                         "heaptally",
                         h->incompatible & ~HTL_INCOMPATIBLE_KNOWN);
    uint64_t least = sizeof *h + h->exe_length + h->host_length;
    if (h->header_size < least || h->header_size % HTL_ALIGNMENT || h->header_size > HTL_MAX_RECORD)
        return ht_format("has a damaged header, its size is wrong; restore it from another copy");
    if (h->header_size > file_size)
        return ht_format(ENDS_EARLY);
    return NULL;
}

static char *read_header(struct ht_snapshot *s)
{
    struct htl_file_header *h = &s->header.fixed;
    if (s->state.file_size == 0)
        return ht_format("is empty: the program ended too early; let it run longer");
    if (s->state.file_size < sizeof *h) {
        const unsigned char *p = bring_in(s, 0, s->state.file_size < 4 ? 1 : 4);
        bool ours = p && memcmp(p, HTL_MAGIC, s->state.file_size < 4 ? 1 : 4) == 0;
        return ours ? ht_format(ENDS_EARLY) : ht_format(NOT_OURS);
    }
    const unsigned char *p = bring_in(s, 0, sizeof *h);
    if (!p)
        return ht_format("cannot be read: %s; copy it to another disk", strerror(errno));
    memcpy(h, p, sizeof *h);
    char *wrong = refusal(h, s->state.file_size);
    if (wrong)
        return wrong;
    if (!(p = bring_in(s, 0, h->header_size)))
        return ht_format("cannot be read: %s; copy it to another disk", strerror(errno));
    s->header_bytes = ht_allocate(h->header_size);
    memcpy(s->header_bytes, p, h->header_size);
    memset(s->header_bytes + offsetof(struct htl_file_header, crc), 0, sizeof h->crc);
    if (ht_checksum(0, s->header_bytes, h->header_size) != h->crc)
        return ht_format(
            "has a damaged header, its checksum is wrong; restore it from another copy");
    s->header.exe = (struct ht_bytes){s->header_bytes + sizeof *h, h->exe_length};
    s->header.host = (struct ht_bytes){s->header.exe.data + h->exe_length, h->host_length};
    s->state.offset = h->header_size;
    return NULL;
}

struct ht_snapshot *ht_snapshot_open_fd(int fd, char **error)
{
    struct stat status;
    struct ht_snapshot *s = ht_allocate_zeroed(1, sizeof *s);
    s->fd = fd;
    s->capacity = WINDOW;
    s->buffer = ht_allocate(s->capacity);
    if (fstat(fd, &status) != 0)
        *error = ht_format("cannot be read: %s; copy it to another disk", strerror(errno));
    else if (S_ISDIR(status.st_mode))
        *error = ht_format("is a directory; name a file in it");
    else if (!S_ISREG(status.st_mode))
        *error = ht_format("is not a regular file; name a snapshot file");
    else {
        s->state.file_size = (uint64_t)status.st_size;
        *error = read_header(s);
    }
    if (!*error)
        return s;
    ht_snapshot_close(s);
    return NULL;
}

struct ht_snapshot *ht_snapshot_open(const char *path, char **error)
{
    /* Not blocking: a FIFO without a writer must be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        *error = ht_format("cannot be opened: %s; is the name right, and may you read it?",
                           strerror(errno));
        return NULL;
    }
    return ht_snapshot_open_fd(fd, error);
}

void ht_snapshot_close(struct ht_snapshot *s)
{
    if (!s)
        return;
    close(s->fd);
    free(s->buffer);
    free(s->header_bytes);
    free(s);
}

const struct ht_snapshot_header *ht_snapshot_header(const struct ht_snapshot *s)
{
    return &s->header;
}

const struct ht_read_state *ht_snapshot_state(const struct ht_snapshot *s)
{
    return &s->state;
}

/* ---- payloads -------------------------------------------------------------------------------- */

/* What is left of a payload while its parts are taken off the front. */
struct cursor {
    const unsigned char *at;
    size_t left;
};

static bool take(struct cursor *c, void *head, size_t size)
{
    if (c->left < size)
        return false;
    memcpy(head, c->at, size);
    c->at += size;
    c->left -= size;
    return true;
}

static bool take_bytes(struct cursor *c, size_t length, struct ht_bytes *bytes)
{
    if (c->left < length)
        return false;
    *bytes = (struct ht_bytes){c->at, length};
    c->at += length;
    c->left -= length;
    return true;
}

/* An array: its stride may be longer than our `size`, never shorter, and all of it must be there.
 */
static bool take_entries(struct cursor *c, uint32_t count, uint32_t stride, size_t size,
                         struct ht_entries *entries)
{
    if (count > 0 && (stride < size || c->left / stride < count))
        return false;
    *entries = (struct ht_entries){c->at, count, stride};
    if (count > 0) {
        c->at += (size_t)count * stride;
        c->left -= (size_t)count * stride;
    }
    return true;
}

static bool parse_settings(struct cursor *c, struct ht_record *r)
{
    return take_bytes(c, c->left, &r->settings);
}

static bool parse_module(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->module.head, sizeof r->module.head) &&
           take_bytes(c, r->module.head.build_id_length, &r->module.build_id) &&
           take_bytes(c, r->module.head.path_length, &r->module.path) &&
           take_bytes(c, c->left, &r->module.soname) && r->module.head.id != HTL_NO_MODULE &&
           !memchr(r->module.path.data, '\0', r->module.path.length);
}

static bool parse_tag(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->tag.head, sizeof r->tag.head) &&
           take_bytes(c, r->tag.head.name_length, &r->tag.name) && r->tag.name.length >= 1 &&
           r->tag.name.length <= 127;
}

static bool parse_stack(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->stack.head, sizeof r->stack.head) &&
           take_entries(c, r->stack.head.frame_count, r->stack.head.frame_size,
                        sizeof(struct htl_frame), &r->stack.frames);
}

static bool parse_site(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->site, sizeof r->site);
}

static bool parse_region(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->region.head, sizeof r->region.head) &&
           take_bytes(c, r->region.head.name_length, &r->region.name) &&
           r->region.name.length >= 1 && r->region.name.length <= 127 && r->region.head.id != 0;
}

static bool parse_tick(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->tick.head, sizeof r->tick.head) &&
           take_entries(c, r->tick.head.tag_count, r->tick.head.tag_size,
                        sizeof(struct htl_tag_figures), &r->tick.tags) &&
           take_entries(c, r->tick.head.site_count, r->tick.head.site_size,
                        sizeof(struct htl_site_figures), &r->tick.sites);
}

static bool parse_history(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->history.head, sizeof r->history.head) &&
           take_entries(c, r->history.head.point_count, r->history.head.point_size,
                        sizeof(struct htl_history_point), &r->history.points);
}

static bool parse_alert(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->alert.head, sizeof r->alert.head) &&
           take_bytes(c, r->alert.head.message_length, &r->alert.message);
}

static bool parse_end(struct cursor *c, struct ht_record *r)
{
    return take(c, &r->end, sizeof r->end);
}

typedef bool parser(struct cursor *, struct ht_record *);

static parser *const parsers[] = {
    [HTL_SETTINGS] = parse_settings, [HTL_MODULE] = parse_module,   [HTL_TAG] = parse_tag,
    [HTL_STACK] = parse_stack,       [HTL_SITE] = parse_site,       [HTL_TICK] = parse_tick,
    [HTL_SNAPSHOT] = parse_tick,     [HTL_HISTORY] = parse_history, [HTL_ALERT] = parse_alert,
    [HTL_END] = parse_end,           [HTL_REGION] = parse_region,
};

/* ---- records --------------------------------------------------------------------------------- */

static const unsigned char *torn(struct ht_snapshot *s, const char *why)
{
    s->ended = true;
    s->state.torn = why;
    return NULL;
}

/* The payload of the next whole record and its header; NULL at the end, with the state set. */
static const unsigned char *next_whole(struct ht_snapshot *s, struct htl_record_header *h)
{
    uint64_t offset = s->state.offset, left = s->state.file_size - offset;
    if (s->ended || left == 0) {
        s->ended = true;
        return NULL;
    }
    const unsigned char *p;
    if (left < sizeof *h || !(p = bring_in(s, offset, sizeof *h)))
        return torn(s, "the last record is cut short");
    memcpy(h, p, sizeof *h);
    if (h->length > HTL_MAX_RECORD)
        return torn(s, "a record has an impossible length");
    if (h->length > left - sizeof *h || !(p = bring_in(s, offset, sizeof *h + h->length)))
        return torn(s, "the last record is cut short");
    struct htl_record_header blank = *h;
    blank.crc = 0;
    uint32_t crc = ht_checksum(0, &blank, sizeof blank);
    if (ht_checksum(crc, p + sizeof *h, h->length) != h->crc)
        return torn(s, "a record's checksum is wrong");
    return p + sizeof *h;
}

bool ht_snapshot_next(struct ht_snapshot *s, struct ht_record *record)
{
    struct htl_record_header h;
    const unsigned char *payload;
    while ((payload = next_whole(s, &h))) {
        parser *parse = h.type < sizeof parsers / sizeof *parsers ? parsers[h.type] : NULL;
        if (!parse && (h.flags & HTL_RECORD_REQUIRED)) {
            torn(s, "a record is of a kind that only a newer heaptally can read");
            return false;
        }
        record->type = h.type;
        record->offset = s->state.offset;
        /* The padding of the very last record may be missing: it carries nothing. */
        uint64_t end = s->state.offset + padded(sizeof h + h.length);
        s->state.offset = end < s->state.file_size ? end : s->state.file_size;
        struct cursor cursor = {payload, h.length};
        if (!parse) {
            s->state.unknown++;
        } else if (!parse(&cursor, record)) {
            s->state.malformed++;
        } else {
            s->state.records++;
            s->ended = h.type == HTL_END;
            return true;
        }
    }
    return false;
}
