/*
 * The demo's command line, as one table: a row has the option's name, its argument, its reader and
 * its help, and getopt's table and the help text derive from it.
 */
#include "demo_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "heaptally/units.h"

static const char *const leak_names[LEAK_MODES] = {
    [LEAK_NONE] = "none",
    [LEAK_FORGET_HISTORY] = "forget-history",
    [LEAK_NO_CLEANUP] = "no-cleanup",
    [LEAK_NOOP_CLEANUP] = "noop-cleanup",
    [LEAK_NO_DESTRUCTOR] = "no-destructor",
    [LEAK_GROWING] = "growing",
};

/* Index of the name that the first `length` bytes of `text` are, or -1. */
static int name_index(const char *const names[], int count, const char *text, size_t length)
{
    for (int i = 0; i < count; i++)
        if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0)
            return i;
    return -1;
}

static bool pick(const char *const names[], int count, const char *text, int *index)
{
    const int found = name_index(names, count, text, strlen(text));
    if (found >= 0)
        *index = found;
    return found >= 0;
}

static int kind_index(const char *text, size_t length)
{
    for (int i = 0; i < DEMO_KINDS; i++)
        if (strlen(demo_kinds[i].name) == length && strncmp(demo_kinds[i].name, text, length) == 0)
            return i;
    return -1;
}

/* The readers: true if `text` was understood. */

static bool read_leak(const char *text, struct demo_options *o)
{
    int mode;
    if (strcmp(text, "none") == 0)
        return true; /* that some --leak was given has already dropped the default */
    const char *equals = strchr(text, '=');
    const int kind = equals ? kind_index(text, (size_t)(equals - text)) : -1;
    if (kind < 0 || !pick(leak_names, LEAK_MODES, equals + 1, &mode))
        return false;
    o->leak[kind] = (enum leak_mode)mode;
    return true;
}

static bool read_constructions(const char *text, struct demo_options *o)
{
    return ht_parse_count(text, strlen(text), &o->constructions) && o->constructions > 0;
}

static bool read_steps(const char *text, struct demo_options *o)
{
    return ht_parse_count(text, strlen(text), &o->steps);
}

static bool read_duration(const char *text, struct demo_options *o)
{
    return ht_parse_duration(text, strlen(text), &o->duration_ns);
}

static bool read_plant(const char *text, struct demo_options *o)
{
    int index;
    if (!pick(plant_names, PLANT_KINDS, text, &index))
        return false;
    o->plant = (enum plant_kind)index;
    return true;
}

static bool read_integrator(const char *text, struct demo_options *o)
{
    int index;
    if (!pick(integrator_names, INTEGRATOR_KINDS, text, &index))
        return false;
    o->integrator = (enum integrator)index;
    return true;
}

static bool read_surface(const char *text, struct demo_options *o)
{
    o->own_surface = strcmp(text, "own") == 0;
    return o->own_surface || strcmp(text, "standing") == 0;
}

static bool read_storage(const char *text, struct demo_options *o)
{
    int index;
    if (!pick(history_storage_names, HISTORY_STORAGES, text, &index))
        return false;
    o->history.storage = (enum history_storage)index;
    return true;
}

static bool read_rows(const char *text, struct demo_options *o)
{
    uint64_t rows;
    if (!ht_parse_count(text, strlen(text), &rows) || rows < 1 || rows > HISTORY_MAX_ROWS_PER_BLOCK)
        return false;
    o->history.rows_per_block = rows;
    return true;
}

static bool read_bound(const char *text, struct demo_options *o)
{
    int index;
    if (!pick(history_bound_names, HISTORY_BOUNDS, text, &index))
        return false;
    o->history.bound = (enum history_bound)index;
    return true;
}

static bool read_warm_up(const char *text, struct demo_options *o)
{
    uint64_t bytes;
    if (!ht_parse_size(text, strlen(text), &bytes))
        return false;
    o->warm_up_bytes = bytes;
    return true;
}

static bool read_truth(const char *text, struct demo_options *o)
{
    o->truth = text;
    return *text != 0;
}

