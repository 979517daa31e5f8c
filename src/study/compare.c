/* Matching and comparing two runs. See compare.h. */
#include "study/compare.h"

#include "out/flags.h"
#include "stats/bootstrap.h"
#include "stats/exact.h"
#include "stats/numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- prompts --------------------------------------------------------------------------------- */

static int compare_pairs(const void *x, const void *y) {
    const struct prompt_pair *a = x, *b = y;
    return (a->a > b->a) - (a->a < b->a);
}

/* Both lists are sorted by text: they are merged, and the pairs put into the first run's order. */
static int match_prompts(dl_context *cx, struct runs_compared *c) {
    const size_t A = c->a.record.prompt_count, B = c->b.record.prompt_count;
    DL_TRY(allocate(cx, "prompts", A, sizeof *c->prompts, (void **)&c->prompts));
    for (size_t i = 0, j = 0; i < A && j < B;) {
        const int order = strcmp(c->a.by_text[i].text, c->b.by_text[j].text);
        if (order == 0)
            c->prompts[c->prompt_count++] =
                (struct prompt_pair){c->a.by_text[i].index, c->b.by_text[j].index};
        i += order <= 0 ? 1 : 0;
        j += order >= 0 ? 1 : 0;
    }
    if (!c->prompt_count)
        return fail(cx, DL_USAGE, "%s and %s: have no prompt in common", c->a.record.folder,
                    c->b.record.folder);
    qsort(c->prompts, c->prompt_count, sizeof *c->prompts, compare_pairs);
    return DL_OK;
}

/* ---- scores by layer ------------------------------------------------------------------------- */

/* The score of a prompt at a relative layer, between the two layers around it. */
static double score_at(const struct study *s, const struct study_question *q, size_t prompt,
                       double relative) {
    const double *y = q->by_prompt + prompt * q->table.layers;
    for (size_t i = 0; i < q->table.layers; i++) {
        const double x = (double)q->table.layer[i] / s->blocks;
        if (fabs(x - relative) < 1e-9)
            return y[i];
        if (x < relative)
            continue;
        if (i == 0)
            return NAN;
        const double before = (double)q->table.layer[i - 1] / s->blocks;
        return y[i - 1] + (y[i] - y[i - 1]) * (relative - before) / (x - before);
    }
    return NAN;
}

static bool same_places(const struct runs_compared *c, const struct study_question *a,
                        const struct study_question *b) {
    if (a->table.layers != b->table.layers)
        return false;
    for (size_t i = 0; i < a->table.layers; i++)
        if ((long long)a->table.layer[i] * c->b.blocks !=
            (long long)b->table.layer[i] * c->a.blocks)
            return false;
    return true;
}

static double mean_of(double sum, size_t n) {
    return n ? sum / (double)n : NAN;
}

/* One layer of question qa; `d` (prompts) is scratch. */
static int compare_layer(dl_context *cx, const struct runs_compared *c,
                         const struct study_question *qa, const struct study_question *qb,
                         size_t index, uint64_t seed, double *d, struct compared_layer *out) {
    double sum_a = 0, sum_b = 0;
    *out = (struct compared_layer){.relative = (double)qa->table.layer[index] / c->a.blocks,
                                   .layer = qa->table.layer[index]};
    for (size_t i = 0; i < c->prompt_count; i++) {
        const double x = qa->by_prompt[c->prompts[i].a * qa->table.layers + index];
        const double y = score_at(&c->b, qb, c->prompts[i].b, out->relative);
        if (isnan(x) || isnan(y))
            continue;
        sum_a += x;
        sum_b += y;
        d[out->n++] = y - x;
    }
    out->a = mean_of(sum_a, out->n);
    out->b = mean_of(sum_b, out->n);
    out->difference = mean(d, out->n);
    return bootstrap_mean(cx, d, out->n, seed, &out->low, &out->high);
}

/* ---- emergence ------------------------------------------------------------------------------- */

/* The relative layer one step behind the last. */
static double behind_last(const struct study *s, const struct study_question *q) {
    const size_t L = q->table.layers;
    const double last = q->table.layer[L - 1];
    return (last + (L > 1 ? last - q->table.layer[L - 2] : 1)) / s->blocks;
}

/* A prompt's mean relative layer of emergence. A row that never emerges is left out, or counts as
 * emerging at `never`. */
