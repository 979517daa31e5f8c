/* Comparing layers of emergence. See compare.h. */
#include "stats/compare.h"

#include "stats/bootstrap.h"
#include "stats/exact.h"
#include "stats/numbers.h"
#include "stats/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *question;
    size_t tables_min, tables_max;
    const char *arguments;
} kinds[COMPARE_KINDS] = {
    [COMPARE_COMPLEXITY] = {"complexity", "do compound prompts emerge later than simple ones?", 2,
                            SIZE_MAX, "the simple prompts' file, then those of compound prompts"},
    [COMPARE_BINDING] = {"binding", "is what belongs together bound after its parts are there?", 2,
                         SIZE_MAX, "the files of the parts, then the file of their binding"},
    [COMPARE_NATURAL] = {"natural", "do unnatural pairs emerge later than natural ones?", 1,
                         SIZE_MAX, "annotation files, and prompt sets with a column is_natural"},
    [COMPARE_COMMON] = {"common", "do uncommon nouns emerge later than common ones?", 2, 2,
                        "the common nouns' file, then the uncommon ones', and prompt sets with a "
                        "column avg_daily_views or frequency"},
    [COMPARE_COARSE] = {"coarse", "are coarse features there before fine ones?", 2, SIZE_MAX,
                        "files from the coarsest question to the finest"},
};

const char *comparison_name(enum comparison_kind kind) {
    return kinds[kind].name;
}

const char *comparison_question(enum comparison_kind kind) {
    return kinds[kind].question;
}

/* ---- layers of emergence ------------------------------------------------------------------ */

/* The layer that stands for "never": one step behind the last. */
static double behind_last(const struct score_table *t) {
    const int last = t->layer[t->layers - 1];
    return t->layers > 1 ? 2.0 * last - t->layer[t->layers - 2] : last + 1.0;
}

/* A row's layer of emergence as a number, NaN where it does not count. */
static double row_layer(const struct score_table *t, size_t row, enum rows_counted rows) {
    const int at = emergence(t->scores + row * t->layers, t->layers, t->scale);
    if (at >= 0)
        return t->layer[at];
    return at == EMERGES_NEVER && rows == ROWS_ALL ? behind_last(t) : (double)NAN;
}

/* The mean of each prompt's rows: out (P), NaN where none counts. Freed by the caller. */
static int prompt_layers(dl_context *cx, const struct score_table *t, enum rows_counted rows,
                         double **out) {
    size_t *count;
    DL_TRY(allocate(cx, t->name, t->prompts, sizeof **out, (void **)out));
    int status = allocate(cx, t->name, t->prompts, sizeof *count, (void **)&count);
    if (status != DL_OK) {
        free(*out);
        *out = NULL;
        return status;
    }
    for (size_t row = 0; row < t->rows; row++) {
        const double layer = row_layer(t, row, rows);
        (*out)[t->prompt[row]] += isnan(layer) ? 0.0 : layer;
        count[t->prompt[row]] += isnan(layer) ? 0 : 1;
    }
    for (size_t p = 0; p < t->prompts; p++)
        (*out)[p] = count[p] ? (*out)[p] / (double)count[p] : (double)NAN;
    free(count);
    return DL_OK;
}

/* One number for some prompts of a table. */
struct sample {
    double *values; /* owned */
    size_t n;
    size_t complete, never; /* rows of these prompts' group */
};

/* The prompts whose `group` (P; NULL: all) is `wanted` and that have a layer. */
static int take_sample(dl_context *cx, const struct score_table *t, const int *group, int wanted,
                       enum rows_counted rows, struct sample *out) {
    memset(out, 0, sizeof *out);
    DL_TRY(prompt_layers(cx, t, rows, &out->values));
    for (size_t p = 0; p < t->prompts; p++)
        if (!isnan(out->values[p]) && (!group || group[p] == wanted))
            out->values[out->n++] = out->values[p];
    for (size_t row = 0; row < t->rows; row++) {
        const int at = emergence(t->scores + row * t->layers, t->layers, t->scale);
        const bool in = !group || group[t->prompt[row]] == wanted;
        out->complete += in && at != EMERGES_UNKNOWN;
        out->never += in && at == EMERGES_NEVER;
    }
    return DL_OK;
}

/* ---- contrasts ---------------------------------------------------------------------------- */

