/*
 * What the four control laws have in common, and nothing that allocates.
 *
 * A controller's life is create, initialise, compute once a step, cleanup, destroy:
 *
 *   create      one block, allocated directly in NAME_create: the controller itself
 *   initialise  its working vectors, if the law has any, and the container of its history
 *   compute     one control step; makes the history longer
 *   cleanup     releases what initialise and compute allocated
 *   destroy     releases the controller itself, and nothing else: cleanup comes first
 *
 * Every block is allocated directly by a function of the law whose name begins with the law's name,
 * so that `--tag classical='classical_*'` finds all of them by the immediate caller alone, and
 * `--construct classical=classical_create` counts each controller exactly once. LAW_ALLOCATES and
 * LAW_KEEP_FRAME see to it that the compiler neither inlines these functions nor leaves them by a
 * jump into malloc.
 */
#ifndef CONTROLLERS_LAW_H
#define CONTROLLERS_LAW_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "history.h"
#include "ledger.h"
#include "plant.h"
#include "surface.h"

#if defined(__clang__)
#define LAW_ALLOCATES __attribute__((noinline))
#else
#define LAW_ALLOCATES __attribute__((noipa))
#endif

/* Uses `block` after its allocation, so that the call to malloc cannot be the function's last. */
#define LAW_KEEP_FRAME(block) __asm__ volatile("" : "+r"(block))

/* What a law forgets, as the controllers of the reference project do or did. */
enum leak_mode {
    LEAK_NONE,
    LEAK_FORGET_HISTORY, /* cleanup releases everything but the history */
    LEAK_NO_CLEANUP,     /* the program destroys the controller without cleanup */
    LEAK_NOOP_CLEANUP,   /* cleanup does nothing */
    LEAK_NO_DESTRUCTOR,  /* destroy does nothing */
    LEAK_GROWING,        /* the program keeps one controller for ever, with unbounded history */
    LEAK_MODES,
};

struct law_options {
    struct surface surface;
    const struct plant *model; /* for the equivalent control; NULL for none. Outlives us */
    struct history_shape history;
    enum leak_mode leak;
    struct ledger *ledger; /* not NULL; outlives the controller */
};

/* One step's result. `state` is the law's own memory after the step, as many as it has. */
struct control {
    double u;     /* N */
    double sigma; /* value of the surface */
    double state[3];
};

static inline double law_clip(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value; /* keeps a NaN */
}

/* The smooth sign: the slope of 3 divides, as in the repository's shared saturation function. */
static inline double law_saturate_tanh(double sigma, double width)
{
    return tanh(law_clip(sigma / width / 3.0, -700, 700));
}

static inline double law_saturate_linear(double sigma, double width)
{
    return law_clip(sigma / width, -1, 1);
}

/* Releases one block of `bytes`; nothing if it is NULL. */
static inline void law_release(struct ledger *ledger, void *block, size_t bytes)
{
    ledger_released(ledger, block, bytes);
    free(block);
}

/* Releases a history's blocks and its container; nothing if it is NULL. */
static inline void law_release_history(struct ledger *ledger, struct history *history)
{
    if (history)
        history_release(history);
    law_release(ledger, history, sizeof(*history));
}

/*
 * The force that keeps the surface where it is, by the model:
 *     u = (L M^-1 (C qd + G) - P . qd) / (L M^-1 B)
 * with the surface's rows L (onto rates) and P (onto positions). 0 without a model, for a model
 * without a matrix, and where |L M^-1 B| < threshold. In the repository it is always 0, since no
 * plant there has the method that the controllers ask for.
 */
double law_equivalent_control(const struct plant *model, const double x[PLANT_STATES],
                              const double onto_rates[PLANT_AXES],
                              const double onto_positions[PLANT_AXES],
                              const double input[PLANT_AXES], double threshold);

#endif
