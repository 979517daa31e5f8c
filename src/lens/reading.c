/* Reading the text encoder; formulas in reading.h. */
#include "lens/reading.h"

#include "kernels/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What every part is made from. */
struct reader {
    dl_context *cx;
    const dl_model *model;
    const struct settings *settings;
    const struct encoding *encoding;
    struct reading *out;
};

static const float *state(const struct reader *r, size_t layer) {
    return r->encoding->hidden + layer * r->encoding->stride;
}

/* ---- attention ------------------------------------------------------------------------------- */

static int read_attention(const struct reader *r) {
    const size_t T = r->encoding->tokens, n = r->out->tokens, h = r->out->heads;
    unsigned char *mask = NULL;
    float *all = NULL; /* (h,T,T) */
    int status = allocate(r->cx, "attention", h * T * T, sizeof *all, (void **)&all);
    if (status == DL_OK)
        status = allocate(r->cx, "padding mask", T, 1, (void **)&mask);
    if (status == DL_OK)
        memset(mask, 1, n);
    for (size_t b = 0; b < r->out->layers && status == DL_OK; b++) {
        if (r->settings->skip && r->settings->skip[b])
            continue;
        status = text_encoder_attention(r->cx, r->model->encoder, b, all, state(r, b),
                                        r->model->mask_padding ? mask : NULL, 1, T);
        for (size_t row = 0; row < h * n && status == DL_OK; row++)
            memcpy(r->out->attention + (b * h * n + row) * n, all + (row / n * T + row % n) * T,
                   n * sizeof *all);
    }
    free(all);
    free(mask);
    return status;
}

/* ---- nearest pieces -------------------------------------------------------------------------- */

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* 1 / |E_v| for every piece v; 0 for rows that no piece has, and for zeros. */
static void invert_lengths(const struct reader *r, float *inverse, float *row) {
    const struct text_encoder *e = r->model->encoder;
    for (size_t v = 0; v < e->vocab_size; v++) {
        op_embedding_row(r->cx, row, e->vocabulary, v);
        const double length = sqrt(dot(row, row, e->hidden_size));
        const bool is_piece = tokenizer_piece(r->model->tokenizer, (int32_t)v) != NULL;
        inverse[v] = is_piece && length > 0 ? (float)(1 / length) : 0;
    }
}

/* The k largest of scores (V) times inverse (V), the largest first; of equal ones the first. */
static void take_largest(const float *scores, const float *inverse, size_t V, double length,
                         size_t k, int64_t *ids, float *cosines) {
    for (size_t i = 0; i < k; i++) {
        ids[i] = -1;
        cosines[i] = -INFINITY;
    }
    for (size_t v = 0; v < V; v++) {
        const float cosine = length > 0 ? (float)(scores[v] * (double)inverse[v] / length) : 0;
        size_t i = k;
        if (inverse[v] == 0 || !(cosine > cosines[k - 1]))
            continue;
        for (; i > 0 && cosine > cosines[i - 1]; i--) {
            if (i == k)
                continue;
            ids[i] = ids[i - 1];
            cosines[i] = cosines[i - 1];
        }
        ids[i] = (int64_t)v;
        cosines[i] = cosine;
    }
    for (size_t i = 0; i < k; i++)
        cosines[i] = ids[i] < 0 ? 0 : cosines[i];
}

static int read_nearest(const struct reader *r) {
    const struct text_encoder *e = r->model->encoder;
    const size_t n = r->out->tokens, k = r->out->pieces, V = e->vocab_size, D = e->hidden_size;
    float *inverse = NULL, *scores = NULL, *normed = NULL; /* (V), (n,V), (n,D) */
    int status = allocate(r->cx, "vocabulary", V, sizeof *inverse, (void **)&inverse);
    if (status == DL_OK)
        status = allocate(r->cx, "vocabulary", n * V, sizeof *scores, (void **)&scores);
    if (status == DL_OK)
        status = allocate(r->cx, "vocabulary", n * D, sizeof *normed, (void **)&normed);
    if (status == DL_OK) {
        arena_plan(r->cx);
        op_linear(r->cx, scores, normed, e->vocabulary, n, NULL);
        status = arena_reserve(r->cx, "vocabulary");
    }
    if (status == DL_OK)
        invert_lengths(r, inverse, normed);
    for (size_t l = 0; l <= r->out->layers && status == DL_OK; l++) {
        text_encoder_final_norm(r->cx, e, normed, state(r, l), n);
        op_linear(r->cx, scores, normed, e->vocabulary, n, NULL);
        for (size_t t = 0; t < n; t++) {
            const double length = sqrt(dot(normed + t * D, normed + t * D, D));
            take_largest(scores + t * V, inverse, V, length, k, r->out->nearest + (l * n + t) * k,
                         r->out->nearest_cosine + (l * n + t) * k);
        }
    }
    free(inverse);
    free(scores);
    free(normed);
    return status;
}

