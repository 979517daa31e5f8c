/* The bootstrap over units. See bootstrap.h. */
#include "stats/bootstrap.h"

#include "base/rng.h"
#include "stats/numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The most work for one draw: a value takes one step, drawing a unit about eight. */
enum { STEPS_MAX = 1 << 18, STEPS_OF_A_UNIT = 8, BUNDLES_MIN = 256 };

/* ---- bundles ------------------------------------------------------------------------------ */

/* Puts `units` of these values into `bundles` sums, as equal in number as can be, in random order.
 */
static int bundle(dl_context *cx, struct rng *rng, const double *values, size_t units, size_t width,
                  double *sums, size_t bundles) {
    uint32_t *order;
    DL_TRY(allocate(cx, "bootstrap", units, sizeof *order, (void **)&order));
    for (size_t i = 0; i < units; i++) { /* a random permutation (Durstenfeld, CACM 7 (1964) 420) */
        const size_t j = rng_below(rng, (uint32_t)i + 1);
        order[i] = order[j];
        order[j] = (uint32_t)i;
    }
    for (size_t i = 0; i < units; i++)
        for (size_t w = 0; w < width; w++)
            sums[i % bundles * width + w] += values[order[i] * width + w];
    free(order);
    return DL_OK;
}

/* How many bundles of so many units, where there are `all` in total. */
static size_t bundle_count(size_t units, size_t all, size_t width) {
    size_t most = STEPS_MAX / (width + STEPS_OF_A_UNIT);
    most = most < BUNDLES_MIN ? BUNDLES_MIN : most;
    if (all <= most || units <= BUNDLES_MIN)
        return units;
    const size_t share = (size_t)((double)most * ((double)units / (double)all));
    return share < BUNDLES_MIN ? BUNDLES_MIN : share;
}

/* ---- draws -------------------------------------------------------------------------------- */

static void add_drawn(struct rng *rng, const double *values, size_t units, size_t width,
                      double *totals) {
    for (size_t i = 0; i < units; i++) {
        const double *unit = values + (size_t)rng_below(rng, (uint32_t)units) * width;
        for (size_t w = 0; w < width; w++)
            totals[w] += unit[w];
    }
}

/* All draws: draws (outputs,BOOTSTRAP_DRAWS). totals (width) and out (outputs) are scratch. */
static void draw_all(struct rng *rng, const struct bootstrap *b, double *totals, double *out,
                     double *draws) {
    const size_t first = b->first_stratum;
    for (size_t draw = 0; draw < BOOTSTRAP_DRAWS; draw++) {
        memset(totals, 0, b->width * sizeof *totals);
        add_drawn(rng, b->values, first, b->width, totals);
        add_drawn(rng, b->values + first * b->width, b->units - first, b->width, totals);
        b->statistic(b->user, totals, out);
        for (size_t k = 0; k < b->outputs; k++)
            draws[k * BOOTSTRAP_DRAWS + draw] = out[k];
    }
}

/* The quantiles of the draws that are numbers. */
static void interval(double *draws, double *low, double *high) {
    size_t n = 0;
    for (size_t i = 0; i < BOOTSTRAP_DRAWS; i++)
        if (!isnan(draws[i]))
            draws[n++] = draws[i];
    sort_numbers(draws, n);
    *low = n ? quantile(draws, n, 0.025) : (double)NAN;
    *high = n ? quantile(draws, n, 0.975) : (double)NAN;
}

static int draw_intervals(dl_context *cx, struct rng *rng, const struct bootstrap *b, double *low,
                          double *high) {
    double *scratch = NULL, *draws = NULL;
    int status =
        allocate(cx, "bootstrap", b->width + b->outputs, sizeof *scratch, (void **)&scratch);
    if (status == DL_OK)
        status =
            allocate(cx, "bootstrap", b->outputs, BOOTSTRAP_DRAWS * sizeof *draws, (void **)&draws);
    if (status == DL_OK) {
        draw_all(rng, b, scratch, scratch + b->width, draws);
        for (size_t k = 0; k < b->outputs; k++)
            interval(draws + k * BOOTSTRAP_DRAWS, &low[k], &high[k]);
    }
    free(scratch);
    free(draws);
    return status;
}

int bootstrap_intervals(dl_context *cx, const struct bootstrap *b, double *low, double *high) {
    struct rng rng;
    double *sums;
    const size_t first = b->first_stratum, rest = b->units - first;
    const size_t first_bundles = bundle_count(first, b->units, b->width);
    const size_t rest_bundles = bundle_count(rest, b->units, b->width);
    rng_seed(&rng, b->seed);
    if (b->units >= UINT32_MAX)
        return fail(cx, DL_USAGE, "bootstrap: %zu units are too many", b->units);
    if (first_bundles == first && rest_bundles == rest)
        return draw_intervals(cx, &rng, b, low, high);
    DL_TRY(allocate(cx, "bootstrap", first_bundles + rest_bundles, b->width * sizeof *sums,
                    (void **)&sums));
    int status = bundle(cx, &rng, b->values, first, b->width, sums, first_bundles);
    if (status == DL_OK)
        status = bundle(cx, &rng, b->values + first * b->width, rest, b->width,
                        sums + first_bundles * b->width, rest_bundles);
    struct bootstrap bundled = *b;
    bundled.values = sums;
    bundled.units = first_bundles + rest_bundles;
    bundled.first_stratum = first_bundles;
    if (status == DL_OK)
        status = draw_intervals(cx, &rng, &bundled, low, high);
    free(sums);
    return status;
}

/* ---- means -------------------------------------------------------------------------------- */

static void mean_of(const void *user, const double *totals, double *out) {
    out[0] = totals[0] / *(const double *)user;
}

int bootstrap_mean(dl_context *cx, const double *values, size_t n, uint64_t seed, double *low,
                   double *high) {
    const double count = (double)n;
    const struct bootstrap b = {values, n, 1, 0, mean_of, &count, 1, seed};
    *low = *high = (double)NAN;
    return n ? bootstrap_intervals(cx, &b, low, high) : DL_OK;
}

/* As each sample is drawn in full, its share of the difference is known beforehand. */
static void difference_of(const void *user, const double *totals, double *out) {
    (void)user;
    out[0] = totals[0];
}

int bootstrap_difference(dl_context *cx, const double *x, size_t n, const double *y, size_t m,
                         uint64_t seed, double *low, double *high) {
    double *shares;
    *low = *high = (double)NAN;
    if (n == 0 || m == 0)
        return DL_OK;
    DL_TRY(allocate(cx, "bootstrap", n + m, sizeof *shares, (void **)&shares));
    for (size_t i = 0; i < n; i++)
        shares[i] = -x[i] / (double)n;
    for (size_t i = 0; i < m; i++)
        shares[n + i] = y[i] / (double)m;
    const struct bootstrap b = {shares, n + m, 1, n, difference_of, NULL, 1, seed};
    int status = bootstrap_intervals(cx, &b, low, high);
    free(shares);
    return status;
}
