/*
 * Which pendulums stand: with the standing surface all of them, within these bounds; with the laws'
 * own surfaces none, and each falls at the moment at which the original falls.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "four_laws.h"
#include "../run_suite.h"

enum { STEPS = 10000 };

static const double fall_angle = 0.5; /* rad */

struct run {
    double widest, strongest; /* |angle|, rad; |u|, N */
    double final;             /* largest component of the last state */
    long fell_at;             /* step, or -1 */
};

static struct run run_pendulum(const struct law_entry *law, const struct law_request *request,
                               enum plant_kind kind, enum integrator integrator,
                               const double start[PLANT_STATES])
{
    const struct plant plant = plant_make(kind);
    void *controller = law_build(law, request);
    struct run run = {.fell_at = -1};
    double x[PLANT_STATES];
    memcpy(x, start, sizeof(x));
    for (long step = 0; step < STEPS && run.fell_at < 0; step++) {
        const double u = law->compute(controller, x).u;
        ck_assert(plant_step(&plant, integrator, x, u, request->dt));
        run.strongest = fmax(run.strongest, fabs(u));
        run.widest = fmax(run.widest, fmax(fabs(x[1]), fabs(x[2])));
        if (run.widest > fall_angle)
            run.fell_at = step + 1;
    }
    for (int i = 0; i < PLANT_STATES; i++)
        run.final = fmax(run.final, fabs(x[i]));
    law_end(law, controller);
    return run;
}

static const double starts[][PLANT_STATES] = {
    {0, 0.05, -0.03, 0, 0, 0}, {0, 0.1, 0.1, 0, 0, 0}, {0, 0.1, 0.05, 0, 0, 0}};

enum { STARTS = sizeof(starts) / sizeof(starts[0]) };

static struct run worse(struct run a, struct run b)
{
    return (struct run){.widest = fmax(a.widest, b.widest),
                        .strongest = fmax(a.strongest, b.strongest),
                        .final = fmax(a.final, b.final),
                        .fell_at = a.fell_at >= 0 ? a.fell_at : b.fell_at};
}

static struct run worst_run(const struct law_entry *law, enum plant_kind kind,
                            enum integrator integrator, double dt)
{
    struct ledger ledger = {.name = law->law};
    struct surface standing;
    ck_assert(surface_standing(kind, &standing));
    const struct law_request request = {
        .standing = &standing,
        .ledger = &ledger,
        .dt = dt,
        .history = {HISTORY_ARRAY, HISTORY_IN_RING, 100},
    };
    struct run worst = {.fell_at = -1};
    for (int i = 0; i < STARTS; i++)
        worst = worse(worst, run_pendulum(law, &request, kind, integrator, starts[i]));
    return worst;
}

/* _i is the law; all plants, both integrators, 10 s by 1 ms and 100 s by 10 ms, three starts. */
START_TEST(standing_surface_stands)
{
    /* The largest that were found for these laws, in whole units of the last digit given. */
    static const struct {
        enum plant_kind kind;
        double widest, final, strongest;
    } cases[] = {
        {PLANT_FULLM, 0.147, 2.2e-3, 41},
        {PLANT_LAGRANGE, 0.147, 2.2e-3, 41},
        {PLANT_SIMPLIFIED, 0.325, 7.9e-3, 106},
    };
    static const double steps[] = {0.001, 0.01};
    const struct law_entry *law = &four_laws()[_i];
    for (int i = 0; i < 12; i++) {
        const enum integrator integrator = i % 2 ? INTEGRATOR_EULER : INTEGRATOR_RK4;
        const double dt = steps[i / 2 % 2];
        const struct run worst = worst_run(law, cases[i / 4].kind, integrator, dt);
        printf("%-10s %-10s %-5s %5g s: max |theta| %.4f rad, final %.1e, max |u| %.2f N\n",
               law->config, plant_names[cases[i / 4].kind], integrator_names[integrator],
               dt * STEPS, worst.widest, worst.final, worst.strongest);
        ck_assert_int_eq(worst.fell_at, -1);
        ck_assert_double_lt(worst.widest, cases[i / 4].widest + 0.0005);
        ck_assert_double_lt(worst.final, cases[i / 4].final + 0.05e-3);
        ck_assert_double_lt(worst.strongest, cases[i / 4].strongest + 0.5);
    }
}
END_TEST

/* Milliseconds until an angle passes 0.5 rad, as the original classes were measured. */
START_TEST(own_surface_falls_when_the_original_falls)
{
    static const struct {
        enum plant_kind kind;
        int ms[LAWS]; /* classical, sta, sta_second, adaptive, hybrid */
    } cases[] = {
        {PLANT_SIMPLIFIED, {438, 396, 183, 298, 512}},
        {PLANT_FULLM, {475, 260, 134, 403, 443}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int law = 0; law < LAWS; law++) {
            struct ledger ledger = {.name = four_laws()[law].law};
            const struct law_request request = {.ledger = &ledger, .dt = 0.001};
            const struct run run =
                run_pendulum(&four_laws()[law], &request, cases[i].kind, INTEGRATOR_RK4, starts[0]);
            ck_assert_msg(run.fell_at == cases[i].ms[law], "%s on %s: %ld ms, wanted %d",
                          four_laws()[law].config, plant_names[cases[i].kind], run.fell_at,
                          cases[i].ms[law]);
        }
    }
}
END_TEST

START_TEST(lowrank_has_no_standing_surface)
{
    struct surface surface;
    ck_assert(!surface_standing(PLANT_LOWRANK, &surface));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("controllers: standing");
    TCase *tests = tcase_create("standing");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, standing_surface_stands, 0, LAWS);
    tcase_add_test(tests, own_surface_falls_when_the_original_falls);
    tcase_add_test(tests, lowrank_has_no_standing_surface);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
