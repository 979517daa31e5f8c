/* CLIP's text encoder: a causal transformer with the norm before each half of a block.
 *
 *     x = tokens[ids] + positions                                          hidden state 0
 *     for every block:
 *         x += Wo attention(q, k, v) + b,   q, k, v = W{q,k,v} norm1(x) + b
 *         x += W2 act(W1 norm2(x) + b1) + b2                               hidden state k
 *     conditioning = final_norm(x)
 *
 * No attention mask but the causal one: padding is attended to.
 * Source: Radford et al. 2021, arXiv 2103.00020, section 2.4; names and configuration as in
 * transformers, models/clip.
 *
 * B batch   T tokens   M = B T rows   D hidden size   F intermediate size   h heads   P projection
 */
#include "base/json.h"
#include "nn/layers.h"
#include "text/encoder_class.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct clip_block {
    struct norm norm1, norm2;        /* (D) */
    struct linear query, key, value; /* (D,D) */
    struct linear out;               /* (D,D) */
    struct linear fc1, fc2;          /* (F,D), (D,F) */
};

struct clip_text {
    struct text_encoder base;
    size_t heads, intermediate; /* h, F */
    enum activation act;
    float eps;
    long eos;                        /* id of the token that is pooled; see eos_place */
    struct tensor tokens, positions; /* (V,D), (max_tokens,D) */
    struct clip_block *blocks;       /* (L) */
    struct norm final_norm;          /* (D) */
    struct linear projection;        /* (P,D), with projection only */
};

/* ---- configuration ------------------------------------------------------------------------- */

static enum activation read_activation(struct config *config) {
    static const char *const names[] = {"quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh",
                                        "silu",       "relu", NULL};
    static const enum activation acts[] = {ACT_QUICK_GELU, ACT_GELU, ACT_GELU_TANH,
                                           ACT_GELU_TANH,  ACT_SILU, ACT_RELU};
    return acts[config_choice(config, "hidden_act", names, 0)];
}

/* The config of a whole CLIP model (model_type "clip") has the text encoder's inside. */
static void enter_text_config(struct config *config) {
    cJSON *inner = cJSON_GetObjectItemCaseSensitive(config->root, "text_config");
    if (!cJSON_IsObject(inner) || config_has(config, "hidden_size"))
        return;
    cJSON_DetachItemViaPointer(config->root, inner);
    cJSON_Delete(config->root);
    config->root = inner;
}

static size_t read_size(struct config *config, const char *key, long fallback, long max) {
    return (size_t)config_int(config, key, fallback, 1, max);
}

/* Keys and defaults of transformers' CLIPTextConfig. */
static int read_config(struct config *config, struct clip_text *e) {
    enter_text_config(config);
    e->base.hidden_size = read_size(config, "hidden_size", 512, 1 << 14);
    e->base.layers = read_size(config, "num_hidden_layers", 12, 1 << 10);
    e->base.max_tokens = read_size(config, "max_position_embeddings", 77, 1 << 16);
    e->base.vocab_size = read_size(config, "vocab_size", 49408, 1 << 21);
    e->base.pooled_size = e->base.hidden_size;
    if (e->base.class == &clip_text_model_with_projection)
        e->base.pooled_size = read_size(config, "projection_dim", 512, 1 << 14);
    e->heads = read_size(config, "num_attention_heads", 8, 1 << 10);
    e->intermediate = read_size(config, "intermediate_size", 2048, 1 << 17);
    e->act = read_activation(config);
    e->eps = (float)config_number(config, "layer_norm_eps", 1e-5, 1e-12, 1);
    e->eos = config_int(config, "eos_token_id", 49407, 0, 1 << 21);
    if (e->base.hidden_size % e->heads != 0)
        config_fail(config, "num_attention_heads", "%zu do not divide hidden_size %zu", e->heads,
                    e->base.hidden_size);
    return config->status;
}

/* ---- weights ------------------------------------------------------------------------------- */

