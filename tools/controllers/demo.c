/*
 * The demo: four sliding-mode controllers in service, each holding a double inverted pendulum
 * upright, while controllers of the same four kinds are constructed, used and destroyed over and
 * over. One kind forgets part of its memory; the others are innocent. Run under heaptally it shows
 * whether the right one is blamed, and by the byte: the program keeps books of its own
 * (ledger.h), and --truth writes them out.
 *
 * One thread. Besides the controllers the program allocates nothing until the books are written:
 * stdout has a static buffer, and everything else is on the stack.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "demo_kinds.h"
#include "demo_options.h"

static const double time_step = 0.001; /* s, of plant and controllers */
static const double fall_angle = 0.5;  /* rad, beyond which a pendulum counts as fallen */

enum { STANDING_STEPS = 10000 }; /* before the constructions begin: 10 s of pendulum time */

/* One pendulum and what was seen of it. Once fallen it lies where it fell. */
struct pendulum {
    double x[PLANT_STATES];
    double widest, strongest; /* largest |angle|, rad, and |u|, N, so far */
    uint64_t steps;
    bool fallen;
};

/* A controller in service, with its pendulum. */
struct service {
    void *controller;
    struct pendulum pendulum;
};

struct demo {
    struct demo_options options;
    struct plant plant;
    struct surface standing;
    struct service services[DEMO_KINDS];
};

static struct pendulum pendulum_at_start(void)
{
    return (struct pendulum){.x = {0, 0.05, -0.03, 0, 0, 0}};
}

static void run_steps(const struct demo *demo, const struct demo_kind *kind,
                      struct service *service, uint64_t steps)
{
    struct pendulum *p = &service->pendulum;
    for (uint64_t i = 0; i < steps; i++) {
        const struct control control = kind->step(service->controller, p->x);
        if (p->fallen)
            continue;
        p->strongest = fmax(p->strongest, fabs(control.u));
        if (!plant_step(&demo->plant, demo->options.integrator, p->x, control.u, time_step))
            p->fallen = true;
        p->widest = fmax(p->widest, fmax(fabs(p->x[1]), fabs(p->x[2])));
        p->fallen |= p->widest > fall_angle;
        p->steps++;
    }
}

static void *construct(const struct demo *demo, int kind, bool in_service)
{
    const struct demo_options *o = &demo->options;
    struct demo_build build = {.standing = o->own_surface ? NULL : &demo->standing,
                               .history = o->history,
                               .leak = o->leak[kind],
                               .warm_up_bytes = o->warm_up_bytes};
    if (!in_service || build.leak == LEAK_GROWING)
        build.history.bound = HISTORY_UNBOUNDED;
    void *controller = demo_kinds[kind].construct(&build);
    if (!controller)
        fprintf(stderr, "demo: %s: cannot be constructed: out of memory\n", demo_kinds[kind].name);
    return controller;
}

static void dispose(const struct demo *demo, int kind, void *controller)
{
    if (demo->options.leak[kind] != LEAK_NO_CLEANUP)
        demo_kinds[kind].cleanup(controller);
    demo_kinds[kind].destroy(controller);
}

static bool put_in_service(struct demo *demo)
{
    for (int kind = 0; kind < DEMO_KINDS; kind++) {
        struct service *service = &demo->services[kind];
        *service = (struct service){construct(demo, kind, true), pendulum_at_start()};
        if (!service->controller)
            return false;
        run_steps(demo, &demo_kinds[kind], service, STANDING_STEPS);
    }
    return true;
}

static void print_pendulum(const char *name, const struct pendulum *p)
{
    if (p->fallen)
        printf("  %-10s FELL after %.3f s", name, (double)p->steps * time_step);
    else
        printf("  %-10s stands after %.1f s", name, (double)p->steps * time_step);
    printf(": max |theta| %.4f rad, max |u| %.1f N, x = [", p->widest, p->strongest);
    for (int i = 0; i < PLANT_STATES; i++)
        printf("%s%.2e", i ? ", " : "", p->x[i]);
    printf("]\n");
}

