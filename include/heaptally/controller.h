/*
 * controller.h: what a shared object offers so that `heaptally loop` can run it.
 *
 *     #include <heaptally/controller.h>
 *
 *     static void *create(const char *config, char *error, size_t size) { ... }
 *     ...
 *     const struct heaptally_controller heaptally_controller = {
 *         HEAPTALLY_CONTROLLER_VERSION, sizeof(struct heaptally_controller),
 *         create, initialise, compute, cleanup, destroy,
 *     };
 *
 *     cc -shared -fPIC -o pid.so pid.c        heaptally loop ./pid.so --iterations 100000
 *
 * (In C++ write `extern "C"` in front of the definition.) The object needs no library of
 * heaptally's. What it allocates is counted under its own name, "pid" here.
 *
 * The life of a controller: create, initialise, then `iterations` times compute, with cleanup after
 * every `cleanup interval` computations and once after the last, then destroy. There is one
 * controller, and so one history, for the whole run.
 *
 * Threads: all five are called on one thread, the main one. They may start threads of their own,
 * which must have ended when destroy returns.
 */
#ifndef HEAPTALLY_CONTROLLER_H
#define HEAPTALLY_CONTROLLER_H

#include <stddef.h>
#include <stdint.h>

#define HEAPTALLY_CONTROLLER_VERSION 1u
#define HEAPTALLY_CONTROLLER_STATES  6

struct heaptally_controller {
    uint32_t version; /* HEAPTALLY_CONTROLLER_VERSION as it was compiled with */
    uint32_t size;    /* sizeof(struct heaptally_controller), likewise */

    /*
     * Makes a controller. `config` is the text of --config, "" without one, and is the caller's: it
     * does not outlive the call. NULL where that cannot be, with the reason in `error` (`size`
     * bytes, a string, "" if nothing is put there): one line without a full stop.
     */
    void *(*create)(const char *config, char *error, size_t size);

    /* Makes the controller's inner state and its history ready for the first step. 0, or -1. After
     * -1 only destroy follows. NULL here where there is nothing to do. */
    int (*initialise)(void *controller);

    /*
     * One control step: from the state x (the loop draws each of the six from N(0, 1), in whatever
     * units the controller takes) to the control `*u`. 0, or -1 where the step failed, which ends
     * the run.
     */
    int (*compute)(void *controller, const double x[HEAPTALLY_CONTROLLER_STATES], double *u);

    /* Gives back what it takes to go on without: compute is called again afterwards. NULL here
     * where there is nothing to do. */
    void (*cleanup)(void *controller);

    /* Ends the controller and gives back all that it holds. */
    void (*destroy)(void *controller);
};

/* The one symbol that is looked for. */
#ifdef __cplusplus
extern "C" {
#endif
extern const struct heaptally_controller heaptally_controller
    __attribute__((visibility("default")));
#ifdef __cplusplus
}
#endif
#endif
