/*
 * What the call sites of a page have in common, once each:
 *
 *   strings    names of functions, files and modules
 *   functions  (name, file, line, module, offset, flags), of each place that was symbolised
 *   nodes      the tree of all stacks from the outside in: (parent, function)
 *
 * so that a call site is one number: the node of its innermost frame. Callers that many sites share
 * are there once, which keeps a page of thousands of stacks small.
 */
#ifndef HEAPTALLY_ANALYZER_PAGE_TABLES_H
#define HEAPTALLY_ANALYZER_PAGE_TABLES_H

#include "page_json.h"
#include "profile.h"
#include "symbolize.h"

#define HT_NO_NODE (-1) /* of a call site that is known by its tag only */

struct ht_page_tables;

/* The symbolizer must outlive the tables. */
struct ht_page_tables *ht_page_tables_new(struct ht_symbolizer *symbolizer);

/* The node of a stack's innermost frame, made where it is new; HT_NO_NODE without frames. */
int64_t ht_page_stack(struct ht_page_tables *tables, const struct ht_stack *stack);

/* Three members: "strings", "functions", "nodes". */
void ht_page_tables_write(const struct ht_page_tables *tables, struct ht_page_json *json);

void ht_page_tables_free(struct ht_page_tables *tables);

#endif
