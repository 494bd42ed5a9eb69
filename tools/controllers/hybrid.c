/*
 * Hybrid adaptive super-twisting control; see hybrid.h for the law and law.h for a controller's
 * life. One step goes: signals of this state, rates of the two gains, integral and force, history,
 * and at the end the emergency reset, whose effect the history therefore does not show.
 */
#include "hybrid.h"

enum { TIME_TAPER_AFTER = 1000 }; /* steps */

static const double time_taper = 0.01;       /* a step, after that */
static const double hard_saturation = 1e-12; /* N beyond max_force */
static const double leak_divisor = 10;       /* the leak may take a tenth of a gain a step */
static const double warning_share = 0.8;     /* of a gain's bound: from there it must fall */
static const double warning_leak = 2;        /* how much faster than the usual leak */

struct hybrid {
    struct hybrid_config config;
    double gain[2], integral; /* the law's memory: k1, k2, u_int */
    uint64_t steps;           /* computed since initialise; never the history's length */
    struct history *history;
};

/* What the law sees of one state. */
struct signals {
    double s, size; /* surface and |s| */
    bool rest;      /* within the dead zone */
    double sign;    /* smooth sign, 0 at rest */
    double steady;  /* damping, cart and equivalent force: what the gains do not touch */
};

struct hybrid_config hybrid_tuned(void)
{
    return (struct hybrid_config){
        .options.surface = {.form = SURFACE_CART,
                            .k = {10.148979254143576, 6.815065802267164},
                            .lambda = {12.839386550675101, 2.7500136927843215},
                            .cart_gain = 0.5,
                            .cart_lambda = 1.0},
        .options.history = {HISTORY_CHUNKS, HISTORY_UNBOUNDED, 100},
        .initial_gain = {4, 0.4},
        .most_gain = {50, 50},
        .gamma = {0.1, 0.05},
        .leak = 0.1,
        .rate_limit = 5,
        .most_integral = 50,
        .damping = 3,
        .dead_zone = 0.05,
        .sign_width = 0.35,
        .taper = 0.05,
        .saturated_rest = 0.02,
        .cart_force = true,
        .cart_gain = 80,
        .cart_slope = 2,
        .cart_far = 0.04,
        .dt = 0.001,
        .max_force = 150,
    };
}

struct hybrid_config hybrid_standing(const struct surface *standing)
{
    struct hybrid_config config = hybrid_tuned();
    config.options.surface = *standing;
    config.damping = 20;
    config.cart_force = false;
    return config;
}

static bool possible(const struct hybrid_config *g)
{
    for (int i = 0; i < 2; i++)
        if (!(g->initial_gain[i] >= 0 && g->initial_gain[i] <= g->most_gain[i] && g->gamma[i] > 0))
            return false;
    return g->leak >= 0 && g->rate_limit > 0 && g->most_integral > 0 && g->damping >= 0 &&
           g->dead_zone >= 0 && g->sign_width >= 0 && g->taper > 0 && g->cart_near >= 0 &&
           g->cart_near < g->cart_far && g->dt > 0 && g->max_force > 0 &&
           history_shape_valid(g->options.history);
}

LAW_ALLOCATES struct hybrid *hybrid_create(const struct hybrid_config *config)
{
    if (!possible(config))
        return NULL;
    struct hybrid *c = malloc(sizeof(*c));
    LAW_KEEP_FRAME(c);
    if (!c)
        return NULL;
    *c = (struct hybrid){.config = *config};
    ledger_allocated(config->options.ledger, c, sizeof(*c));
    config->options.ledger->instantiations++;
    return c;
}

LAW_ALLOCATES static struct history *hybrid_history_start(struct hybrid *c)
{
    struct history *history = malloc(sizeof(*history));
    LAW_KEEP_FRAME(history);
    if (history)
        history_begin(history, c->config.options.history, HYBRID_ROW, c->config.options.ledger);
    ledger_allocated(c->config.options.ledger, history, sizeof(*history));
    return history;
}

LAW_ALLOCATES static void hybrid_history_push(struct hybrid *c, const double *row)
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

static void reset_memory(struct hybrid *c)
{
    c->gain[0] = c->config.initial_gain[0];
    c->gain[1] = c->config.initial_gain[1];
    c->integral = 0;
}

bool hybrid_initialise(struct hybrid *c)
{
    reset_memory(c);
    c->steps = 0;
    c->history = hybrid_history_start(c);
    return c->history != NULL;
}

/* The force that brings the cart back, fading in between the two distances. */
static double cart_force(const struct hybrid_config *g, const double x[PLANT_STATES])
{
    if (!g->cart_force)
        return 0;
    const double share = law_clip((fabs(x[0]) - g->cart_near) / (g->cart_far - g->cart_near), 0, 1);
    return -share * g->cart_gain * (x[3] + g->cart_slope * x[0]);
}

static double equivalent_control(const struct hybrid_config *g, const double x[PLANT_STATES])
{
    static const double input[PLANT_AXES] = {1, 0, 0};
    double onto_rates[PLANT_AXES], onto_positions[PLANT_AXES];
    const double limit = 10 * g->max_force;
    if (!g->options.model)
        return 0;
    surface_rows(&g->options.surface, onto_rates, onto_positions);
    const double u =
        law_equivalent_control(g->options.model, x, onto_rates, onto_positions, input, 1e-6);
    return law_clip(u, -limit, limit);
}

