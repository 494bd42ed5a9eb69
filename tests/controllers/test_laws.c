/*
 * What the golden data do not exercise: the hybrid law's emergency reset, its warning branch and
 * its tapering by the step counter; anti-windup; hysteresis; the equivalent control; and that
 * impossible configurations are refused.
 */
#include <math.h>
#include <string.h>

#include "adaptive.h"
#include "classical.h"
#include "four_laws.h"
#include "hybrid.h"
#include "../run_suite.h"
#include "sta.h"

static struct ledger books;

static void assert_close(double got, double wanted)
{
    ck_assert_msg(fabs(got - wanted) <= 1e-12 * fabs(wanted), "%.17g, wanted %.17g", got, wanted);
}

static struct hybrid *hybrid_built(struct hybrid_config config)
{
    config.options.ledger = &books;
    struct hybrid *controller = hybrid_create(&config);
    ck_assert_ptr_nonnull(controller);
    ck_assert(hybrid_initialise(controller));
    return controller;
}

static void hybrid_ended(struct hybrid *controller)
{
    hybrid_cleanup(controller);
    hybrid_destroy(controller);
}

/* States on both sides of each limit: |q| 15, |qd| 75, |s| 200. */
START_TEST(emergency_reset)
{
    static const struct {
        double x[PLANT_STATES];
        bool emergency;
    } cases[] = {
        {{15, 0, 0, 0, 0, 0}, false},    {{15.001, 0, 0, 0, 0, 0}, true},
        {{0, 0, 0, 75, 0, 0}, false},    {{0, 0, 0, 75.001, 0, 0}, true},
        {{0, 0, 0, 0, 19.7, 0}, false},  {{0, 0, 0, 0, 19.8, 0}, true},
        {{0, 0, 0, 0, -19.7, 0}, false}, {{0, 0, 0, 0, -19.8, 0}, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct hybrid_config config = hybrid_tuned();
        struct hybrid *c = hybrid_built(config);
        const struct control got = hybrid_compute(c, cases[i].x);
        const double s = surface_value(&config.options.surface, cases[i].x);
        const double *row = history_row(hybrid_history(c), 0);
        ck_assert_double_eq(row[HYBRID_S], s); /* the history shows the step before the reset */
        ck_assert_double_gt(row[HYBRID_K1], 3.9);
        if (cases[i].emergency) {
            ck_assert_double_eq(got.u, 0);
            ck_assert_double_eq(got.sigma, fmax(-1, fmin(1, s)));
            assert_close(got.state[0], 0.2);
            assert_close(got.state[1], 0.02);
            ck_assert_double_eq(got.state[2], 0);
        } else {
            ck_assert_double_ne(got.u, 0);
            ck_assert_double_eq(got.sigma, s);
            ck_assert_double_eq(got.state[0], row[HYBRID_K1]);
        }
        hybrid_ended(c);
    }
}
END_TEST

/* After a reset the law goes on from the small gains. */
START_TEST(life_after_emergency)
{
    struct hybrid *c = hybrid_built(hybrid_tuned());
    hybrid_compute(c, (const double[PLANT_STATES]){16});
    const struct control next = hybrid_compute(c, (const double[PLANT_STATES]){0});
    assert_close(next.state[0], 0.2 - 0.1 * 0.001); /* at rest: the leak only */
    assert_close(next.state[1], 0.02 - 0.1 * 0.001);
    hybrid_ended(c);
}
END_TEST

START_TEST(state_that_is_no_number)
{
    static const double wild[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        struct hybrid *c = hybrid_built(hybrid_tuned());
        hybrid_compute(c, (const double[PLANT_STATES]){0, 0.1, 0.1});
        const struct control got =
            hybrid_compute(c, (const double[PLANT_STATES]){0, 0, 0, 0, 0, wild[i]});
        ck_assert_double_eq(got.u, 0);
        ck_assert_double_eq(got.sigma, 0);
        ck_assert_double_eq(got.state[0], 4);
        ck_assert_double_eq(got.state[1], 0.4);
        ck_assert_double_eq(got.state[2], 0);
        ck_assert_uint_eq(hybrid_history(c)->rows, 1); /* no row for a state that is none */
        hybrid_ended(c);
    }
}
END_TEST

/*
 * At a constant state the gain follows a recursion that is written out here apart: tapered by |s|
 * always, and by time from the step after the thousandth.
 */
static double tapered_gain(double gain, double gamma, double size, long step)
{
    const double late = step > 1000 ? (double)(step - 1000) : 0;
    const double growth = gamma * size * (size / (size + 0.05)) / (1 + 0.01 * late);
    return gain + ((growth < 5 ? growth : 5) - 0.1) * 0.001;
}

START_TEST(time_taper)
{
    static const double x[PLANT_STATES] = {0, 0.05, -0.03};
    const struct hybrid_config config = hybrid_tuned();
    const double size = fabs(surface_value(&config.options.surface, x));
    struct hybrid *c = hybrid_built(config);
    double k1 = 4, k2 = 0.4, untapered = 4;
    for (long step = 0; step < 3000; step++) {
        const struct control got = hybrid_compute(c, x);
        k1 = tapered_gain(k1, 0.1, size, step);
        k2 = tapered_gain(k2, 0.05, size, step);
        untapered = tapered_gain(untapered, 0.1, size, 0);
        assert_close(got.state[0], k1);
        assert_close(got.state[1], k2);
        if (step == 1000)
            ck_assert_double_eq_tol(k1, untapered, 1e-12); /* not tapered by time so far */
    }
    ck_assert_double_lt(k1, untapered - 0.5); /* the taper matters */
    hybrid_ended(c);
}
END_TEST

/* A bounded history must not change the law: the same forces, to the bit, in every shape. */
START_TEST(taper_does_not_see_the_history)
{
    static const struct history_shape shapes[] = {
        {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 100},   {HISTORY_CHUNKS, HISTORY_IN_RING, 100},
        {HISTORY_CHUNKS, HISTORY_TRIMMED, 100},     {HISTORY_ARRAY, HISTORY_TRIMMED, 7},
        {HISTORY_DOUBLING, HISTORY_UNBOUNDED, 100},
    };
    enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };
    static const double x[PLANT_STATES] = {0.01, 0.05, -0.03};
    struct hybrid *c[SHAPES];
    for (int i = 0; i < SHAPES; i++) {
        struct hybrid_config config = hybrid_tuned();
        config.options.history = shapes[i];
        c[i] = hybrid_built(config);
    }
    for (int step = 0; step < 2500; step++) {
        const struct control first = hybrid_compute(c[0], x);
        for (int i = 1; i < SHAPES; i++) {
            const struct control other = hybrid_compute(c[i], x);
            ck_assert_mem_eq(&other, &first, sizeof(first));
        }
    }
    for (int i = 0; i < SHAPES; i++)
        hybrid_ended(c[i]);
}
END_TEST

