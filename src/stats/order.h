/* Which of a prompt's two nouns comes first: the one that is written first (linear order), or the
 * syntactic head (arXiv 2403.05846, section 4).
 *
 * A question is a pair of tables of the same pictures: is the first noun there, is the second. In a
 * picture the noun with the lower layer of emergence comes first; one that comes is before one that
 * never does; rows with a missing cell say nothing. The prompt's verdict is that of most of its
 * pictures; a prompt without a majority is undecided and left out. The head is known from the
 * properties `noun_0`, `noun_1` and `head`, where the prompts have them. */
#ifndef DLENS_STATS_ORDER_H
#define DLENS_STATS_ORDER_H

#include "out/buffer.h"
#include "stats/table.h"

/* k of n decided prompts follow a rule; against one half by the binomial test. */
struct rule_count {
    size_t k, n;
    double low, high; /* exact 95 % interval of k/n */
    double p, p_holm; /* Holm's correction over the questions */
};

/* At one layer: prompts whose mean score over their pictures is at least half the scale for one
 * noun only; McNemar's test, corrected over the question's layers. */
struct order_layer {
    int layer;
    size_t only_first, only_second;
    double p, p_holm;
};

struct order_question {
    const char *first, *second; /* the tables' names */
    size_t prompts, undecided;
    struct rule_count linear; /* the noun written first comes first */
    struct rule_count head;   /* the head comes first, of prompts whose head is known */
    size_t only_linear,
        only_head;              /* prompts with known head that only one of the rules predicts: */
    double rules_p, rules_holm; /* McNemar's test between the rules */
    size_t layers;
    struct order_layer *layer; /* (layers) */
};

/* Two questions about the same prompts, of two encoders: prompts decided in both in which the first
 * noun comes first in the one alone and in the other alone; McNemar's test. */
struct order_pair {
    size_t a, b; /* indices of the questions */
    size_t shared, only_a, only_b;
    double p, p_holm;
};

struct order {
    size_t question_count, pair_count;
    struct order_question *questions;
    struct order_pair *pairs; /* of questions that share decided prompts */
};

/* tables: first and second noun of each question, in turn. DL_USAGE where their number is odd or
 * the layers of a question's two tables differ. Names point into the tables. Freed with order_free,
 * also after failure. */
int compare_order(dl_context *cx, const struct score_table *tables, size_t count,
                  const struct score_table *sets, size_t set_count, struct order *out);
void order_free(struct order *order);

void order_print(struct buffer *out, const struct order *order);
void order_json(struct buffer *out, const struct order *order);

#endif
