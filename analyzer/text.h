/*
 * Text for people: messages, numbers, names that fit a column.
 *
 * Every string that comes out of a snapshot or of a program's symbols is untrusted: `ht_clean`
 * makes it valid UTF-8 without control characters when it enters the model, so that nothing printed
 * later can move the cursor, and every string is fit for JSON.
 */
#ifndef HEAPTALLY_ANALYZER_TEXT_H
#define HEAPTALLY_ANALYZER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The exit status of a failure that no caller handles (out of memory). `run` sets it to 125. */
extern int ht_failure_status;

/* Whether what heaptally itself writes may be more than ASCII. `main` sets it by the locale. */
extern bool ht_utf8;

/* Prints "heaptally: MESSAGE" as one line on stderr; control characters become '?'. */
void ht_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* malloc, calloc and realloc that end the command with one line when there is no memory. */
void *ht_allocate(size_t size);
void *ht_allocate_zeroed(size_t count, size_t size);
void *ht_reallocate(void *old, size_t count, size_t size);

/*
 * Makes room for one element more in an array of `count` elements of `size` bytes: returns the
 * array, moved or not. Capacities are powers of two, so that only `count` needs to be kept.
 */
void *ht_room_for_one(void *array, size_t count, size_t size);

/* A new NUL-terminated string: bytes that are no UTF-8 and control characters become U+FFFD. */
char *ht_clean(const void *bytes, size_t length);

/* A new string as by printf; never NULL. */
char *ht_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Columns that a UTF-8 string takes on a terminal. */
size_t ht_columns(const char *text);

/*
 * A new string of at most `columns` columns (at least 1): `text` itself where it fits, else with
 * its middle replaced by "…" ("~" in ASCII). The beginning keeps one column more than the end where
 * they differ.
 */
char *ht_elide(const char *text, size_t columns);

/* Numbers as text, held in a ring of eight static buffers: use up to eight in one printf. */
const char *ht_grouped(uint64_t number);                /* 1,234,567 */
const char *ht_grouped_real(double number, int places); /* 1,234.5; "unknown" for NaN */
const char *ht_mb(double value);                        /* 19.53, <0.01; "-" for NaN */
const char *ht_ratio(double ratio);                     /* 19.5, 1,950: three digits or more */
const char *ht_duration(double seconds);                /* 1.2 s, 3 min 4 s, 5 h 6 min, 7 d 8 h */

/* "noun" with a plural s unless the number is one: "1 block", "1,000 blocks". Same ring. */
const char *ht_counted(uint64_t number, const char *noun);

/* The candidate nearest to `word`, or NULL where none is near enough to be meant. */
const char *ht_nearest(const char *word, const char *const *candidates, size_t count);

/* The part of a path behind its last '/'. */
const char *ht_base_name(const char *path);

/*
 * Prints words, folded at `width` columns: the first line behind what stands there already (`used`
 * columns), the following ones behind `indent` blanks. A word that fits no line loses its middle.
 * Ends with a newline.
 */
void ht_print_folded(FILE *out, const char *text, size_t width, size_t used, size_t indent);

#endif
