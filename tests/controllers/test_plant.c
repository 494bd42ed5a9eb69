/* The plant: check vectors, order of the integrators, conserved energy, and refused steps. */
#include <math.h>
#include <string.h>

#include "plant.h"
#include "../run_suite.h"

static void assert_close(double got, double wanted)
{
    ck_assert_msg(fabs(got - wanted) <= 1e-12 * fabs(wanted), "%.17g, wanted %.17g", got, wanted);
}

START_TEST(check_vector)
{
    static const double x[PLANT_STATES] = {.2, .1, -.3, .4, -.5, .6};
    static const struct {
        enum plant_kind kind;
        double qdd[PLANT_AXES];
    } cases[] = {
        {PLANT_SIMPLIFIED, {3.910813478915799, -2.6504625231116306, -14.194979884751941}},
        {PLANT_FULLM, {4.167779625115395, -3.9168989869723805, -14.62513525550416}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct plant plant = plant_make(cases[i].kind);
        double rate[PLANT_STATES];
        ck_assert(plant_rate(&plant, x, 7, rate));
        for (int axis = 0; axis < PLANT_AXES; axis++) {
            ck_assert_double_eq(rate[axis], x[PLANT_AXES + axis]);
            assert_close(rate[PLANT_AXES + axis], cases[i].qdd[axis]);
        }
    }
}
END_TEST

/* Where the pendulum is after 0.4 s of free motion in steps of dt. */
static void swing(enum integrator integrator, double dt, double x[PLANT_STATES])
{
    static const double start[PLANT_STATES] = {0, 0.3, -0.2, 0.1, 0.2, -0.4};
    const struct plant plant = plant_make(PLANT_LAGRANGE);
    memcpy(x, start, sizeof(start));
    for (long step = lround(0.4 / dt); step > 0; step--)
        ck_assert(plant_step(&plant, integrator, x, 0, dt));
}

static double distance(const double a[PLANT_STATES], const double b[PLANT_STATES])
{
    double sum = 0;
    for (int i = 0; i < PLANT_STATES; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

/*
 * Halving dt divides the error by 2 for Euler and by 16 for RK4, which only a right rule does. The
 * errors' differences, from three step sizes, fall by the same ratio and need no reference.
 */
START_TEST(order_of_integrators)
{
    static const struct {
        enum integrator integrator;
        double dt, ratio;
    } cases[] = {{INTEGRATOR_EULER, 2e-4, 2}, {INTEGRATOR_RK4, 4e-3, 16}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double x[3][PLANT_STATES];
        for (int halvings = 0; halvings < 3; halvings++)
            swing(cases[i].integrator, ldexp(cases[i].dt, -halvings), x[halvings]);
        const double ratio = distance(x[0], x[1]) / distance(x[1], x[2]);
        ck_assert_msg(fabs(ratio / cases[i].ratio - 1) < 0.05, "%s: %.3f, wanted %.0f",
                      integrator_names[cases[i].integrator], ratio, cases[i].ratio);
    }
}
END_TEST

/* Kinetic and potential energy of the Lagrange plant, in J. */
static double energy(const struct plant *p, const double x[PLANT_STATES])
{
    double inertia[PLANT_AXES][PLANT_AXES], bias[PLANT_AXES], sum = 0;
    ck_assert(plant_terms(p, x, inertia, bias));
    for (int i = 0; i < PLANT_AXES; i++)
        for (int j = 0; j < PLANT_AXES; j++)
            sum += 0.5 * x[PLANT_AXES + i] * inertia[i][j] * x[PLANT_AXES + j];
    const double h1 = p->mass[0] * p->centre[0] + p->mass[1] * p->length[0];
    return sum + p->gravity * (h1 * cos(x[1]) + p->mass[1] * p->centre[1] * cos(x[2]));
}

/* Without friction the Lagrange plant keeps its energy while it falls and tumbles. */
START_TEST(lagrange_keeps_energy)
{
    struct plant plant = plant_make(PLANT_LAGRANGE);
    plant.cart_friction = plant.joint_friction[0] = plant.joint_friction[1] = 0;
    double x[PLANT_STATES] = {0, 0.3, -0.2, 0.1, 0.2, -0.4};
    const double before = energy(&plant, x);
    for (int step = 0; step < 20000; step++)
        ck_assert(plant_step(&plant, INTEGRATOR_RK4, x, 0, 1e-4));
    ck_assert_double_gt(fabs(x[1]), 1); /* it did fall */
    ck_assert_msg(fabs(energy(&plant, x) / before - 1) < 1e-9, "energy %.15g from %.15g",
                  energy(&plant, x), before);
}
END_TEST

START_TEST(impossible_steps_change_nothing)
{
    const struct plant plant = plant_make(PLANT_FULLM);
    static const double start[PLANT_STATES] = {0, 0.1, 0.1, 0, 0, 0};
    static const double forces[] = {1000, -1000, INFINITY, NAN};
    double x[PLANT_STATES];
    memcpy(x, start, sizeof(x));
    for (size_t i = 0; i < sizeof(forces) / sizeof(forces[0]); i++)
        ck_assert(!plant_step(&plant, INTEGRATOR_RK4, x, forces[i], 0.001));
    ck_assert_mem_eq(x, start, sizeof(x));
    x[4] = 1e200; /* its square is past all numbers */
    const double wild = x[1];
    ck_assert(!plant_step(&plant, INTEGRATOR_EULER, x, 0, 0.001));
    ck_assert_double_eq(x[1], wild);
    ck_assert(plant_step(&plant, INTEGRATOR_EULER, (double[PLANT_STATES]){0}, 999, 0.001));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("controllers: plant");
    TCase *tests = tcase_create("plant");
    tcase_add_test(tests, check_vector);
    tcase_add_test(tests, order_of_integrators);
    tcase_add_test(tests, lagrange_keeps_energy);
    tcase_add_test(tests, impossible_steps_change_nothing);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
