/* The judge: a CLIP model that compares pictures with texts; formulas and letters in judge.h.
 *
 * Texts of the same number of tokens go through the text tower together, without padding: behind a
 * causal mask the end token, whose state is taken, never sees what follows it. */
#include "judge/judge.h"

#include "base/file.h"
#include "base/json.h"
#include "text/encoder.h"
#include "text/tokenizer.h"
#include "vision/preprocess.h"
#include "vision/tower.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Texts that go through the text tower at once; rows (tokens, patches) through either. */
enum { TEXTS_AT_ONCE = 16, ROWS_AT_ONCE = 512 };

struct dl_judge {
    char *path;
    struct text_encoder *text;
    struct vision_tower *vision;
    struct tokenizer *tokenizer;
    struct preprocess preprocess;
    size_t tokens; /* of a text at most, with the special ones */
    double scale;  /* exp(logit_scale) */
};

/* ---- opening ------------------------------------------------------------------------------- */

static int check_kind(dl_context *cx, const char *dir) {
    static const char *const kinds[] = {"clip", NULL};
    struct config config;
    DL_TRY(config_open(cx, dir, "config.json", &config));
    config_choice(&config, "model_type", kinds, 0);
    return config_end(&config);
}

/* The class that the tokenizer's config names; CLIP's where it names none, or there is no config.
 */
static int open_tokenizer(dl_context *cx, const char *dir, struct tokenizer **out) {
    char name[64] = "CLIPTokenizer";
    char *path = path_join(dir, "tokenizer_config.json");
    if (!path)
        return fail_memory(cx, dir, strlen(dir));
    const bool there = file_exists(path);
    free(path);
    if (there) {
        struct config config;
        DL_TRY(config_open(cx, dir, "tokenizer_config.json", &config));
        const char *class = config_string(&config, "tokenizer_class", name);
        if (strlen(class) < sizeof name)
            memmove(name, class, strlen(class) + 1);
        else
            config_fail(&config, "tokenizer_class", "\"%.60s...\" is not supported", class);
        DL_TRY(config_end(&config));
    }
    return tokenizer_open(cx, dir, name, out);
}

/* logit_scale is one number; in old files a list of one. */
static int read_scale(dl_context *cx, dl_judge *j) {
    const struct store *store = text_encoder_store(j->text);
    const struct tensor *t = store_find(store, "logit_scale");
    float logit_scale;
    if (!t || tensor_count(t) != 1 || !dtype_is_float(t->dtype))
        return fail(cx, DL_MODEL, "%s: tensor logit_scale is %s", store_path(store),
                    t ? "not one floating-point number" : "missing");
    tensor_widen(&logit_scale, t);
    j->scale = exp((double)logit_scale);
    if (!(j->scale > 0 && j->scale < 1e6))
        return fail(cx, DL_MODEL, "%s: tensor logit_scale is %g; expected about 4.6",
                    store_path(store), (double)logit_scale);
    return DL_OK;
}

/* The state that the text tower pools must be that of the token with which the tokenizer ends a
 * text: with ones there and zeros elsewhere, the pooled state is not zero. */
static int check_end(dl_context *cx, const dl_judge *j, const struct tokens *empty) {
    const size_t D = j->text->hidden_size, P = j->text->pooled_size, T = empty->count;
    float *normed = NULL, *pooled = NULL;
    bool zero = true;
    DL_TRY(allocate(cx, "text states", T * D + P, sizeof *normed, (void **)&normed));
    pooled = normed + T * D;
    for (size_t i = 0; i < D; i++)
        normed[(T - 1) * D + i] = 1.0f;
    int status = text_encoder_pooled(cx, j->text, pooled, normed, empty->ids, 1, T);
    for (size_t i = 0; i < P; i++)
        zero = zero && pooled[i] == 0.0f;
    free(normed);
    if (status == DL_USAGE)
        return fail(cx, DL_MODEL, "%s: %s", j->path, cx->message);
    if (status == DL_OK && zero)
        return fail(cx, DL_MODEL,
                    "%s: the tokenizer ends texts with id %d, which is not the text tower's "
                    "eos_token_id; do they belong together?",
                    j->path, (int)empty->ids[T - 1]);
    return status;
}

