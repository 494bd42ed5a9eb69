/*
 * Plants and laws against golden.json, which was computed by the original classes: every figure
 * agrees to 1e-12 relative, and a zero is a zero. The largest error met is printed.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "four_laws.h"
#include "../run_suite.h"

static const double tolerance = 1e-12;

static double relative_error(double got, double wanted)
{
    if (got == wanted)
        return 0;
    return wanted == 0 ? INFINITY : fabs(got - wanted) / fabs(wanted);
}

static json_t *load_golden(void)
{
    json_error_t error;
    json_t *root = json_load_file(GOLDEN_FILE, 0, &error);
    ck_assert_msg(root != NULL, "%s:%d: %s", GOLDEN_FILE, error.line, error.text);
    return root;
}

static size_t read_numbers(const json_t *array, double *out, size_t room)
{
    const size_t count = json_array_size(array);
    ck_assert_uint_le(count, room);
    for (size_t i = 0; i < count; i++)
        out[i] = json_number_value(json_array_get(array, i));
    return count;
}

static void read_state(const json_t *row, const char *key, double x[PLANT_STATES])
{
    ck_assert_uint_eq(read_numbers(json_object_get(row, key), x, PLANT_STATES), PLANT_STATES);
}

static enum plant_kind plant_called(const char *name)
{
    for (int kind = 0; kind < PLANT_KINDS; kind++)
        if (strcmp(plant_names[kind], name) == 0)
            return (enum plant_kind)kind;
    ck_abort_msg("golden data name a plant %s", name);
}

START_TEST(plants_agree)
{
    json_t *root = load_golden(), *row;
    size_t index, seen[PLANT_KINDS] = {0};
    double worst[PLANT_KINDS] = {0};
    json_array_foreach(json_object_get(root, "plants"), index, row)
    {
        double x[PLANT_STATES], wanted[PLANT_STATES], got[PLANT_STATES];
        const enum plant_kind kind = plant_called(json_string_value(json_object_get(row, "plant")));
        const struct plant plant = plant_make(kind);
        read_state(row, "x", x);
        read_state(row, "rate", wanted);
        ck_assert(plant_rate(&plant, x, json_number_value(json_object_get(row, "u")), got));
        for (int i = 0; i < PLANT_STATES; i++)
            worst[kind] = fmax(worst[kind], relative_error(got[i], wanted[i]));
        seen[kind]++;
    }
    for (int kind = 0; kind < PLANT_KINDS; kind++) {
        printf("plant %-10s  %zu states, largest relative error %.1e\n", plant_names[kind],
               seen[kind], worst[kind]);
        ck_assert_uint_eq(seen[kind], 8);
        ck_assert_double_le(worst[kind], tolerance);
    }
    json_decref(root);
}
END_TEST

/* Largest error of one law over its rows, which are steps of one controller in sequence. */
static double law_error(const struct law_entry *law, const json_t *rows)
{
    struct ledger ledger = {.name = law->law};
    void *controller = law_build(law, &(struct law_request){.ledger = &ledger});
    double worst = 0;
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        double x[PLANT_STATES], state[3];
        read_state(row, "x", x);
        const struct control got = law->compute(controller, x);
        worst = fmax(worst, relative_error(got.u, json_number_value(json_object_get(row, "u"))));
        worst = fmax(worst,
                     relative_error(got.sigma, json_number_value(json_object_get(row, "sigma"))));
        ck_assert_uint_eq(read_numbers(json_object_get(row, "state"), state, 3), law->states);
        for (size_t i = 0; i < law->states; i++)
            worst = fmax(worst, relative_error(got.state[i], state[i]));
    }
    ck_assert_uint_eq(law->history(controller)->rows, json_array_size(rows));
    law_end(law, controller);
    ck_assert_uint_eq(ledger.live_bytes, 0);
    return worst;
}

START_TEST(laws_agree)
{
    json_t *root = load_golden(), *entry;
    size_t index, seen = 0;
    json_array_foreach(json_object_get(root, "controllers"), index, entry)
    {
        const char *config = json_string_value(json_object_get(entry, "config"));
        const json_t *rows = json_object_get(entry, "rows");
        for (int i = 0; i < LAWS; i++) {
            const struct law_entry *law = &four_laws()[i];
            if (strcmp(law->config, config) != 0)
                continue;
            const double worst = law_error(law, rows);
            printf("law %-12s  %zu steps, largest relative error %.1e\n", config,
                   json_array_size(rows), worst);
            ck_assert_uint_eq(json_array_size(rows), 24);
            ck_assert_double_le(worst, tolerance);
            seen++;
        }
    }
    ck_assert_uint_eq(seen, LAWS);
    json_decref(root);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("controllers: golden data");
    TCase *tests = tcase_create("golden");
    tcase_add_test(tests, plants_agree);
    tcase_add_test(tests, laws_agree);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
