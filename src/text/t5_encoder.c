/* T5's encoder: a bidirectional transformer with RMS norms and relative positions.
 *
 *     x = tokens[ids]                                                      hidden state 0
 *     for every block:
 *         x += Wo softmax(q k^T + bias + mask) v,   q, k, v = W{q,k,v} rms(x)
 *         x += W2 relu(W1 rms(x))              (v1.0), or
 *         x += W2 (gelu(W0 rms(x)) * W1 rms(x))  (v1.1)                    hidden state k
 *     conditioning = rms(x) * final_norm
 *
 * No scaling of the scores, no biases but one: bias (h,T,T) depends on the distance of key and
 * query alone; block 0 has the table, all blocks use it. Everything is computed in f32, whatever
 * the weights' type: the activations of the large models overflow f16.
 * Source: Raffel et al. 2020, arXiv 1910.10683, section 2.1; v1.1: Shazeer 2020, arXiv 2002.05202;
 * names and configuration as in transformers, models/t5.
 *
 * The largest encoder, T5-XXL, has 9.5 GB of weights in 16 bits: they stay on the disk. Blocks are
 * mapped, used for all texts, and given back one after another, while the system reads the next.
 *
 * B batch   T tokens   M = B T rows   D model width   h heads   d width of a head   F feed forward
 */
#include "base/json.h"
#include "nn/layers.h"
#include "text/encoder_class.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAMED_BYTES = 1 << 29 };

struct t5_block {
    const float *norm1, *norm2;      /* (D) */
    struct linear query, key, value; /* (h*d,D) */
    struct linear out;               /* (D,h*d) */
    struct linear gate;              /* (F,D), gated only */
    struct linear up, down;          /* (F,D), (D,F) */
};

struct t5_encoder {
    struct text_encoder base;
    size_t heads, head_dim, intermediate; /* h, d, F */
    size_t buckets, max_distance;
    enum activation act;
    bool gated;
    float eps;
    struct tensor tokens;    /* (V,D) */
    struct tensor distances; /* (buckets,h) */
    struct t5_block *blocks; /* (L) */
    const float *final_norm; /* (D) */
};

/* ---- configuration ------------------------------------------------------------------------- */

/* "gated-gelu" means the tanh form, as transformers has it. */
static void read_feed_forward(struct config *config, struct t5_encoder *e) {
    static const char *const names[] = {"relu",       "gelu",       "silu", "gated-relu",
                                        "gated-gelu", "gated-silu", NULL};
    static const enum activation acts[] = {ACT_RELU, ACT_GELU,      ACT_SILU,
                                           ACT_RELU, ACT_GELU_TANH, ACT_SILU};
    size_t choice = config_choice(config, "feed_forward_proj", names, 0);
    e->act = acts[choice];
    e->gated = choice >= 3;
}

static size_t read_size(struct config *config, const char *key, long fallback, long min, long max) {
    return (size_t)config_int(config, key, fallback, min, max);
}

/* Keys and defaults of transformers' T5Config. */
static int read_config(struct config *config, struct t5_encoder *e) {
    e->base.hidden_size = read_size(config, "d_model", 512, 1, 1 << 14);
    e->base.layers = read_size(config, "num_layers", 6, 1, 1 << 10);
    e->base.vocab_size = read_size(config, "vocab_size", 32128, 1, 1 << 21);
    e->heads = read_size(config, "num_heads", 8, 1, 1 << 10);
    e->head_dim = read_size(config, "d_kv", 64, 1, 1 << 12);
    e->intermediate = read_size(config, "d_ff", 2048, 1, 1 << 17);
    e->buckets = read_size(config, "relative_attention_num_buckets", 32, 4, 1 << 12);
    e->max_distance = read_size(config, "relative_attention_max_distance", 128, 2, 1 << 20);
    e->eps = (float)config_number(config, "layer_norm_epsilon", 1e-6, 1e-12, 1);
    read_feed_forward(config, e);
    if (e->max_distance <= e->buckets / 4)
        config_fail(config, "relative_attention_max_distance", "is %zu, must be above %zu",
                    e->max_distance, e->buckets / 4);
    return config->status;
}

/* ---- weights ------------------------------------------------------------------------------- */

static void bind_attention(struct binder *b, struct t5_block *w, size_t D, size_t inner) {
    size_t outer = bind_enter(b, "layer.0.");
    bind_linear(b, &w->query, "SelfAttention.q", inner, D, BIAS_NO);
    bind_linear(b, &w->key, "SelfAttention.k", inner, D, BIAS_NO);
    bind_linear(b, &w->value, "SelfAttention.v", inner, D, BIAS_NO);
    bind_linear(b, &w->out, "SelfAttention.o", D, inner, BIAS_NO);
    bind_vector(b, &w->norm1, "layer_norm.weight", D);
    bind_leave(b, outer);
}

