/* Super-twisting sliding-mode control; see sta.h for the law and law.h for a controller's life. */
#include "sta.h"

#include <string.h>

struct sta {
    struct sta_config config;
    double z, sigma;            /* the law's memory */
    double *onto_rates, *input; /* L and B of the equivalent control */
    double onto_positions[PLANT_AXES];
    struct history *history;
};

struct sta_config sta_tuned(void)
{
    return (struct sta_config){
        .options.surface = {.form = SURFACE_SLOPED,
                            .k = {5.618034769343865, 3.7474442752642325},
                            .lambda = {4.355334618057576, 2.054542527244675}},
        .options.history = {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 100},
        .root_gain = 2.017611719524936,
        .integral_gain = 6.672119935276616,
        .boundary_layer = 0.3,
        .dt = 0.001,
        .max_force = 150,
    };
}

struct sta_config sta_standing(const struct surface *standing)
{
    struct sta_config config = sta_tuned();
    config.options.surface = *standing;
    config.damping = 20;
    return config;
}

static bool possible(const struct sta_config *config)
{
    return config->root_gain > 0 && config->integral_gain > 0 && config->damping >= 0 &&
           config->anti_windup >= 0 && config->boundary_layer > 0 && config->dt > 0 &&
           config->max_force > 0 && history_shape_valid(config->options.history);
}

LAW_ALLOCATES struct sta *sta_create(const struct sta_config *config)
{
    if (!possible(config))
        return NULL;
    struct sta *c = malloc(sizeof(*c));
    LAW_KEEP_FRAME(c);
    if (!c)
        return NULL;
    *c = (struct sta){.config = *config};
    ledger_allocated(config->options.ledger, c, sizeof(*c));
    config->options.ledger->instantiations++;
    return c;
}

LAW_ALLOCATES static double *sta_vector(struct sta *c)
{
    double *vector = calloc(PLANT_AXES, sizeof(*vector));
    LAW_KEEP_FRAME(vector);
    ledger_allocated(c->config.options.ledger, vector, PLANT_AXES * sizeof(*vector));
    return vector;
}

LAW_ALLOCATES static struct history *sta_history_start(struct sta *c)
{
    struct history *history = malloc(sizeof(*history));
    LAW_KEEP_FRAME(history);
    if (history)
        history_begin(history, c->config.options.history, STA_ROW, c->config.options.ledger);
    ledger_allocated(c->config.options.ledger, history, sizeof(*history));
    return history;
}

LAW_ALLOCATES static void sta_history_push(struct sta *c, const double *row)
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

/*
 * The one-off block of the program's first step, as a just-in-time compiler or a look-up table
 * would take it. It is written to, so that it is resident, and kept for the life of the process:
 * memory that does not grow with the number of controllers is no leak.
 */
LAW_ALLOCATES static void sta_warm_up(struct sta *c)
{
    static void *kept;
    const size_t bytes = c->config.warm_up_bytes;
    if (kept || bytes == 0)
        return;
    void *block = malloc(bytes);
    LAW_KEEP_FRAME(block);
    if (!block)
        return;
    memset(block, 1, bytes);
    ledger_allocated(c->config.options.ledger, block, bytes);
    kept = block;
}

bool sta_initialise(struct sta *c)
{
    c->z = c->sigma = 0;
    c->onto_rates = sta_vector(c);
    c->input = sta_vector(c);
    c->history = sta_history_start(c);
    if (!c->onto_rates || !c->input || !c->history)
        return false;
    surface_rows(&c->config.options.surface, c->onto_rates, c->onto_positions);
    c->input[0] = 1;
    return true;
}

struct control sta_compute(struct sta *c, const double x[PLANT_STATES])
{
    const struct sta_config *g = &c->config;
    sta_warm_up(c);
    const double sigma = surface_value(&g->options.surface, x);
    const double sign = law_saturate_linear(sigma, g->boundary_layer);
    const double u_eq = law_equivalent_control(g->options.model, x, c->onto_rates,
                                               c->onto_positions, c->input, g->boundary_layer);
    const double u_raw = u_eq - g->root_gain * sqrt(fabs(sigma)) * sign + c->z - g->damping * sigma;
    const double u = law_clip(u_raw, -g->max_force, g->max_force);
    const double z = c->z - g->integral_gain * sign * g->dt + g->anti_windup * (u - u_raw) * g->dt;
    c->z = law_clip(z, -g->max_force, g->max_force);
    c->sigma = sigma;
    sta_history_push(c, (const double[STA_ROW]){
                            [STA_SIGMA] = sigma,
                            [STA_Z] = c->z,
                            [STA_U] = u,
                            [STA_U_EQ] = u_eq,
                        });
    g->options.ledger->cycles++;
    return (struct control){.u = u, .sigma = sigma, .state = {c->z, sigma}};
}

void sta_cleanup(struct sta *c)
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

void sta_destroy(struct sta *c)
{
    if (c && c->config.options.leak != LEAK_NO_DESTRUCTOR)
        law_release(c->config.options.ledger, c, sizeof(*c));
}

const struct history *sta_history(const struct sta *c)
{
    return c->history;
}

size_t sta_size(void)
{
    return sizeof(struct sta);
}
