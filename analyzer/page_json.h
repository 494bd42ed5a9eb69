/*
 * JSON that stands inside a script element of a page: no text of it can end the element or start a
 * comment, since `<`, `>`, `&` and the line separators of JavaScript are written as \uXXXX. Written
 * as it comes; what is unknown (HTL_UNKNOWN, NaN) becomes null.
 */
#ifndef HEAPTALLY_ANALYZER_PAGE_JSON_H
#define HEAPTALLY_ANALYZER_PAGE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ht_page_json {
    FILE *out;
    bool comma; /* something stands before on this level */
};

/* `key` is NULL inside an array and for the outermost value; `bracket` is '{', '[', '}' or ']'. */
void ht_page_open(struct ht_page_json *json, const char *key, char bracket);
void ht_page_close(struct ht_page_json *json, char bracket);

/* A whole number; null where it is HTL_UNKNOWN. */
void ht_page_number(struct ht_page_json *json, const char *key, uint64_t value);
void ht_page_signed(struct ht_page_json *json, const char *key, int64_t value);

/* Seven digits; null where the number is not finite. */
void ht_page_real(struct ht_page_json *json, const char *key, double value);

/* Clean UTF-8 (see text.h); null for NULL. */
void ht_page_text(struct ht_page_json *json, const char *key, const char *value);
void ht_page_bool(struct ht_page_json *json, const char *key, bool value);

#endif
