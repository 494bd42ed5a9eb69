/*
 * The four pendulum models and the two integrators; see plant.h for their equation.
 *
 * Formulas: repository theSadeQ/dip-smc-pso, simplified and full inertia matrices, and its low-rank
 * plant; the Lagrange form is derived from the energies with both angles against the vertical.
 * Short names follow the usual notation: h1, h2 first moments of mass, s12 = sin(th1 - th2).
 */
#include "plant.h"

#include <math.h>
#include <string.h>

const char *const plant_names[PLANT_KINDS] = {
    [PLANT_SIMPLIFIED] = "simplified",
    [PLANT_FULLM] = "fullM",
    [PLANT_LAGRANGE] = "lagrange",
    [PLANT_LOWRANK] = "lowrank",
};

const char *const integrator_names[INTEGRATOR_KINDS] = {
    [INTEGRATOR_RK4] = "rk4",
    [INTEGRATOR_EULER] = "euler",
};

struct plant plant_make(enum plant_kind kind)
{
    if (kind == PLANT_LOWRANK)
        return (struct plant){.kind = kind,
                              .cart_mass = 1.0,
                              .mass = {0.1, 0.1},
                              .length = {0.5, 0.5},
                              .centre = {0.5, 0.5},
                              .gravity = 9.81,
                              .cart_friction = 0.1,
                              .joint_friction = {0.01, 0.01}};
    return (struct plant){.kind = kind,
                          .cart_mass = 1.5,
                          .mass = {0.2, 0.15},
                          .length = {0.4, 0.3},
                          .centre = {0.2, 0.15},
                          .inertia = {0.0081, 0.0034},
                          .gravity = 9.81,
                          .cart_friction = 0.2,
                          .joint_friction = {0.005, 0.004}};
}

/* What all three matrix models are written in, at one state. */
struct geometry {
    double h1, h2;         /* first moments of mass */
    double a1, a2;         /* moments of inertia: first link with the second's mass at its end */
    double coupling;       /* m2 L1 Lc2 */
    double s1, s2, c1, c2; /* sines and cosines of the angles */
    double s12, c12;       /* of their difference */
};

static struct geometry geometry_at(const struct plant *p, const double x[PLANT_STATES])
{
    const double m1 = p->mass[0], m2 = p->mass[1], l1 = p->length[0];
    const double lc1 = p->centre[0], lc2 = p->centre[1];
    return (struct geometry){
        .h1 = m1 * lc1 + m2 * l1,
        .h2 = m2 * lc2,
        .a1 = m1 * lc1 * lc1 + m2 * l1 * l1 + p->inertia[0],
        .a2 = m2 * lc2 * lc2 + p->inertia[1],
        .coupling = m2 * l1 * lc2,
        .s1 = sin(x[1]),
        .s2 = sin(x[2]),
        .c1 = cos(x[1]),
        .c2 = cos(x[2]),
        .s12 = sin(x[1] - x[2]),
        .c12 = cos(x[1] - x[2]),
    };
}

static void fill_symmetric(double m[PLANT_AXES][PLANT_AXES], double m11, double m12, double m13,
                           double m22, double m23, double m33)
{
    const double rows[PLANT_AXES][PLANT_AXES] = {{m11, m12, m13}, {m12, m22, m23}, {m13, m23, m33}};
    memcpy(m, rows, sizeof(rows));
}

static void inertia_at(const struct plant *p, const struct geometry *g,
                       double m[PLANT_AXES][PLANT_AXES])
{
    const double total = p->cart_mass + p->mass[0] + p->mass[1];
    switch (p->kind) {
    case PLANT_SIMPLIFIED:
        fill_symmetric(m, total, 0.5 * g->h1 * g->c1 + 0.5 * g->h2 * g->c2, 0.5 * g->h2 * g->c2,
                       g->a1 + g->a2, 0.8 * g->a2, g->a2);
        break;
    case PLANT_FULLM:
        fill_symmetric(m, total, g->h1 * g->c1 + g->h2 * g->c2, g->h2 * g->c2,
                       g->a1 + g->a2 + 2 * g->coupling * g->c12, g->a2 + g->coupling * g->c12,
                       g->a2);
        break;
    default:
        fill_symmetric(m, total, g->h1 * g->c1, g->h2 * g->c2, g->a1, g->coupling * g->c12, g->a2);
    }
}

/* C qd + G as the repository has it, the same for simplified and fullM. */
static void repository_bias(const struct plant *p, const struct geometry *g,
                            const double x[PLANT_STATES], double bias[PLANT_AXES])
{
    const double v = x[3], w1 = x[4], w2 = x[5], k = g->coupling * g->s12;
    const double gravity1 = g->h1 * p->gravity * g->s1, gravity2 = g->h2 * p->gravity * g->s2;
    bias[0] = p->cart_friction * v + (-g->h1 * g->s1 * w1 - g->h2 * g->s2 * w2) * w1 -
              g->h2 * g->s2 * w2 * w2;
    bias[1] = (p->joint_friction[0] - k * w2) * w1 - k * w2 * w2 - gravity1 - gravity2;
    bias[2] = k * w1 * w1 + p->joint_friction[1] * w2 - gravity2;
}

static void lagrange_bias(const struct plant *p, const struct geometry *g,
                          const double x[PLANT_STATES], double bias[PLANT_AXES])
{
    const double v = x[3], w1 = x[4], w2 = x[5], k = g->coupling * g->s12;
    const double drag1 = p->joint_friction[0] * w1, drag2 = p->joint_friction[1] * (w2 - w1);
    bias[0] = p->cart_friction * v - g->h1 * g->s1 * w1 * w1 - g->h2 * g->s2 * w2 * w2;
    bias[1] = drag1 - drag2 + k * w2 * w2 - g->h1 * p->gravity * g->s1;
    bias[2] = drag2 - k * w1 * w1 - g->h2 * p->gravity * g->s2;
}

