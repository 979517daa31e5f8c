/* The transformer of CLIP's two towers; formula and shape letters in clip_encoder.h.
 * Source: Radford et al. 2021, arXiv 2103.00020, section 2.4; names and configuration as in
 * transformers, models/clip. */
#include "nn/clip_encoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- configuration ------------------------------------------------------------------------- */

static enum activation read_activation(struct config *config) {
    static const char *const names[] = {"quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh",
                                        "silu",       "relu", NULL};
    static const enum activation acts[] = {ACT_QUICK_GELU, ACT_GELU, ACT_GELU_TANH,
                                           ACT_GELU_TANH,  ACT_SILU, ACT_RELU};
    return acts[config_choice(config, "hidden_act", names, 0)];
}

static void read_size(struct config *config, const char *key, size_t *size, long max) {
    *size = (size_t)config_int(config, key, (long)*size, 1, max);
}

void clip_encoder_config(struct config *config, struct clip_encoder *e) {
    read_size(config, "hidden_size", &e->hidden_size, 1 << 14);
    read_size(config, "num_hidden_layers", &e->layers, 1 << 10);
    read_size(config, "num_attention_heads", &e->heads, 1 << 10);
    read_size(config, "intermediate_size", &e->intermediate, 1 << 17);
    e->act = read_activation(config);
    e->eps = (float)config_number(config, "layer_norm_eps", 1e-5, 1e-12, 1);
    if (e->hidden_size % e->heads != 0)
        config_fail(config, "num_attention_heads", "%zu do not divide hidden_size %zu", e->heads,
                    e->hidden_size);
}

/* ---- weights ------------------------------------------------------------------------------- */

int clip_encoder_allocate(dl_context *cx, struct clip_encoder *e) {
    return allocate(cx, "CLIP's blocks", e->layers, sizeof *e->blocks, (void **)&e->blocks);
}

void clip_encoder_free(struct clip_encoder *e) {
    free(e->blocks);
    e->blocks = NULL;
}

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

void bind_clip_encoder(struct binder *b, struct clip_encoder *e) {
    for (size_t i = 0; i < e->layers; i++) {
        size_t outer = bind_enter(b, "encoder.layers.%zu.", i);
        bind_block(b, &e->blocks[i], e->hidden_size, e->intermediate);
        bind_leave(b, outer);
    }
}

/* ---- forward ------------------------------------------------------------------------------- */

static struct attention_shape shape_of(const struct clip_encoder *e, size_t B, size_t T) {
    const size_t d = e->hidden_size / e->heads;
    return (struct attention_shape){.batch = B,
                                    .heads = e->heads,
                                    .queries = T,
                                    .keys = T,
                                    .head_dim = d,
                                    .scale = 1.0f / sqrtf((float)d),
                                    .causal = e->causal};
}

/* x (M,D) += Wo attention(norm1(x)) */
static void self_attention(dl_context *cx, const struct clip_encoder *e, const struct clip_block *w,
                           float *x, size_t B, size_t T) {
    size_t D = e->hidden_size, M = B * T, mark = arena_mark(cx);
    float *n = floats(cx, M * D), *q = floats(cx, M * D);
    float *k = floats(cx, M * D), *v = floats(cx, M * D);
    const struct attention_shape shape = shape_of(e, B, T);
    layer_norm(cx, n, x, &w->norm1, M, D, e->eps);
    linear(cx, q, n, &w->query, M);
    linear(cx, k, n, &w->key, M);
    linear(cx, v, n, &w->value, M);
    op_attention(cx, n, q, k, v, &shape);
    linear_add(cx, x, n, &w->out, M);
    arena_release(cx, mark);
}

/* x (M,D) += W2 act(W1 norm2(x)) */
static void feed_forward(dl_context *cx, const struct clip_encoder *e, const struct clip_block *w,
                         float *x, size_t M) {
    size_t D = e->hidden_size, mark = arena_mark(cx);
    float *n = floats(cx, M * D), *h = floats(cx, M * e->intermediate);
    layer_norm(cx, n, x, &w->norm2, M, D, e->eps);
    linear_act(cx, h, n, &w->fc1, M, e->act);
    linear_add(cx, x, h, &w->fc2, M);
    arena_release(cx, mark);
}

void clip_block_forward(dl_context *cx, const struct clip_encoder *e, size_t index, float *x,
                        size_t B, size_t T) {
    self_attention(cx, e, &e->blocks[index], x, B, T);
    feed_forward(cx, e, &e->blocks[index], x, B * T);
}

/* ---- looking inside ------------------------------------------------------------------------ */

void clip_block_attention(dl_context *cx, const struct clip_encoder *e, size_t index, float *p,
                          const float *x, size_t B, size_t T) {
    const struct clip_block *w = &e->blocks[index];
    const struct attention_shape shape = shape_of(e, B, T);
    const size_t D = e->hidden_size, M = B * T, mark = arena_mark(cx);
    float *n = floats(cx, M * D), *q = floats(cx, M * D), *k = floats(cx, M * D);
    layer_norm(cx, n, x, &w->norm1, M, D, e->eps);
    linear(cx, q, n, &w->query, M);
    linear(cx, k, n, &w->key, M);
    op_attention_map(cx, p, q, k, &shape, T);
    arena_release(cx, mark);
}

void clip_block_units(dl_context *cx, const struct clip_encoder *e, size_t index, float *units,
                      const float *x, size_t B, size_t T) {
    const struct clip_block *w = &e->blocks[index];
    const size_t D = e->hidden_size, M = B * T, mark = arena_mark(cx);
    float *z = floats(cx, M * D); /* x behind the attention */
    if (!planning(cx))
        memcpy(z, x, M * D * sizeof *z);
    self_attention(cx, e, w, z, B, T);
    layer_norm(cx, z, z, &w->norm2, M, D, e->eps);
    linear_act(cx, units, z, &w->fc1, M, e->act);
    arena_release(cx, mark);
}

void clip_block_norm(dl_context *cx, const struct clip_encoder *e, size_t index, float *y,
                     const float *x, size_t rows) {
    layer_norm(cx, y, x, &e->blocks[index].norm1, rows, e->hidden_size, e->eps);
}