static double emergence_of(const struct study *s, const struct study_question *q, size_t prompt,
                           enum rows_counted rows, double never) {
    const size_t seeds = s->record.settings.seed_count;
    double sum = 0;
    size_t n = 0;
    for (size_t i = prompt * seeds; i < (prompt + 1) * seeds; i++) {
        if (q->first[i] == EMERGES_UNKNOWN || (q->first[i] < 0 && rows == ROWS_EMERGED))
            continue;
        sum += q->first[i] < 0 ? never : (double)q->table.layer[q->first[i]] / s->blocks;
        n++;
    }
    return n ? sum / (double)n : NAN;
}

static int compare_emergence(dl_context *cx, const struct runs_compared *c,
                             const struct study_question *qa, const struct study_question *qb,
                             enum rows_counted rows, uint64_t seed, double *d,
                             struct compared_emergence *out) {
    /* The same for both: what never emerges in either must not differ. */
    const double never = fmax(behind_last(&c->a, qa), behind_last(&c->b, qb));
    double sum_a = 0, sum_b = 0;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < c->prompt_count; i++) {
        const double x = emergence_of(&c->a, qa, c->prompts[i].a, rows, never);
        const double y = emergence_of(&c->b, qb, c->prompts[i].b, rows, never);
        if (isnan(x) || isnan(y))
            continue;
        sum_a += x;
        sum_b += y;
        /* A multiple of 1/(seeds L_a L_b) up to rounding: equal differences are to be ties. */
        d[out->n++] = round((y - x) * 1e9) / 1e9;
    }
    out->a = mean_of(sum_a, out->n);
    out->b = mean_of(sum_b, out->n);
    out->difference = mean(d, out->n);
    DL_TRY(bootstrap_mean(cx, d, out->n, seed, &out->low, &out->high));
    return wilcoxon(cx, d, out->n, &out->test);
}

/* ---- questions ------------------------------------------------------------------------------- */

static int compare_question(dl_context *cx, const struct runs_compared *c,
                            const struct study_question *qa, const struct study_question *qb,
                            uint64_t seed, struct compared_question *out) {
    double *d = NULL;
    *out = (struct compared_question){
        .name = qa->name, .layers = qa->table.layers, .interpolated = !same_places(c, qa, qb)};
    DL_TRY(allocate(cx, "comparison", out->layers, sizeof *out->layer, (void **)&out->layer));
    DL_TRY(allocate(cx, "comparison", c->prompt_count, sizeof *d, (void **)&d));
    int status = DL_OK;
    for (size_t i = 0; i < out->layers && status == DL_OK; i++) {
        status = compare_layer(cx, c, qa, qb, i, seed, d, &out->layer[i]);
        out->prompts = out->layer[i].n > out->prompts ? out->layer[i].n : out->prompts;
    }
    for (enum rows_counted rows = 0; rows < ROWS_COUNTED_KINDS && status == DL_OK; rows++)
        status = compare_emergence(cx, c, qa, qb, rows, seed, d, &out->emergence[rows]);
    free(d);
    return status;
}

static int correct(dl_context *cx, struct runs_compared *c) {
    double *p = NULL;
    DL_TRY(allocate(cx, "p values", c->question_count, sizeof *p, (void **)&p));
    int status = DL_OK;
    for (enum rows_counted rows = 0; rows < ROWS_COUNTED_KINDS && status == DL_OK; rows++) {
        for (size_t i = 0; i < c->question_count; i++)
            p[i] = c->questions[i].emergence[rows].test.p;
        status = holm(cx, p, c->question_count);
        for (size_t i = 0; i < c->question_count; i++)
            c->questions[i].emergence[rows].p_holm = p[i];
    }
    free(p);
    return status;
}

static int compare_questions(dl_context *cx, struct runs_compared *c, uint64_t seed) {
    DL_TRY(allocate(cx, "questions", c->a.question_count, sizeof *c->questions,
                    (void **)&c->questions));
    for (size_t i = 0; i < c->a.question_count; i++)
        for (size_t j = 0; j < c->b.question_count; j++)
            if (strcmp(c->a.questions[i].name, c->b.questions[j].name) == 0)
                DL_TRY(compare_question(cx, c, &c->a.questions[i], &c->b.questions[j], seed,
                                        &c->questions[c->question_count++]));
    return correct(cx, c);
}

