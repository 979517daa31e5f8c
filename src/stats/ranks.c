/* Tests by ranks. See ranks.h for what is computed and after whom.
 *
 * Null distributions are counted exactly by recurrence: the number of ways to reach each sum. */
#include "stats/ranks.h"

#include "stats/numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double nothing = (double)NAN;

static const struct rank_test no_result = {(double)NAN, (double)NAN, (double)NAN,
                                           (double)NAN, (double)NAN, false};

/* ---- ranks -------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    const double x = **(const double *const *)a, y = **(const double *const *)b;
    return (x > y) - (x < y);
}

int rank_values(dl_context *cx, const double *values, size_t n, double *ranks, double *ties) {
    const double **order;
    double sum = 0.0;
    DL_TRY(allocate(cx, "ranks", n, sizeof *order, (void **)&order));
    for (size_t i = 0; i < n; i++)
        order[i] = &values[i];
    qsort(order, n, sizeof *order, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && *order[end] == *order[i];)
            end++;
        const double equal = (double)(end - i);
        for (size_t k = i; k < end; k++)
            ranks[order[k] - values] = ((double)i + 1.0 + (double)end) / 2.0;
        sum += equal * equal * equal - equal;
    }
    if (ties)
        *ties = sum;
    free(order);
    return DL_OK;
}

/* ---- Spearman ----------------------------------------------------------------------------- */

static double pearson(const double *x, const double *y, size_t n) {
    const double mean_x = mean(x, n), mean_y = mean(y, n);
    double xx = 0.0, yy = 0.0, xy = 0.0;
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        yy += (y[i] - mean_y) * (y[i] - mean_y);
        xy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    const double r = xy / sqrt(xx * yy);
    return xx > 0.0 && yy > 0.0 ? fmax(-1.0, fmin(1.0, r)) : nothing;
}

int spearman(dl_context *cx, const double *x, const double *y, size_t n, struct rank_test *out) {
    double *ranks;
    *out = no_result;
    if (n < 3)
        return DL_OK;
    DL_TRY(allocate(cx, "ranks", n, 2 * sizeof *ranks, (void **)&ranks));
    int status = rank_values(cx, x, n, ranks, NULL);
    if (status == DL_OK)
        status = rank_values(cx, y, n, ranks + n, NULL);
    if (status == DL_OK) {
        const double rho = pearson(ranks, ranks + n, n), degrees = (double)n - 2.0;
        const double error = sqrt((1.0 + rho * rho / 2.0) / ((double)n - 3.0));
        out->statistic = out->effect = rho;
        out->p = isnan(rho) ? nothing
                            : student_two_sided(rho * sqrt(degrees / (1.0 - rho * rho)), degrees);
        if (n > 3) {
            out->low = tanh(atanh(rho) - 1.959963984540054 * error);
            out->high = tanh(atanh(rho) + 1.959963984540054 * error);
        }
    }
    free(ranks);
    return status;
}

/* ---- Mann, Whitney ------------------------------------------------------------------------ */

/* P(U <= u) from the number of ways c(n, m, u) = c(n - 1, m, u - m) + c(n, m - 1, u), here as the
 * coefficients of the Gaussian binomial: prod_i (1 - q^(m + i)) / (1 - q^i), i = 1 ... n. Divided
 * at each step by the growth of the total, so that they stay probabilities. */
static int mann_whitney_below(dl_context *cx, size_t n, size_t m, size_t u, double *out) {
    const size_t top = n * m;
    double *ways, sum = 0.0;
    DL_TRY(allocate(cx, "Mann-Whitney test", top + 1, sizeof *ways, (void **)&ways));
    ways[0] = 1.0;
    for (size_t i = 1; i <= n; i++) {
        for (size_t s = top; s >= m + i; s--)
            ways[s] -= ways[s - m - i];
        for (size_t s = i; s <= top; s++)
            ways[s] += ways[s - i];
        const double growth = (double)(m + i) / (double)i;
        for (size_t s = 0; s <= top; s++)
            ways[s] /= growth;
    }
    for (size_t s = 0; s <= u && s <= top; s++)
        sum += ways[s];
    free(ways);
    *out = sum;
    return DL_OK;
}

/* The ranks of the first sample among both, summed; and the ties. */
static int rank_sum(dl_context *cx, const double *x, size_t n, const double *y, size_t m,
                    double *sum, double *ties) {
    double *both;
    DL_TRY(allocate(cx, "ranks", n + m, 2 * sizeof *both, (void **)&both));
    memcpy(both, x, n * sizeof *both);
    memcpy(both + n, y, m * sizeof *both);
    int status = rank_values(cx, both, n + m, both + n + m, ties);
    *sum = 0.0;
    for (size_t i = 0; i < n; i++)
        *sum += both[n + m + i];
    free(both);
    return status;
}

