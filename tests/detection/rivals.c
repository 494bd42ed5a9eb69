/* See rivals.h. All are kept incrementally: a tick costs at most a hundred comparisons. */
#include "rivals.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 100
#define MB     (1024.0 * 1024.0)

#define RIVAL_NAME(id, name) name,
const char *const rival_names[RIVAL_COUNT] = {RIVALS(RIVAL_NAME)};
#undef RIVAL_NAME

static void flag(int first[RIVAL_COUNT], enum rival rival, int tick, int from, bool leak)
{
    if (leak && tick >= from && first[rival] < 0)
        first[rival] = tick;
}

/* ---- least squares --------------------------------------------------------------------------- */

/* Sums over a stretch of ticks; values relative to the first of the run against cancellation. */
struct sums {
    double n, x, y, xx, xy, yy;
};

static void sums_add(struct sums *s, double x, double y, double sign)
{
    s->n += sign;
    s->x += sign * x;
    s->y += sign * y;
    s->xx += sign * x * x;
    s->xy += sign * x * y;
    s->yy += sign * y * y;
}

static bool sums_leak(const struct sums *s)
{
    double sxx = s->xx - s->x * s->x / s->n, syy = s->yy - s->y * s->y / s->n,
           sxy = s->xy - s->x * s->y / s->n;
    return s->n >= 10 && sxy > 0 && syy > 1e-9 * (s->yy + 1) && sxy * sxy > 0.8 * sxx * syy;
}

static void play_squares(const double *v, int count, int from, int *first)
{
    struct sums all = {0}, last = {0};
    for (int i = 0; i < count; i++) {
        sums_add(&all, i, v[i] - v[0], 1);
        sums_add(&last, i, v[i] - v[0], 1);
        if (i >= WINDOW)
            sums_add(&last, i - WINDOW, v[i - WINDOW] - v[0], -1);
        flag(first, RIVAL_SQUARES_ALL, i, from, sums_leak(&all));
        flag(first, RIVAL_SQUARES_100, i, from, sums_leak(&last));
    }
}

/* ---- Mann-Kendall ---------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Dense ranks from 1 of all values, ties equal; returns how many there are. */
static int rank_values(const double *v, int count, int *rank)
{
    double *sorted = malloc((size_t)count * sizeof *sorted);
    if (!sorted)
        abort();
    memcpy(sorted, v, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
    int ranks = 0;
    for (int i = 0; i < count; i++)
        if (i == 0 || sorted[i] != sorted[i - 1])
            sorted[ranks++] = sorted[i];
    for (int i = 0; i < count; i++) {
        const double *at = bsearch(&v[i], sorted, (size_t)ranks, sizeof *sorted, compare_doubles);
        rank[i] = (int)(at - sorted) + 1;
    }
    free(sorted);
    return ranks;
}

/* What a tie group of `t` takes off 18 times the variance. */
static double tie_term(double t)
{
    return t * (t - 1) * (2 * t + 5);
}

static bool kendall_leak(double s, double n, double ties)
{
    double variance = (tie_term(n) - ties) / 18;
    return n >= 10 && s > 1 && variance > 0 && (s - 1) / sqrt(variance) > 2.5758;
}

/* Over all samples: a Fenwick tree counts those below and above the new one. */
static void play_kendall_all(const int *rank, int ranks, int count, int from, int *first)
{
    int *tree = calloc((size_t)ranks + 1, sizeof *tree),
        *tied = calloc((size_t)ranks + 1, sizeof *tied);
    if (!tree || !tied)
        abort();
    double s = 0, ties = 0;
    for (int i = 0; i < count; i++) {
        int below = 0;
        for (int r = rank[i] - 1; r > 0; r -= r & -r)
            below += tree[r];
        int same = tied[rank[i]]++;
        s += below - (i - below - same);
        ties += tie_term(same + 1) - tie_term(same);
        for (int r = rank[i]; r <= ranks; r += r & -r)
            tree[r]++;
        flag(first, RIVAL_KENDALL_ALL, i, from, kendall_leak(s, i + 1, ties));
    }
    free(tree);
    free(tied);
}

/* Over the last samples: what the oldest took part in leaves with it. */
static void play_kendall_last(const int *rank, int ranks, int count, int from, int *first)
{
    int *tied = calloc((size_t)ranks + 1, sizeof *tied);
    if (!tied)
        abort();
    double s = 0, ties = 0;
    for (int i = 0; i < count; i++) {
        int low = i - WINDOW + 1 > 0 ? i - WINDOW + 1 : 0;
        if (i >= WINDOW) {
            int old = rank[i - WINDOW], same = tied[old]--;
            ties += tie_term(same - 1) - tie_term(same);
            for (int j = low; j < i; j++)
                s -= (rank[j] > old) - (rank[j] < old);
        }
        for (int j = low; j < i; j++)
            s += (rank[i] > rank[j]) - (rank[i] < rank[j]);
        int same = tied[rank[i]]++;
        ties += tie_term(same + 1) - tie_term(same);
        flag(first, RIVAL_KENDALL_100, i, from, kendall_leak(s, i - low + 1, ties));
    }
    free(tied);
}

/* ---- the others ------------------------------------------------------------------------------ */

static void play_monotonic(const double *v, int count, int from, int *first)
{
    int last_fall = 0, last_rise = -1;
    for (int i = 1; i < count; i++) {
        if (v[i] < v[i - 1])
            last_fall = i;
        if (v[i] > v[i - 1])
            last_rise = i;
        bool leak = i - last_fall >= WINDOW - 1 && last_rise > i - WINDOW;
        flag(first, RIVAL_MONOTONIC, i, from, leak);
    }
}

/*
 * In Scalene's manner: whenever use reaches a new high by one sampling step (10,485,767 bytes), the
 * object allocated there is watched until the next such high; it was freed if use fell below where
 * it stood before it. A leak is reported when 1 - (freed + 1) / (watched - freed + 2) reaches 0.95
 * and growth is at least 1 % of all that was allocated.
 */
static void play_scalene(const double *v, int count, int from, int *first)
{
    const double step = 10485767;
    double high = v[0], base = v[0], lowest = v[0], allocated = 0, watched = 0, freed = 0;
    for (int i = 1; i < count; i++) {
        allocated += fmax(0, v[i] - v[i - 1]);
        lowest = fmin(lowest, v[i]);
        if (v[i] < high + step)
            continue;
        if (watched > 0 && lowest < base)
            freed++;
        watched++;
        base = v[i] - step;
        high = lowest = v[i];
        double likely = 1 - (freed + 1) / (watched - freed + 2);
        bool grows = allocated > 0 && (high - v[0]) / allocated >= 0.01;
        flag(first, RIVAL_SCALENE, i, from, likely >= 0.95 && grows);
    }
}

void rivals_play(const double *values, int count, int from, int first[RIVAL_COUNT])
{
    int *rank = malloc((size_t)count * sizeof *rank);
    if (!rank)
        abort();
    for (int i = 0; i < RIVAL_COUNT; i++)
        first[i] = -1;
    int ranks = rank_values(values, count, rank);
    play_kendall_all(rank, ranks, count, from, first);
    play_kendall_last(rank, ranks, count, from, first);
    free(rank);
    play_squares(values, count, from, first);
    play_monotonic(values, count, from, first);
    play_scalene(values, count, from, first);
    for (int i = 0; i < count; i++)
        flag(first, RIVAL_THRESHOLD, i, from, values[i] - values[0] > 500 * MB);
}
