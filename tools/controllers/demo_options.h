/* The demo's command line. */
#ifndef CONTROLLERS_DEMO_OPTIONS_H
#define CONTROLLERS_DEMO_OPTIONS_H

#include <stdint.h>

#include "demo_kinds.h"

struct demo_options {
    enum leak_mode leak[DEMO_KINDS];
    uint64_t constructions; /* of each kind, the one that stays in service included */
    uint64_t steps;         /* of each controller, and of those in service meanwhile */
    uint64_t duration_ns;   /* over which the constructions are spread; 0: no pauses */
    enum plant_kind plant;
    enum integrator integrator;
    bool own_surface;             /* the laws' own surfaces, which do not stand */
    struct history_shape history; /* its bound is that of the controllers in service */
    size_t warm_up_bytes;         /* 0: no warm-up block */
    const char *truth;            /* file for the ledgers, "-" for stderr, NULL for none */
};

/*
 * Reads the command line. Returns -1 to go on, else the exit status: 0 after --help, 2 after a
 * usage error, which is told on stderr. Allocates nothing; `truth` points into argv.
 */
int demo_options_read(int argc, char *argv[], struct demo_options *options);

#endif
