/*
 * The sliding surface: one number from the state, zero where the controller wants to be.
 *
 * It is apart from the laws so that each law runs unchanged on two surfaces: its own, as in the
 * repository theSadeQ/dip-smc-pso, on which none of these pendulums stays up, and the "standing"
 * one, sigma = S . x with S in the direction of a linear-quadratic regulator, on which all do.
 */
#ifndef CONTROLLERS_SURFACE_H
#define CONTROLLERS_SURFACE_H

#include "plant.h"

enum surface_form {
    SURFACE_WEIGHTED, /* lam1 th1 + lam2 th2 + k1 w1 + k2 w2               (classical) */
    SURFACE_SLOPED,   /* k1 (w1 + lam1 th1) + k2 (w2 + lam2 th2)           (sta, adaptive) */
    SURFACE_CART,     /* -(sloped - cart_gain (xdot + cart_lambda x))      (hybrid) */
    SURFACE_LINEAR,   /* S . x                                             (standing) */
};

struct surface {
    enum surface_form form;
    double k[2], lambda[2];
    double cart_gain, cart_lambda; /* SURFACE_CART only */
    bool relative;                 /* SURFACE_CART: the second link against the first */
    double weights[PLANT_STATES];  /* SURFACE_LINEAR only: S */
};

/* The value of the surface at x. */
double surface_value(const struct surface *surface, const double x[PLANT_STATES]);

/*
 * The surface as rows for the equivalent control: `onto_rates` multiplies [xdot, w1, w2], and
 * `onto_positions` multiplies the same rates where the surface holds positions. The laws' own
 * surfaces give [0, k1, k2] and [0, k1 lam1, k2 lam2] (also the weighted one: the repository's
 * formula is the same for all).
 */
void surface_rows(const struct surface *surface, double onto_rates[PLANT_AXES],
                  double onto_positions[PLANT_AXES]);

/*
 * The surface on which every law holds this plant upright. False, with `surface` untouched, if
 * none is known (lowrank).
 */
bool surface_standing(enum plant_kind kind, struct surface *surface);

#endif
