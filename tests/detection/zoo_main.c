/*
 * Plays the zoo and prints how the detector does, beside what people use today. Exits 1 when a
 * target is missed.
 *
 *   zoo [--full] [--seeds N] [--fresh N] [--short N] [--base SEED] [--jobs N] [--family WORD]
 *       [--details] [--no-rivals]
 *
 * Half of the seeds are fixed, so that a change of the rules is seen as such; half are drawn anew
 * on every run and printed, so that nothing is tuned to the fixed ones: --base repeats them.
 */
#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIXED_BASE UINT64_C(20240607)
#define LONG_TICKS 25200

/* Classes of short runs, in ticks: of less than 60 + 32 nothing can be said. */
static const struct {
    double low, high;
    const char *name;
} short_class[] = {
    {10, 92, "10-91"}, {92, 300, "92-299"}, {300, 900, "300-899"}, {900, 3000, "900-2999"}};
#define SHORT_CLASSES 4

struct options {
    int seeds, fresh, shorts, jobs;
    uint64_t base;
    const char *family;
    bool details, rivals, full;
};

/* One series to play and what came of it; in memory shared by the workers. */
struct job {
    uint64_t seed;
    struct zoo_run run;
    int family;
    int short_class; /* -1: a long run */
    bool fresh;
    struct play_result result;
};

static struct options options = {.seeds = 3, .fresh = 3, .shorts = 4, .jobs = 1, .rivals = true};
static struct job *jobs;
static int job_count;

/* ---- the list of jobs ------------------------------------------------------------------------ */

static uint64_t series_seed(uint64_t base, int family, int number)
{
    return rnd_mix(rnd_mix(base + (uint64_t)family * 1000003) + (uint64_t)number);
}

static void add_job(int family, int short_class_index, int number, bool fresh)
{
    struct job *job = &jobs[job_count++];
    job->family = family;
    job->short_class = short_class_index;
    job->fresh = fresh;
    job->seed = series_seed(fresh ? options.base : FIXED_BASE, family,
                            number + 1000000 * (short_class_index + 1));
    job->run = (struct zoo_run){.ticks = LONG_TICKS, .scale = 1};
    if (short_class_index < 0)
        return;
    struct rnd rnd;
    rnd_seed(&rnd, job->seed + 1);
    double low = short_class[short_class_index].low, high = short_class[short_class_index].high;
    job->run.ticks = floor(rnd_scale(&rnd, low, high));
    job->run.is_short = true;
    job->run.scale = fmax(60, job->run.ticks / 5) / 600;
}

static bool wanted(int family)
{
    return !options.family || strstr(zoo[family].name, options.family);
}

