/*
 * Text for people. Pure functions, apart from the ring of number buffers: the command has one
 * thread.
 */
#include "text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wchar.h>

int ht_failure_status = 2;
bool ht_utf8 = true;

/* ---- messages and memory --------------------------------------------------------------------- */

void ht_complain(const char *format, ...)
{
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    for (char *p = line; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    fflush(stdout);
    fprintf(stderr, "heaptally: %s\n", line);
}

static void *or_die(void *memory)
{
    if (!memory) {
        ht_complain("out of memory");
        exit(ht_failure_status);
    }
    return memory;
}

void *ht_allocate(size_t size)
{
    return or_die(malloc(size ? size : 1));
}

void *ht_allocate_zeroed(size_t count, size_t size)
{
    return or_die(calloc(count ? count : 1, size ? size : 1));
}

void *ht_reallocate(void *old, size_t count, size_t size)
{
    return or_die(reallocarray(old, count ? count : 1, size));
}

void *ht_room_for_one(void *array, size_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0; /* 0, 1, 2, 4, ...: exactly the capacities */
    return full ? ht_reallocate(array, count ? 2 * count : 1, size) : array;
}

char *ht_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return or_die(length < 0 ? NULL : text);
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/*
 * Length of the UTF-8 character at `p` with `left` bytes there, and its code point in `*point`; 0
 * where there is none (overlong forms, surrogates and points past U+10FFFF are none).
 */
static size_t utf8_character(const unsigned char *p, size_t left, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = *p < 0x80             ? 1
                    : (*p & 0xe0) == 0xc0 ? 2
                    : (*p & 0xf0) == 0xe0 ? 3
                    : (*p & 0xf8) == 0xf0 ? 4
                                          : 0;
    if (length == 0 || length > left)
        return 0;
    uint32_t c = length == 1 ? *p : *p & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *point = c;
    return length;
}

/* Control characters, and the marks that turn the direction of writing around. */
static bool is_harmful(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
           (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

char *ht_clean(const void *bytes, size_t length)
{
    static const char replacement[] = "\xef\xbf\xbd";
    const unsigned char *p = bytes;
    char *clean = ht_allocate(3 * length + 1), *out = clean;
    while (length > 0) {
        uint32_t point;
        size_t n = utf8_character(p, length, &point);
        if (n == 0 || is_harmful(point)) {
            memcpy(out, replacement, 3);
            out += 3;
            n = n ? n : 1;
        } else {
            memcpy(out, p, n);
            out += n;
        }
        p += n;
        length -= n;
    }
    *out = '\0';
    return ht_reallocate(clean, (size_t)(out - clean) + 1, 1);
}

/* Steps over one character of a clean string; adds its columns to `*columns`. */
static const char *step(const char *text, size_t *columns)
{
    uint32_t point = 0;
    size_t n = utf8_character((const unsigned char *)text, strlen(text), &point);
    if (n == 0)
        n = 1;
    int width = wcwidth((wchar_t)point);
    *columns += width < 0 ? 1 : (size_t)width;
    return text + n;
}

size_t ht_columns(const char *text)
{
    size_t columns = 0;
    while (*text)
        text = step(text, &columns);
    return columns;
}

/* The first byte behind at most `columns` columns of `text`. */
static const char *behind_columns(const char *text, size_t columns)
{
    size_t used = 0;
    while (*text) {
        const char *next = step(text, &used);
        if (used > columns)
            break;
        text = next;
    }
    return text;
}

char *ht_elide(const char *text, size_t columns)
{
    size_t all = ht_columns(text);
    if (all <= columns)
        return or_die(strdup(text));
    size_t tail_columns = (columns - 1) / 2;
    const char *head_end = behind_columns(text, columns - 1 - tail_columns);
    const char *tail = text;
    for (size_t left = all, used = 0; left > tail_columns; left = all - used)
        tail = step(tail, &used);
    return ht_format("%.*s%s%s", (int)(head_end - text), text, ht_utf8 ? "\u2026" : "~", tail);
}

void ht_print_folded(FILE *out, const char *text, size_t width, size_t used, size_t indent)
{
    bool first = true;
    while (*text) {
        size_t length = strcspn(text, " ");
        char *whole = ht_clean(text, length);
        char *word = ht_elide(whole, width > indent ? width - indent : 1);
        size_t columns = ht_columns(word);
        if (!first && used + 1 + columns > width) {
            fprintf(out, "\n%*s%s", (int)indent, "", word);
            used = indent + columns;
        } else {
            fprintf(out, "%s%s", first ? "" : " ", word);
            used += columns + !first;
        }
        first = false;
        free(whole);
        free(word);
        text += length;
        text += strspn(text, " ");
    }
    putc('\n', out);
}

/* ---- numbers --------------------------------------------------------------------------------- */

enum { NUMBER_SIZE = 64 };

static char *next_buffer(void)
{
    static char ring[8][NUMBER_SIZE];
    static unsigned next;
    return ring[next++ % 8];
}

/* Puts a comma before each third digit from the right of the digits that `number` begins with. */
static const char *group(const char *number)
{
    char *buffer = next_buffer(), *out = buffer;
    if (*number == '-')
        *out++ = *number++;
    size_t digits = strspn(number, "0123456789");
    for (size_t i = 0; i < digits && out < buffer + NUMBER_SIZE - 8; i++) {
        if (i > 0 && (digits - i) % 3 == 0)
            *out++ = ',';
        *out++ = number[i];
    }
    snprintf(out, (size_t)(buffer + NUMBER_SIZE - out), "%s", number + digits);
    return buffer;
}

const char *ht_grouped(uint64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    return group(digits);
}

const char *ht_grouped_real(double number, int places)
{
    char digits[40];
    if (!isfinite(number))
        return "unknown";
    if (fabs(number) >= 1e18)
        snprintf(digits, sizeof digits, "%.3e", number);
    else
        snprintf(digits, sizeof digits, "%.*f", places, number);
    return group(digits);
}

const char *ht_mb(double value)
{
    if (isnan(value))
        return "-";
    return value > 0 && value < 0.005 ? "<0.01" : ht_grouped_real(value, 2);
}

const char *ht_ratio(double ratio)
{
    double size = fabs(ratio);
    return ht_grouped_real(ratio, size < 10 ? 2 : size < 100 ? 1 : 0);
}

const char *ht_counted(uint64_t number, const char *noun)
{
    const char *digits = ht_grouped(number);
    char *buffer = next_buffer();
    snprintf(buffer, NUMBER_SIZE, "%s %s%s", digits, noun, number == 1 ? "" : "s");
    return buffer;
}

const char *ht_duration(double seconds)
{
    char *buffer = next_buffer();
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e12)
        return "unknown";
    unsigned long long s = (unsigned long long)(seconds + 0.5);
    if (seconds < 59.95)
        snprintf(buffer, NUMBER_SIZE, "%.1f s", seconds);
    else if (s < 3600)
        snprintf(buffer, NUMBER_SIZE, "%llu min %llu s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(buffer, NUMBER_SIZE, "%llu h %llu min", s / 3600, s / 60 % 60);
    else
        snprintf(buffer, NUMBER_SIZE, "%llu d %llu h", s / 86400, s / 3600 % 24);
    return buffer;
}

/* ---- words ----------------------------------------------------------------------------------- */

enum { LONGEST_WORD = 64 };

/* Letters to insert, delete or change to make one word of the other (Levenshtein's distance). */
static size_t distance(const char *a, const char *b)
{
    size_t row[LONGEST_WORD + 1], length = strlen(b);
    if (length > LONGEST_WORD || strlen(a) > LONGEST_WORD)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < shift ? change : shift;
        }
    }
    return row[length];
}

const char *ht_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; /* so that one slip in a short word is still forgiven */
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, candidates[i]);
        if (d < least) {
            least = d;
            best = candidates[i];
        }
    }
    return best;
}

const char *ht_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}
