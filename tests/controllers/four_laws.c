#include "four_laws.h"

#include <check.h>

#include "adaptive.h"
#include "classical.h"
#include "hybrid.h"
#include "sta.h"

static void apply(struct law_options *options, const struct law_request *request)
{
    options->model = request->model;
    if (request->history.rows_per_block)
        options->history = request->history;
    options->leak = request->leak;
    options->ledger = request->ledger;
}

/* SECOND is a statement on `config` for what a law's entry has besides. */
#define DEFINE_LAW(entry, law, SECOND)                                                             \
    static void *create_##entry(const struct law_request *request)                                 \
    {                                                                                              \
        struct law##_config config =                                                               \
            request->standing ? law##_standing(request->standing) : law##_tuned();                 \
        apply(&config.options, request);                                                           \
        SECOND;                                                                                    \
        return law##_create(&config);                                                              \
    }                                                                                              \
    static bool initialise_##entry(void *controller)                                               \
    {                                                                                              \
        return law##_initialise(controller);                                                       \
    }                                                                                              \
    static struct control compute_##entry(void *controller, const double x[PLANT_STATES])          \
    {                                                                                              \
        return law##_compute(controller, x);                                                       \
    }                                                                                              \
    static void cleanup_##entry(void *controller)                                                  \
    {                                                                                              \
        law##_cleanup(controller);                                                                 \
    }                                                                                              \
    static void destroy_##entry(void *controller)                                                  \
    {                                                                                              \
        law##_destroy(controller);                                                                 \
    }                                                                                              \
    static const struct history *history_##entry(const void *controller)                           \
    {                                                                                              \
        return law##_history(controller);                                                          \
    }

#define SET_DT                                                                                     \
    if (request->dt > 0)                                                                           \
    config.dt = request->dt

static void second_gains(struct sta_config *config, bool standing)
{
    if (standing) {
        config->integral_gain = 0.5;
        return;
    }
    config->root_gain = 8;
    config->integral_gain = 4;
    config->options.surface.k[0] = 12;
    config->options.surface.k[1] = 6;
    config->options.surface.lambda[0] = 4.85;
    config->options.surface.lambda[1] = 3.43;
}

DEFINE_LAW(classical, classical, (void)0)
DEFINE_LAW(sta, sta, SET_DT)
DEFINE_LAW(sta_second, sta, second_gains(&config, request->standing); SET_DT)
DEFINE_LAW(adaptive, adaptive, SET_DT)
DEFINE_LAW(hybrid, hybrid, SET_DT)

#define LAW(entry, law, ROW, states_used, vectors)                                                 \
    {                                                                                              \
#entry, #law, ROW, states_used, law##_size(),                                              \
            law##_size() + sizeof(struct history) + (vectors)*PLANT_AXES * sizeof(double),         \
            2 + (vectors), create_##entry, initialise_##entry, compute_##entry, cleanup_##entry,   \
            destroy_##entry, history_##entry,                                                      \
    }

const struct law_entry *four_laws(void)
{
    static struct law_entry entries[LAWS];
    const struct law_entry filled[LAWS] = {
        [LAW_CLASSICAL] = LAW(classical, classical, CLASSICAL_ROW, 0, 2),
        [LAW_STA] = LAW(sta, sta, STA_ROW, 2, 2),
        [LAW_STA_SECOND] = LAW(sta_second, sta, STA_ROW, 2, 2),
        [LAW_ADAPTIVE] = LAW(adaptive, adaptive, ADAPTIVE_ROW, 3, 0),
        [LAW_HYBRID] = LAW(hybrid, hybrid, HYBRID_ROW, 3, 0),
    };
    for (int i = 0; i < LAWS; i++)
        entries[i] = filled[i];
    return entries;
}

void *law_build(const struct law_entry *law, const struct law_request *request)
{
    void *controller = law->create(request);
    ck_assert_ptr_nonnull(controller);
    ck_assert(law->initialise(controller));
    return controller;
}

void law_end(const struct law_entry *law, void *controller)
{
    law->cleanup(controller);
    law->destroy(controller);
}
