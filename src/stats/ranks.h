/* Tests and effect sizes by ranks; equal values share the mean of their ranks. All p values are
 * two-sided and equal those of scipy.stats with its default settings.
 *
 * A result that does not exist (too few values, no variation) is NaN. */
#ifndef DLENS_STATS_RANKS_H
#define DLENS_STATS_RANKS_H

#include "base/context.h"

/* ranks (n) of values (n), from 1. *ties, if not NULL: sum of t^3 - t over groups of t equal ones.
 */
int rank_values(dl_context *cx, const double *values, size_t n, double *ranks, double *ties);

struct rank_test {
    double statistic; /* rho; U of the first sample; the smaller of W+ and W- */
    double p;
    double effect;    /* rho; Cliff's delta; rank-biserial correlation: each -1 to 1 */
    double low, high; /* Spearman: 95 % interval of rho */
    bool exact;       /* p is from the exact distribution, not from an approximation */
};

/* Spearman's rho (Am. J. Psychol. 15 (1904) 72): Pearson's correlation of the ranks; p from
 * t = rho sqrt((n - 2) / (1 - rho^2)) with n - 2 degrees of freedom; the interval by Fisher's z
 * with the standard error sqrt((1 + rho^2 / 2) / (n - 3)) (Bonett, Wright, Psychometrika 65 (2000)
 * 23).
 */
int spearman(dl_context *cx, const double *x, const double *y, size_t n, struct rank_test *out);

/* Mann and Whitney's U (Ann. Math. Statist. 18 (1947) 50) of samples x (n) and y (m): the number of
 * pairs with x > y, and half of those with x = y. Exact where the smaller sample has at most 8
 * values and none are equal (and n m is at most 100000); else the normal approximation with
 * correction for ties and continuity. The effect is Cliff's delta (Psychol. Bull. 114 (1993) 494),
 * P(x > y) - P(x < y) = 2 U / (n m) - 1. */
int mann_whitney(dl_context *cx, const double *x, size_t n, const double *y, size_t m,
                 struct rank_test *out);

/* Wilcoxon's signed-rank test (Biometrics Bull. 1 (1945) 80) of differences d (n): zeros are left
 * out, |d| is ranked, W+ and W- are the sums of the ranks of either sign. Exact for up to 50
 * without zeros and ties, and for up to 13 with them (the distribution over all signs of the ranks
 * that are there); else the normal approximation with correction for ties and none for continuity.
 * The effect is the matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-) (Kerby, Compr.
 * Psychol. 3 (2014) 11.IT.3.1). */
int wilcoxon(dl_context *cx, const double *d, size_t n, struct rank_test *out);

#endif
