#include "text_out.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "heaptally/trend_text.h"
#include "internal_heap.h"

#define FIRST_CAPACITY ((size_t)4 << 10)

void ht_out_begin(struct ht_out *out, size_t limit)
{
    *out = (struct ht_out){.limit = limit};
}

void ht_out_free(struct ht_out *out)
{
    ht_heap_free(out->bytes);
    out->bytes = NULL;
    out->used = out->capacity = 0;
}

/* Makes room for `length` bytes and a NUL; false after marking the failure. */
static bool grow(struct ht_out *out, size_t length)
{
    size_t wanted = out->used + length + 1, capacity = out->capacity;
    if (wanted <= capacity && wanted <= out->limit)
        return true;
    for (capacity = capacity ? capacity : FIRST_CAPACITY; capacity < wanted; capacity *= 2)
        ;
    char *larger = wanted <= out->limit ? ht_heap_alloc(capacity, 16) : NULL;
    if (!larger) {
        out->failed = true;
        return false;
    }
    if (out->used)
        memcpy(larger, out->bytes, out->used);
    ht_heap_free(out->bytes);
    out->bytes = larger;
    out->capacity = capacity;
    return true;
}

void ht_out_bytes(struct ht_out *out, const char *bytes, size_t length)
{
    if (out->failed || !grow(out, length))
        return;
    memcpy(out->bytes + out->used, bytes, length);
    out->used += length;
    out->bytes[out->used] = '\0';
}

void ht_out_text(struct ht_out *out, const char *text)
{
    ht_out_bytes(out, text, strlen(text));
}

void ht_out_format(struct ht_out *out, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        ht_out_bytes(out, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

void ht_out_number(struct ht_out *out, double number, unsigned decimals)
{
    char text[64];
    if (isnan(number)) {
        ht_out_text(out, "unknown");
        return;
    }
    struct ht_text at = ht_text_begin(text, sizeof text);
    ht_text_number(&at, number, decimals);
    ht_out_text(out, text);
}

void ht_out_json_number(struct ht_out *out, double number, unsigned decimals)
{
    if (!(fabs(number) < 1e15)) /* what ht_text_number writes in words, too */
        ht_out_text(out, "null");
    else
        ht_out_number(out, number, decimals);
}

void ht_out_json_count(struct ht_out *out, uint64_t count)
{
    if (count == UINT64_MAX)
        ht_out_text(out, "null");
    else
        ht_out_format(out, "%llu", (unsigned long long)count);
}

/* The length of the UTF-8 character at `at`, 0 if there is none that is well-formed. */
static size_t character(const unsigned char *at, size_t length)
{
    size_t n = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (n == 0 || n > length || at[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* Too long for its value, a surrogate, or beyond the last character. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return n;
}

void ht_out_json_string(struct ht_out *out, const char *bytes, size_t length)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + length;
    ht_out_text(out, "\"");
    while (at < end) {
        size_t n = character(at, (size_t)(end - at));
        if (n == 0)
            ht_out_text(out, "\\ufffd");
        else if (*at == '"' || *at == '\\')
            ht_out_format(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            ht_out_format(out, "\\u%04x", *at);
        else
            ht_out_bytes(out, (const char *)at, n);
        at += n ? n : 1;
    }
    ht_out_text(out, "\"");
}

void ht_out_comma(struct ht_out *out)
{
    char last = out->used ? out->bytes[out->used - 1] : '{';
    if (last != '{' && last != '[')
        ht_out_text(out, ", ");
}

void ht_out_key(struct ht_out *out, const char *key)
{
    ht_out_comma(out);
    ht_out_format(out, "\"%s\": ", key);
}
