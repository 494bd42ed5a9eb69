/* Classical sliding-mode control; see classical.h for the law and law.h for a controller's life. */
#include "classical.h"

struct classical {
    struct classical_config config;
    double *onto_rates, *input; /* L and B of the equivalent control */
    double onto_positions[PLANT_AXES];
    struct history *history;
};

struct classical_config classical_tuned(void)
{
    return (struct classical_config){
        .options.surface = {.form = SURFACE_WEIGHTED,
                            .k = {23.068200752497802, 12.853586891155206},
                            .lambda = {5.514970338688094, 3.487196490326416}},
        .options.history = {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 100},
        .gain = 2.2331074770549435,
        .linear_gain = 0.14834799545581934,
        .boundary_layer = 0.3,
        .max_force = 150,
    };
}

struct classical_config classical_standing(const struct surface *standing)
{
    struct classical_config config = classical_tuned();
    config.options.surface = *standing;
    config.linear_gain = 20;
    return config;
}

static bool possible(const struct classical_config *config)
{
    return config->gain > 0 && config->linear_gain >= 0 && config->boundary_layer > 0 &&
           config->max_force > 0 && history_shape_valid(config->options.history);
}

LAW_ALLOCATES struct classical *classical_create(const struct classical_config *config)
{
    if (!possible(config))
        return NULL;
    struct classical *c = malloc(sizeof(*c));
    LAW_KEEP_FRAME(c);
    if (!c)
        return NULL;
    *c = (struct classical){.config = *config};
    ledger_allocated(config->options.ledger, c, sizeof(*c));
    config->options.ledger->instantiations++;
    return c;
}

LAW_ALLOCATES static double *classical_vector(struct classical *c)
{
    double *vector = calloc(PLANT_AXES, sizeof(*vector));
    LAW_KEEP_FRAME(vector);
    ledger_allocated(c->config.options.ledger, vector, PLANT_AXES * sizeof(*vector));
    return vector;
}

LAW_ALLOCATES static struct history *classical_history_start(struct classical *c)
{
    struct history *history = malloc(sizeof(*history));
    LAW_KEEP_FRAME(history);
    if (history)
        history_begin(history, c->config.options.history, CLASSICAL_ROW, c->config.options.ledger);
    ledger_allocated(c->config.options.ledger, history, sizeof(*history));
    return history;
}

LAW_ALLOCATES static void classical_history_push(struct classical *c, const double *row)
{
    struct history_need need;
    while ((need = history_needs(c->history)).size) {
        void *block = realloc(need.old, need.size);
        LAW_KEEP_FRAME(block);
        if (!block) {
            c->config.options.ledger->lost_rows++;
            return;
        }
        history_give(c->history, block, need);
    }
    history_append(c->history, row);
}

bool classical_initialise(struct classical *c)
{
    c->onto_rates = classical_vector(c);
    c->input = classical_vector(c);
    c->history = classical_history_start(c);
    if (!c->onto_rates || !c->input || !c->history)
        return false;
    surface_rows(&c->config.options.surface, c->onto_rates, c->onto_positions);
    c->input[0] = 1;
    return true;
}

static double equivalent_control(const struct classical *c, const double x[PLANT_STATES])
{
    const double *k = c->config.options.surface.k, limit = 5 * c->config.max_force;
    const double u = law_equivalent_control(c->config.options.model, x, c->onto_rates,
                                            c->onto_positions, c->input, 0.05 * (k[0] + k[1]));
    return law_clip(u, -limit, limit);
}

struct control classical_compute(struct classical *c, const double x[PLANT_STATES])
{
    const struct classical_config *g = &c->config;
    const double sigma = surface_value(&g->options.surface, x);
    const double epsilon = g->boundary_layer + g->boundary_slope * fabs(sigma);
    const bool quiet = fabs(sigma) < g->hysteresis * g->boundary_layer;
    const double sign = quiet ? 0 : law_saturate_tanh(sigma, epsilon);
    const double u_eq = equivalent_control(c, x);
    const double u_robust = -g->gain * sign - g->linear_gain * sigma;
    const double u_total = u_eq + u_robust;
    const double u = law_clip(u_total, -g->max_force, g->max_force);
    classical_history_push(c, (const double[CLASSICAL_ROW]){
                                  [CLASSICAL_SIGMA] = sigma,
                                  [CLASSICAL_EPSILON] = epsilon,
                                  [CLASSICAL_U_EQ] = u_eq,
                                  [CLASSICAL_U_ROBUST] = u_robust,
                                  [CLASSICAL_U_TOTAL] = u_total,
                                  [CLASSICAL_U] = u,
                              });
    g->options.ledger->cycles++;
    return (struct control){.u = u, .sigma = sigma};
}

void classical_cleanup(struct classical *c)
{
    struct ledger *ledger = c->config.options.ledger;
    if (c->config.options.leak == LEAK_NOOP_CLEANUP)
        return;
    law_release(ledger, c->onto_rates, PLANT_AXES * sizeof(double));
    law_release(ledger, c->input, PLANT_AXES * sizeof(double));
    c->onto_rates = c->input = NULL;
    if (c->config.options.leak != LEAK_FORGET_HISTORY)
        law_release_history(ledger, c->history);
    c->history = NULL;
}

void classical_destroy(struct classical *c)
{
    if (c && c->config.options.leak != LEAK_NO_DESTRUCTOR)
        law_release(c->config.options.ledger, c, sizeof(*c));
}

const struct history *classical_history(const struct classical *c)
{
    return c->history;
}

size_t classical_size(void)
{
    return sizeof(struct classical);
}
