/*
 * Adaptive sliding-mode control:
 *
 *     u  = clip(-K sat(sigma / eps) - alpha sigma, +-max_force)
 *     dK = gamma |sigma| - leak (K - K_init), limited in rate; 0 within the dead zone
 *
 * Formulas: repository theSadeQ/dip-smc-pso, adaptive law. Its memory is (K, last u, seconds for
 * which |sigma| has stayed within eps).
 */
#ifndef CONTROLLERS_ADAPTIVE_H
#define CONTROLLERS_ADAPTIVE_H

#include "law.h"

/* One row of history. */
enum {
    ADAPTIVE_GAIN,
    ADAPTIVE_SIGMA,
    ADAPTIVE_U_SWITCH,
    ADAPTIVE_GAIN_RATE,
    ADAPTIVE_TIME_IN_SLIDING,
    ADAPTIVE_ROW,
};

struct adaptive_config {
    struct law_options options;
    double initial_gain, least_gain, most_gain; /* K, N */
    double gamma;                               /* growth of K */
    double leak_rate;                           /* 1/s, of K towards its initial value */
    double rate_limit;                          /* of K, N/s */
    double dead_zone;                           /* |sigma| within which K rests */
    double alpha;                               /* linear gain */
    double boundary_layer;                      /* eps */
    bool smooth;                                /* switch by tanh, else by a ramp */
    double dt;                                  /* s */
    double max_force;                           /* N */
};

struct adaptive; /* one controller; used by one thread at a time */

/* The tuned gains of the repository's configuration. The options' ledger is still to be set. */
struct adaptive_config adaptive_tuned(void);

/* The same with a standing surface, linear gain 20 and initial gain 1; see surface.h. */
struct adaptive_config adaptive_standing(const struct surface *standing);

/* A new controller, or NULL if memory ran out or a gain or the history's shape is impossible. */
struct adaptive *adaptive_create(const struct adaptive_config *config);

/* Allocates what compute needs. False if memory ran out; cleanup and destroy are still due. */
bool adaptive_initialise(struct adaptive *controller);

/* One step from state x. If memory runs out the step is right, and its row of history is lost. */
struct control adaptive_compute(struct adaptive *controller, const double x[PLANT_STATES]);

/* Releases what initialise and compute allocated, except what its leak mode forgets. */
void adaptive_cleanup(struct adaptive *controller);

/* Releases the controller itself, unless its leak mode forgets that. NULL is allowed. */
void adaptive_destroy(struct adaptive *controller);

/* Its history, for reading; NULL before initialise and after cleanup. */
const struct history *adaptive_history(const struct adaptive *controller);

/* Size of the block that create allocates, for tests that add up bytes. */
size_t adaptive_size(void);

#endif
