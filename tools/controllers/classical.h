/*
 * Classical sliding-mode control with a boundary layer:
 *
 *     u = clip(u_eq - K sat(sigma / eps) - kd sigma, +-max_force),   eps = eps0 + eps1 |sigma|
 *
 * Formulas: repository theSadeQ/dip-smc-pso, classical law. No memory from step to step.
 */
#ifndef CONTROLLERS_CLASSICAL_H
#define CONTROLLERS_CLASSICAL_H

#include "law.h"

/* One row of history. */
enum {
    CLASSICAL_SIGMA,
    CLASSICAL_EPSILON,
    CLASSICAL_U_EQ,
    CLASSICAL_U_ROBUST,
    CLASSICAL_U_TOTAL,
    CLASSICAL_U,
    CLASSICAL_ROW,
};

struct classical_config {
    struct law_options options;
    double gain;           /* K, N */
    double linear_gain;    /* kd */
    double boundary_layer; /* eps0 */
    double boundary_slope; /* eps1 */
    double hysteresis;     /* share of eps0 within which there is no switching */
    double max_force;      /* N */
};

struct classical; /* one controller; used by one thread at a time */

/* The tuned gains of the repository's configuration. The options' ledger is still to be set. */
struct classical_config classical_tuned(void);

/* The same with a standing surface and linear gain 20; see surface.h. */
struct classical_config classical_standing(const struct surface *standing);

/* A new controller, or NULL if memory ran out or a gain or the history's shape is impossible. */
struct classical *classical_create(const struct classical_config *config);

/* Allocates what compute needs. False if memory ran out; cleanup and destroy are still due. */
bool classical_initialise(struct classical *controller);

/* One step from state x. If memory runs out the step is right, and its row of history is lost. */
struct control classical_compute(struct classical *controller, const double x[PLANT_STATES]);

/* Releases what initialise and compute allocated, except what its leak mode forgets. */
void classical_cleanup(struct classical *controller);

/* Releases the controller itself, unless its leak mode forgets that. NULL is allowed. */
void classical_destroy(struct classical *controller);

/* Its history, for reading; NULL before initialise and after cleanup. */
const struct history *classical_history(const struct classical *controller);

/* Size of the block that create allocates, for tests that add up bytes. */
size_t classical_size(void);

#endif