/* initialise starts the count of steps anew. */
START_TEST(initialise_restarts_the_law)
{
    static const double x[PLANT_STATES] = {0.01, 0.05, -0.03};
    struct hybrid *c = hybrid_built(hybrid_tuned());
    const struct control first = hybrid_compute(c, x);
    for (int step = 0; step < 2000; step++)
        hybrid_compute(c, x);
    hybrid_cleanup(c);
    ck_assert(hybrid_initialise(c));
    const struct control again = hybrid_compute(c, x);
    ck_assert_mem_eq(&again, &first, sizeof(first));
    hybrid_ended(c);
}
END_TEST

/* Above four fifths of its bound a gain falls at twice the leak, however large |s| is. */
START_TEST(warning_branch)
{
    static const double x[PLANT_STATES] = {0, 0.05, -0.03};
    struct hybrid_config config = hybrid_tuned();
    config.initial_gain[0] = 40.5;
    config.initial_gain[1] = 39.5;
    struct hybrid *c = hybrid_built(config);
    const struct control got = hybrid_compute(c, x);
    assert_close(got.state[0], 40.5 - 2 * 0.1 * 0.001);
    ck_assert_double_gt(got.state[1], 39.5);
    hybrid_ended(c);
}
END_TEST

/* Where the force is at its bound the integral stays. */
START_TEST(hybrid_anti_windup)
{
    static const double x[PLANT_STATES] = {1, 1, -1, -2, 5, -6};
    struct hybrid *c = hybrid_built(hybrid_tuned());
    for (int step = 0; step < 10; step++) {
        const struct control got = hybrid_compute(c, x);
        ck_assert_double_eq(fabs(got.u), 150);
        ck_assert_double_eq(got.state[2], 0);
    }
    hybrid_ended(c);
}
END_TEST

/* With Kaw the integral gives back what the bound has cut off the force. */
START_TEST(sta_anti_windup)
{
    static const double x[PLANT_STATES] = {0, 1, 1};
    struct sta_config config = sta_tuned();
    config.options.ledger = &books;
    config.max_force = 5;
    config.anti_windup = 30;
    struct sta *c = sta_create(&config);
    ck_assert(sta_initialise(c));
    const struct control got = sta_compute(c, x);
    const double sigma = surface_value(&config.options.surface, x);
    const double raw = -config.root_gain * sqrt(sigma);
    ck_assert_double_lt(raw, -5);
    ck_assert_double_eq(got.u, -5);
    assert_close(got.state[0], (-config.integral_gain + 30 * (-5 - raw)) * 0.001);
    sta_cleanup(c);
    sta_destroy(c);
}
END_TEST

START_TEST(classical_hysteresis_and_slope)
{
    static const double x[PLANT_STATES] = {0, 0.01, 0.01};
    struct classical_config config = classical_tuned();
    config.options.ledger = &books;
    config.hysteresis = 0.5;
    config.boundary_slope = 0.2;
    const double sigma = surface_value(&config.options.surface, x);
    ck_assert_double_lt(sigma, 0.15);
    struct classical *c = classical_create(&config);
    ck_assert(classical_initialise(c));
    const struct control quiet = classical_compute(c, x);
    assert_close(quiet.u, -config.linear_gain * sigma); /* no switching within hysteresis */
    const double *row = history_row(classical_history(c), 0);
    assert_close(row[CLASSICAL_EPSILON], 0.3 + 0.2 * sigma);
    classical_cleanup(c);
    classical_destroy(c);
}
END_TEST