static void bind_feed_forward(struct binder *b, struct t5_block *w, size_t D, size_t F,
                              bool gated) {
    size_t outer = bind_enter(b, "layer.1.");
    if (gated)
        bind_linear(b, &w->gate, "DenseReluDense.wi_0", F, D, BIAS_NO);
    bind_linear(b, &w->up, gated ? "DenseReluDense.wi_1" : "DenseReluDense.wi", F, D, BIAS_NO);
    bind_linear(b, &w->down, "DenseReluDense.wo", D, F, BIAS_NO);
    bind_vector(b, &w->norm2, "layer_norm.weight", D);
    bind_leave(b, outer);
}

static int bind_weights(dl_context *cx, struct t5_encoder *e) {
    struct binder b;
    size_t D = e->base.hidden_size;
    DL_TRY(bind_begin(&b, cx, e->base.store));
    bind_matrix(&b, &e->tokens, "shared.weight|encoder.embed_tokens.weight", e->base.vocab_size, D);
    bind_ignore(&b, "encoder.embed_tokens.weight");
    size_t top = bind_enter(&b, "encoder.");
    bind_matrix(&b, &e->distances, "block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                e->buckets, e->heads);
    for (size_t i = 0; i < e->base.layers; i++) {
        size_t outer = bind_enter(&b, "block.%zu.", i);
        bind_attention(&b, &e->blocks[i], D, e->heads * e->head_dim);
        bind_feed_forward(&b, &e->blocks[i], D, e->intermediate, e->gated);
        bind_leave(&b, outer);
    }
    bind_vector(&b, &e->final_norm, "final_layer_norm.weight", D);
    bind_leave(&b, top);
    return bind_end(&b);
}

static int t5_open(dl_context *cx, const char *dir, struct text_encoder *base) {
    struct t5_encoder *e = (struct t5_encoder *)base;
    struct config config;
    void *memory;
    DL_TRY(config_open(cx, dir, "config.json", &config));
    read_config(&config, e);
    DL_TRY(config_end(&config));
    DL_TRY(allocate(cx, base->class_name, base->layers, sizeof *e->blocks, &memory));
    e->blocks = memory;
    base->heads = e->heads;
    base->units = e->intermediate;
    base->vocabulary = &e->tokens;
    DL_TRY(store_open(cx, dir, "model", &base->store));
    e->base.streamed = store_bytes(e->base.store) > STREAMED_BYTES;
    return bind_weights(cx, e);
}

static void t5_close(struct text_encoder *base) {
    free(((struct t5_encoder *)base)->blocks);
}

/* ---- relative positions -------------------------------------------------------------------- */

/* The row of the table for a key `distance` tokens behind the query: half of the rows for keys
 * behind it, half for keys before it; of each half, one half for single distances, the other for
 * ranges that grow with the logarithm up to max_distance. In f32, as the reference. */
static size_t distance_bucket(const struct t5_encoder *e, long distance) {
    size_t side = e->buckets / 2, exact = side / 2;
    size_t n = (size_t)labs(distance), first = distance > 0 ? side : 0;
    if (n < exact)
        return first + n;
    float range = (float)log((double)e->max_distance / (double)exact);
    float steps = logf((float)n / (float)exact) / range * (float)(side - exact);
    size_t bucket = exact + (size_t)steps;
    return first + (bucket < side ? bucket : side - 1);
}

/* bias (h,T,T): what is added to the score of query i and key j. */
static void position_bias(dl_context *cx, const struct t5_encoder *e, float *bias, size_t T) {
    size_t h = e->heads, mark = arena_mark(cx);
    float *row = floats(cx, h);
    for (size_t distance = 0; distance < 2 * T - 1 && !planning(cx); distance++) {
        op_embedding_row(cx, row, &e->distances,
                         distance_bucket(e, (long)distance - (long)(T - 1)));
        for (size_t i = 0; i < T; i++) { /* the diagonal j - i = distance - (T - 1) */
            size_t j = i + distance - (T - 1);
            for (size_t head = 0; head < h && i + distance >= T - 1 && j < T; head++)
                bias[(head * T + i) * T + j] = row[head];
        }
    }
    arena_release(cx, mark);
}

/* (B,T): 0 for a real token, the lowest number for padding. */
static void mask_bias(dl_context *cx, float *bias, const unsigned char *mask, size_t count) {
    for (size_t i = 0; i < count && !planning(cx); i++)
        bias[i] = !mask || mask[i] ? 0.0f : -FLT_MAX;
}

/* ---- forward ------------------------------------------------------------------------------- */

/* Scores are not scaled: T5's weights are. */
static struct attention_shape shape_of(const struct t5_encoder *e, const float *bias,
                                       const float *key_bias, size_t B, size_t T) {
    return (struct attention_shape){.batch = B,
                                    .heads = e->heads,
                                    .queries = T,
                                    .keys = T,
                                    .head_dim = e->head_dim,
                                    .scale = 1.0f,
                                    .bias = bias,
                                    .key_bias = key_bias};
}

/* x (M,D) += Wo attention(rms(x)) */
static void self_attention(dl_context *cx, const struct t5_encoder *e, const struct t5_block *w,
                           float *x, const float *bias, const float *key_bias, size_t B, size_t T) {
    size_t D = e->base.hidden_size, M = B * T, inner = e->heads * e->head_dim;
    size_t mark = arena_mark(cx);
    float *n = floats(cx, M * D), *q = floats(cx, M * inner);
    float *k = floats(cx, M * inner), *v = floats(cx, M * inner), *a = floats(cx, M * inner);
    const struct attention_shape shape = shape_of(e, bias, key_bias, B, T);
    op_rms_norm(cx, n, x, w->norm1, M, D, e->eps);
    linear(cx, q, n, &w->query, M);
    linear(cx, k, n, &w->key, M);
    linear(cx, v, n, &w->value, M);
    op_attention(cx, a, q, k, v, &shape);
    linear_add(cx, x, a, &w->out, M);
    arena_release(cx, mark);
}

/* h (M,F) = act(W1 rms(x)), or act(W0 rms(x)) * W1 rms(x) */
static void activations(dl_context *cx, const struct t5_encoder *e, const struct t5_block *w,
                        float *h, const float *x, size_t M) {
    size_t D = e->base.hidden_size, mark = arena_mark(cx);
    float *n = floats(cx, M * D);
    op_rms_norm(cx, n, x, w->norm2, M, D, e->eps);
    if (e->gated) {
        linear(cx, h, n, &w->up, M);
        linear_gate(cx, h, n, &w->gate, M, e->act);
    } else {
        linear_act(cx, h, n, &w->up, M, e->act);
    }
    arena_release(cx, mark);
}

/* x (M,D) += W2 h */
static void feed_forward(dl_context *cx, const struct t5_encoder *e, const struct t5_block *w,
                         float *x, size_t M) {
    size_t mark = arena_mark(cx);
    float *h = floats(cx, M * e->intermediate);
    activations(cx, e, w, h, x, M);
    linear_add(cx, x, h, &w->down, M);
    arena_release(cx, mark);
}

/* ---- blocks one after another -------------------------------------------------------------- */

/* Texts that go through half a block at a time: enough rows to make the reading of its weights
 * worth while, few enough to bound the scratch. */
enum { CHUNK = 4 };

/* The large weights of half a block: attention's, or the feed-forward layer's. */
static size_t half_weights(const struct t5_block *w, bool attention, const struct tensor *out[4]) {
    const struct linear *const first[4] = {&w->query, &w->key, &w->value, &w->out};
    const struct linear *const second[3] = {&w->up, &w->down, &w->gate};
    size_t count = 0;
    for (size_t i = 0; i < (attention ? 4 : 3); i++) {
        const struct tensor *t = attention ? &first[i]->weight : &second[i]->weight;
        if (t->data)
            out[count++] = t;
    }
    return count;
}

/* Tells the system to read half a block, or that it is done with. Encoders that fit into the
 * memory many times over are left in it. */
static void advise(const struct t5_encoder *e, size_t block, bool attention,
                   void (*advice)(const struct store *store, const struct tensor *t)) {
    const struct tensor *weights[4];
    if (!e->base.streamed || block >= e->base.layers)
        return;
    const size_t count = half_weights(&e->blocks[block], attention, weights);
    for (size_t i = 0; i < count; i++)
        advice(e->base.store, weights[i]);
}

/* x (B,T,D) through block i, all texts through the first half before the second half is read. */
static void run_block(dl_context *cx, const struct t5_encoder *e, size_t i, float *x,
                      const float *bias, const float *key_bias, size_t B, size_t T) {
    const struct t5_block *w = &e->blocks[i];
    const size_t D = e->base.hidden_size;
    const bool dry = planning(cx);
    if (!dry)
        advise(e, i, false, store_fetch_tensor);
    for (size_t b = 0; b < B; b += CHUNK) {
        const size_t n = B - b < CHUNK ? B - b : CHUNK;
        self_attention(cx, e, w, dry ? x : x + b * T * D, bias, dry ? key_bias : key_bias + b * T,
                       n, T);
    }
    if (!dry) {
        advise(e, i, true, store_drop_tensor);
        advise(e, i + 1, true, store_fetch_tensor);
    }
    for (size_t b = 0; b < B; b += CHUNK) {
        const size_t n = B - b < CHUNK ? B - b : CHUNK;
        feed_forward(cx, e, w, dry ? x : x + b * T * D, n * T);
    }
    if (!dry)
        advise(e, i, false, store_drop_tensor);
}

static bool t5_forward(dl_context *cx, const struct text_encoder *base, float *hidden,
                       const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                       const unsigned char *skip, const struct encode_watch *watch) {
    const struct t5_encoder *e = (const struct t5_encoder *)base;
    size_t D = base->hidden_size, M = B * T, outer = arena_mark(cx);
    float *bias = floats(cx, e->heads * T * T), *key_bias = floats(cx, M);
    float *x = hidden; /* hidden state k, computed in place from a copy of state k - 1 */
    bool stopped = false;
    position_bias(cx, e, bias, T);
    mask_bias(cx, key_bias, mask, M);
    for (size_t i = 0; i < M && !planning(cx); i++)
        op_embedding_row(cx, x + i * D, &e->tokens, (size_t)ids[i]);
    for (size_t i = 0; i < base->layers && !stopped; i++) {
        stopped = watch && watch->fn(watch->user, i + 1, base->layers);
        if (!planning(cx)) {
            memcpy(x + M * D, x, M * D * sizeof *x);
            x += M * D;
        }
        if (!stopped && !(skip && skip[i]))
            run_block(cx, e, i, x, bias, key_bias, B, T);
    }
    if (e->base.streamed && !planning(cx))
        store_drop_tensor(base->store, &e->tokens);
    arena_release(cx, outer);
    return !stopped;
}

/* ---- looking inside ------------------------------------------------------------------------ */

/* p (B,h,T,T) = softmax of the scores of rms(x) with the biases of positions and padding */
static void t5_attention(dl_context *cx, const struct text_encoder *base, size_t block, float *p,
                         const float *x, const unsigned char *mask, size_t B, size_t T) {
    const struct t5_encoder *e = (const struct t5_encoder *)base;
    const struct t5_block *w = &e->blocks[block];
    const size_t D = base->hidden_size, M = B * T, inner = e->heads * e->head_dim;
    const size_t mark = arena_mark(cx);
    float *bias = floats(cx, e->heads * T * T), *key_bias = floats(cx, M);
    float *n = floats(cx, M * D), *q = floats(cx, M * inner), *k = floats(cx, M * inner);
    const struct attention_shape shape = shape_of(e, bias, key_bias, B, T);
    position_bias(cx, e, bias, T);
    mask_bias(cx, key_bias, mask, M);
    op_rms_norm(cx, n, x, w->norm1, M, D, e->eps);
    linear(cx, q, n, &w->query, M);
    linear(cx, k, n, &w->key, M);
    op_attention_map(cx, p, q, k, &shape, T);
    arena_release(cx, mark);
}

/* units (M,F), of x behind the attention */
static void t5_units(dl_context *cx, const struct text_encoder *base, size_t block, float *units,
                     const float *x, const unsigned char *mask, size_t B, size_t T) {
    const struct t5_encoder *e = (const struct t5_encoder *)base;
    const struct t5_block *w = &e->blocks[block];
    const size_t M = B * T, mark = arena_mark(cx);
    float *bias = floats(cx, e->heads * T * T), *key_bias = floats(cx, M);
    float *z = floats(cx, M * base->hidden_size);
    position_bias(cx, e, bias, T);
    mask_bias(cx, key_bias, mask, M);
    if (!planning(cx))
        memcpy(z, x, M * base->hidden_size * sizeof *z);
    self_attention(cx, e, w, z, bias, key_bias, B, T);
    activations(cx, e, w, units, z, M);
    arena_release(cx, mark);
}

static void t5_block_norm(dl_context *cx, const struct text_encoder *base, size_t block, float *y,
                          const float *x, size_t rows) {
    const struct t5_encoder *e = (const struct t5_encoder *)base;
    op_rms_norm(cx, y, x, e->blocks[block].norm1, rows, base->hidden_size, e->eps);
}

static void t5_final_norm(dl_context *cx, const struct text_encoder *base, float *y, const float *x,
                          size_t rows) {
    const struct t5_encoder *e = (const struct t5_encoder *)base;
    op_rms_norm(cx, y, x, e->final_norm, rows, base->hidden_size, e->eps);
}

const struct text_encoder_class t5_encoder_model = {
    .name = "T5EncoderModel",
    .size = sizeof(struct t5_encoder),
    .open = t5_open,
    .forward = t5_forward,
    .final_norm = t5_final_norm,
    .attention = t5_attention,
    .units = t5_units,
    .block_norm = t5_block_norm,
    .close = t5_close,
};
