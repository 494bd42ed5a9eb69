/*
 * Hybrid adaptive super-twisting sliding-mode control: a super-twisting law whose two gains adapt,
 * with damping and a force that brings the cart back:
 *
 *     u  = clip(-k1 sqrt|s| sgn s + u_int - d s + u_cart + u_eq, +-max_force)
 *     k' = gamma |s| * |s| / (|s| + taper) / (1 + 0.01 max(0, n - 1000)) - leak
 *
 * where n is the number of steps computed since initialise. It is counted by itself: in the
 * original it is the length of the history, so that whoever trims the history changes the law.
 *
 * Formulas: repository theSadeQ/dip-smc-pso, hybrid adaptive super-twisting law. Its memory is
 * (k1, k2, u_int).
 */
#ifndef CONTROLLERS_HYBRID_H
#define CONTROLLERS_HYBRID_H

#include "law.h"

/* One row of history. */
enum {
    HYBRID_K1,
    HYBRID_K2,
    HYBRID_U_INT,
    HYBRID_S,
    HYBRID_ROW,
};

struct hybrid_config {
    struct law_options options;
    double initial_gain[2], most_gain[2]; /* k1, k2 */
    double gamma[2];                      /* growth of k1, k2 */
    double leak;                          /* of both gains, 1/s */
    double rate_limit;                    /* of both gains, 1/s */
    double most_integral;                 /* bound of u_int, N */
    double damping;                       /* d */
    double dead_zone;                     /* |s| within which nothing adapts */
    double sign_width;                    /* width of the smooth sign */
    double taper;                         /* |s| at which adaptation is at half its speed */
    double saturated_rest;                /* |s| below which a saturated law stops adapting */
    bool cart_force;                      /* whether u_cart acts */
    double cart_gain, cart_slope;         /* of u_cart */
    double cart_near, cart_far;           /* |x| from which, and at which fully, it acts, m */
    double dt;                            /* s */
    double max_force;                     /* N */
};

struct hybrid; /* one controller; used by one thread at a time */

/* The tuned gains of the repository's configuration. The options' ledger is still to be set. */
struct hybrid_config hybrid_tuned(void);

/* The same with a standing surface, damping 20 and no cart force; see surface.h. */
struct hybrid_config hybrid_standing(const struct surface *standing);

/* A new controller, or NULL if memory ran out or a gain or the history's shape is impossible. */
struct hybrid *hybrid_create(const struct hybrid_config *config);

/* Allocates what compute needs. False if memory ran out; cleanup and destroy are still due. */
bool hybrid_initialise(struct hybrid *controller);

/* One step from state x. If memory runs out the step is right, and its row of history is lost. */
struct control hybrid_compute(struct hybrid *controller, const double x[PLANT_STATES]);

/* Releases what initialise and compute allocated, except what its leak mode forgets. */
void hybrid_cleanup(struct hybrid *controller);

/* Releases the controller itself, unless its leak mode forgets that. NULL is allowed. */
void hybrid_destroy(struct hybrid *controller);

/* Its history, for reading; NULL before initialise and after cleanup. */
const struct history *hybrid_history(const struct hybrid *controller);

/* Size of the block that create allocates, for tests that add up bytes. */
size_t hybrid_size(void);

#endif
