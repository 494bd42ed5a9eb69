/*
 * Text that grows, up to a limit, in heaptally's own memory: answers to people and programs. Always
 * ends with a NUL. Numbers have a point whatever locale the program has chosen, which is why printf
 * is not used for fractions.
 */
#ifndef HEAPTALLY_TEXT_OUT_H
#define HEAPTALLY_TEXT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ht_out {
    char *bytes;
    size_t used;            /* without the NUL */
    size_t capacity, limit; /* with the NUL */
    bool failed;            /* no memory, or past the limit: what there is is not whole */
};

/* Begins a text of at most `limit` bytes; ht_out_free gives its memory back. `bytes` is NULL until
 * there is something in it. */
void ht_out_begin(struct ht_out *out, size_t limit);

void ht_out_free(struct ht_out *out);

void ht_out_bytes(struct ht_out *out, const char *bytes, size_t length);
void ht_out_text(struct ht_out *out, const char *text);

/* As printf, at most 512 bytes; not for floating point. */
void ht_out_format(struct ht_out *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A number with `decimals` (0 .. 3) places; "unknown" where it is no number. */
void ht_out_number(struct ht_out *out, double number, unsigned decimals);

/* The same for JSON: null where it is no number. */
void ht_out_json_number(struct ht_out *out, double number, unsigned decimals);

/* A count for JSON; null for UINT64_MAX. */
void ht_out_json_count(struct ht_out *out, uint64_t count);

/* A string for JSON with its quotes; what is not UTF-8 becomes U+FFFD. */
void ht_out_json_string(struct ht_out *out, const char *bytes, size_t length);

/* What stands before a value of an object: `, "key": `, without the comma where it is the first
 * after an opening bracket. */
void ht_out_key(struct ht_out *out, const char *key);

/* A comma between values, unless an opening bracket stands before. */
void ht_out_comma(struct ht_out *out);

#endif