static int contrast_samples(dl_context *cx, const struct sample *a, const struct sample *b,
                            uint64_t seed, struct contrast *out) {
    out->n_a = a->n;
    out->n_b = b->n;
    out->complete_a = a->complete;
    out->complete_b = b->complete;
    out->never_a = a->never;
    out->never_b = b->never;
    out->mean_a = mean(a->values, a->n);
    out->mean_b = mean(b->values, b->n);
    out->difference = out->mean_b - out->mean_a;
    DL_TRY(mann_whitney(cx, b->values, b->n, a->values, a->n, &out->test));
    return bootstrap_difference(cx, a->values, a->n, b->values, b->n, seed, &out->low, &out->high);
}

/* Prompts of two tables, or of two groups of one. */
static int contrast_prompts(dl_context *cx, const struct score_table *a,
                            const struct score_table *b, const int *group, uint64_t seed,
                            struct contrast *out) {
    struct sample x, y = {0};
    int status = take_sample(cx, a, group, 1, out->rows, &x);
    if (status == DL_OK)
        status = take_sample(cx, b, group, 0, out->rows, &y);
    if (status == DL_OK)
        status = contrast_samples(cx, &x, &y, seed, out);
    free(x.values);
    free(y.values);
    return status;
}

/* Per prompt over the pictures that count in both: sums (P,3) of a's layers, of b's, and their
 * number. */
enum { SUM_A, SUM_B, PICTURES, SUMS };

static void add_pictures(const struct score_table *a, const struct score_table *b,
                         const struct row_pair *rows, size_t count, struct contrast *out,
                         double *sums) {
    for (size_t i = 0; i < count; i++) {
        const double any_x = row_layer(a, rows[i].a, ROWS_ALL);
        const double any_y = row_layer(b, rows[i].b, ROWS_ALL);
        if (isnan(any_x) || isnan(any_y))
            continue; /* complete in both */
        const double x = row_layer(a, rows[i].a, out->rows), y = row_layer(b, rows[i].b, out->rows);
        out->complete_a++;
        out->complete_b++;
        out->never_a += isnan(row_layer(a, rows[i].a, ROWS_EMERGED)) ? 1 : 0;
        out->never_b += isnan(row_layer(b, rows[i].b, ROWS_EMERGED)) ? 1 : 0;
        if (isnan(x) || isnan(y))
            continue;
        double *prompt = sums + a->prompt[rows[i].a] * SUMS;
        prompt[SUM_A] += x;
        prompt[SUM_B] += y;
        prompt[PICTURES] += 1.0;
    }
}

/* From the sums: means over prompts, and the test of their differences, which take the place of the
 * sums. */
static int contrast_differences(dl_context *cx, double *sums, size_t prompts, uint64_t seed,
                                struct contrast *out) {
    double total_a = 0.0, total_b = 0.0;
    size_t n = 0;
    for (size_t p = 0; p < prompts; p++) {
        const double *prompt = sums + p * SUMS, pictures = prompt[PICTURES];
        if (pictures == 0.0)
            continue;
        const double a = prompt[SUM_A] / pictures, b = prompt[SUM_B] / pictures;
        total_a += a;
        total_b += b;
        sums[n++] = b - a;
    }
    out->n_a = out->n_b = n;
    out->mean_a = n ? total_a / (double)n : (double)NAN;
    out->mean_b = n ? total_b / (double)n : (double)NAN;
    out->difference = mean(sums, n);
    DL_TRY(wilcoxon(cx, sums, n, &out->test));
    return bootstrap_mean(cx, sums, n, seed, &out->low, &out->high);
}

/* The same pictures asked two questions. */
static int contrast_pictures(dl_context *cx, const struct score_table *a,
                             const struct score_table *b, uint64_t seed, struct contrast *out) {
    struct row_pair *rows;
    double *sums = NULL;
    size_t count;
    out->paired = true;
    int status = table_match(cx, a, b, &rows, &count);
    if (status == DL_OK)
        status = allocate(cx, a->name, a->prompts, SUMS * sizeof *sums, (void **)&sums);
    if (status == DL_OK) {
        add_pictures(a, b, rows, count, out, sums);
        status = contrast_differences(cx, sums, a->prompts, seed, out);
    }
    free(rows);
    free(sums);
    return status;
}

