/*
 * Floors, and straight lines through them.
 *
 * A floor is the lowest live bytes of a window of time, with the moment at which it was reached.
 * Floors are what a leak must lift: what a program frees again leaves them where they were, however
 * wildly the use above them swings. A ring keeps the last 32 floors of one window length.
 *
 *   live bytes   /|  /|   /|  /|  /|          window i     floor 41 KB at 12 s
 *               / | / |  / | / | / |    ->    window i+1   floor 41 KB at 88 s
 *              /  |/  | /  |/  |/  |          window i+2   floor 44 KB at 160 s
 *
 * All of it is plain arithmetic on a fixed size: no allocation, no libm, no locale, no errno; one
 * thread.
 */
#ifndef HEAPTALLY_TREND_FIT_H
#define HEAPTALLY_TREND_FIT_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HT_FLOORS 32u /* kept by a ring; a power of two */

static inline double ht_lesser(double a, double b)
{
    return a < b ? a : b;
}

static inline double ht_greater(double a, double b)
{
    return a > b ? a : b;
}

/*
 * Square root, to the last bit or two; 0 for what is not above 0. By Newton from halved exponent
 * bits: libm's would make every watched program load libm for its errno.
 */
static inline double ht_root(double x)
{
    if (!(x > 0))
        return 0;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits >> 1) + (UINT64_C(0x3ff) << 51);
    double root;
    memcpy(&root, &bits, sizeof root);
    for (int i = 0; i < 5; i++)
        root = 0.5 * (root + x / root);
    return root;
}

/* e to the power of `x`, 0 <= x <= 100, to some ten digits; by halving `x`, since libm's has errno.
 */
static inline double ht_power_of_e(double x)
{
    unsigned halvings = 0;
    for (; x > 0.01; x /= 2)
        halvings++;
    double power = 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4)));
    for (; halvings; halvings--)
        power *= power;
    return power;
}

/* The whole number at or below `x`, which must fit. */
static inline int64_t ht_whole(double x)
{
    int64_t whole = (int64_t)x;
    return whole > x ? whole - 1 : whole;
}

struct ht_floor {
    double at;    /* seconds since the first sample */
    double bytes; /* lowest live bytes, relative to a fixed origin */
};

/* The last floors of one window length, and the window that is still open. */
struct ht_floor_ring {
    struct ht_floor open; /* valid while `filled` */
    uint32_t filled;      /* the open window has seen at least one floor */
    uint32_t count;       /* floors in `kept`, at most HT_FLOORS */
    uint32_t next;        /* where the next one goes */
    uint32_t reserved;
    struct ht_floor kept[HT_FLOORS];
};

/* A straight line through floors by least squares. */
struct ht_fit {
    double slope;   /* bytes per second */
    double error;   /* standard error of the slope, for independent residuals */
    double rho;     /* lag-1 correlation of the residuals, made cautious; 0 .. 0.9 */
    double drift;   /* standard error of the mean rise, were the rises independent instead */
    double scatter; /* standard deviation of the residuals, bytes */
    uint32_t count;
};

/* Keeps the lower of `*low` and `floor`; the earlier one where they are equal. */
static inline void ht_floor_lower(struct ht_floor *low, struct ht_floor floor)
{
    if (floor.bytes < low->bytes)
        *low = floor;
}

static inline void ht_ring_merge(struct ht_floor_ring *ring, struct ht_floor floor)
{
    if (ring->filled)
        ht_floor_lower(&ring->open, floor);
    else
        ring->open = floor;
    ring->filled = 1;
}

/* Closes the open window; an empty one leaves no floor. */
static inline void ht_ring_close(struct ht_floor_ring *ring)
{
    if (!ring->filled)
        return;
    ring->kept[ring->next] = ring->open;
    ring->next = (ring->next + 1) % HT_FLOORS;
    if (ring->count < HT_FLOORS)
        ring->count++;
    ring->filled = 0;
}

/* Floor number `i` of the last `count`, oldest first. */
static inline struct ht_floor ht_ring_get(const struct ht_floor_ring *ring, uint32_t count,
                                          uint32_t i)
{
    return ring->kept[(ring->next + HT_FLOORS - count + i) % HT_FLOORS];
}

/*
 * How far the residuals depend on their neighbours. Few residuals tell little of that and estimate
 * it too low by about (1 + 4 rho) / n (Kendall 1954, Marriott and Pope 1954): added again from 8
 * floors on; below that a fixed 0.3.
 */
static inline double ht_fit_cautious_rho(double rho, uint32_t count)
{
    rho = count >= 8 ? rho + (1 + 4 * rho) / count : 0.3;
    return rho < 0 ? 0 : rho > 0.9 ? 0.9 : rho;
}