/*
 * The equivalent control keeps the surface still: under it alone the surface's derivative
 * along the plant's motion is zero.
 */
START_TEST(equivalent_control_keeps_the_surface)
{
    static const double x[PLANT_STATES] = {0.1, 0.2, 0.3, 0.05, 0.1, 0.15};
    static const double input[PLANT_AXES] = {1, 0, 0};
    const struct sta_config config = sta_tuned();
    const struct surface *surface = &config.options.surface;
    for (int kind = 0; kind < PLANT_LOWRANK; kind++) {
        const struct plant plant = plant_make((enum plant_kind)kind);
        double onto_rates[PLANT_AXES], onto_positions[PLANT_AXES], rate[PLANT_STATES];
        surface_rows(surface, onto_rates, onto_positions);
        const double u = law_equivalent_control(&plant, x, onto_rates, onto_positions, input, 0.3);
        ck_assert_double_ne(u, 0);
        ck_assert(plant_rate(&plant, x, u, rate));
        /* The surface is linear without a constant, so its derivative is its value at the rates.
         * What is left comes from the 1e-10 on M's diagonal, whose least entry is 0.0034. */
        const double held = fabs(surface_value(surface, rate));
        ck_assert(plant_rate(&plant, x, 0, rate));
        const double alone = fabs(surface_value(surface, rate));
        ck_assert_double_gt(alone, 1); /* it does not rest by itself */
        ck_assert_msg(held <= 1e-7 * alone, "%g of %g is left", held, alone);
        ck_assert_double_eq(
            law_equivalent_control(&plant, x, onto_rates, onto_positions, input, 1e9), 0);
    }
    const struct plant lowrank = plant_make(PLANT_LOWRANK);
    ck_assert_double_eq(law_equivalent_control(&lowrank, x, input, input, input, 0), 0);
    ck_assert_double_eq(law_equivalent_control(NULL, x, input, input, input, 0), 0);
}
END_TEST

/* The model reaches the force through the laws that can use one: u_eq is what is added. */
START_TEST(laws_use_the_model)
{
    static const double x[PLANT_STATES] = {0, 0.02, 0.01, 0, 0.01, 0.02};
    const struct plant plant = plant_make(PLANT_FULLM);
    static const struct {
        int law, column;
    } cases[] = {{LAW_CLASSICAL, CLASSICAL_U_EQ}, {LAW_STA, STA_U_EQ}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct law_entry *law = &four_laws()[cases[i].law];
        void *without = law_build(law, &(struct law_request){.ledger = &books});
        void *with = law_build(law, &(struct law_request){.ledger = &books, .model = &plant});
        const double difference = law->compute(with, x).u - law->compute(without, x).u;
        const double u_eq = history_row(law->history(with), 0)[cases[i].column];
        ck_assert_double_ne(u_eq, 0);
        ck_assert_double_eq_tol(difference, u_eq, 1e-12);
        ck_assert_double_eq(history_row(law->history(without), 0)[cases[i].column], 0);
        law_end(law, with);
        law_end(law, without);
    }
}
END_TEST

START_TEST(impossible_configurations)
{
    struct classical_config classical = classical_tuned();
    struct sta_config sta = sta_tuned();
    struct adaptive_config adaptive = adaptive_tuned();
    struct hybrid_config hybrid = hybrid_tuned();
    memset(&books, 0, sizeof(books));
    classical.options.ledger = sta.options.ledger = &books;
    adaptive.options.ledger = hybrid.options.ledger = &books;
    classical.boundary_layer = 0;
    sta.integral_gain = -1;
    adaptive.initial_gain = 101;
    hybrid.initial_gain[0] = NAN;
    ck_assert_ptr_null(classical_create(&classical));
    ck_assert_ptr_null(sta_create(&sta));
    ck_assert_ptr_null(adaptive_create(&adaptive));
    ck_assert_ptr_null(hybrid_create(&hybrid));
    ck_assert_uint_eq(books.instantiations, 0);
    ck_assert_uint_eq(books.allocated_blocks, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("controllers: laws");
    TCase *tests = tcase_create("laws");
    tcase_add_test(tests, emergency_reset);
    tcase_add_test(tests, life_after_emergency);
    tcase_add_test(tests, state_that_is_no_number);
    tcase_add_test(tests, time_taper);
    tcase_add_test(tests, taper_does_not_see_the_history);
    tcase_add_test(tests, initialise_restarts_the_law);
    tcase_add_test(tests, warning_branch);
    tcase_add_test(tests, hybrid_anti_windup);
    tcase_add_test(tests, sta_anti_windup);
    tcase_add_test(tests, classical_hysteresis_and_slope);
    tcase_add_test(tests, equivalent_control_keeps_the_surface);
    tcase_add_test(tests, laws_use_the_model);
    tcase_add_test(tests, impossible_configurations);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
