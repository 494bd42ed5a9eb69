/*
 * The process that runs the controller. It allocates nothing itself between create and destroy.
 *
 * heaptally looks at the counters once a tick, and a verdict needs some hundred ticks: so the steps
 * are spread, in batches, over a little time, and over so many ticks, which come late on a busy
 * machine. It rests for some ticks before the first step, after a fifth of them and after the last,
 * so that there are figures of exactly those moments.
 */
#include "loop.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "heaptally.h"
#include "heaptally/controller.h"
#include "heaptally/tagging.h"
#include "heaptally/units.h"
#include "normal.h"
#include "progress.h"
#include "text.h"

#define LEAST_TICKS 150u             /* that the steps are spread over */
#define LONGEST     (60 * HT_SECOND) /* what they are spread over at most, for want of ticks */
#define REST_TICKS  2u               /* the second of them begins while the controller rests */
#define REST_MOST   (5 * HT_SECOND)
#define LOOK_AGAIN  (5 * HT_MILLISECOND)
#define BATCHES     400u
#define LEAST_PACED 100u /* fewer steps are not spread: no verdict could come of them */

__attribute__((format(printf, 3, 4))) static int
end(struct ht_loop_record *record, enum ht_loop_state state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(record->error, sizeof record->error, format, arguments);
    va_end(arguments);
    record->state = state;
    return 1;
}

static uint64_t resident(void)
{
    char text[128] = "";
    unsigned long long size, pages;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (length <= 0 || sscanf(text, "%llu %llu", &size, &pages) != 2)
        return HTL_UNKNOWN;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * HT_SECOND + (uint64_t)time.tv_nsec;
}