int mann_whitney(dl_context *cx, const double *x, size_t n, const double *y, size_t m,
                 struct rank_test *out) {
    enum { EXACT_MAX = 8, PAIRS_MAX = 100000 };
    const double a = (double)n, b = (double)m, total = a + b;
    double ranks, ties;
    *out = no_result;
    if (n == 0 || m == 0)
        return DL_OK;
    DL_TRY(rank_sum(cx, x, n, y, m, &ranks, &ties));
    const double u = ranks - a * (a + 1.0) / 2.0, larger = fmax(u, a * b - u);
    out->statistic = u;
    out->effect = 2.0 * u / (a * b) - 1.0;
    out->exact = (n <= EXACT_MAX || m <= EXACT_MAX) && ties == 0.0 && a * b <= PAIRS_MAX;
    if (out->exact) {
        DL_TRY(mann_whitney_below(cx, n < m ? n : m, n < m ? m : n, (size_t)(a * b - larger),
                                  &out->p));
        out->p = fmin(1.0, 2.0 * out->p);
        return DL_OK;
    }
    const double spread = sqrt(a * b / 12.0 * (total + 1.0 - ties / (total * (total - 1.0))));
    const double z = (larger - a * b / 2.0 - 0.5) / spread;
    /* twice the upper tail: above 1 where the correction for continuity passes the middle */
    out->p = spread > 0.0 ? (z > 0.0 ? normal_two_sided(z) : 1.0) : 1.0;
    return DL_OK;
}

/* ---- Wilcoxon ----------------------------------------------------------------------------- */

/* P(W <= w) over all signs of these ranks; ranks with ties are multiples of one half, so doubled
 * they are whole. */
static int wilcoxon_below(dl_context *cx, const double *ranks, size_t n, double w, double *out) {
    const size_t top = n * (n + 1);
    double *ways, sum = 0.0;
    DL_TRY(allocate(cx, "Wilcoxon test", top + 1, sizeof *ways, (void **)&ways));
    ways[0] = 1.0;
    for (size_t i = 0; i < n; i++) {
        const size_t step = (size_t)(2.0 * ranks[i]);
        for (size_t s = top + 1; s-- > 0;)
            ways[s] = 0.5 * (ways[s] + (s >= step ? ways[s - step] : 0.0));
    }
    for (size_t s = 0; s <= (size_t)(2.0 * w); s++)
        sum += ways[s];
    free(ways);
    *out = sum;
    return DL_OK;
}

/* The test of n >= 1 differences other than 0, whose magnitudes have these ranks. */
static int signed_ranks(dl_context *cx, const double *d, const double *ranks, size_t n, double ties,
                        size_t all, struct rank_test *out) {
    enum { EXACT_MAX = 50, EXACT_TIES_MAX = 13 };
    const double count = (double)n, whole = count * (count + 1.0) / 2.0;
    double plus = 0.0;
    for (size_t i = 0; i < n; i++)
        plus += d[i] > 0.0 ? ranks[i] : 0.0;
    const double smaller = fmin(plus, whole - plus);
    out->statistic = smaller;
    out->effect = (2.0 * plus - whole) / whole;
    out->exact = all <= (ties == 0.0 && n == all ? EXACT_MAX : EXACT_TIES_MAX);
    if (out->exact) {
        DL_TRY(wilcoxon_below(cx, ranks, n, smaller, &out->p));
        out->p = fmin(1.0, 2.0 * out->p);
        return DL_OK;
    }
    const double variance = (count * (count + 1.0) * (2.0 * count + 1.0) - ties / 2.0) / 24.0;
    out->p = normal_two_sided((plus - whole / 2.0) / sqrt(variance));
    return DL_OK;
}

int wilcoxon(dl_context *cx, const double *d, size_t n, struct rank_test *out) {
    double *kept, ties = 0.0;
    size_t count = 0;
    *out = no_result;
    DL_TRY(allocate(cx, "ranks", n, 3 * sizeof *kept, (void **)&kept));
    double *magnitude = kept + n, *ranks = kept + 2 * n;
    for (size_t i = 0; i < n; i++)
        if (d[i] != 0.0) {
            magnitude[count] = fabs(d[i]);
            kept[count++] = d[i];
        }
    int status = rank_values(cx, magnitude, count, ranks, &ties);
    if (status == DL_OK && count > 0)
        status = signed_ranks(cx, kept, ranks, count, ties, n, out);
    free(kept);
    return status;
}
