/*
 * What the JSON formats share: values that may be unknown (null, never 0), the block of a process,
 * and stacks. Documents are streamed: a block is made, written without blanks and forgotten, so
 * that memory does not follow the size of the document.
 *
 * The frames of one place (module, offset) are put into words once and kept as text: stacks are
 * many and alike, places few.
 */
#ifndef HEAPTALLY_ANALYZER_JSON_PARTS_H
#define HEAPTALLY_ANALYZER_JSON_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "profile.h"
#include "symbolize.h"

/* New references. */
json_t *ht_json_number(uint64_t value); /* null where no signed number holds it */
json_t *ht_json_number_if(bool known, uint64_t value);
json_t *ht_json_real(double value);           /* null for NaN and infinities */
json_t *ht_json_megabytes(uint64_t bytes);    /* null for HTL_UNKNOWN */
json_t *ht_json_text(const char *value);      /* null for NULL and "" */
json_t *ht_json_moment(uint64_t realtime_ns); /* 2025-01-31T23:59:59.123Z; null for 0 */
json_t *ht_json_process(const struct ht_profile *profile);

/* Writes a value without blanks and gives it back. */
void ht_json_put(FILE *out, json_t *value);

/* The same without the outermost braces, so that more can follow in the same object. */
void ht_json_put_inner(FILE *out, json_t *value);

/* Places in words; see above. Keeps pointers to modules of the symbolizer's profile. */
struct ht_json_places;
struct ht_json_places *ht_json_places_new(struct ht_symbolizer *symbolizer);
void ht_json_places_free(struct ht_json_places *places);

/* Writes the array of frames of a stack, innermost first. */
void ht_json_put_stack(FILE *out, struct ht_json_places *places, const struct ht_stack *stack);

#endif
