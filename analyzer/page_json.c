/*
 * Escaping follows from what may stand in a script element, not from what JSON needs: the strings
 * are a stranger's.
 */
#include "page_json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "heaptally/snapshot_format.h"

/* U+2028 and U+2029. */
#define LINE_SEPARATOR      "\xe2\x80\xa8"
#define PARAGRAPH_SEPARATOR "\xe2\x80\xa9"

static bool starts_with(const unsigned char *text, const char *start)
{
    return strncmp((const char *)text, start, strlen(start)) == 0;
}

static void put_string(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\') {
            putc('\\', out);
            putc(*at, out);
        } else if (*at < 0x20 || *at == 0x7f || *at == '<' || *at == '>' || *at == '&') {
            fprintf(out, "\\u%04x", *at);
        } else if (starts_with(at, LINE_SEPARATOR)) {
            fputs("\\u2028", out);
            at += strlen(LINE_SEPARATOR) - 1;
        } else if (starts_with(at, PARAGRAPH_SEPARATOR)) {
            fputs("\\u2029", out);
            at += strlen(PARAGRAPH_SEPARATOR) - 1;
        } else {
            putc(*at, out);
        }
    }
    putc('"', out);
}

/* What stands before a value: the comma and the key. */
static void begin(struct ht_page_json *json, const char *key)
{
    if (json->comma)
        putc(',', json->out);
    json->comma = true;
    if (key) {
        put_string(json->out, key);
        putc(':', json->out);
    }
}

void ht_page_open(struct ht_page_json *json, const char *key, char bracket)
{
    begin(json, key);
    putc(bracket, json->out);
    json->comma = false;
}

void ht_page_close(struct ht_page_json *json, char bracket)
{
    putc(bracket, json->out);
    json->comma = true;
}

void ht_page_number(struct ht_page_json *json, const char *key, uint64_t value)
{
    begin(json, key);
    if (value == HTL_UNKNOWN)
        fputs("null", json->out);
    else
        fprintf(json->out, "%" PRIu64, value);
}

void ht_page_signed(struct ht_page_json *json, const char *key, int64_t value)
{
    begin(json, key);
    fprintf(json->out, "%" PRId64, value);
}

void ht_page_real(struct ht_page_json *json, const char *key, double value)
{
    begin(json, key);
    if (isfinite(value))
        fprintf(json->out, "%.7g", value);
    else
        fputs("null", json->out);
}

void ht_page_text(struct ht_page_json *json, const char *key, const char *value)
{
    begin(json, key);
    if (value)
        put_string(json->out, value);
    else
        fputs("null", json->out);
}

void ht_page_bool(struct ht_page_json *json, const char *key, bool value)
{
    begin(json, key);
    fputs(value ? "true" : "false", json->out);
}
