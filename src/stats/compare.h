/* The paper's comparisons of layers of emergence (arXiv 2403.05846, sections 4 and 5), as tables
 * with effect sizes, intervals and tests:
 *
 *   complexity  simple against compound prompts                (different prompts)
 *   binding     objects against the binding of them            (the same pictures)
 *   natural     natural against unnatural pairs                (different prompts)
 *   common      common against uncommon nouns, and Spearman's rho with how common they are
 *   coarse      from coarse to fine: animal, class, species    (the same pictures)
 *
 * Which of two nouns comes first is in order.h.
 *
 * The unit is the prompt, as rows of one prompt are alike: its layer of emergence is the mean over
 * its rows without missing cells. A row that never emerges has no layer; each comparison is made
 * twice, without such rows ("emerged": given that it comes, when?) and with them counted as one
 * step behind the last layer ("all": a restricted mean, which also tells what is never learnt). */
#ifndef DLENS_STATS_COMPARE_H
#define DLENS_STATS_COMPARE_H

#include "out/buffer.h"
#include "stats/ranks.h"
#include "stats/table.h"

enum comparison_kind {
    COMPARE_COMPLEXITY,
    COMPARE_BINDING,
    COMPARE_NATURAL,
    COMPARE_COMMON,
    COMPARE_COARSE,
    COMPARE_KINDS
};

/* Which rows count. */
enum rows_counted { ROWS_EMERGED, ROWS_ALL, ROWS_COUNTED_KINDS };
extern const char *const rows_names[]; /* "emerged", "all" */

/* Two samples of prompts; everything is b against a: above 0 means that b emerges later. */
struct contrast {
    const char *file; /* whose prompts a and b are groups of; NULL: a and b are files themselves */
    const char *a, *b;
    bool paired; /* the same pictures: n_a and n_b are equal */
    enum rows_counted rows;
    size_t n_a, n_b; /* prompts */
    size_t complete_a,
        never_a; /* rows without missing cells, and of these those that never emerge */
    size_t complete_b, never_b;
    double mean_a, mean_b;        /* layers */
    double difference, low, high; /* b - a with its 95 % interval by the bootstrap over prompts */
    struct rank_test test; /* Mann-Whitney and Cliff's delta; paired: Wilcoxon, rank-biserial */
    double p_holm;         /* over the contrasts of a comparison that count the same rows */
};

/* Emergence against a number that prompts have. */
struct correlation {
    const char *property;
    enum rows_counted rows;
    size_t n; /* prompts */
    struct rank_test test;
};

struct comparison {
    enum comparison_kind kind;
    size_t contrast_count, correlation_count;
    struct contrast *contrasts;
    struct correlation *correlations;
};

/* "complexity", ..., and what it asks. */
const char *comparison_name(enum comparison_kind kind);
const char *comparison_question(enum comparison_kind kind);

/* Makes a comparison of tables with the same layers:
 *
 *   complexity  the simple prompts' table, then one or more of compound prompts
 *   binding     one or more tables of the parts, the last one of their binding
 *   natural     one or more tables; `is_natural` (1 or 0) from them or the sets
 *   common      the common nouns' table, then the uncommon ones'; `avg_daily_views`, else
 *               `frequency`, likewise
 *   coarse      two or more tables from the coarsest question to the finest
 *
 * DL_USAGE where tables, layers or properties do not fit. Names point into the tables. Freed with
 * comparison_free, also after failure. */
int compare_tables(dl_context *cx, enum comparison_kind kind, const struct score_table *tables,
                   size_t count, const struct score_table *sets, size_t set_count, uint64_t seed,
                   struct comparison *out);
void comparison_free(struct comparison *comparison);

void comparison_print(struct buffer *out, const struct comparison *comparison);
void comparison_json(struct buffer *out, const struct comparison *comparison);

#endif