bool plant_terms(const struct plant *plant, const double x[PLANT_STATES],
                 double inertia[PLANT_AXES][PLANT_AXES], double bias[PLANT_AXES])
{
    if (plant->kind == PLANT_LOWRANK)
        return false;
    const struct geometry geometry = geometry_at(plant, x);
    inertia_at(plant, &geometry, inertia);
    if (plant->kind == PLANT_LAGRANGE)
        lagrange_bias(plant, &geometry, x, bias);
    else
        repository_bias(plant, &geometry, x, bias);
    return true;
}

bool plant_solve(const double matrix[PLANT_AXES][PLANT_AXES], const double r[PLANT_AXES],
                 double y[PLANT_AXES])
{
    double a[PLANT_AXES][PLANT_AXES + 1];
    for (int i = 0; i < PLANT_AXES; i++) {
        memcpy(a[i], matrix[i], sizeof(matrix[i]));
        a[i][PLANT_AXES] = r[i];
    }
    for (int column = 0; column < PLANT_AXES; column++) {
        int pivot = column;
        for (int i = column + 1; i < PLANT_AXES; i++)
            if (fabs(a[i][column]) > fabs(a[pivot][column]))
                pivot = i;
        if (!(fabs(a[pivot][column]) > 0))
            return false;
        for (int j = 0; j <= PLANT_AXES; j++) {
            const double swap = a[column][j];
            a[column][j] = a[pivot][j];
            a[pivot][j] = swap;
        }
        for (int i = column + 1; i < PLANT_AXES; i++) {
            const double factor = a[i][column] / a[column][column];
            for (int j = column; j <= PLANT_AXES; j++)
                a[i][j] -= factor * a[column][j];
        }
    }
    for (int i = PLANT_AXES - 1; i >= 0; i--) {
        double sum = a[i][PLANT_AXES];
        for (int j = i + 1; j < PLANT_AXES; j++)
            sum -= a[i][j] * y[j];
        y[i] = sum / a[i][i];
    }
    return true;
}

/* The low-rank plant: linear about upright, each link driven by the cart's acceleration. */
static void lowrank_acceleration(const struct plant *p, const double x[PLANT_STATES], double u,
                                 double qdd[PLANT_AXES])
{
    double weight[2], total = p->cart_mass;
    for (int i = 0; i < 2; i++) {
        weight[i] = p->mass[i] * p->gravity * p->length[i] * x[1 + i];
        total += p->mass[i];
    }
    qdd[0] = (u - p->cart_friction * x[3] - weight[0] - weight[1]) / total;
    for (int i = 0; i < 2; i++) {
        const double moment = p->mass[i] * p->length[i];
        qdd[1 + i] = (weight[i] + moment * qdd[0] - p->joint_friction[i] * x[4 + i]) /
                     (moment * p->length[i]);
    }
}

bool plant_rate(const struct plant *plant, const double x[PLANT_STATES], double u,
                double rate[PLANT_STATES])
{
    double inertia[PLANT_AXES][PLANT_AXES], bias[PLANT_AXES], qdd[PLANT_AXES];
    if (plant_terms(plant, x, inertia, bias)) {
        const double force[PLANT_AXES] = {u - bias[0], -bias[1], -bias[2]};
        if (!plant_solve(inertia, force, qdd))
            return false;
    } else {
        lowrank_acceleration(plant, x, u, qdd);
    }
    for (int i = 0; i < PLANT_AXES; i++) {
        rate[i] = x[PLANT_AXES + i];
        rate[PLANT_AXES + i] = qdd[i];
    }
    return true;
}

static void move_along(const double x[PLANT_STATES], double dt, const double rate[PLANT_STATES],
                       double y[PLANT_STATES])
{
    for (int i = 0; i < PLANT_STATES; i++)
        y[i] = x[i] + dt * rate[i];
}

/* The classical Runge-Kutta rule: its mean of four slopes goes to `rate`. */
static bool runge_kutta_rate(const struct plant *plant, const double x[PLANT_STATES], double u,
                             double dt, double rate[PLANT_STATES])
{
    double k[4][PLANT_STATES], y[PLANT_STATES];
    static const double reach[4] = {0, 0.5, 0.5, 1};
    for (int stage = 0; stage < 4; stage++) {
        if (stage == 0)
            memcpy(y, x, sizeof(y));
        else
            move_along(x, reach[stage] * dt, k[stage - 1], y);
        if (!plant_rate(plant, y, u, k[stage]))
            return false;
    }
    for (int i = 0; i < PLANT_STATES; i++)
        rate[i] = (k[0][i] + 2 * k[1][i] + 2 * k[2][i] + k[3][i]) / 6;
    return true;
}

bool plant_step(const struct plant *plant, enum integrator integrator, double x[PLANT_STATES],
                double u, double dt)
{
    double rate[PLANT_STATES], next[PLANT_STATES];
    if (!(fabs(u) < 1000))
        return false;
    const bool known = integrator == INTEGRATOR_RK4 ? runge_kutta_rate(plant, x, u, dt, rate)
                                                    : plant_rate(plant, x, u, rate);
    if (!known)
        return false;
    move_along(x, dt, rate, next);
    for (int i = 0; i < PLANT_STATES; i++)
        if (!isfinite(next[i]))
            return false;
    memcpy(x, next, sizeof(next));
    return true;
}
