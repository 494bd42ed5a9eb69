/*
 * The four laws as one table for the tests, with each its three kinds of configuration. The fifth
 * entry is the super-twisting law with the second set of gains that the golden data have.
 */
#ifndef TESTS_FOUR_LAWS_H
#define TESTS_FOUR_LAWS_H

#include "law.h"

enum { LAW_CLASSICAL, LAW_STA, LAW_STA_SECOND, LAW_ADAPTIVE, LAW_HYBRID, LAWS };

/* How to build a controller; what is zero stays as the law's own configuration has it. */
struct law_request {
    const struct surface *standing; /* NULL: the law's own surface and gains */
    const struct plant *model;
    struct history_shape history;
    enum leak_mode leak;
    struct ledger *ledger;
    double dt; /* s; 0 for the law's own */
};

struct law_entry {
    const char *config;  /* name in the golden data */
    const char *law;     /* prefix of the law's functions */
    size_t row_doubles;  /* in a row of history */
    size_t states;       /* used in struct control */
    size_t create_bytes; /* of the one block of create */
    size_t own_bytes;    /* of create and initialise: all but the history's rows */
    size_t own_blocks;
    void *(*create)(const struct law_request *request);
    bool (*initialise)(void *controller);
    struct control (*compute)(void *controller, const double x[PLANT_STATES]);
    void (*cleanup)(void *controller);
    void (*destroy)(void *controller);
    const struct history *(*history)(const void *controller);
};

/* The table, of LAWS entries. */
const struct law_entry *four_laws(void);

/* Create and initialise, which must succeed. */
void *law_build(const struct law_entry *law, const struct law_request *request);

/* Cleanup and destroy. */
void law_end(const struct law_entry *law, void *controller);

#endif