static void wait_until(uint64_t ns)
{
    const struct timespec until = {(time_t)(ns / HT_SECOND), (long)(ns % HT_SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

/* How many ticks there have been; as last known, where the monitor is too busy to say. */
static uint64_t ticks(void)
{
    static uint64_t known;
    struct heaptally_trend trend;
    if (heaptally_analyze_trend(NULL, &trend) == 0)
        known = trend.samples;
    return known;
}

static void wait_for_ticks(uint64_t wanted, uint64_t until_ns)
{
    while (ticks() < wanted && now() < until_ns)
        wait_until(now() + LOOK_AGAIN);
}

static void rest(struct ht_loop_rest *times)
{
    times->from_ns = now();
    wait_for_ticks(ticks() + REST_TICKS, times->from_ns + REST_MOST);
    times->to_ns = now();
}

/* ---- the shared object ----------------------------------------------------------------------- */

/* The name by which its allocations are known: its soname, else its file, without a version. */
static void take_tag(void *object, const char *path, struct ht_loop_record *record)
{
    struct link_map *map = NULL;
    const char *strings = NULL, *name = ht_base_name(path);
    ElfW(Sxword) soname = -1;
    if (dlinfo(object, RTLD_DI_LINKMAP, &map) == 0)
        for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_STRTAB)
                strings = (const char *)entry->d_un.d_ptr;
            if (entry->d_tag == DT_SONAME)
                soname = (ElfW(Sxword))entry->d_un.d_val;
        }
    if (strings && soname >= 0 && strings[soname])
        name = strings + soname;
    snprintf(record->tag, sizeof record->tag, "%.*s", (int)ht_module_tag_length(name), name);
}

/* NULL, with the reason in the record, where the object cannot be used. */
static const struct heaptally_controller *load(const char *path, struct ht_loop_record *record)
{
    /* dlopen looks names without a slash up among the system's libraries. */
    char *file = ht_format("%s%s", strchr(path, '/') ? "" : "./", path);
    void *object = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    free(file);
    if (!object) {
        end(record, HT_LOOP_REFUSED, "%s: cannot be loaded: %s; build it as a shared object", path,
            dlerror());
        return NULL;
    }
    const struct heaptally_controller *controller = dlsym(object, "heaptally_controller");
    if (!controller)
        end(record, HT_LOOP_REFUSED,
            "%s: defines no heaptally_controller; see heaptally/controller.h for what it has to "
            "define",
            path);
    else if (controller->version != HEAPTALLY_CONTROLLER_VERSION ||
             controller->size < sizeof *controller)
        end(record, HT_LOOP_REFUSED,
            "%s: has version %u of the interface, and this heaptally knows version %u; compile it "
            "with this heaptally's controller.h",
            path, controller->version, HEAPTALLY_CONTROLLER_VERSION);
    else if (!controller->create || !controller->compute || !controller->destroy)
        end(record, HT_LOOP_REFUSED,
            "%s: lacks create, compute or destroy; only initialise and cleanup may be NULL", path);
    else
        take_tag(object, path, record);
    return record->state == HT_LOOP_BEGUN ? controller : NULL;
}

/* ---- the run --------------------------------------------------------------------------------- */

struct run {
    const struct ht_loop_plan *plan;
    struct ht_loop_record *record;
    const struct heaptally_controller *type;
    void *controller;
    uint64_t start_ns, start_ticks;
};

/* Waits until as much of the time, and as many of the ticks, have passed as of the steps. */
static void keep_pace(const struct run *run, uint64_t done)
{
    const struct ht_loop_plan *plan = run->plan;
    double share = (double)done / (double)plan->iterations;
    wait_until(run->start_ns + (uint64_t)(share * (double)plan->duration_ns));
    wait_for_ticks(run->start_ticks + (uint64_t)(share * LEAST_TICKS), run->start_ns + LONGEST);
}

/* False where a step failed. */
static bool run_steps(const struct run *run)
{
    const struct ht_loop_plan *plan = run->plan;
    struct ht_normal generator = {.counter = plan->seed};
    uint64_t batch = plan->iterations / BATCHES + 1;
    run->record->mark = plan->iterations / 5;
    for (uint64_t i = 0; i < plan->iterations; i++) {
        if (i == run->record->mark)
            rest(&run->record->rests[0]);
        double x[HEAPTALLY_CONTROLLER_STATES], u = 0;
        for (int k = 0; k < HEAPTALLY_CONTROLLER_STATES; k++)
            x[k] = ht_normal_next(&generator);
        if (run->type->compute(run->controller, x, &u) != 0)
            break;
        heaptally_cycle(run->record->tag);
        run->record->done = i + 1;
        if (run->type->cleanup && i > 0 && i % plan->cleanup_interval == 0)
            run->type->cleanup(run->controller);
        if (i % batch == 0 && plan->duration_ns > 0 && plan->iterations >= LEAST_PACED) {
            keep_pace(run, i);
            ht_progress("control steps", i, plan->iterations);
        }
    }
    ht_progress_end();
    return run->record->done == plan->iterations;
}

int ht_loop_work(const struct ht_loop_plan *plan, struct ht_loop_record *record)
{
    char why[256] = "";
    struct run run = {.plan = plan, .record = record};
    record->rss_start = record->rss_end = HTL_UNKNOWN;
    if (!heaptally_active())
        return end(record, HT_LOOP_BROKEN,
                   "loop: libheaptally.so was not loaded; is LD_PRELOAD ignored here?");
    if (!(run.type = load(plan->controller, record)))
        return 1;
    rest(&record->rests[0]);
    record->rss_start = resident();
    run.controller = run.type->create(plan->config, why, sizeof why);
    if (!run.controller)
        return end(record, HT_LOOP_REFUSED, "%s: makes no controller: %s", plan->controller,
                   *why ? why : "it does not say why; look at --config");
    if (run.type->initialise && run.type->initialise(run.controller) != 0) {
        run.type->destroy(run.controller);
        return end(record, HT_LOOP_FAILED, "%s: the controller cannot be initialised",
                   plan->controller);
    }
    run.start_ns = now();
    run.start_ticks = ticks();
    bool fine = run_steps(&run);
    record->rss_end = resident();
    rest(&record->rests[1]);
    if (run.type->cleanup)
        run.type->cleanup(run.controller);
    run.type->destroy(run.controller);
    if (!fine)
        return end(record, HT_LOOP_FAILED, "%s: step %s failed", plan->controller,
                   ht_grouped(record->done + 1));
    record->state = HT_LOOP_RAN;
    return 0;
}
