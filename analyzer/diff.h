/*
 * What grew between two snapshots: of one process, of two runs, of two builds, of two hosts.
 *
 * Controllers are matched by name. Call sites are matched by their functions and modules, not by
 * addresses and not by lines: two runs lie at different addresses, and a program that was built
 * anew has moved lines. Call sites that are alike by this are added up. In particular
 *
 *   - inlined functions count as functions, so that inlining does not change a call site;
 *   - what compilers append to the names of parts and clones of functions is left out;
 *   - the program is the program, whatever it is called; a library is its name without version;
 *   - a frame without a name is module and offset; one outside any module is "outside".
 *
 * What is known by its immediate caller only (fallback) differs from run to run, with the moments
 * at which stacks became known. So where it shrank and call sites of the same caller grew, or the
 * other way round, the smaller of the two is no growth but has *moved*. So has what a file of a
 * killed process did not list any more, as far as its controller did not grow by it.
 */
#ifndef HEAPTALLY_ANALYZER_DIFF_H
#define HEAPTALLY_ANALYZER_DIFF_H

#include <stdbool.h>
#include <stdio.h>

#include "profile.h"
#include "symbolize.h"

struct ht_diff_site {
    const struct ht_stack *stack; /* the one of those alike that changed most; NULL: not listed */
    uint64_t old_bytes, new_bytes;
    int64_t growth_bytes, growth_blocks; /* new minus old, without what moved */
};

struct ht_diff_controller {
    const char *tag;
    const struct ht_tag *old_tag, *new_tag; /* NULL where it is not there */
    uint64_t old_bytes, new_bytes;
    int64_t growth_bytes, growth_blocks; /* the sum of its sites' */
    int64_t moved_bytes;                 /* new minus old minus growth */
    struct ht_diff_site *sites;          /* those that changed, by growth, falling */
    size_t site_count;
};

struct ht_diff {
    const struct ht_profile *old_profile, *new_profile;
    struct ht_symbolizer *symbolizer;       /* of both */
    struct ht_diff_controller *controllers; /* those that changed, by growth, falling */
    size_t controller_count;
    size_t controllers_compared, sites_compared;
    int64_t growth_bytes, growth_blocks;
    uint64_t moved_bytes; /* in all */
    bool same_process;    /* the two are moments of one process */
    double seconds;       /* between these; NaN for two processes */
};

/*
 * Compares. Frames of `new_profile` come to point to modules of `old_profile` where these are the
 * same; both, and the symbolizer, must outlive the diff.
 */
void ht_diff_make(struct ht_profile *old_profile, struct ht_profile *new_profile,
                  struct ht_symbolizer *symbolizer, struct ht_diff *diff);
void ht_diff_clear(struct ht_diff *diff);

/* Whether anything shrank or grew. */
bool ht_diff_is_empty(const struct ht_diff *diff);

void ht_diff_text(const struct ht_diff *diff, size_t width, FILE *out);
void ht_diff_json(const struct ht_diff *diff, size_t width, FILE *out); /* width is not looked at */
void ht_diff_html(const struct ht_diff *diff, size_t width, FILE *out); /* the same */

/*
 * Words for people, new strings: the first line; a file; all growth, with the rate where both files
 * are of one process; what speaks against trusting it, "" for nothing; the place to blame.
 */
char *ht_diff_verdict(const struct ht_diff *diff);
char *ht_diff_process_text(const struct ht_profile *profile);
char *ht_diff_growth_text(const struct ht_diff *diff);
char *ht_diff_doubt_text(const struct ht_diff *diff);
char *ht_diff_site_text(const struct ht_diff *diff, const struct ht_diff_site *site);
char *ht_signed_text(int64_t number);                /* "+1,234", "-1,234", "0" */
char *ht_growth_text(int64_t bytes, int64_t blocks); /* "+1,234 bytes, -1 block" */

#endif
