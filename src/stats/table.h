/* Tables of scores: the annotation files that `experiment` writes, people export and the paper
 * published.
 *
 * A CSV with a column `prompt`, one column per layer (its header is the layer's number), and
 * usually `seed`; every other column is a property of the prompt. A layer's cell is a score if it
 * is a finite decimal number (12, -0.5, 1e1, spaces around it allowed); anything else ("Error", a
 * sentence, nothing) is missing. A CSV without layers is a prompt set: its columns can be joined to
 * a table of scores by the prompt.
 *
 * R rows, L layers, P prompts. */
#ifndef DLENS_STATS_TABLE_H
#define DLENS_STATS_TABLE_H

#include "out/csv.h"

struct score_table {
    const char *name;     /* for messages and reports; the caller's */
    double scale;         /* the highest score */
    size_t rows;          /* R */
    size_t layers;        /* L; 0: a prompt set */
    size_t prompts;       /* P, different ones */
    size_t missing;       /* layer cells that are no number */
    size_t outside;       /* scores below 0 or above the scale */
    int *layer;           /* (L) their numbers, rising */
    double *scores;       /* (R,L), NaN where missing */
    size_t *prompt;       /* (R) the row's prompt, numbered in the order of first appearance */
    size_t *first_row;    /* (P) a prompt's first row */
    struct csv csv;       /* the cells */
    size_t prompt_column; /* in csv */
    size_t seed_column;   /* CSV_NONE where there is none */
};

/* Reads a file. `path` and what it names must outlive the table. DL_USAGE where it is missing, not
 * CSV, has no column `prompt`, or has `prompt`, `seed` or a layer twice. Freed with table_free,
 * also after failure. */
int table_read(dl_context *cx, const char *path, double scale, struct score_table *out);

/* The same from memory. */
int table_parse(dl_context *cx, const char *name, const char *text, size_t size, double scale,
                struct score_table *out);
void table_free(struct score_table *table);

/* DL_USAGE, naming the file, if it is a prompt set. */
int table_need_layers(dl_context *cx, const struct score_table *table);

const char *table_prompt(const struct score_table *table, size_t row);

/* The seed as text, 7 for 7.0; "" where there is none. */
const char *table_seed(const struct score_table *table, size_t row);

/* A property of every prompt, out (P): from the table's own column, else from the first of `sets`
 * that has the column and the prompt (spaces around prompts do not matter); NULL where there is
 * none or it is empty. *out is freed by the caller, the texts belong to the tables. */
int table_property(dl_context *cx, const struct score_table *table, const struct score_table *sets,
                   size_t set_count, const char *column, const char ***out);

/* Rows of two tables that are of the same prompt and, where both have seeds, the same seed; the
 * k-th such row of the one goes with the k-th of the other. In the order of the first table. */
struct row_pair {
    size_t a, b;
};
int table_match(dl_context *cx, const struct score_table *a, const struct score_table *b,
                struct row_pair **out, size_t *count);

/* A finite decimal number that takes up the whole text but for spaces around it, in any locale. */
bool parse_score(const char *text, double *out);

#endif