/* ---- properties --------------------------------------------------------------------------- */

struct inputs {
    const struct score_table *tables, *sets;
    size_t count, set_count;
    uint64_t seed;
};

/* A property as numbers, out (P): NaN where it is none. DL_USAGE where no prompt has it. */
static int number_property(dl_context *cx, const struct score_table *t, const struct inputs *in,
                           const char *column, double **out) {
    const char **texts;
    size_t found = 0;
    DL_TRY(allocate(cx, t->name, t->prompts, sizeof **out, (void **)out));
    int status = table_property(cx, t, in->sets, in->set_count, column, &texts);
    for (size_t p = 0; p < t->prompts && status == DL_OK; p++) {
        if (texts[p] && parse_score(texts[p], &(*out)[p]))
            found++;
        else
            (*out)[p] = (double)NAN;
    }
    if (status == DL_OK && found == 0)
        status = fail(cx, DL_USAGE,
                      "%s: none of its prompts has a number `%s`; name the prompt set that has it, "
                      "too",
                      t->name, column);
    free(texts);
    return status;
}

static int natural_contrast(dl_context *cx, const struct score_table *t, const struct inputs *in,
                            struct contrast *out) {
    double *natural;
    int *group = NULL;
    int status = number_property(cx, t, in, "is_natural", &natural);
    if (status == DL_OK)
        status = allocate(cx, t->name, t->prompts, sizeof *group, (void **)&group);
    if (status == DL_OK) {
        for (size_t p = 0; p < t->prompts; p++)
            group[p] = isnan(natural[p]) ? -1 : natural[p] != 0.0;
        out->file = t->name;
        out->a = "natural";
        out->b = "unnatural";
        status = contrast_prompts(cx, t, t, group, in->seed, out);
    }
    free(natural);
    free(group);
    return status;
}

/* How common a prompt's noun is: the paper's count of page views, else a training frequency. */
static const char *commonness(const struct inputs *in) {
    static const char views[] = "avg_daily_views", frequency[] = "frequency";
    bool has_views = false, has_frequency = false;
    for (size_t i = 0; i < in->count + in->set_count; i++) {
        const struct score_table *t = i < in->count ? &in->tables[i] : &in->sets[i - in->count];
        has_views = has_views || csv_column(&t->csv, views) != CSV_NONE;
        has_frequency = has_frequency || csv_column(&t->csv, frequency) != CSV_NONE;
    }
    return has_frequency && !has_views ? frequency : views;
}

/* Pairs of emergence and property of one table's prompts, appended to x and y. */
static int append_pairs(dl_context *cx, const struct score_table *t, const struct inputs *in,
                        struct correlation *out, double *x, double *y) {
    double *layers, *values = NULL;
    DL_TRY(prompt_layers(cx, t, out->rows, &layers));
    int status = number_property(cx, t, in, out->property, &values);
    for (size_t p = 0; p < t->prompts && status == DL_OK; p++) {
        if (isnan(layers[p]) || isnan(values[p]))
            continue;
        x[out->n] = layers[p];
        y[out->n++] = values[p];
    }
    free(layers);
    free(values);
    return status;
}

static int correlate(dl_context *cx, const struct inputs *in, struct correlation *out) {
    size_t prompts = 0;
    double *x;
    for (size_t i = 0; i < in->count; i++)
        prompts += in->tables[i].prompts;
    DL_TRY(allocate(cx, "correlation", prompts, 2 * sizeof *x, (void **)&x));
    int status = DL_OK;
    for (size_t i = 0; i < in->count && status == DL_OK; i++)
        status = append_pairs(cx, &in->tables[i], in, out, x, x + prompts);
    if (status == DL_OK)
        status = spearman(cx, x, x + prompts, out->n, &out->test);
    free(x);
    return status;
}

/* ---- comparisons -------------------------------------------------------------------------- */

/* Which tables the i-th contrast is of. Returns how many contrasts there are. */
static size_t contrast_tables(enum comparison_kind kind, size_t count, size_t i, size_t *a,
                              size_t *b) {
    *a = 0;
    *b = i + 1;
    switch (kind) {
    case COMPARE_BINDING:
        *a = i;
        *b = count - 1;
        return count - 1;
    case COMPARE_NATURAL:
        *a = *b = i;
        return count;
    case COMPARE_COARSE: /* neighbours, then the ends */
        *a = i + 1 < count ? i : 0;
        *b = i + 1 < count ? i + 1 : count - 1;
        return count - 1 + (count > 2);
    default:
        return count - 1;
    }
}