static void print_services(const struct demo *demo)
{
    printf("Plant %s, integrator %s, %s surface, steps of %g s:\n", plant_names[demo->plant.kind],
           integrator_names[demo->options.integrator],
           demo->options.own_surface ? "each law's own" : "the standing", time_step);
    for (int kind = 0; kind < DEMO_KINDS; kind++)
        print_pendulum(demo_kinds[kind].name, &demo->services[kind].pendulum);
    fflush(stdout);
}

/* Waits until the share done/all of the duration has passed since `start`. */
static void keep_pace(const struct demo *demo, const struct timespec *start, uint64_t done,
                      uint64_t all)
{
    const double share = (double)done / (double)all;
    const uint64_t due = (uint64_t)(share * (double)demo->options.duration_ns);
    const uint64_t ns = (uint64_t)start->tv_nsec + due % 1000000000;
    const struct timespec until = {start->tv_sec + (time_t)(due / 1000000000 + ns / 1000000000),
                                   (long)(ns % 1000000000)};
    if (demo->options.duration_ns)
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
}

/* One more controller of each kind lives and ends, while those in service go on. */
static bool construct_once(struct demo *demo)
{
    for (int kind = 0; kind < DEMO_KINDS; kind++) {
        struct service brief = {construct(demo, kind, false), pendulum_at_start()};
        if (!brief.controller)
            return false;
        run_steps(demo, &demo_kinds[kind], &brief, demo->options.steps);
        dispose(demo, kind, brief.controller);
        run_steps(demo, &demo_kinds[kind], &demo->services[kind], demo->options.steps);
    }
    return true;
}

static bool construct_all(struct demo *demo)
{
    const uint64_t all = demo->options.constructions - 1; /* those in service are the first */
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t done = 0; done < all; done++) {
        if (!construct_once(demo))
            return false;
        keep_pace(demo, &start, done + 1, all);
    }
    return true;
}

/* A controller whose leak is that it grows in service stays in service. */
static void take_out_of_service(struct demo *demo)
{
    for (int kind = 0; kind < DEMO_KINDS; kind++)
        if (demo->services[kind].controller && demo->options.leak[kind] != LEAK_GROWING)
            dispose(demo, kind, demo->services[kind].controller);
}

static void print_books(void)
{
    printf("The program's own books:\n  controller  constructed  live bytes  live blocks\n");
    for (int kind = 0; kind < DEMO_KINDS; kind++) {
        const struct ledger *ledger = demo_kinds[kind].ledger;
        printf("  %-10s  %11" PRIu64 "  %10" PRIu64 "  %11" PRIu64 "\n", ledger->name,
               ledger->instantiations, ledger->live_bytes, ledger->live_blocks);
    }
    fflush(stdout);
}

static bool write_truth(const char *path)
{
    const struct ledger *ledgers[DEMO_KINDS];
    for (int kind = 0; kind < DEMO_KINDS; kind++)
        ledgers[kind] = demo_kinds[kind].ledger;
    if (strcmp(path, "-") == 0)
        return ledger_write_json(stderr, ledgers, DEMO_KINDS) == 0;
    FILE *out = fopen(path, "w");
    bool written = out && ledger_write_json(out, ledgers, DEMO_KINDS) == 0;
    if (out && fclose(out) != 0)
        written = false;
    if (!written)
        fprintf(stderr, "demo: %s: cannot be written: %s\n", path, strerror(errno));
    return written;
}

int main(int argc, char *argv[])
{
    static char output_buffer[BUFSIZ];
    static struct demo demo;
    setvbuf(stdout, output_buffer, _IOFBF, sizeof(output_buffer));
    const int status = demo_options_read(argc, argv, &demo.options);
    if (status >= 0)
        return status;
    demo.plant = plant_make(demo.options.plant);
    surface_standing(demo.options.plant, &demo.standing);
    if (!put_in_service(&demo))
        return 1;
    print_services(&demo);
    if (!construct_all(&demo))
        return 1;
    take_out_of_service(&demo);
    printf("At the end:\n");
    for (int kind = 0; kind < DEMO_KINDS; kind++)
        print_pendulum(demo_kinds[kind].name, &demo.services[kind].pendulum);
    print_books();
    return demo.options.truth && !write_truth(demo.options.truth);
}
