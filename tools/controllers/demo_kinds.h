/*
 * The four kinds of controller as one table, so that the demo's loop treats them alike.
 *
 * demo_kinds.c is the only file that differs between the two builds of the demo: built with
 * -DUSE_HEAPTALLY it marks constructions, steps and cycles with heaptally.h, else the controllers
 * run unmodified. Nothing but a controller's own work happens inside a mark.
 */
#ifndef CONTROLLERS_DEMO_KINDS_H
#define CONTROLLERS_DEMO_KINDS_H

#include "law.h"

enum demo_kind_index { DEMO_CLASSICAL, DEMO_STA, DEMO_ADAPTIVE, DEMO_HYBRID, DEMO_KINDS };

/* How one controller is to be built. */
struct demo_build {
    const struct surface *standing; /* NULL: the law's own surface and gains */
    struct history_shape history;
    enum leak_mode leak;
    size_t warm_up_bytes; /* sta only: see sta.h */
};

struct demo_kind {
    const char *name;
    struct ledger *ledger;
    /* Create and initialise; NULL, with nothing left behind, if memory ran out. */
    void *(*construct)(const struct demo_build *build);
    struct control (*step)(void *controller, const double x[PLANT_STATES]);
    void (*cleanup)(void *controller);
    void (*destroy)(void *controller);
};

extern const struct demo_kind demo_kinds[DEMO_KINDS];

#endif
