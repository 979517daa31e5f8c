/* Tails of distributions. See numbers.h.
 *
 *   normal     P(|Z| >= z) = erfc(z / sqrt 2)
 *   Student    P(|T| >= t) = I_{v / (v + t^2)}(v / 2, 1 / 2)       (Abramowitz, Stegun, 26.7.1)
 *   beta       I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) times a continued fraction (DLMF 8.17.22),
 *              for x below (a + 1) / (a + b + 2); above, 1 - I_{1-x}(b, a) */
#include "stats/numbers.h"

#include <math.h>
#include <stdlib.h>

double normal_two_sided(double z) {
    return erfc(fabs(z) / sqrt(2.0));
}

/* 1 / (1 + d_1 / (1 + d_2 / (1 + ...))) with d_2m = m (b - m) x / ((a + 2m - 1)(a + 2m)) and
 * d_2m+1 = -(a + m)(a + b + m) x / ((a + 2m)(a + 2m + 1)), by the modified Lentz method (Thompson,
 * Barnett, J. Comput. Phys. 64 (1986) 490). */
static double beta_fraction(double x, double a, double b) {
    enum { TERMS_MAX = 100000 };
    const double tiny = 1e-300;
    double f = 1.0, c = 1.0, d = 0.0;
    for (int i = 1; i <= TERMS_MAX; i++) {
        const double m = i / 2;
        const double part = i % 2 == 0
                                ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1.0 + part * d;
        c = 1.0 + part / c;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= c * d;
        if (fabs(c * d - 1.0) < 1e-15)
            break;
    }
    return 1.0 / f;
}

double incomplete_beta(double x, double a, double b) {
    if (!(x > 0.0))
        return 0.0;
    if (x >= 1.0)
        return 1.0;
    if (x > (a + 1.0) / (a + b + 2.0))
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    const double log_beta = lgamma(a) + lgamma(b) - lgamma(a + b);
    return exp(a * log(x) + b * log1p(-x) - log_beta) / a * beta_fraction(x, a, b);
}

double student_two_sided(double t, double degrees) {
    if (isinf(t))
        return 0.0;
    return incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5);
}

double log_choose(double n, double k) {
    return lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
}

static int rising(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sort_numbers(double *values, size_t n) {
    qsort(values, n, sizeof *values, rising);
}

double quantile(const double *sorted, size_t n, double q) {
    const double at = q * (double)(n - 1), below = floor(at);
    const size_t i = (size_t)below;
    return i + 1 < n ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

double mean(const double *values, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return n ? sum / (double)n : (double)NAN;
}