static int check_tokens(dl_context *cx, dl_judge *j) {
    struct tokens empty;
    j->tokens = tokenizer_max_length(j->tokenizer);
    if (!j->tokens || j->tokens > j->text->max_tokens)
        j->tokens = j->text->max_tokens;
    int status = tokenize(cx, j->tokenizer, "", 0, j->tokens, &empty);
    if (status == DL_USAGE)
        return fail(cx, DL_MODEL, "%s: %s", j->path, cx->message);
    if (status == DL_OK)
        status = check_end(cx, j, &empty);
    tokens_free(&empty);
    return status;
}

static int open_parts(dl_context *cx, const char *dir, dl_judge *j) {
    j->path = strdup(dir);
    if (!j->path)
        return fail_memory(cx, dir, strlen(dir) + 1);
    DL_TRY(check_kind(cx, dir));
    DL_TRY(text_encoder_open(cx, dir, "CLIPModel", &j->text));
    DL_TRY(vision_open(cx, dir, VISION_OF_CLIP_MODEL, &j->vision));
    DL_TRY(read_scale(cx, j));
    DL_TRY(preprocess_open(cx, dir, j->vision->image_size, &j->preprocess));
    DL_TRY(open_tokenizer(cx, dir, &j->tokenizer));
    return check_tokens(cx, j);
}

int judge_open(dl_context *cx, const char *dir, dl_judge **out) {
    dl_judge *j;
    *out = NULL;
    DL_TRY(allocate(cx, "judge", 1, sizeof *j, (void **)&j));
    int status = open_parts(cx, dir, j);
    if (status != DL_OK) {
        judge_close(j);
        return status;
    }
    *out = j;
    return DL_OK;
}

void judge_close(dl_judge *j) {
    if (!j)
        return;
    text_encoder_close(j->text);
    vision_close(j->vision);
    tokenizer_close(j->tokenizer);
    free(j->path);
    free(j);
}

size_t judge_size(const dl_judge *judge) {
    return judge->vision->size;
}

size_t judge_side(const dl_judge *judge) {
    return judge->vision->image_size;
}

double judge_scale(const dl_judge *judge) {
    return judge->scale;
}

const char *judge_path(const dl_judge *judge) {
    return judge->path;
}

/* out (P) = x / |x| */
static int unit(dl_context *cx, const dl_judge *j, float *out, const float *x) {
    const size_t P = judge_size(j);
    double square = 0;
    for (size_t i = 0; i < P; i++)
        square += (double)x[i] * (double)x[i];
    const double length = sqrt(square);
    if (!(length > 0) || !isfinite(length))
        return fail(cx, DL_MODEL, "%s: an embedding of length %g; are the weights damaged?",
                    j->path, length);
    for (size_t i = 0; i < P; i++)
        out[i] = (float)((double)x[i] / length);
    return DL_OK;
}

/* ---- texts --------------------------------------------------------------------------------- */

/* out[which[b]] (P) for B texts of T tokens each. */
static int embed_texts(dl_context *cx, const dl_judge *j, const struct tokens *tokens,
                       const size_t *which, size_t B, float *out) {
    const size_t T = tokens[which[0]].count, D = j->text->hidden_size, L = j->text->layers;
    const size_t P = judge_size(j);
    float *hidden = NULL, *pooled = NULL; /* (L+1,B,T,D), (B,P) */
    int32_t *ids = NULL;                  /* (B,T) */
    int status = allocate(cx, "text states", (L + 1) * B, T * D * sizeof(float), (void **)&hidden);
    if (status == DL_OK)
        status = allocate(cx, "text states", B, P * sizeof(float), (void **)&pooled);
    if (status == DL_OK)
        status = allocate(cx, "token ids", B * T, sizeof *ids, (void **)&ids);
    for (size_t b = 0; b < B && status == DL_OK; b++)
        memcpy(ids + b * T, tokens[which[b]].ids, T * sizeof *ids);
    if (status == DL_OK)
        status = text_encoder_forward(cx, j->text, hidden, ids, NULL, B, T, NULL);
    if (status == DL_OK) {
        float *last = hidden + L * B * T * D;
        text_encoder_final_norm(cx, j->text, last, last, B * T);
        status = text_encoder_pooled(cx, j->text, pooled, last, ids, B, T);
    }
    for (size_t b = 0; b < B && status == DL_OK; b++)
        status = unit(cx, j, out + which[b] * P, pooled + b * P);
    free(hidden);
    free(pooled);
    free(ids);
    return status;
}

