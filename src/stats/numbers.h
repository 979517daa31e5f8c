/* The special functions behind the tests: tails of the normal, Student's t and the binomial
 * distribution, and quantiles. Relative errors below 1e-11. */
#ifndef DLENS_STATS_NUMBERS_H
#define DLENS_STATS_NUMBERS_H

#include <stddef.h>

/* P(|Z| >= |z|) for a standard normal Z. */
double normal_two_sided(double z);

/* P(|T| >= |t|) for Student's t with `degrees` > 0 degrees of freedom. */
double student_two_sided(double t, double degrees);

/* The regularised incomplete beta function I_x(a, b), 0 <= x <= 1, a, b > 0. */
double incomplete_beta(double x, double a, double b);

/* ln of n choose k, 0 <= k <= n. */
double log_choose(double n, double k);

/* Sorts n numbers, none of them NaN, in rising order. */
void sort_numbers(double *values, size_t n);

/* The q-quantile of n >= 1 sorted numbers, by linear interpolation between the values at ranks
 * 0 ... n - 1 (Hyndman and Fan, The American Statistician 50 (1996) 361, type 7; numpy's
 * default). */
double quantile(const double *sorted, size_t n, double q);

/* NaN where n is 0. */
double mean(const double *values, size_t n);

#endif
