/* Percentile intervals by the bootstrap (Efron, Ann. Statist. 7 (1979) 1) over units, here prompts:
 * units are drawn anew with replacement, as many as there are, and the statistic is computed of
 * each draw; the interval runs from the 2.5 % to the 97.5 % quantile of the draws. What belongs to
 * a unit (the rows of a prompt) stays together, so rows that resemble each other do not make the
 * interval too narrow. */
#ifndef DLENS_STATS_BOOTSTRAP_H
#define DLENS_STATS_BOOTSTRAP_H

#include "base/context.h"

enum { BOOTSTRAP_DRAWS = 10000 };

/* A statistic of sums over units: totals (width) to out (outputs); NaN where it does not exist. */
typedef void (*bootstrap_statistic)(const void *user, const double *totals, double *out);

struct bootstrap {
    const double *values; /* (units,width): what each unit adds to the totals */
    size_t units, width;  /* width >= 1 */
    size_t first_stratum; /* units before this one and the others are drawn separately, each as many
                             as there are; 0: all together */
    bootstrap_statistic statistic;
    const void *user;
    size_t outputs;
    uint64_t seed; /* its low 32 bits */
};

/* The interval of each output: low, high (outputs), NaN where no draw has the statistic.
 *
 * Of more than about 200,000 values, units are first put together at random into bundles that are
 * drawn as one: the interval has the same meaning and, with hundreds of bundles, the same width,
 * and the time stays at seconds. */
int bootstrap_intervals(dl_context *cx, const struct bootstrap *b, double *low, double *high);

/* The interval of the mean of n values, each a unit. */
int bootstrap_mean(dl_context *cx, const double *values, size_t n, uint64_t seed, double *low,
                   double *high);

/* The interval of mean(y) - mean(x), x (n) and y (m) drawn separately. */
int bootstrap_difference(dl_context *cx, const double *x, size_t n, const double *y, size_t m,
                         uint64_t seed, double *low, double *high);

#endif
