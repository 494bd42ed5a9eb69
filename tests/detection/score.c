/* See score.h. */
#include "score.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct short_class short_class[SHORT_CLASSES] = {{10, 92, "10-91", 0},
                                                       {92, 300, "92-299", 90},
                                                       {300, 900, "300-899", 99},
                                                       {900, 3000, "900-2999", 99}};

/* ---- what a series came to ------------------------------------------------------------------- */

static enum zoo_truth truth_of(const struct job *job)
{
    return zoo[job->family].truth;
}

static bool job_found(const struct job *job)
{
    if (job->short_class == LONG_RUN)
        return job->result.first >= 0;
    return job->result.call == HT_TREND_LEAK;
}

/* A `leak` where there is none (yet), at any tick. */
static bool job_false(const struct job *job)
{
    return (truth_of(job) == ZOO_BOUNDED && job_found(job)) ||
           (truth_of(job) == ZOO_LEAK && job->result.early >= 0);
}

static float job_minutes(const struct job *job)
{
    return (job->result.first + 1 - job->result.start) / 60;
}

static double percent(int part, int whole)
{
    return whole ? 100.0 * part / whole : NAN;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Numbers to take the median and the worst of. */
struct sample {
    float *values;
    int count;
};

static void sample_add(struct sample *s, float value)
{
    s->values = realloc(s->values, (size_t)(s->count + 1) * sizeof *s->values);
    if (!s->values)
        abort();
    s->values[s->count++] = value;
}

/* Sorts; the share `q` lies at or below the result. NaN of none. */
static double sample_quantile(struct sample *s, double q)
{
    if (s->count == 0)
        return NAN;
    qsort(s->values, (size_t)s->count, sizeof *s->values, compare_floats);
    int at = (int)ceil(q * s->count) - 1;
    return s->values[at < 0 ? 0 : at];
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct family_score {
    int series, leak, at_end, bounded, known, holds;
    double flips;
    struct sample minutes, withdrawn, error;
};

static void family_add(struct family_score *score, const struct job *job)
{
    const struct play_result *r = &job->result;
    score->series++;
    score->leak += r->first >= 0;
    score->at_end += r->call == HT_TREND_LEAK;
    score->bounded += r->call == HT_TREND_BOUNDED;
    score->known += r->ci_known;
    score->holds += r->ci_holds;
    score->flips += r->flips;
    if (r->ci_known)
        sample_add(&score->error, 100 * fabsf(r->rate_error));
    if (r->first >= 0)
        sample_add(&score->minutes, job_minutes(job));
    if (r->withdrawn >= 0)
        sample_add(&score->withdrawn, r->withdrawn / 60);
}

/* A number in a column of a table; a dash where there is none. */
static void column(int width, int decimals, double value)
{
    if (isnan(value))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, decimals, value);
}

static void family_print(const struct zoo_family *family, struct family_score *score)
{
    printf("%-36s %6d", family->name, score->series);
    column(7, 2, percent(score->leak, score->series));
    column(6, 0, sample_quantile(&score->minutes, 0.5));
    column(6, 0, sample_quantile(&score->minutes, 1));
    column(7, 1, percent(score->at_end, score->series));
    column(8, 1, percent(score->bounded, score->series));
    column(7, 1, sample_quantile(&score->error, 0.5));
    column(6, 1, percent(score->holds, score->known));
    column(6, 2, score->flips / score->series);
    if (family->truth == ZOO_HARD) {
        column(6, 0, sample_quantile(&score->withdrawn, 0.5));
        column(6, 0, sample_quantile(&score->withdrawn, 1));
    }
    printf("\n");
}

static void print_families(const struct job *jobs, int count)
{
    static const char *const titles[] = {"bounded", "leaks",
                                         "hard: may be flagged while growing, not for long after"};
    printf(
        "\nRuns of 7 h at 1 s, judged at every tick. Minutes: to detection, from the start of the "
        "growth.\nrate %%: median error of the rate at the end; ci %%: its interval holds the "
        "truth;\nback: alarms withdrawn, per series; gone: minutes from the growth's end to "
        "that.\n");
    for (int truth = ZOO_BOUNDED; truth <= ZOO_HARD; truth++) {
        printf("\n%s\n%-36s %6s %7s %6s %6s %7s %8s %7s %6s %6s%s\n", titles[truth], "family",
               "series", "leak %", "median", "worst", "at end", "bounded", "rate %", "ci %", "back",
               truth == ZOO_HARD ? "  gone  worst" : "");
        for (int f = 0; f < zoo_families; f++) {
            struct family_score score = {0};
            for (int i = 0; zoo[f].truth == (enum zoo_truth)truth && i < count; i++)
                if (jobs[i].family == f && jobs[i].short_class == LONG_RUN)
                    family_add(&score, &jobs[i]);
            if (score.series)
                family_print(&zoo[f], &score);
            free(score.minutes.values);
            free(score.withdrawn.values);
            free(score.error.values);
        }
    }
}

static void print_shorts(const struct job *jobs, int count)
{
    printf("\nShort runs, final verdict.\n%-12s %8s %8s %8s %8s %8s %8s\n", "ticks", "bounded",
           "false", "called %", "leaks", "found %", "ci %");
    for (int c = 0; c < SHORT_CLASSES; c++) {
        int of[3] = {0}, called = 0, false_leaks = 0, found = 0, known = 0, holds = 0;
        for (int i = 0; i < count; i++) {
            const struct job *job = &jobs[i];
            if (job->short_class != c)
                continue;
            of[truth_of(job)]++;
            false_leaks += job_false(job);
            called += truth_of(job) == ZOO_BOUNDED && job->result.call == HT_TREND_BOUNDED;
            found += truth_of(job) == ZOO_LEAK && job_found(job);
            known += job->result.ci_known;
            holds += job->result.ci_holds;
        }
        printf("%-12s %8d %8d", short_class[c].name, of[ZOO_BOUNDED], false_leaks);
        column(8, 1, percent(called, of[ZOO_BOUNDED]));
        printf(" %8d", of[ZOO_LEAK]);
        column(8, 1, percent(found, of[ZOO_LEAK]));
        column(8, 1, percent(holds, known));
        printf("\n");
    }
}

/* One column of the comparison: `rival` -1 is the detector itself. */
static void print_method(const struct job *jobs, int count, int rival)
{
    int of[3] = {0}, flagged[3] = {0};
    struct sample minutes = {0};
    for (int i = 0; i < count; i++) {
        const struct job *job = &jobs[i];
        if (job->short_class != LONG_RUN)
            continue;
        float tick = rival < 0 ? job->result.first : (float)job->result.rival[rival];
        of[truth_of(job)]++;
        flagged[truth_of(job)] += tick >= 0;
        if (truth_of(job) == ZOO_LEAK && tick >= job->result.start)
            sample_add(&minutes, (tick + 1 - job->result.start) / 60);
    }
    printf("%-20s", rival < 0 ? "heaptally" : rival_names[rival]);
    column(12, 3, percent(flagged[ZOO_BOUNDED], of[ZOO_BOUNDED]));
    column(12, 2, percent(flagged[ZOO_LEAK], of[ZOO_LEAK]));
    column(12, 0, sample_quantile(&minutes, 0.5));
    column(12, 0, sample_quantile(&minutes, 1));
    printf("\n");
    free(minutes.values);
}

void score_print(const struct job *jobs, int count, bool with_rivals)
{
    print_families(jobs, count);
    print_shorts(jobs, count);
    printf("\nAny tick of 7 h.\n%-20s %12s %12s %12s %12s\n", "method", "false %", "found %",
           "median min", "worst min");
    for (int rival = -1; rival < (with_rivals ? RIVAL_COUNT : 0); rival++)
        print_method(jobs, count, rival);
}

void score_print_misses(const struct job *jobs, int count, bool shorts_too)
{
    printf("\n");
    for (int i = 0; i < count; i++) {
        const struct job *job = &jobs[i];
        bool is_short = job->short_class != LONG_RUN;
        const char *what = job_false(job)                                       ? "false leak"
                           : truth_of(job) == ZOO_LEAK && !job_found(job)       ? "missed"
                           : truth_of(job) == ZOO_HARD && job->result.late >= 0 ? "withdrawn late"
                                                                                : NULL;
        if (what && (!is_short || shorts_too))
            printf("%s: %s, %.0f ticks, seed 0x%016lx%s\n", what, zoo[job->family].name,
                   job->run.ticks, (unsigned long)job->seed, job->fresh ? " (fresh)" : "");
    }
}

/* ---- targets --------------------------------------------------------------------------------- */

/* Chance of `wrong` or more in `tried` where each goes wrong at `rate`. */
static double binomial_tail(int wrong, int tried, double rate)
{
    double below = 0;
    for (int k = 0; k < wrong; k++)
        below += exp(lgamma(tried + 1) - lgamma(k + 1) - lgamma(tried - k + 1) + k * log(rate) +
                     (tried - k) * log1p(-rate));
    return 1 - below;
}

/* Counts of one target over fixed [0] and fresh [1] seeds. */
struct tally {
    int tried[2], wrong[2];
};

static void tally_add(struct tally *tally, const struct job *job, bool wrong)
{
    tally->tried[job->fresh]++;
    tally->wrong[job->fresh] += wrong;
}

/*
 * Fixed seeds must keep within the rate as counted. Fresh ones are a sample: a few hundred of them
 * cannot show a rate of one in two thousand, and a target fails when their count would be seen in
 * less than 1 % of samples that just meet it; from 2,000 on they must keep within it as counted.
 */
static bool tally_print(const char *name, const struct tally *tally, double rate)
{
    bool fixed = tally->wrong[0] <= rate * tally->tried[0];
    bool fresh =
        tally->wrong[1] <= rate * tally->tried[1] ||
        (tally->tried[1] < 2000 && binomial_tail(tally->wrong[1], tally->tried[1], rate) >= 0.01);
    printf("%-7s %-58s fixed %d of %d, fresh %d of %d wrong; at most %g %%\n",
           fixed && fresh ? "met" : "MISSED", name, tally->wrong[0], tally->tried[0],
           tally->wrong[1], tally->tried[1], 100 * rate);
    return fixed && fresh;
}

static bool is_family(const struct job *job, const char *word)
{
    return strstr(zoo[job->family].name, word) != NULL;
}

/* Targets that one kind of long series carries: which, and how soon a leak must be found. */
static const struct {
    const char *name, *family;
    double minutes;
} named[] = {
    /* The evidence rule: 10 + 40 minutes; the tick that shows it, and its delay. */
    {"clean leaks from 8 B/min found at the first moment", "leak, clean", 3002 / 60.0},
    {"2 MB/h under a 20 MB sawtooth to 5 min within an hour", "leak, 2 MB/h, 20 MB saw", 60.1},
    {"2 MB/h under the same, varying, within an hour", "leak, 2 MB/h, the same", 60.1},
    {".5 MB/h under a 20 MB sawtooth to 30 min within 6 h", "leak, .5 MB/h, 20 MB saw", 360},
    {".5 MB/h under one of 10 to 30 min within 6 h", "leak, .5 MB/h, saw 10-30", 360},
};

static bool targets_named(const struct job *jobs, int count)
{
    bool met = true;
    for (size_t n = 0; n < sizeof named / sizeof named[0]; n++) {
        struct tally tally = {0};
        for (int i = 0; i < count; i++) {
            const struct job *job = &jobs[i];
            if (job->short_class == LONG_RUN && is_family(job, named[n].family))
                tally_add(&tally, job, !job_found(job) || job_minutes(job) > named[n].minutes);
        }
        met &= tally_print(named[n].name, &tally, 0.01);
    }
    return met;
}

static bool targets_short(const struct job *jobs, int count)
{
    bool met = true;
    struct tally bounded = {0};
    for (int c = 0; c < SHORT_CLASSES; c++) {
        struct tally leaks = {0};
        for (int i = 0; i < count; i++) {
            if (jobs[i].short_class != c)
                continue;
            if (truth_of(&jobs[i]) == ZOO_BOUNDED)
                tally_add(&bounded, &jobs[i], job_false(&jobs[i]));
            else
                tally_add(&leaks, &jobs[i], !job_found(&jobs[i]));
        }
        char name[64];
        snprintf(name, sizeof name, "leaks found in short runs of %s ticks", short_class[c].name);
        if (short_class[c].found > 0)
            met &= tally_print(name, &leaks, 1 - short_class[c].found / 100);
    }
    return tally_print("no leak in bounded short runs", &bounded, 0.0005) && met;
}

bool score_targets(const struct job *jobs, int count)
{
    struct tally bounded = {0}, leaks = {0}, early = {0}, stops = {0}, hard = {0};
    struct tally at_odds = {0}, vague = {0};
    for (int i = 0; i < count; i++) {
        const struct job *job = &jobs[i];
        if (job_found(job)) {
            tally_add(&at_odds, job, job->result.at_odds);
            tally_add(&vague, job, job->result.vague);
        }
        if (job->short_class != LONG_RUN)
            continue;
        if (truth_of(job) == ZOO_BOUNDED) {
            tally_add(&bounded, job, job_false(job));
        } else if (truth_of(job) == ZOO_LEAK) {
            tally_add(&leaks, job, !job_found(job));
            tally_add(&early, job, job_false(job));
        } else {
            tally_add(is_family(job, "leak that stops") ? &stops : &hard, job,
                      job->result.late >= 0);
        }
    }
    printf("\n");
    bool met = tally_print("no leak at any tick of bounded runs", &bounded, 0.0005);
    met &= tally_print("leaks found", &leaks, 0.01);
    met &= tally_print("none before it began", &early, 0.0005);
    met &= tally_print("a leak that stops withdrawn within 1.5 x its growth", &stops, 0.01);
    met &= tally_print("the other undecidable ones, too", &hard, 0.02);
    met &= tally_print("the interval of a leak never holds 0", &at_odds, 0);
    met &= tally_print("and is known", &vague, 0.01);
    met &= targets_named(jobs, count);
    met &= targets_short(jobs, count);
    return met;
}