static struct signals observe(const struct hybrid_config *g, const double x[PLANT_STATES])
{
    const double s = surface_value(&g->options.surface, x);
    const double width = fmax(fmax(g->sign_width, g->dead_zone), 1e-9);
    const bool rest = fabs(s) <= g->dead_zone;
    return (struct signals){
        .s = s,
        .size = fabs(s),
        .rest = rest,
        .sign = rest ? 0 : tanh(s / width),
        .steady = -g->damping * s + cart_force(g, x) + equivalent_control(g, x),
    };
}

static double force(const struct signals *now, double k1, double integral)
{
    return -k1 * sqrt(now->size) * now->sign + integral + now->steady;
}

/* The rate of gain i, 1/s: growth tapered by |s| and by time, less the leak. */
static double gain_rate(const struct hybrid *c, const struct signals *now, int i)
{
    const struct hybrid_config *g = &c->config;
    const bool saturated =
        fabs(force(now, c->gain[0], c->integral)) > g->max_force + hard_saturation;
    double rate = -g->leak;
    if (!now->rest && !(saturated && now->size < g->saturated_rest)) {
        const double late =
            c->steps > TIME_TAPER_AFTER ? (double)(c->steps - TIME_TAPER_AFTER) : 0.0;
        const double taper = now->size / (now->size + g->taper) / (1 + time_taper * late);
        rate = fmin(g->gamma[i] * now->size * taper, g->rate_limit);
        rate = fmax(rate - g->leak, -c->gain[i] / (leak_divisor * g->dt));
    }
    if (c->gain[i] > warning_share * g->most_gain[i])
        rate = fmin(rate, -warning_leak * g->leak);
    return rate;
}

static double norm(const double v[PLANT_AXES])
{
    return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

/* Whether force, memory or state are past all sense, so that the law must let go. */
static bool emergency(const struct hybrid *c, double u, double s, const double x[PLANT_STATES])
{
    const struct hybrid_config *g = &c->config;
    for (int i = 0; i < 2; i++)
        if (!isfinite(c->gain[i]) || c->gain[i] > 1.5 * g->most_gain[i])
            return true;
    return !isfinite(u) || !isfinite(c->integral) || fabs(c->integral) > 2 * g->most_integral ||
           !isfinite(s) || fabs(s) > 200 || norm(x) > 15 || norm(x + PLANT_AXES) > 75;
}

/* No force, no integral, a twentieth of the gains, and a surface value clipped to +-1. */
static struct control let_go(struct hybrid *c, double s)
{
    for (int i = 0; i < 2; i++)
        c->gain[i] = 0.05 * fmin(c->config.initial_gain[i], c->config.most_gain[i]);
    c->integral = 0;
    return (struct control){.u = 0,
                            .sigma = isfinite(s) ? law_clip(s, -1, 1) : 0,
                            .state = {c->gain[0], c->gain[1], 0}};
}

/* Gains and integral move on by one step; the force follows from them. */
static double advance(struct hybrid *c, const struct signals *now)
{
    const struct hybrid_config *g = &c->config;
    const double rate[2] = {gain_rate(c, now, 0), gain_rate(c, now, 1)};
    for (int i = 0; i < 2; i++)
        c->gain[i] = law_clip(c->gain[i] + rate[i] * g->dt, 0, g->most_gain[i]);
    const double before = c->integral;
    if (!now->rest)
        c->integral =
            law_clip(before - c->gain[1] * now->sign * g->dt, -g->most_integral, g->most_integral);
    const double wanted = force(now, c->gain[0], c->integral);
    if (fabs(wanted) <= g->max_force)
        return wanted;
    c->integral = before; /* a saturated force must not wind the integral up */
    return law_clip(force(now, c->gain[0], c->integral), -g->max_force, g->max_force);
}

struct control hybrid_compute(struct hybrid *c, const double x[PLANT_STATES])
{
    c->config.options.ledger->cycles++;
    for (int i = 0; i < PLANT_STATES; i++) {
        if (!isfinite(x[i])) {
            reset_memory(c);
            return (struct control){.state = {c->gain[0], c->gain[1], 0}};
        }
    }
    const struct signals now = observe(&c->config, x);
    const double u = advance(c, &now);
    c->steps++;
    hybrid_history_push(c, (const double[HYBRID_ROW]){
                               [HYBRID_K1] = c->gain[0],
                               [HYBRID_K2] = c->gain[1],
                               [HYBRID_U_INT] = c->integral,
                               [HYBRID_S] = now.s,
                           });
    if (emergency(c, u, now.s, x))
        return let_go(c, now.s);
    return (struct control){.u = u, .sigma = now.s, .state = {c->gain[0], c->gain[1], c->integral}};
}

void hybrid_cleanup(struct hybrid *c)
{
    if (c->config.options.leak == LEAK_NOOP_CLEANUP)
        return;
    if (c->config.options.leak != LEAK_FORGET_HISTORY)
        law_release_history(c->config.options.ledger, c->history);
    c->history = NULL;
}

void hybrid_destroy(struct hybrid *c)
{
    if (c && c->config.options.leak != LEAK_NO_DESTRUCTOR)
        law_release(c->config.options.ledger, c, sizeof(*c));
}

const struct history *hybrid_history(const struct hybrid *c)
{
    return c->history;
}

size_t hybrid_size(void)
{
    return sizeof(struct hybrid);
}
