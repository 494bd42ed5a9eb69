/*
 * Sizes and durations as people write them, for every option of the command and the preload.
 *
 * No allocation, no locale, no errno: usable inside the preload's constructor.
 */
#ifndef HEAPTALLY_UNITS_H
#define HEAPTALLY_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define HT_KB (UINT64_C(1) << 10)
#define HT_MB (UINT64_C(1) << 20)
#define HT_GB (UINT64_C(1) << 30)
#define HT_TB (UINT64_C(1) << 40)

#define HT_MILLISECOND UINT64_C(1000000) /* in nanoseconds */
#define HT_SECOND      UINT64_C(1000000000)
#define HT_MINUTE      (60 * HT_SECOND)
#define HT_HOUR        (60 * HT_MINUTE)
#define HT_DAY         (24 * HT_HOUR)

struct ht_unit {
    const char *name; /* compared without case */
    uint64_t factor;
};

/*
 * Reads "NUMBER[UNIT]" (a decimal fraction is allowed, a sign is not) into `*value`, rounded down.
 * `units` ends with a NULL name; its first entry is what a bare number means. False, with `*value`
 * untouched, if the text is not of that form or the result passes 2^63.
 */
static inline bool ht_parse_quantity(const char *text, size_t length, const struct ht_unit *units,
                                     uint64_t *value)
{
    long double number = 0, place = 1;
    bool fraction = false;
    size_t i = 0, digits = 0;
    for (; i < length; i++) {
        char c = text[i];
        if (c == '.' && !fraction) {
            fraction = true;
        } else if (c >= '0' && c <= '9') {
            digits++;
            if (fraction)
                number += (c - '0') * (place /= 10);
            else
                number = number * 10 + (c - '0');
        } else {
            break;
        }
    }
    if (digits == 0)
        return false;
    while (i < length && text[i] == ' ')
        i++;
    const struct ht_unit *unit = units;
    if (i < length) {
        while (unit->name &&
               (strlen(unit->name) != length - i || strncasecmp(unit->name, text + i, length - i)))
            unit++;
        if (!unit->name)
            return false;
    }
    /* Half a unit in the tenth place: 0.1 is not exact in binary, and 0.3KB must not lose a byte.
     */
    number = number * unit->factor + 1e-6L;
    if (number >= 9223372036854775808.0L)
        return false;
    *value = (uint64_t)number;
    return true;
}

/* A size in bytes: "500MB", "1.5GiB", "64k"; a bare number is MB; every unit is a power of 1024. */
static inline bool ht_parse_size(const char *text, size_t length, uint64_t *bytes)
{
    static const struct ht_unit units[] = {
        {"MB", HT_MB}, {"B", 1},       {"M", HT_MB},   {"MiB", HT_MB}, {"K", HT_KB},
        {"KB", HT_KB}, {"KiB", HT_KB}, {"G", HT_GB},   {"GB", HT_GB},  {"GiB", HT_GB},
        {"T", HT_TB},  {"TB", HT_TB},  {"TiB", HT_TB}, {NULL, 0},
    };
    return ht_parse_quantity(text, length, units, bytes);
}

/* A duration in nanoseconds: "1s", "500ms", "10m", "1.5h", "2d"; a bare number is seconds. */
static inline bool ht_parse_duration(const char *text, size_t length, uint64_t *ns)
{
    static const struct ht_unit units[] = {
        {"s", HT_SECOND},   {"ms", HT_MILLISECOND}, {"us", 1000},  {"m", HT_MINUTE},
        {"min", HT_MINUTE}, {"h", HT_HOUR},         {"d", HT_DAY}, {NULL, 0},
    };
    return ht_parse_quantity(text, length, units, ns);
}

/* A whole number without unit. */
static inline bool ht_parse_count(const char *text, size_t length, uint64_t *count)
{
    static const struct ht_unit units[] = {{"", 1}, {NULL, 0}};
    return !memchr(text, '.', length) && ht_parse_quantity(text, length, units, count);
}

#endif