static const struct {
    const char *name, *argument;
    bool (*read)(const char *text, struct demo_options *options);
    const char *help;
} table[] = {
    {"leak", "CONTROLLER=MODE", read_leak,
     "which controller forgets what; may be given several times\n"
     "                               (classical=forget-history; none for no leak at all)"},
    {"constructions", "N", read_constructions, "controllers of each kind to construct (1000)"},
    {"steps", "N", read_steps, "control steps of each construction (100)"},
    {"duration", "TIME", read_duration, "spread the constructions over that time (8s)"},
    {"plant", "NAME", read_plant, "fullM, simplified, lagrange or lowrank (fullM)"},
    {"integrator", "NAME", read_integrator, "rk4 or euler (rk4)"},
    {"surface", "NAME", read_surface, "standing, or own: the laws' own, which fall (standing)"},
    {"storage", "NAME", read_storage, "history in chunks, array or doubling (chunks)"},
    {"rows", "N", read_rows, "rows of history by which it grows (100)"},
    {"history", "NAME", read_bound,
     "history of the controllers in service: ring of 100 steps,\n"
     "                               trim (1000 to 500) or unbounded (ring)"},
    {"warm-up", "SIZE", read_warm_up, "block that the first step of sta allocates and keeps (0)"},
    {"truth", "FILE", read_truth, "write the program's own books as JSON; - for stderr"},
};

enum { OPTIONS = sizeof(table) / sizeof(table[0]) };

static void print_help(const char *program)
{
    printf("Usage: %s [OPTION]...\n"
           "Four sliding-mode controllers hold a double inverted pendulum upright while others of\n"
           "their kind are constructed, used and destroyed; one of them leaks.\n\n",
           program);
    for (int i = 0; i < OPTIONS; i++) {
        const int used = printf("  --%s %s", table[i].name, table[i].argument);
        printf("%*s%s\n", used < 31 ? 31 - used : 1, "", table[i].help);
    }
    printf("  --help                       show this and exit\n\n"
           "CONTROLLER is classical, sta, adaptive or hybrid. MODE is\n"
           "  forget-history   cleanup releases everything but the history\n"
           "  no-cleanup       the program destroys controllers without cleanup\n"
           "  noop-cleanup     cleanup does nothing\n"
           "  no-destructor    destroy does nothing\n"
           "  growing          one controller stays in service with an unbounded history\n");
}

static int usage_error(const char *program, const char *name, const char *text)
{
    fprintf(stderr, "%s: --%s %s: not understood; --help lists what is\n", program, name, text);
    return 2;
}

/* What can only be said about all options together. */
static int check_together(const char *program, const struct demo_options *o)
{
    if (o->plant == PLANT_LOWRANK && !o->own_surface) {
        fprintf(stderr,
                "%s: --plant lowrank: no standing surface is known for it; add --surface own\n",
                program);
        return 2;
    }
    if (!history_shape_valid(o->history)) {
        fprintf(stderr, "%s: --rows %zu: a trimmed history in chunks needs a divisor of %d\n",
                program, o->history.rows_per_block, HISTORY_TRIM_TO);
        return 2;
    }
    return -1;
}

static void fill_getopt_table(struct option long_options[OPTIONS + 2])
{
    memset(long_options, 0, (OPTIONS + 2) * sizeof(*long_options));
    for (int i = 0; i < OPTIONS; i++)
        long_options[i] = (struct option){table[i].name, required_argument, NULL, 1000 + i};
    long_options[OPTIONS] = (struct option){"help", no_argument, NULL, 'h'};
}

int demo_options_read(int argc, char *argv[], struct demo_options *o)
{
    struct option long_options[OPTIONS + 2];
    bool default_leak = true;
    int found;
    fill_getopt_table(long_options);
    *o = (struct demo_options){.leak[DEMO_CLASSICAL] = LEAK_FORGET_HISTORY,
                               .constructions = 1000,
                               .steps = 100,
                               .duration_ns = 8 * HT_SECOND,
                               .plant = PLANT_FULLM,
                               .history = {HISTORY_CHUNKS, HISTORY_IN_RING, 100}};
    while ((found = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (found == 'h') {
            print_help(argv[0]);
            return 0;
        }
        if (found < 1000)
            return 2;
        if (table[found - 1000].read == read_leak && default_leak) {
            o->leak[DEMO_CLASSICAL] = LEAK_NONE;
            default_leak = false;
        }
        if (!table[found - 1000].read(optarg, o))
            return usage_error(argv[0], table[found - 1000].name, optarg);
    }
    if (optind < argc) {
        fprintf(stderr, "%s: %s: there is nothing to give it to; --help lists the options\n",
                argv[0], argv[optind]);
        return 2;
    }
    return check_together(argv[0], o);
}