/* ---- similarity ------------------------------------------------------------------------------ */

/* gram (n,n) = X X', X = c (n,D) with its mean over the rows taken off. Centring the products on
 * both sides is the same and needs no copy of X; means (n) is scratch. */
static void centred_gram(double *gram, double *means, const float *c, size_t n, size_t D) {
    double all = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            gram[i * n + j] = gram[j * n + i] = dot(c + i * D, c + j * D, D);
    for (size_t i = 0; i < n; i++) { /* of rows, and of columns by symmetry */
        means[i] = 0;
        for (size_t j = 0; j < n; j++)
            means[i] += gram[i * n + j] / (double)n;
        all += means[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            gram[i * n + j] += all - means[i] - means[j];
}

static double product(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double mean_cosine(const float *a, const float *b, size_t n, size_t D) {
    double sum = 0;
    for (size_t t = 0; t < n; t++) {
        const float *x = a + t * D, *y = b + t * D;
        const double lengths = sqrt(dot(x, x, D) * dot(y, y, D));
        sum += lengths > 0 ? dot(x, y, D) / lengths : 0;
    }
    return sum / (double)n;
}

static int read_similarity(const struct reader *r) {
    const size_t S = r->out->layers + 1, T = r->encoding->tokens, n = r->out->tokens;
    const size_t D = r->encoding->width, square = n * n;
    float *c = NULL, *one = NULL; /* (S,n,D), (T,D) */
    double *grams = NULL;         /* (S,n,n) and the means of one */
    int status = allocate(r->cx, "similarity", S * n * D, sizeof *c, (void **)&c);
    if (status == DL_OK)
        status = allocate(r->cx, "similarity", T * D, sizeof *one, (void **)&one);
    if (status == DL_OK)
        status = allocate(r->cx, "similarity", S * square + n, sizeof *grams, (void **)&grams);
    for (size_t l = 0; l < S && status == DL_OK; l++) {
        condition(r->cx, r->model, r->encoding, (int)l, r->settings->norm, one);
        memcpy(c + l * n * D, one, n * D * sizeof *c);
        centred_gram(grams + l * square, grams + S * square, c + l * n * D, n, D);
    }
    for (size_t i = 0; i < S * S && status == DL_OK; i++) {
        const double *x = grams + i / S * square, *y = grams + i % S * square;
        const double lengths = sqrt(product(x, x, square) * product(y, y, square));
        r->out->cka[i] = lengths > 0 ? (float)(product(x, y, square) / lengths) : NAN;
        r->out->cosine[i] = (float)mean_cosine(c + i / S * n * D, c + i % S * n * D, n, D);
    }
    free(c);
    free(one);
    free(grams);
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int begin(dl_context *cx, struct reading *o) {
    const size_t S = o->layers + 1, n = o->tokens, k = o->pieces;
    DL_TRY(allocate(cx, "attention", o->layers * o->heads * n * n, sizeof(float),
                    (void **)&o->attention));
    DL_TRY(allocate(cx, "vocabulary", S * n * k, sizeof *o->nearest, (void **)&o->nearest));
    DL_TRY(allocate(cx, "vocabulary", S * n * k, sizeof(float), (void **)&o->nearest_cosine));
    DL_TRY(allocate(cx, "similarity", S * S, sizeof(float), (void **)&o->cosine));
    return allocate(cx, "similarity", S * S, sizeof(float), (void **)&o->cka);
}

int reading_make(dl_context *cx, const dl_model *model, const struct settings *settings,
                 const struct encoding *encoding, size_t n, struct reading *out) {
    const struct reader r = {cx, model, settings, encoding, out};
    *out = (struct reading){.layers = encoding->layers,
                            .heads = model->encoder->heads,
                            .tokens = n,
                            .pieces = READING_PIECES};
    DL_TRY(begin(cx, out));
    DL_TRY(read_attention(&r));
    DL_TRY(read_nearest(&r));
    return read_similarity(&r);
}

void reading_free(struct reading *reading) {
    free(reading->attention);
    free(reading->nearest);
    free(reading->nearest_cosine);
    free(reading->cosine);
    free(reading->cka);
    memset(reading, 0, sizeof *reading);
}