/* ---- pictures -------------------------------------------------------------------------------- */

/* Adds the pair of these cells, if both are there. */
static int compare_pair(dl_context *cx, const struct runs_compared *c, const struct cell *a,
                        const struct cell *b, struct compared_pictures *out) {
    struct image x = {0}, y = {0};
    if (!a->made || !b->made)
        return DL_OK;
    int status = cell_read(cx, c->a.record.folder, a, &x);
    if (status == DL_OK)
        status = cell_read(cx, c->b.record.folder, b, &y);
    if (status == DL_OK && x.width == y.width && x.height == y.height) {
        const double rms = image_distance(x.rgb, y.rgb, x.width, x.height);
        const double psnr = rms > 0 ? 20 * log10(255 / rms) : INFINITY;
        out->n++;
        out->identical += rms > 0 ? 0 : 1;
        out->psnr += rms > 0 ? psnr : 0; /* a sum so far */
        out->least = fmin(out->least, psnr);
    }
    image_free(&x);
    image_free(&y);
    return status;
}

static int compare_picture_layer(dl_context *cx, struct runs_compared *c, size_t la, size_t lb,
                                 struct compared_pictures *out) {
    struct grid *ga = &c->a.record.grid, *gb = &c->b.record.grid;
    *out = (struct compared_pictures){
        .layer_a = grid_layer(ga, la), .layer_b = grid_layer(gb, lb), .least = INFINITY};
    for (size_t i = 0; i < c->prompt_count; i++)
        for (size_t sa = 0; sa < ga->seed_count; sa++)
            for (size_t sb = 0; sb < gb->seed_count; sb++)
                if (ga->settings->seeds[sa] == gb->settings->seeds[sb])
                    DL_TRY(compare_pair(cx, c, grid_at(ga, c->prompts[i].a, sa, la),
                                        grid_at(gb, c->prompts[i].b, sb, lb), out));
    out->psnr = mean_of(out->psnr, out->n - out->identical);
    return DL_OK;
}

/* Layers at the same relative place; native with native. */
static bool same_layer(const struct runs_compared *c, size_t la, size_t lb) {
    const int a = grid_layer(&c->a.record.grid, la), b = grid_layer(&c->b.record.grid, lb);
    return a < 0 || b < 0 ? a == b : (long long)a * c->b.blocks == (long long)b * c->a.blocks;
}

static int compare_pictures(dl_context *cx, struct runs_compared *c) {
    const size_t A = c->a.record.grid.layer_count, B = c->b.record.grid.layer_count;
    DL_TRY(allocate(cx, "pictures", A, sizeof *c->pictures, (void **)&c->pictures));
    for (size_t la = 0; la < A; la++)
        for (size_t lb = 0; lb < B; lb++) {
            if (!same_layer(c, la, lb))
                continue;
            struct compared_pictures *p = &c->pictures[c->picture_layers];
            DL_TRY(compare_picture_layer(cx, c, la, lb, p));
            c->picture_layers += p->n ? 1 : 0;
        }
    return DL_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int open_run(dl_context *cx, const char *folder, uint64_t seed, struct study *out) {
    DL_TRY(study_open(cx, folder, seed, out));
    if (out->record.shards)
        return fail(cx, DL_USAGE, "%s: is shard %zu of %zu; dlens merge puts the parts together",
                    folder, out->record.shard, out->record.shards);
    return DL_OK;
}

int compare_runs(dl_context *cx, const char *a, const char *b, uint64_t seed,
                 struct runs_compared *c) {
    memset(c, 0, sizeof *c);
    DL_TRY(open_run(cx, a, seed, &c->a));
    DL_TRY(open_run(cx, b, seed, &c->b));
    DL_TRY(match_prompts(cx, c));
    DL_TRY(compare_questions(cx, c, seed));
    return compare_pictures(cx, c);
}

void compare_free(struct runs_compared *c) {
    for (size_t i = 0; i < c->question_count; i++)
        free(c->questions[i].layer);
    free(c->questions);
    free(c->pictures);
    free(c->prompts);
    study_close(&c->a);
    study_close(&c->b);
    memset(c, 0, sizeof *c);
}
