/*
 * Plays the zoo and prints how the detector does, beside what people use today. Exits 1 when a
 * target is missed.
 *
 *   zoo            a part of it, in less than a minute
 *   zoo --full     100 series of each family, some minutes: the table to quote
 *
 *   --seeds N, --fresh N, --short N    series of each family: with fixed seeds, with seeds drawn
 *                                      for this run, short ones of each class (half of each)
 *   --base SEED    draw the fresh seeds from this, to repeat a run
 *   --family WORD  only families whose name has this in it; no targets then
 *   --jobs N       processes; --no-rivals: only heaptally; --misses: list the short ones, too
 *
 * Part of the seeds is drawn anew each time, so that nothing is tuned to the fixed ones.
 */
#include "score.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIXED_BASE UINT64_C(20240607)
#define LONG_TICKS 25200

static struct {
    int seeds, fresh, shorts, jobs;
    uint64_t base;
    const char *family;
    bool no_rivals, misses;
} options = {.seeds = 3, .fresh = 3, .shorts = 6, .jobs = 1};

static struct job *jobs; /* in memory that the workers share */
static int job_count;

/* Where series number `number` of a family starts; the class keeps those of short runs apart. */
static uint64_t series_seed(uint64_t base, int family, int class, int number)
{
    uint64_t mixed = rnd_mix(base + (uint64_t)family * 1000003);
    return rnd_mix(mixed + (uint64_t)number + 1000000 * (uint64_t)(class + 1));
}

static void add_job(int family, int class, int number, bool fresh)
{
    struct job *job = &jobs[job_count++];
    uint64_t base = fresh ? options.base : FIXED_BASE;
    *job = (struct job){.family = family, .short_class = class, .fresh = fresh};
    job->seed = series_seed(base, family, class, number);
    job->run = (struct zoo_run){.ticks = LONG_TICKS, .scale = 1};
    if (class == LONG_RUN)
        return;
    struct rnd rnd;
    rnd_seed(&rnd, job->seed + 1);
    job->run.ticks = floor(rnd_scale(&rnd, short_class[class].low, short_class[class].high));
    job->run.is_short = true;
    job->run.scale = fmax(60, job->run.ticks / 5) / 600;
}

static void list_jobs(void)
{
    size_t most = (size_t)zoo_families *
                  (size_t)(options.seeds + options.fresh + SHORT_CLASSES * options.shorts + 1);
    jobs =
        mmap(NULL, most * sizeof *jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (jobs == MAP_FAILED) {
        perror("zoo: mmap");
        exit(2);
    }
    for (int f = 0; f < zoo_families; f++) {
        if (options.family && !strstr(zoo[f].name, options.family))
            continue;
        for (int i = 0; zoo[f].in_long && i < options.seeds + options.fresh; i++)
            add_job(f, LONG_RUN, i, i >= options.seeds);
        for (int c = 0; zoo[f].in_short && c < SHORT_CLASSES; c++)
            for (int i = 0; i < options.shorts; i++)
                add_job(f, c, i, i % 2 == 1);
    }
}

static void play_share(int worker)
{
    for (int i = worker; i < job_count; i += options.jobs) {
        struct job *job = &jobs[i];
        const struct zoo_family *family = &zoo[job->family];
        if (job->short_class == LONG_RUN)
            play_long(family, &job->run, job->seed, !options.no_rivals, &job->result);
        else
            play_short(family, &job->run, job->seed, &job->result);
    }
}

static void play_all(void)
{
    int workers = 0, status;
    for (int worker = 1; worker < options.jobs; worker++) {
        pid_t child = fork();
        if (child == 0) {
            play_share(worker);
            _exit(0);
        }
        if (child < 0) {
            perror("zoo: fork");
            exit(2);
        }
        workers++;
    }
    play_share(0);
    while (workers-- > 0) {
        if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
            fprintf(stderr, "zoo: a worker died\n");
            exit(2);
        }
    }
}

/* Takes "NAME N" at `*i`; false if it is not there or N is not a number of at least `least`. */
static bool take_count(const char *name, char **argv, int *i, int least, int *value)
{
    if (strcmp(argv[*i], name) != 0 || !argv[*i + 1])
        return false;
    char *end;
    long number = strtol(argv[*i + 1], &end, 10);
    if (*end || number < least || number > 100000)
        return false;
    *value = (int)number;
    ++*i;
    return true;
}

static void parse(char **argv)
{
    if (getrandom(&options.base, sizeof options.base, 0) != sizeof options.base)
        options.base = rnd_mix((uint64_t)getpid());
    for (int i = 1; argv[i]; i++) {
        if (take_count("--seeds", argv, &i, 0, &options.seeds) ||
            take_count("--fresh", argv, &i, 0, &options.fresh) ||
            take_count("--short", argv, &i, 0, &options.shorts) ||
            take_count("--jobs", argv, &i, 1, &options.jobs))
            continue;
        if (strcmp(argv[i], "--full") == 0) {
            options.seeds = options.fresh = 50;
            options.shorts = 50;
        } else if (strcmp(argv[i], "--no-rivals") == 0) {
            options.no_rivals = true;
        } else if (strcmp(argv[i], "--misses") == 0) {
            options.misses = true;
        } else if (strcmp(argv[i], "--base") == 0 && argv[i + 1]) {
            options.base = strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--family") == 0 && argv[i + 1]) {
            options.family = argv[++i];
        } else {
            fprintf(stderr, "zoo: %s: not understood; zoo_main.c begins with what is\n", argv[i]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    parse(argv);
    list_jobs();
    printf("%d series; fixed seeds from %lu, fresh ones from 0x%016lx (--base repeats them)\n",
           job_count, (unsigned long)FIXED_BASE, (unsigned long)options.base);
    fflush(stdout);
    play_all();
    score_print(jobs, job_count, !options.no_rivals);
    score_print_misses(jobs, job_count, options.misses);
    if (options.family)
        return 0;
    return score_targets(jobs, job_count) ? 0 : 1;
}
