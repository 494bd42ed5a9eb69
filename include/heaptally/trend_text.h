/*
 * Plain words with numbers in them, for reasons and log lines.
 *
 * Not snprintf: that writes a decimal comma where the watched program has chosen such a locale.
 * A text that does not fit is cut; it always ends with a NUL.
 */
#ifndef HEAPTALLY_TREND_TEXT_H
#define HEAPTALLY_TREND_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Where the next character goes, and the place of the last one, which is the NUL's. */
struct ht_text {
    char *at, *last;
};

/* Begins a text in `size` >= 1 bytes at `buffer`. */
static inline struct ht_text ht_text_begin(char *buffer, size_t size)
{
    *buffer = 0;
    return (struct ht_text){.at = buffer, .last = buffer + size - 1};
}

static inline void ht_text_put(struct ht_text *text, const char *words)
{
    while (*words && text->at < text->last)
        *text->at++ = *words++;
    *text->at = 0;
}

/* A number with `decimals` (0 .. 6) places, rounded; magnitudes from 2^62 on are "very many". */
static inline void ht_text_number(struct ht_text *text, double number, unsigned decimals)
{
    char digits[32], *at = digits + sizeof digits - 1;
    double scale = 1;
    for (unsigned i = 0; i < decimals; i++)
        scale *= 10;
    double scaled = (number < 0 ? -number : number) * scale + 0.5;
    if (!(scaled < 4.6e18)) {
        ht_text_put(text, "very many");
        return;
    }
    uint64_t rest = (uint64_t)scaled;
    *at = 0;
    for (unsigned i = 0; i <= decimals || rest; i++) {
        if (decimals && i == decimals)
            *--at = '.';
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    }
    if (number < 0 && scaled >= 1)
        ht_text_put(text, "-");
    ht_text_put(text, at);
}

/* Bytes as a person would say them: "1 byte", "800 bytes", "12 KB", "3.4 MB", "2.0 GB". */
static inline void ht_text_bytes(struct ht_text *text, double bytes)
{
    static const char *const units[] = {" KB", " MB", " GB", " TB"};
    double size = bytes < 0 ? -bytes : bytes;
    if (!(size >= 999.5)) { /* NaN, too */
        ht_text_number(text, bytes, 0);
        ht_text_put(text, size >= 0.5 && size < 1.5 ? " byte" : " bytes");
        return;
    }
    unsigned unit = 0;
    for (bytes /= 1024, size /= 1024; size >= 999.5 && unit < 3; unit++) {
        bytes /= 1024;
        size /= 1024;
    }
    ht_text_number(text, bytes, size < 9.95 ? 1 : 0);
    ht_text_put(text, units[unit]);
}

static inline void ht_text_counted(struct ht_text *text, double count, const char *one,
                                   const char *many)
{
    ht_text_number(text, count, 0);
    ht_text_put(text, " ");
    ht_text_put(text, count < 1.5 ? one : many);
}

/* A length of time in its two leading units: "0.4 s", "12 s", "4 min", "3 h 10 min", "9 d 4 h". */
static inline void ht_text_span(struct ht_text *text, double seconds)
{
    static const struct {
        double size, per;
        const char *name, *lower;
    } units[] = {{86400, 24, " d", " h"}, {3600, 60, " h", " min"}, {60, 1, " min", ""}};
    if (seconds < 99.5) {
        ht_text_number(text, seconds, seconds < 9.95 ? 1 : 0);
        ht_text_put(text, " s");
        return;
    }
    unsigned i = seconds >= 86400 - 1800 ? 0 : seconds >= 3600 - 30 ? 1 : 2;
    double parts = (double)(int64_t)(seconds / units[i].size * units[i].per + 0.5);
    double whole = (double)(int64_t)(parts / units[i].per);
    ht_text_number(text, whole, 0);
    ht_text_put(text, units[i].name);
    if (parts - whole * units[i].per >= 1) {
        ht_text_put(text, " ");
        ht_text_number(text, parts - whole * units[i].per, 0);
        ht_text_put(text, units[i].lower);
    }
}

#endif
