/*
 * Plant: the double inverted pendulum on a cart, as state x = [x, th1, th2, xdot, th1dot, th2dot]
 * in m, rad, m/s and rad/s. Upright is zero; the input u is the horizontal force on the cart in N.
 *
 * Four models share one form, M(q) qdd + b(q, qd) = [u, 0, 0], where b = C(q, qd) qd + G(q):
 *
 *   simplified  the default plant of the repository theSadeQ/dip-smc-pso (inertia with factors)
 *   fullM       its plant with the whole inertia matrix
 *   lagrange    the pendulum derived by Lagrange with absolute angles; not in that repository
 *   lowrank     its linearised low-order plant, which is given as accelerations, without a matrix
 *
 * simplified and fullM mix absolute and relative angles, so their energy is not conserved: they
 * are kept as they are because controllers of that repository are tuned on them.
 *
 * Nothing here allocates or keeps state.
 */
#ifndef CONTROLLERS_PLANT_H
#define CONTROLLERS_PLANT_H

#include <stdbool.h>

enum { PLANT_STATES = 6, PLANT_AXES = 3 };

enum plant_kind { PLANT_SIMPLIFIED, PLANT_FULLM, PLANT_LAGRANGE, PLANT_LOWRANK, PLANT_KINDS };

enum integrator { INTEGRATOR_RK4, INTEGRATOR_EULER, INTEGRATOR_KINDS };

struct plant {
    enum plant_kind kind;
    double cart_mass, mass[2];   /* kg */
    double length[2], centre[2]; /* m: joint to joint, joint to centre of mass */
    double inertia[2];           /* kg m^2, about the centre of mass */
    double gravity;              /* m/s^2 */
    double cart_friction;        /* N s/m */
    double joint_friction[2];    /* N m s/rad */
};

extern const char *const plant_names[PLANT_KINDS];
extern const char *const integrator_names[INTEGRATOR_KINDS];

/* The plant with the parameters that the repository's configuration gives for that kind. */
struct plant plant_make(enum plant_kind kind);

/* M and b of the equation above, at x. False, with both untouched, for a plant without a matrix. */
bool plant_terms(const struct plant *plant, const double x[PLANT_STATES],
                 double inertia[PLANT_AXES][PLANT_AXES], double bias[PLANT_AXES]);

/* dx/dt under force u. False, with `rate` untouched, if M is singular there. */
bool plant_rate(const struct plant *plant, const double x[PLANT_STATES], double u,
                double rate[PLANT_STATES]);

/*
 * One step of dt seconds with u held. False, with x unchanged, if u is not a force below 1000 N or
 * the step would leave the finite numbers.
 */
bool plant_step(const struct plant *plant, enum integrator integrator, double x[PLANT_STATES],
                double u, double dt);

/*
 * Solves M y = r by elimination with partial pivoting. False if M is singular.
 */
bool plant_solve(const double matrix[PLANT_AXES][PLANT_AXES], const double r[PLANT_AXES],
                 double y[PLANT_AXES]);

#endif
