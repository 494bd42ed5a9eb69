/*
 * Super-twisting sliding-mode control:
 *
 *     u  = clip(u_eq - K1 sqrt|sigma| sat(sigma / eps) + z - d sigma, +-max_force)
 *     z' = clip(z - K2 sat(sigma / eps) dt + Kaw (u - u before clipping) dt, +-max_force)
 *
 * Formulas: repository theSadeQ/dip-smc-pso, super-twisting law. Its memory is (z, sigma).
 */
#ifndef CONTROLLERS_STA_H
#define CONTROLLERS_STA_H

#include "law.h"

/* One row of history. */
enum {
    STA_SIGMA,
    STA_Z,
    STA_U,
    STA_U_EQ,
    STA_ROW,
};

struct sta_config {
    struct law_options options;
    double root_gain;      /* K1 */
    double integral_gain;  /* K2 */
    double damping;        /* d */
    double anti_windup;    /* Kaw */
    double boundary_layer; /* eps */
    double dt;             /* s */
    double max_force;      /* N */
    size_t warm_up_bytes;  /* block that the program's first step allocates and keeps, 0 for none */
};

struct sta; /* one controller; used by one thread at a time */

/* The tuned gains of the repository's configuration. The options' ledger is still to be set. */
struct sta_config sta_tuned(void);

/* The same with a standing surface and damping 20; see surface.h. */
struct sta_config sta_standing(const struct surface *standing);

/* A new controller, or NULL if memory ran out or a gain or the history's shape is impossible. */
struct sta *sta_create(const struct sta_config *config);

/* Allocates what compute needs. False if memory ran out; cleanup and destroy are still due. */
bool sta_initialise(struct sta *controller);

/* One step from state x. If memory runs out the step is right, and its row of history is lost. */
struct control sta_compute(struct sta *controller, const double x[PLANT_STATES]);

/* Releases what initialise and compute allocated, except what its leak mode forgets. */
void sta_cleanup(struct sta *controller);

/* Releases the controller itself, unless its leak mode forgets that. NULL is allowed. */
void sta_destroy(struct sta *controller);

/* Its history, for reading; NULL before initialise and after cleanup. */
const struct history *sta_history(const struct sta *controller);

/* Size of the block that create allocates, for tests that add up bytes. */
size_t sta_size(void);

#endif