static size_t at_once(size_t rows, size_t most) {
    const size_t fit = ROWS_AT_ONCE / rows;
    return fit < 1 ? 1 : fit < most ? fit : most;
}

static int tokenize_all(dl_context *cx, const dl_judge *j, const char *const *texts, size_t M,
                        struct tokens *tokens) {
    for (size_t i = 0; i < M; i++) {
        DL_TRY(tokenize(cx, j->tokenizer, texts[i], strlen(texts[i]), j->tokens, &tokens[i]));
        if (tokens[i].cut)
            tell(cx, DL_LOG_WARNING, "text \"%.60s%s\": cut to %zu tokens; left out: \"%s\"",
                 texts[i], strlen(texts[i]) > 60 ? "..." : "", j->tokens, tokens[i].cut);
    }
    return DL_OK;
}

int judge_texts(dl_context *cx, const dl_judge *judge, const char *const *texts, size_t M,
                float *out) {
    struct tokens *tokens;
    size_t which[TEXTS_AT_ONCE];
    DL_TRY(allocate(cx, "tokens", M, sizeof *tokens, (void **)&tokens));
    int status = tokenize_all(cx, judge, texts, M, tokens);
    for (size_t T = 1; T <= judge->tokens && status == DL_OK; T++) {
        const size_t most = at_once(T, TEXTS_AT_ONCE);
        size_t B = 0;
        for (size_t i = 0; i <= M && status == DL_OK; i++) {
            if (i < M && tokens[i].count == T)
                which[B++] = i;
            if (B == most || (i == M && B > 0)) {
                status = embed_texts(cx, judge, tokens, which, B, out);
                B = 0;
            }
        }
    }
    for (size_t i = 0; i < M; i++)
        tokens_free(&tokens[i]);
    free(tokens);
    return status;
}

/* ---- pictures ------------------------------------------------------------------------------ */

int judge_pictures(dl_context *cx, const dl_judge *judge, const struct image *images, size_t N,
                   float *out) {
    const struct vision_tower *v = judge->vision;
    const size_t P = v->size, values = 3 * v->image_size * v->image_size;
    const size_t most = at_once(v->patches + 1, N);
    float *pixels = NULL; /* (most,3,S,S) */
    int status = allocate(cx, "pictures", most, values * sizeof *pixels, (void **)&pixels);
    for (size_t first = 0, B; first < N && status == DL_OK; first += B) {
        B = N - first < most ? N - first : most;
        for (size_t b = 0; b < B && status == DL_OK; b++)
            status =
                preprocess_picture(cx, &judge->preprocess, &images[first + b], pixels + b * values);
        if (status == DL_OK)
            status = vision_embed(cx, v, out + first * P, pixels, B);
        for (size_t b = 0; b < B && status == DL_OK; b++)
            status = unit(cx, judge, out + (first + b) * P, out + (first + b) * P);
    }
    free(pixels);
    return status;
}

int judge_file(dl_context *cx, const dl_judge *judge, const char *path, float *out) {
    struct image image;
    DL_TRY(picture_read(cx, path, &image));
    int status = judge_pictures(cx, judge, &image, 1, out);
    image_free(&image);
    return status;
}

/* ---- comparing ----------------------------------------------------------------------------- */

void judge_cosines(float *cosine, const float *image, size_t N, const float *text, size_t M,
                   size_t P) {
    for (size_t n = 0; n < N; n++)
        for (size_t m = 0; m < M; m++) {
            double sum = 0;
            for (size_t i = 0; i < P; i++)
                sum += (double)image[n * P + i] * (double)text[m * P + i];
            cosine[n * M + m] = (float)sum;
        }
}

void judge_probabilities(const dl_judge *judge, float *p, const float *cosine, size_t N, size_t M) {
    for (size_t n = 0; n < N; n++, p += M, cosine += M) {
        double best = -INFINITY, sum = 0;
        for (size_t m = 0; m < M; m++)
            best = (double)cosine[m] > best ? (double)cosine[m] : best;
        for (size_t m = 0; m < M; m++)
            sum += exp(judge->scale * ((double)cosine[m] - best));
        for (size_t m = 0; m < M; m++)
            p[m] = (float)(exp(judge->scale * ((double)cosine[m] - best)) / sum);
    }
}
