/* Exact tests of counts, their intervals, and Holm's correction. All p values are two-sided. */
#ifndef DLENS_STATS_EXACT_H
#define DLENS_STATS_EXACT_H

#include "base/context.h"

/* The binomial test of k successes in n trials against probability p, 0 < p < 1: the sum of the
 * probabilities of all outcomes that are no likelier than k (within 1e-7, as scipy's binomtest).
 * NaN where n is 0. */
double binomial_test(size_t k, size_t n, double p);

/* The exact 95 % interval of k/n (Clopper, Pearson, Biometrika 26 (1934) 404). NaN where n is 0. */
void binomial_interval(size_t k, size_t n, double *low, double *high);

/* McNemar's exact test (Psychometrika 12 (1947) 153): of pairs of yes and no, `b` are yes only in
 * the first and `c` only in the second; under the null hypothesis b is binomial with 1/2. NaN
 * where b + c is 0. */
double mcnemar_test(size_t b, size_t c);

/* Holm's step-down correction (Scand. J. Statist. 6 (1979) 65): for p values in rising order
 * p_1 ... p_m the corrected are max_{j <= i} min(1, (m - j + 1) p_j). NaN stays NaN and does not
 * count. In place; DL_FAILED without memory. */
int holm(dl_context *cx, double *p, size_t count);

#endif