/* Are the last `count` floors all of the same height? Most owners never change after warm-up. */
static inline bool ht_ring_is_flat(const struct ht_floor_ring *ring, uint32_t count)
{
    double bytes = ht_ring_get(ring, count, 0).bytes;
    uint32_t i = 1;
    while (i < count && ht_ring_get(ring, count, i).bytes == bytes)
        i++;
    return i == count;
}

/*
 * Fits the last `count` floors of `ring` (3 <= count <= ring->count). Residuals below a thousandth
 * of a byte are rounding and count as none.
 */
static inline struct ht_fit ht_fit_last(const struct ht_floor_ring *ring, uint32_t count)
{
    if (ht_ring_is_flat(ring, count))
        return (struct ht_fit){.rho = ht_fit_cautious_rho(0, count), .count = count};
    struct ht_floor origin = ht_ring_get(ring, count, 0);
    double x[HT_FLOORS], y[HT_FLOORS], mean_x = 0, mean_y = 0, sxx = 0, sxy = 0, see = 0, lag = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ht_floor floor = ht_ring_get(ring, count, i);
        x[i] = floor.at - origin.at;
        y[i] = floor.bytes - origin.bytes;
        mean_x += x[i] / count;
        mean_y += y[i] / count;
    }
    for (uint32_t i = 0; i < count; i++) {
        sxx += (x[i] - mean_x) * (x[i] - mean_x);
        sxy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    struct ht_fit fit = {.slope = sxx > 0 ? sxy / sxx : 0, .count = count};
    double before = 0, jumps = 0;
    for (uint32_t i = 0; i < count; i++) {
        double residual = y[i] - mean_y - fit.slope * (x[i] - mean_x);
        if (fabs(residual) < 1e-3)
            residual = 0;
        see += residual * residual;
        lag += residual * before;
        if (i)
            jumps += (residual - before) * (residual - before);
        before = residual;
    }
    fit.scatter = ht_root(see / (count - 2));
    fit.error = sxx > 0 ? fit.scatter / ht_root(sxx) : 0;
    fit.drift = sxx > 0 ? ht_root(jumps) / x[count - 1] : 0;
    fit.rho = ht_fit_cautious_rho(see > 0 ? lag / see : 0, count);
    return fit;
}

/* The slope's standard error with the dependence of neighbours taken into account. */
static inline double ht_fit_wide_error(const struct ht_fit *fit)
{
    return fit->error * ht_root((1 + fit->rho) / (1 - fit->rho));
}

/*
 * The standard error to make a confidence interval of. Where residuals hang together this much,
 * growth comes in random portions that add up, and the line strays with them.
 */
static inline double ht_fit_interval_error(const struct ht_fit *fit)
{
    double wide = ht_fit_wide_error(fit);
    return fit->rho > 0.4 ? ht_greater(wide, fit->drift) : wide;
}

/*
 * The numbers of floors that are tested, with one-sided quantiles of Student's t at count - 2
 * degrees of freedom: `leak` at p = 1e-6 up to 7 floors and 1e-8 above (few floors cannot reach
 * more, and many floors are tested often), `rising` at p = 1e-3.
 */
struct ht_quantile {
    uint32_t count;
    double leak, rising;
};

#define HT_QUANTILES 12u
static const struct ht_quantile ht_quantiles[HT_QUANTILES] = {
    {5, 103.29947, 10.21453}, {6, 41.57785, 7.17318},  {7, 24.77103, 5.89343},
    {8, 38.66201, 5.20763},   {10, 21.89212, 4.50079}, {12, 15.89569, 4.14370},
    {14, 12.98410, 3.92963},  {16, 11.30672, 3.78739}, {20, 9.48571, 3.61048},
    {24, 8.53062, 3.50499},   {28, 7.94769, 3.43500},  {32, 7.55653, 3.38518},
};

/* The row for at most `count` floors (count >= 5). */
static inline const struct ht_quantile *ht_quantile_row(uint32_t count)
{
    uint32_t i = HT_QUANTILES - 1;
    while (i > 0 && ht_quantiles[i].count > count)
        i--;
    return &ht_quantiles[i];
}

/* Student's t at 97.5 % for `freedom` >= 1: a table, then its expansion (exact to 0.003). */
static inline double ht_student_975(uint32_t freedom)
{
    static const double table[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447,
                                   2.365,  2.306, 2.262, 2.228, 2.201, 2.179};
    if (freedom <= sizeof table / sizeof table[0])
        return table[freedom - 1];
    return 1.96 + 2.372 / freedom + 2.8 / ((double)freedom * freedom);
}

#endif
