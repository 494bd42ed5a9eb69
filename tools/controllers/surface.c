/*
 * Values and rows of the four forms of surface; see surface.h.
 *
 * Formulas of the first three: repository theSadeQ/dip-smc-pso, classical, super-twisting,
 * adaptive and hybrid adaptive super-twisting law. The standing weights are the gain K / 20 of a
 * linear-quadratic regulator with Q = diag(1, 10, 10, 0.1, 0.5, 0.5) and R = 0.01 on each plant
 * linearised about upright.
 */
#include "surface.h"

#include <string.h>

static double sloped(const struct surface *s, double th1, double th2, double w1, double w2)
{
    return s->k[0] * (w1 + s->lambda[0] * th1) + s->k[1] * (w2 + s->lambda[1] * th2);
}

double surface_value(const struct surface *s, const double x[PLANT_STATES])
{
    const double th1 = x[1], th2 = x[2], w1 = x[4], w2 = x[5];
    double sum = 0;
    switch (s->form) {
    case SURFACE_WEIGHTED:
        return s->lambda[0] * th1 + s->lambda[1] * th2 + s->k[0] * w1 + s->k[1] * w2;
    case SURFACE_SLOPED:
        return sloped(s, th1, th2, w1, w2);
    case SURFACE_CART:
        sum = s->relative ? sloped(s, th1, th2 - th1, w1, w2 - w1) : sloped(s, th1, th2, w1, w2);
        return -(sum - s->cart_gain * (x[3] + s->cart_lambda * x[0]));
    case SURFACE_LINEAR:
        break;
    }
    for (int i = 0; i < PLANT_STATES; i++)
        sum += s->weights[i] * x[i];
    return sum;
}

void surface_rows(const struct surface *s, double onto_rates[PLANT_AXES],
                  double onto_positions[PLANT_AXES])
{
    if (s->form == SURFACE_LINEAR) {
        memcpy(onto_positions, s->weights, PLANT_AXES * sizeof(double));
        memcpy(onto_rates, s->weights + PLANT_AXES, PLANT_AXES * sizeof(double));
        return;
    }
    onto_rates[0] = onto_positions[0] = 0;
    for (int i = 0; i < 2; i++) {
        onto_rates[1 + i] = s->k[i];
        onto_positions[1 + i] = s->k[i] * s->lambda[i];
    }
}

bool surface_standing(enum plant_kind kind, struct surface *surface)
{
    static const double weights[PLANT_KINDS][PLANT_STATES] = {
        [PLANT_SIMPLIFIED] = {0.5, -57.2728, 66.7662, 0.7655, -7.4501, 11.2423},
        [PLANT_FULLM] = {0.5, -6.3055, 11.7642, 0.8110, 0.8382, 1.6397},
        [PLANT_LAGRANGE] = {0.5, -20.2364, 25.7261, 0.8129, -0.7457, 3.5239},
    };
    if (kind == PLANT_LOWRANK)
        return false;
    *surface = (struct surface){.form = SURFACE_LINEAR};
    memcpy(surface->weights, weights[kind], sizeof(surface->weights));
    return true;
}
