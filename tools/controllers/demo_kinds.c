/* The table of the four kinds, with or without heaptally's marks; see demo_kinds.h. */
#include "demo_kinds.h"

#include "adaptive.h"
#include "classical.h"
#include "hybrid.h"
#include "sta.h"

#ifdef USE_HEAPTALLY
#include "heaptally.h"
#define CONSTRUCTING(name) HEAPTALLY_CONSTRUCT(name)
#define WORKING(name)      HEAPTALLY_SCOPE(name)
#define CYCLE(name)        heaptally_cycle(name)
#else
#define CONSTRUCTING(name)
#define WORKING(name)
#define CYCLE(name) ((void)0)
#endif

/*
 * The functions and the ledger of one kind. EXTRA is a statement that may set more of `config` from
 * `build`. Their names begin otherwise than the law's, so that a rule on the law's functions finds
 * only them.
 */
#define DEFINE_KIND(law, EXTRA)                                                                    \
    static struct ledger ledger_of_##law = {.name = #law};                                         \
                                                                                                   \
    static void *construct_##law(const struct demo_build *build)                                   \
    {                                                                                              \
        struct law##_config config =                                                               \
            build->standing ? law##_standing(build->standing) : law##_tuned();                     \
        config.options.history = build->history;                                                   \
        config.options.leak = build->leak;                                                         \
        config.options.ledger = &ledger_of_##law;                                                  \
        EXTRA;                                                                                     \
        struct law *controller = NULL;                                                             \
        bool ready = false;                                                                        \
        CONSTRUCTING(#law)                                                                         \
        {                                                                                          \
            controller = law##_create(&config);                                                    \
            if (controller)                                                                        \
                ready = law##_initialise(controller);                                              \
        }                                                                                          \
        if (controller && !ready) {                                                                \
            law##_cleanup(controller);                                                             \
            law##_destroy(controller);                                                             \
            controller = NULL;                                                                     \
        }                                                                                          \
        return controller;                                                                         \
    }                                                                                              \
                                                                                                   \
    static struct control step_##law(void *controller, const double x[PLANT_STATES])               \
    {                                                                                              \
        struct control result = {.u = 0};                                                          \
        WORKING(#law)                                                                              \
        {                                                                                          \
            result = law##_compute(controller, x);                                                 \
        }                                                                                          \
        CYCLE(#law);                                                                               \
        return result;                                                                             \
    }                                                                                              \
                                                                                                   \
    static void cleanup_##law(void *controller)                                                    \
    {                                                                                              \
        law##_cleanup(controller);                                                                 \
    }                                                                                              \
                                                                                                   \
    static void destroy_##law(void *controller)                                                    \
    {                                                                                              \
        law##_destroy(controller);                                                                 \
    }

#define KIND(law)                                                                                  \
    {                                                                                              \
#law, &ledger_of_##law, construct_##law, step_##law, cleanup_##law, destroy_##law          \
    }

DEFINE_KIND(classical, (void)0)
DEFINE_KIND(sta, config.warm_up_bytes = build->warm_up_bytes)
DEFINE_KIND(adaptive, (void)0)
DEFINE_KIND(hybrid, (void)0)

const struct demo_kind demo_kinds[DEMO_KINDS] = {
    [DEMO_CLASSICAL] = KIND(classical),
    [DEMO_STA] = KIND(sta),
    [DEMO_ADAPTIVE] = KIND(adaptive),
    [DEMO_HYBRID] = KIND(hybrid),
};
