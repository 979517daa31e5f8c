/* The files of an annotation, and what they say of the judge.
 *
 * OUT/annotations/reliability.json, an array with one object per question:
 *
 *     {"question", "asked" (prompts), "chance" (of a guess being right),
 *      "last_layer":    {"n", "rate", "probability"}   how often the answer is the right one for
 * the last layer's pictures: the model's and the judge's successes together "other_prompts": {...}
 * how often the last layer's pictures are said to show what another prompt asks for: wrongly
 *      "noise":         {...}}                         how often noise is
 *
 * It is computed from the tables, so that parts put together say the same as the whole. */
#ifndef DLENS_STUDY_ANSWERS_H
#define DLENS_STUDY_ANSWERS_H

#include "lens/manifest.h"
#include "out/csv.h"

/* One answer of the judge; score -1: none. */
struct answer {
    int score;
    double probability; /* of the right candidate */
    double best;        /* of the likeliest but "nothing recognisable" */
};

/* The tables of a question. */
enum answer_table {
    TABLE_SCORE,
    TABLE_PROBABILITY,
    TABLE_BEST,
    TABLE_CONTROL,
    TABLE_NOISE,
    TABLE_KINDS
};

/* "annotations/control/QUESTION.csv", in fresh memory (free); NULL when memory is short. */
char *answer_file(enum answer_table table, const char *question);

int answer_write(dl_context *cx, const char *folder, enum answer_table table, const char *question,
                 const struct buffer *text);

/* Removes what an annotation that was killed left half written. */
void answers_sweep(const char *folder);

/* Header and rows of scores or probabilities: row of one prompt and seed with its answers
 * (layers). */
void answer_header(struct buffer *out, const struct grid *grid);
void answer_row(struct buffer *out, const struct grid *grid, enum answer_table table, size_t prompt,
                size_t seed, const struct answer *answers);

/* A number as the tables write it; "" for none. */
void answer_number(char out[32], enum answer_table table, const struct answer *answer);

/* Unites tables that were made in parts: of each cell the one part that fills it. `united` (TABLE's
 * text so far, in cells) takes over the cells of `part`. DL_USAGE where they do not fit, or both
 * fill one. */
int answer_unite(dl_context *cx, const char *path, struct csv *united, const struct csv *part);

/* Writes OUT/annotations/reliability.json from the tables of the questions that
 * OUT/experiment.json lists. */
int reliability_write(dl_context *cx, const char *folder);

#endif
