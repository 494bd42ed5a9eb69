/* The equivalent control, shared by the laws that can use a model. */
#include "law.h"

/* Added to the diagonal of M before it is inverted, as in the repository. */
static const double regularisation = 1e-10;

static double dot(const double a[PLANT_AXES], const double b[PLANT_AXES])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

double law_equivalent_control(const struct plant *model, const double x[PLANT_STATES],
                              const double onto_rates[PLANT_AXES],
                              const double onto_positions[PLANT_AXES],
                              const double input[PLANT_AXES], double threshold)
{
    double inertia[PLANT_AXES][PLANT_AXES], bias[PLANT_AXES];
    double by_force[PLANT_AXES], by_bias[PLANT_AXES];
    if (!model || !plant_terms(model, x, inertia, bias))
        return 0;
    for (int i = 0; i < PLANT_AXES; i++)
        inertia[i][i] += regularisation;
    if (!plant_solve(inertia, input, by_force) || !plant_solve(inertia, bias, by_bias))
        return 0;
    const double reach = dot(onto_rates, by_force);
    if (!(fabs(reach) >= threshold) || reach == 0)
        return 0;
    return (dot(onto_rates, by_bias) - dot(onto_positions, x + PLANT_AXES)) / reach;
}
