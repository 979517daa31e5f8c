/* How far two annotators agree about what is there, layer by layer: a score says "there" if it is
 * at least half of its table's scale, so people's 0 and 1 can be held against a model's 0 to 10.
 *
 *   agreement  share p_o of the pairs of scores that say the same
 *   kappa      (p_o - p_e) / (1 - p_e), p_e the agreement that the two rates of "there" would give
 * by chance (Cohen, Educ. Psychol. Meas. 20 (1960) 37); NaN where p_e is 1
 *
 * with 95 % intervals by the bootstrap over prompts. */
#ifndef DLENS_STATS_AGREE_H
#define DLENS_STATS_AGREE_H

#include "out/buffer.h"
#include "stats/table.h"

struct layer_agreement {
    int layer;
    size_t n;                    /* pairs of scores */
    size_t both, only_a, only_b; /* of these "there" in both, in the first, in the second alone */
    double agreement, agreement_low, agreement_high;
    double kappa, kappa_low, kappa_high;
};

struct agreement {
    const char *a, *b; /* the tables' names */
    size_t matched;    /* rows of the same prompt and seed */
    size_t unmatched_a, unmatched_b;
    size_t layers;                 /* that both tables have */
    struct layer_agreement *layer; /* (layers + 1); the last is over all of these, its number -1 */
};

/* Freed with agreement_free, also after failure. DL_USAGE where no layer is in both. */
int agree(dl_context *cx, const struct score_table *a, const struct score_table *b, uint64_t seed,
          struct agreement *out);
void agreement_free(struct agreement *agreement);

void agreement_print(struct buffer *out, const struct agreement *agreement);
void agreement_json(struct buffer *out, const struct agreement *agreement);

#endif
