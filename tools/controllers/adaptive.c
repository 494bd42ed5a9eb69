/* Adaptive sliding-mode control; see adaptive.h for the law and law.h for a controller's life. */
#include "adaptive.h"

struct adaptive {
    struct adaptive_config config;
    double gain, last_u, time_in_sliding; /* the law's memory */
    struct history *history;
};

struct adaptive_config adaptive_tuned(void)
{
    return (struct adaptive_config){
        .options.surface = {.form = SURFACE_SLOPED,
                            .k = {2.142207994033271, 3.355938383745894},
                            .lambda = {7.200505646106438, 0.3374379808658892}},
        .options.history = {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 100},
        .initial_gain = 10,
        .least_gain = 0.1,
        .most_gain = 100,
        .gamma = 0.2852044368386544,
        .leak_rate = 0.01,
        .rate_limit = 10,
        .dead_zone = 0.05,
        .alpha = 0.5,
        .boundary_layer = 0.4,
        .smooth = true,
        .dt = 0.001,
        .max_force = 150,
    };
}

struct adaptive_config adaptive_standing(const struct surface *standing)
{
    struct adaptive_config config = adaptive_tuned();
    config.options.surface = *standing;
    config.alpha = 20;
    config.initial_gain = 1;
    return config;
}

static bool possible(const struct adaptive_config *config)
{
    return config->least_gain > 0 && config->least_gain <= config->initial_gain &&
           config->initial_gain <= config->most_gain && config->gamma > 0 &&
           config->leak_rate >= 0 && config->rate_limit > 0 && config->dead_zone >= 0 &&
           config->alpha >= 0 && config->boundary_layer > 0 && config->dt > 0 &&
           config->max_force > 0 && history_shape_valid(config->options.history);
}

LAW_ALLOCATES struct adaptive *adaptive_create(const struct adaptive_config *config)
{
    if (!possible(config))
        return NULL;
    struct adaptive *c = malloc(sizeof(*c));
    LAW_KEEP_FRAME(c);
    if (!c)
        return NULL;
    *c = (struct adaptive){.config = *config};
    ledger_allocated(config->options.ledger, c, sizeof(*c));
    config->options.ledger->instantiations++;
    return c;
}

LAW_ALLOCATES static struct history *adaptive_history_start(struct adaptive *c)
{
    struct history *history = malloc(sizeof(*history));
    LAW_KEEP_FRAME(history);
    if (history)
        history_begin(history, c->config.options.history, ADAPTIVE_ROW, c->config.options.ledger);
    ledger_allocated(c->config.options.ledger, history, sizeof(*history));
    return history;
}

LAW_ALLOCATES static void adaptive_history_push(struct adaptive *c, const double *row)
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

bool adaptive_initialise(struct adaptive *c)
{
    c->gain = c->config.initial_gain;
    c->last_u = c->time_in_sliding = 0;
    c->history = adaptive_history_start(c);
    return c->history != NULL;
}

/* dK at this surface value, in N/s. Inside the dead zone the gain neither grows nor decays. */
static double gain_rate(const struct adaptive *c, double sigma)
{
    const struct adaptive_config *g = &c->config;
    if (fabs(sigma) <= g->dead_zone)
        return 0;
    const double rate = g->gamma * fabs(sigma) - g->leak_rate * (c->gain - g->initial_gain);
    return law_clip(rate, -g->rate_limit, g->rate_limit);
}

struct control adaptive_compute(struct adaptive *c, const double x[PLANT_STATES])
{
    const struct adaptive_config *g = &c->config;
    const double sigma = surface_value(&g->options.surface, x);
    const double sign = g->smooth ? law_saturate_tanh(sigma, g->boundary_layer)
                                  : law_saturate_linear(sigma, g->boundary_layer);
    const double u_switch = -c->gain * sign;
    const double u = law_clip(u_switch - g->alpha * sigma, -g->max_force, g->max_force);
    const double rate = gain_rate(c, sigma);
    c->time_in_sliding = fabs(sigma) <= g->boundary_layer ? c->time_in_sliding + g->dt : 0;
    c->gain = law_clip(c->gain + rate * g->dt, g->least_gain, g->most_gain);
    c->last_u = u;
    adaptive_history_push(c, (const double[ADAPTIVE_ROW]){
                                 [ADAPTIVE_GAIN] = c->gain,
                                 [ADAPTIVE_SIGMA] = sigma,
                                 [ADAPTIVE_U_SWITCH] = u_switch,
                                 [ADAPTIVE_GAIN_RATE] = rate,
                                 [ADAPTIVE_TIME_IN_SLIDING] = c->time_in_sliding,
                             });
    g->options.ledger->cycles++;
    return (struct control){.u = u, .sigma = sigma, .state = {c->gain, u, c->time_in_sliding}};
}

void adaptive_cleanup(struct adaptive *c)
{
    if (c->config.options.leak == LEAK_NOOP_CLEANUP)
        return;
    if (c->config.options.leak != LEAK_FORGET_HISTORY)
        law_release_history(c->config.options.ledger, c->history);
    c->history = NULL;
}

void adaptive_destroy(struct adaptive *c)
{
    if (c && c->config.options.leak != LEAK_NO_DESTRUCTOR)
        law_release(c->config.options.ledger, c, sizeof(*c));
}

const struct history *adaptive_history(const struct adaptive *c)
{
    return c->history;
}

size_t adaptive_size(void)
{
    return sizeof(struct adaptive);
}
