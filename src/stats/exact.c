/* The binomial test and what rests on it. See exact.h. */
#include "stats/exact.h"

#include "stats/numbers.h"

#include <math.h>
#include <stdlib.h>

/* n choose k p^k (1 - p)^(n - k). */
static double binomial_probability(double k, double n, double p) {
    return exp(log_choose(n, k) + k * log(p) + (n - k) * log1p(-p));
}

/* P(X >= k) = I_p(k, n - k + 1), 0 < k <= n (DLMF 8.17.5); 1 for k = 0. */
static double binomial_at_least(double k, double n, double p) {
    return k <= 0.0 ? 1.0 : k > n ? 0.0 : incomplete_beta(p, k, n - k + 1.0);
}

/* The probabilities rise up to the mode and fall behind it; so on the other side of the mode the
 * outcomes no likelier than k are those beyond one place, found by bisection. */
double binomial_test(size_t k, size_t n, double p) {
    if (n == 0)
        return (double)NAN;
    const double trials = (double)n, seen = (double)k;
    const double limit = binomial_probability(seen, trials, p) * (1.0 + 1e-7);
    if (seen == p * trials)
        return 1.0;
    const bool above = seen > p * trials;
    double near = above ? floor(p * trials) : ceil(p * trials); /* likely side of the bisection */
    double far = above ? -1.0 : trials + 1.0;                   /* beyond all outcomes */
    if (binomial_probability(near, trials, p) <= limit) {
        far = near;
    } else {
        while (fabs(near - far) > 1.0) {
            const double middle = floor((near + far) / 2.0);
            if (binomial_probability(middle, trials, p) <= limit)
                far = middle;
            else
                near = middle;
        }
    }
    const double upper = above ? seen : far,
                 lower = above ? far : seen; /* X <= lower, X >= upper */
    const double tails =
        binomial_at_least(upper, trials, p) + binomial_at_least(trials - lower, trials, 1.0 - p);
    return tails < 1.0 ? tails : 1.0;
}

/* The probability at which P(X >= k) is 2.5 %. */
static double lower_limit(double k, double n) {
    double low = 0.0, high = 1.0;
    if (k <= 0.0)
        return 0.0;
    for (int i = 0; i < 100; i++) {
        const double middle = (low + high) / 2.0;
        if (binomial_at_least(k, n, middle) < 0.025)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void binomial_interval(size_t k, size_t n, double *low, double *high) {
    *low = n ? lower_limit((double)k, (double)n) : (double)NAN;
    *high = n ? 1.0 - lower_limit((double)(n - k), (double)n) : (double)NAN;
}

double mcnemar_test(size_t b, size_t c) {
    return binomial_test(b, b + c, 0.5);
}

/* ---- Holm --------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    const double x = **(double *const *)a, y = **(double *const *)b;
    return (x > y) - (x < y);
}

int holm(dl_context *cx, double *p, size_t count) {
    double **order;
    size_t m = 0;
    DL_TRY(allocate(cx, "Holm's correction", count, sizeof *order, (void **)&order));
    for (size_t i = 0; i < count; i++)
        if (!isnan(p[i]))
            order[m++] = &p[i];
    qsort(order, m, sizeof *order, by_value);
    double largest = 0.0;
    for (size_t i = 0; i < m; i++) {
        const double corrected = fmin(1.0, (double)(m - i) * *order[i]);
        largest = fmax(largest, corrected);
        *order[i] = largest;
    }
    free(order);
    return DL_OK;
}