static int make_contrast(dl_context *cx, enum comparison_kind kind, const struct inputs *in,
                         size_t i, struct contrast *out) {
    size_t a, b;
    contrast_tables(kind, in->count, i, &a, &b);
    if (kind == COMPARE_NATURAL)
        return natural_contrast(cx, &in->tables[a], in, out);
    out->a = in->tables[a].name;
    out->b = in->tables[b].name;
    if (kind == COMPARE_BINDING || kind == COMPARE_COARSE)
        return contrast_pictures(cx, &in->tables[a], &in->tables[b], in->seed, out);
    return contrast_prompts(cx, &in->tables[a], &in->tables[b], NULL, in->seed, out);
}

/* Corrects the p values of the contrasts that count the same rows. */
static int correct(dl_context *cx, struct comparison *c, enum rows_counted rows) {
    double *p;
    size_t n = 0;
    DL_TRY(allocate(cx, "Holm's correction", c->contrast_count, sizeof *p, (void **)&p));
    for (size_t i = 0; i < c->contrast_count; i++)
        if (c->contrasts[i].rows == rows)
            p[n++] = c->contrasts[i].test.p;
    int status = holm(cx, p, n);
    n = 0;
    for (size_t i = 0; i < c->contrast_count; i++)
        if (c->contrasts[i].rows == rows)
            c->contrasts[i].p_holm = p[n++];
    free(p);
    return status;
}

static int check_tables(dl_context *cx, enum comparison_kind kind, const struct inputs *in) {
    if (in->count < kinds[kind].tables_min || in->count > kinds[kind].tables_max)
        return fail(cx, DL_USAGE, "%s: %zu annotation files are given; wanted: %s",
                    kinds[kind].name, in->count, kinds[kind].arguments);
    for (size_t i = 0; i < in->count; i++) {
        const struct score_table *t = &in->tables[i], *first = &in->tables[0];
        DL_TRY(table_need_layers(cx, t));
        const bool same = t->layers == first->layers &&
                          memcmp(t->layer, first->layer, t->layers * sizeof *t->layer) == 0;
        if (!same && kind != COMPARE_NATURAL)
            return fail(cx, DL_USAGE,
                        "%s: its layers are not those of %s; compare files of one encoder", t->name,
                        first->name);
    }
    return DL_OK;
}

int compare_tables(dl_context *cx, enum comparison_kind kind, const struct score_table *tables,
                   size_t count, const struct score_table *sets, size_t set_count, uint64_t seed,
                   struct comparison *out) {
    const struct inputs in = {tables, sets, count, set_count, seed};
    size_t a, b;
    *out = (struct comparison){.kind = kind};
    DL_TRY(check_tables(cx, kind, &in));
    const size_t contrasts = contrast_tables(kind, count, 0, &a, &b);
    DL_TRY(allocate(cx, "comparison", contrasts, ROWS_COUNTED_KINDS * sizeof *out->contrasts,
                    (void **)&out->contrasts));
    DL_TRY(allocate(cx, "comparison", ROWS_COUNTED_KINDS, sizeof *out->correlations,
                    (void **)&out->correlations));
    for (size_t i = 0; i < contrasts; i++)
        for (enum rows_counted rows = ROWS_EMERGED; rows < ROWS_COUNTED_KINDS; rows++) {
            struct contrast *c = &out->contrasts[out->contrast_count++];
            c->rows = rows;
            DL_TRY(make_contrast(cx, kind, &in, i, c));
        }
    for (enum rows_counted rows = ROWS_EMERGED; rows < ROWS_COUNTED_KINDS; rows++) {
        DL_TRY(correct(cx, out, rows));
        if (kind != COMPARE_COMMON)
            continue;
        struct correlation *c = &out->correlations[out->correlation_count++];
        *c = (struct correlation){.property = commonness(&in), .rows = rows};
        DL_TRY(correlate(cx, &in, c));
    }
    return DL_OK;
}

void comparison_free(struct comparison *comparison) {
    free(comparison->contrasts);
    free(comparison->correlations);
    memset(comparison, 0, sizeof *comparison);
}