static void list_jobs(void)
{
    size_t most = (size_t)zoo_families *
                  (size_t)(options.seeds + options.fresh + SHORT_CLASSES * options.shorts);
    jobs =
        mmap(NULL, most * sizeof *jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (jobs == MAP_FAILED) {
        perror("zoo: mmap");
        exit(2);
    }
    for (int f = 0; f < zoo_families; f++) {
        if (!wanted(f))
            continue;
        for (int i = 0; zoo[f].in_long && i < options.seeds + options.fresh; i++)
            add_job(f, -1, i, i >= options.seeds);
        for (int c = 0; zoo[f].in_short && c < SHORT_CLASSES; c++)
            for (int i = 0; i < options.shorts; i++)
                add_job(f, c, i, i % 2 == 1);
    }
}

static void play_jobs(int worker)
{
    for (int i = worker; i < job_count; i += options.jobs) {
        struct job *job = &jobs[i];
        const struct zoo_family *family = &zoo[job->family];
        if (job->short_class < 0)
            play_long(family, &job->run, job->seed, options.rivals, &job->result);
        else
            play_short(family, &job->run, job->seed, &job->result);
    }
}

static void play_all(void)
{
    for (int worker = 1; worker < options.jobs; worker++) {
        if (fork() == 0) {
            play_jobs(worker);
            _exit(0);
        }
    }
    play_jobs(0);
    int status;
    while (wait(&status) > 0) {
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            fprintf(stderr, "zoo: a worker died\n");
            exit(2);
        }
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sorts; the share `q` of the values lies at or below the result. NaN of none. */
static double quantile(float *values, int count, double q)
{
    if (count == 0)
        return NAN;
    qsort(values, (size_t)count, sizeof *values, compare_floats);
    int at = (int)ceil(q * count) - 1;
    return values[at < 0 ? 0 : at];
}

static double percent(int part, int whole)
{
    return whole ? 100.0 * part / whole : NAN;
}

/* Is `job` a false leak, at any tick? */
static bool job_false(const struct job *job)
{
    if (job->short_class >= 0)
        return zoo[job->family].truth == ZOO_BOUNDED && job->result.call == HT_TREND_LEAK;
    if (zoo[job->family].truth == ZOO_BOUNDED)
        return job->result.first >= 0;
    return zoo[job->family].truth == ZOO_LEAK && job->result.early >= 0;
}

static bool job_found(const struct job *job)
{
    return job->short_class < 0 ? job->result.first >= 0 : job->result.call == HT_TREND_LEAK;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* One line for each family of long runs. */
static void print_families(void)
{
    static float minutes[100000], withdrawn[100000], error[100000];
    printf("\n%-36s %6s %7s %17s %6s %6s %6s %6s\n", "long runs (7 h at 1 s)", "series", "leak %",
           "minutes med/worst", "at end", "rate%", "ci %", "flips");
    for (int f = 0; f < zoo_families; f++) {
        int n = 0, leak = 0, end = 0, found = 0, ends = 0, known = 0, holds = 0, errors = 0;
        double flips = 0;
        for (int i = 0; i < job_count; i++) {
            const struct job *job = &jobs[i];
            if (job->family != f || job->short_class >= 0)
                continue;
            n++;
            leak += job->result.first >= 0;
            end += job->result.call == HT_TREND_LEAK;
            flips += job->result.flips;
            known += job->result.ci_known;
            holds += job->result.ci_holds;
            if (job->result.ci_known)
                error[errors++] = fabsf(job->result.rate_error) * 100;
            if (job->result.first >= 0) {
                struct zoo_series s;
                zoo_build(&zoo[f], &job->run, job->seed, &s);
                minutes[found++] = (job->result.first + 1 - (float)s.growth_start) / 60;
            }
            if (job->result.withdrawn >= 0)
                withdrawn[ends++] = job->result.withdrawn / 60;
        }
        if (n == 0)
            continue;
        printf("%-36s %6d %7.2f %8.0f %8.0f %6.1f %6.1f %6.1f %6.2f", zoo[f].name, n,
               percent(leak, n), quantile(minutes, found, 0.5), quantile(minutes, found, 1),
               percent(end, n), quantile(error, errors, 0.5), percent(holds, known), flips / n);
        if (zoo[f].truth == ZOO_HARD)
            printf("  withdrawn after %.0f / %.0f min", quantile(withdrawn, ends, 0.5),
                   quantile(withdrawn, ends, 1));
        printf("\n");
    }
}

static void print_rivals(void)
{
    int bounded = 0, leaks = 0, false_leaks = 0, found = 0;
    int rival_false[RIVAL_COUNT] = {0}, rival_found[RIVAL_COUNT] = {0};
    for (int i = 0; i < job_count; i++) {
        const struct job *job = &jobs[i];
        if (job->short_class >= 0 || zoo[job->family].truth == ZOO_HARD)
            continue;
        bool leak = zoo[job->family].truth == ZOO_LEAK;
        leaks += leak;
        bounded += !leak;
        found += leak && job_found(job);
        false_leaks += !leak && job_false(job);
        for (int r = 0; r < RIVAL_COUNT; r++) {
            rival_found[r] += leak && job->result.rival[r] >= 0;
            rival_false[r] += !leak && job->result.rival[r] >= 0;
        }
    }
    printf("\n%-36s %12s", "any tick of 7 h", "heaptally");
    for (int r = 0; options.rivals && r < RIVAL_COUNT; r++)
        printf(" %12s", rival_names[r]);
    printf("\nfalse leaks, %% of %-5d bounded      %12.3f", bounded, percent(false_leaks, bounded));
    for (int r = 0; options.rivals && r < RIVAL_COUNT; r++)
        printf(" %12.1f", percent(rival_false[r], bounded));
    printf("\nfound, %% of %-5d leaks              %12.2f", leaks, percent(found, leaks));
    for (int r = 0; options.rivals && r < RIVAL_COUNT; r++)
        printf(" %12.1f", percent(rival_found[r], leaks));
    printf("\n");
}

static void print_shorts(void)
{
    printf("\n%-20s %8s %8s %8s %8s %8s %8s\n", "short runs, ticks", "bounded", "false", "called",
           "leaks", "found %", "ci %");
    for (int c = 0; c < SHORT_CLASSES; c++) {
        int bounded = 0, false_leaks = 0, called = 0, leaks = 0, found = 0, known = 0, holds = 0;
        for (int i = 0; i < job_count; i++) {
            const struct job *job = &jobs[i];
            if (job->short_class != c)
                continue;
            bool leak = zoo[job->family].truth == ZOO_LEAK;
            leaks += leak;
            bounded += !leak;
            false_leaks += job_false(job);
            called += !leak && job->result.call == HT_TREND_BOUNDED;
            found += leak && job_found(job);
            known += job->result.ci_known;
            holds += job->result.ci_holds;
        }
        printf("%-20s %8d %8d %8.1f %8d %8.1f %8.1f\n", short_class[c].name, bounded, false_leaks,
               percent(called, bounded), leaks, percent(found, leaks), percent(holds, known));
    }
}

/* Every series that went wrong, with what repeats it. */
static void print_details(void)
{
    for (int i = 0; i < job_count; i++) {
        const struct job *job = &jobs[i];
        enum zoo_truth truth = zoo[job->family].truth;
        const char *what = job_false(job)                         ? "false leak"
                           : truth == ZOO_LEAK && !job_found(job) ? "missed"
                           : job->result.late >= 0                ? "withdrawn late"
                                                                  : NULL;
        if (what && (options.details || !options.full) && (options.details || job->short_class < 0))
            printf("  %s: %s, ticks %.0f, seed 0x%016lx%s, tick %.0f\n", what,
                   zoo[job->family].name, job->run.ticks, (unsigned long)job->seed,
                   job->fresh ? " (fresh)" : "", job->result.first);
    }
}

/* ---- command line ---------------------------------------------------------------------------- */

static bool take_number(const char *name, int argc, char **argv, int *i, int *value)
{
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
        return false;
    *value = atoi(argv[++*i]);
    return true;
}

static void parse(int argc, char **argv)
{
    if (getrandom(&options.base, sizeof options.base, 0) != sizeof options.base)
        options.base = (uint64_t)getpid();
    for (int i = 1; i < argc; i++) {
        if (take_number("--seeds", argc, argv, &i, &options.seeds) ||
            take_number("--fresh", argc, argv, &i, &options.fresh) ||
            take_number("--short", argc, argv, &i, &options.shorts) ||
            take_number("--jobs", argc, argv, &i, &options.jobs))
            continue;
        if (strcmp(argv[i], "--full") == 0) {
            options.full = true;
            options.seeds = options.fresh = 50;
            options.shorts = 40;
        } else if (strcmp(argv[i], "--details") == 0) {
            options.details = true;
        } else if (strcmp(argv[i], "--no-rivals") == 0) {
            options.rivals = false;
        } else if (strcmp(argv[i], "--base") == 0 && i + 1 < argc) {
            options.base = strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--family") == 0 && i + 1 < argc) {
            options.family = argv[++i];
        } else {
            fprintf(stderr, "zoo: %s: unknown argument\n", argv[i]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    list_jobs();
    printf("fixed seeds from %lu, fresh ones from 0x%016lx (--base repeats them); %d series\n",
           (unsigned long)FIXED_BASE, (unsigned long)options.base, job_count);
    fflush(stdout);
    play_all();
    print_families();
    print_shorts();
    print_rivals();
    print_details();
    return 0;
}