static void bind_block(struct binder *b, struct clip_block *w, size_t D, size_t F) {
    bind_norm(b, &w->norm1, "layer_norm1", D);
    bind_linear(b, &w->query, "self_attn.q_proj", D, D, BIAS_YES);
    bind_linear(b, &w->key, "self_attn.k_proj", D, D, BIAS_YES);
    bind_linear(b, &w->value, "self_attn.v_proj", D, D, BIAS_YES);
    bind_linear(b, &w->out, "self_attn.out_proj", D, D, BIAS_YES);
    bind_norm(b, &w->norm2, "layer_norm2", D);
    bind_linear(b, &w->fc1, "mlp.fc1", F, D, BIAS_YES);
    bind_linear(b, &w->fc2, "mlp.fc2", D, F, BIAS_YES);
}

/* Names with "text_model." before them (transformers 4) or without (5). */
static void bind_text_model(struct binder *b, struct clip_text *e) {
    size_t D = e->base.hidden_size;
    bool prefixed = bind_has(b, "text_model.embeddings.token_embedding.weight");
    size_t top = bind_enter(b, "%s", prefixed ? "text_model." : "");
    bind_matrix(b, &e->tokens, "embeddings.token_embedding.weight", e->base.vocab_size, D);
    bind_matrix(b, &e->positions, "embeddings.position_embedding.weight", e->base.max_tokens, D);
    bind_ignore(b, "embeddings.position_ids");
    for (size_t i = 0; i < e->base.layers; i++) {
        size_t outer = bind_enter(b, "encoder.layers.%zu.", i);
        bind_block(b, &e->blocks[i], D, e->intermediate);
        bind_leave(b, outer);
    }
    bind_norm(b, &e->final_norm, "final_layer_norm", D);
    bind_leave(b, top);
}

static int bind_weights(dl_context *cx, struct clip_text *e) {
    struct binder b;
    DL_TRY(bind_begin(&b, cx, e->base.store));
    bind_text_model(&b, e);
    if (e->base.class == &clip_text_model_with_projection)
        bind_linear(&b, &e->projection, "text_projection", e->base.pooled_size, e->base.hidden_size,
                    BIAS_NO);
    else
        bind_ignore(&b, "text_projection.weight");
    return bind_end(&b);
}

static int clip_open(dl_context *cx, const char *dir, struct text_encoder *base) {
    struct clip_text *e = (struct clip_text *)base;
    struct config config;
    void *memory;
    DL_TRY(config_open(cx, dir, "config.json", &config));
    read_config(&config, e);
    DL_TRY(config_end(&config));
    DL_TRY(allocate(cx, base->class_name, base->layers, sizeof *e->blocks, &memory));
    e->blocks = memory;
    DL_TRY(store_open(cx, dir, "model", &base->store));
    return bind_weights(cx, e);
}

static void clip_close(struct text_encoder *base) {
    free(((struct clip_text *)base)->blocks);
}

/* ---- forward ------------------------------------------------------------------------------- */

/* x (M,D) = tokens[ids] + positions */
static void embed(dl_context *cx, const struct clip_text *e, float *x, const int32_t *ids, size_t B,
                  size_t T) {
    size_t D = e->base.hidden_size, mark = arena_mark(cx);
    float *position = floats(cx, D);
    for (size_t i = 0; i < B * T && !planning(cx); i++) {
        op_embedding_row(cx, x + i * D, &e->tokens, (size_t)ids[i]);
        op_embedding_row(cx, position, &e->positions, i % T);
        op_add(cx, x + i * D, position, D);
    }
    arena_release(cx, mark);
}

/* x (M,D) += Wo attention(norm1(x)), causal */
static void self_attention(dl_context *cx, const struct clip_text *e, const struct clip_block *w,
                           float *x, size_t B, size_t T) {
    size_t D = e->base.hidden_size, M = B * T, d = D / e->heads, mark = arena_mark(cx);
    float *n = floats(cx, M * D), *q = floats(cx, M * D);
    float *k = floats(cx, M * D), *v = floats(cx, M * D);
    struct attention_shape shape = {.batch = B,
                                    .heads = e->heads,
                                    .queries = T,
                                    .keys = T,
                                    .head_dim = d,
                                    .scale = 1.0f / sqrtf((float)d),
                                    .causal = true};
    layer_norm(cx, n, x, &w->norm1, M, D, e->eps);
    linear(cx, q, n, &w->query, M);
    linear(cx, k, n, &w->key, M);
    linear(cx, v, n, &w->value, M);
    op_attention(cx, n, q, k, v, &shape);
    linear_add(cx, x, n, &w->out, M);
    arena_release(cx, mark);
}

/* x (M,D) += W2 act(W1 norm2(x)) */
static void feed_forward(dl_context *cx, const struct clip_text *e, const struct clip_block *w,
                         float *x, size_t M) {
    size_t D = e->base.hidden_size, mark = arena_mark(cx);
    float *n = floats(cx, M * D), *h = floats(cx, M * e->intermediate);
    layer_norm(cx, n, x, &w->norm2, M, D, e->eps);
    linear_act(cx, h, n, &w->fc1, M, e->act);
    linear_add(cx, x, h, &w->fc2, M);
    arena_release(cx, mark);
}

static bool clip_forward(dl_context *cx, const struct text_encoder *base, float *hidden,
                         const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                         const unsigned char *skip, const struct encode_watch *watch) {
    const struct clip_text *e = (const struct clip_text *)base;
    size_t count = B * T * base->hidden_size;
    float *x = hidden; /* hidden state k, computed in place from a copy of state k - 1 */
    (void)mask;
    embed(cx, e, x, ids, B, T);
    for (size_t i = 0; i < base->layers; i++) {
        if (watch && watch->fn(watch->user, i + 1, base->layers))
            return false;
        if (!planning(cx)) {
            memcpy(x + count, x, count * sizeof *x);
            x += count;
        }
        if (skip && skip[i])
            continue;
        self_attention(cx, e, &e->blocks[i], x, B, T);
        feed_forward(cx, e, &e->blocks[i], x, B * T);
    }
    return true;
}

static void clip_final_norm(dl_context *cx, const struct text_encoder *base, float *y,
                            const float *x, size_t rows) {
    const struct clip_text *e = (const struct clip_text *)base;
    layer_norm(cx, y, x, &e->final_norm, rows, base->hidden_size, e->eps);
}

/* ---- pooling ------------------------------------------------------------------------------- */

/* Where the end-of-text token is: its first place (0 if it is not there). The configs of all
 * models before transformers 4.31 name a wrong id, 2, for it; with that it is the first place of
 * the largest id. */
static size_t eos_place(const struct clip_text *e, const int32_t *ids, size_t T) {
    enum { WRONG_EOS = 2 };
    size_t place = 0;
    for (size_t t = T; t-- > 0;) {
        if (e->eos == WRONG_EOS ? ids[t] >= ids[place] : ids[t] == e->eos)
            place = t;
    }
    return place;
}

static void clip_pooled(dl_context *cx, const struct text_encoder *base, float *pooled,
                        const float *normed, const int32_t *ids, size_t B, size_t T) {
    const struct clip_text *e = (const struct clip_text *)base;
    size_t D = base->hidden_size, mark = arena_mark(cx);
    bool projected = base->class == &clip_text_model_with_projection;
    float *rows = projected ? floats(cx, B * D) : pooled; /* (B,D) */
    for (size_t b = 0; b < B && !planning(cx); b++)
        memcpy(rows + b * D, normed + (b * T + eos_place(e, ids + b * T, T)) * D, D * sizeof *rows);
    if (projected)
        linear(cx, pooled, rows, &e->projection, B);
    arena_release(cx, mark);
}

const struct text_encoder_class clip_text_model = {
    .name = "CLIPTextModel",
    .size = sizeof(struct clip_text),
    .open = clip_open,
    .forward = clip_forward,
    .final_norm = clip_final_norm,
    .pooled = clip_pooled,
    .close = clip_close,
};

const struct text_encoder_class clip_text_model_with_projection = {
    .name = "CLIPTextModelWithProjection",
    .size = sizeof(struct clip_text),
    .open = clip_open,
    .forward = clip_forward,
    .final_norm = clip_final_norm,
    .pooled = clip_pooled,
    .close = clip_close,
};
