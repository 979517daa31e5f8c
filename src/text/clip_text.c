/* CLIP's text encoder: a causal transformer with the norm before each half of a block.
 *
 *     x = tokens[ids] + positions                    hidden state 0
 *     x = block k of x (nn/clip_encoder.h)           hidden state k
 *     conditioning = final_norm(x)
 *     pooled = projection(conditioning at the end token)
 *
 * No attention mask but the causal one: padding is attended to.
 * Source: Radford et al. 2021, arXiv 2103.00020, section 2.4; names and configuration as in
 * transformers, models/clip.
 *
 * B batch   T tokens   D hidden size   L blocks   P projection   V vocabulary
 */
#include "base/json.h"
#include "nn/clip_encoder.h"
#include "text/encoder_class.h"

#include <stdlib.h>
#include <string.h>

struct clip_text {
    struct text_encoder base;
    struct clip_encoder encoder;     /* the blocks */
    long eos;                        /* id of the token that is pooled; see eos_place */
    struct tensor tokens, positions; /* (V,D), (max_tokens,D) */
    struct norm final_norm;          /* (D) */
    struct linear projection;        /* (P,D), with projection only */
};

/* Whether the state at the end token is projected: all classes but CLIPTextModel. */
static bool is_projected(const struct clip_text *e) {
    return e->base.class != &clip_text_model;
}

/* ---- configuration ------------------------------------------------------------------------- */

/* The config of a whole CLIP model has the text tower's inside, and the size of the projection
 * outside. Old ones have it twice: what is in text_config_dict, and the defaults of what is not,
 * then replace all of text_config (transformers' CLIPConfig). */
static void enter_whole_config(struct config *config, struct clip_text *e) {
    e->base.pooled_size = (size_t)config_int(config, "projection_dim", 512, 1, 1 << 14);
    if (!config_enter(config, "text_config_dict"))
        config_enter(config, "text_config");
}

/* The same where only the text tower is wanted. */
static void enter_text_config(struct config *config) {
    if (!config_has(config, "hidden_size"))
        config_enter(config, "text_config");
}

/* Keys and defaults of transformers' CLIPTextConfig. */
static int read_config(struct config *config, struct clip_text *e) {
    e->encoder = (struct clip_encoder){
        .layers = 12, .hidden_size = 512, .heads = 8, .intermediate = 2048, .causal = true};
    if (e->base.class == &clip_model_text)
        enter_whole_config(config, e);
    else
        enter_text_config(config);
    clip_encoder_config(config, &e->encoder);
    e->base.layers = e->encoder.layers;
    e->base.hidden_size = e->encoder.hidden_size;
    e->base.max_tokens = (size_t)config_int(config, "max_position_embeddings", 77, 1, 1 << 16);
    e->base.vocab_size = (size_t)config_int(config, "vocab_size", 49408, 1, 1 << 21);
    if (e->base.class == &clip_text_model)
        e->base.pooled_size = e->base.hidden_size;
    else if (e->base.class == &clip_text_model_with_projection)
        e->base.pooled_size = (size_t)config_int(config, "projection_dim", 512, 1, 1 << 14);
    e->eos = config_int(config, "eos_token_id", 49407, 0, 1 << 21);
    return config->status;
}

/* ---- weights ------------------------------------------------------------------------------- */

/* Names with "text_model." before them (transformers 4) or without (5). */
static void bind_text_model(struct binder *b, struct clip_text *e) {
    size_t D = e->base.hidden_size;
    bool prefixed = bind_has(b, "text_model.embeddings.token_embedding.weight");
    size_t top = bind_enter(b, "%s", prefixed ? "text_model." : "");
    bind_matrix(b, &e->tokens, "embeddings.token_embedding.weight", e->base.vocab_size, D);
    bind_matrix(b, &e->positions, "embeddings.position_embedding.weight", e->base.max_tokens, D);
    bind_ignore(b, "embeddings.position_ids");
    bind_clip_encoder(b, &e->encoder);
    bind_norm(b, &e->final_norm, "final_layer_norm", D);
    bind_leave(b, top);
}

static int bind_weights(dl_context *cx, struct clip_text *e) {
    struct binder b;
    DL_TRY(bind_begin(&b, cx, e->base.store));
    bind_text_model(&b, e);
    if (is_projected(e))
        bind_linear(&b, &e->projection, "text_projection", e->base.pooled_size, e->base.hidden_size,
                    BIAS_NO);
    else
        bind_ignore(&b, "text_projection.weight");
    if (e->base.class == &clip_model_text)
        bind_ignore(&b, "vision_model.*|visual_projection.weight|logit_scale");
    return bind_end(&b);
}

static int clip_open(dl_context *cx, const char *dir, struct text_encoder *base) {
    struct clip_text *e = (struct clip_text *)base;
    struct config config;
    DL_TRY(config_open(cx, dir, "config.json", &config));
    read_config(&config, e);
    DL_TRY(config_end(&config));
    DL_TRY(clip_encoder_allocate(cx, &e->encoder));
    base->heads = e->encoder.heads;
    base->units = e->encoder.intermediate;
    base->vocabulary = &e->tokens;
    DL_TRY(store_open(cx, dir, "model", &base->store));
    return bind_weights(cx, e);
}

static void clip_close(struct text_encoder *base) {
    clip_encoder_free(&((struct clip_text *)base)->encoder);
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
        clip_block_forward(cx, &e->encoder, i, x, B, T);
    }
    return true;
}

static void clip_final_norm(dl_context *cx, const struct text_encoder *base, float *y,
                            const float *x, size_t rows) {
    const struct clip_text *e = (const struct clip_text *)base;
    layer_norm(cx, y, x, &e->final_norm, rows, base->hidden_size, e->encoder.eps);
}

/* ---- looking inside ------------------------------------------------------------------------ */

static void clip_attention(dl_context *cx, const struct text_encoder *base, size_t block, float *p,
                           const float *x, const unsigned char *mask, size_t B, size_t T) {
    (void)mask;
    clip_block_attention(cx, &((const struct clip_text *)base)->encoder, block, p, x, B, T);
}

static void clip_units(dl_context *cx, const struct text_encoder *base, size_t block, float *units,
                       const float *x, const unsigned char *mask, size_t B, size_t T) {
    (void)mask;
    clip_block_units(cx, &((const struct clip_text *)base)->encoder, block, units, x, B, T);
}

static void clip_first_norm(dl_context *cx, const struct text_encoder *base, size_t block, float *y,
                            const float *x, size_t rows) {
    clip_block_norm(cx, &((const struct clip_text *)base)->encoder, block, y, x, rows);
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
    bool projected = is_projected(e);
    float *rows = projected ? floats(cx, B * D) : pooled; /* (B,D) */
    for (size_t b = 0; b < B && !planning(cx); b++)
        memcpy(rows + b * D, normed + (b * T + eos_place(e, ids + b * T, T)) * D, D * sizeof *rows);
    if (projected)
        linear(cx, pooled, rows, &e->projection, B);
    arena_release(cx, mark);
}

/* What the classes have in common: all but their names, which is_projected and the configuration go
 * by. */
#define CLIP_FUNCTIONS                                                                             \
    .size = sizeof(struct clip_text), .open = clip_open, .forward = clip_forward,                  \
    .final_norm = clip_final_norm, .pooled = clip_pooled, .attention = clip_attention,             \
    .units = clip_units, .block_norm = clip_first_norm, .close = clip_close

const struct text_encoder_class clip_text_model = {.name = "CLIPTextModel", CLIP_FUNCTIONS};
const struct text_encoder_class clip_text_model_with_projection = {
    .name = "CLIPTextModelWithProjection", CLIP_FUNCTIONS};

/* The text tower of a whole CLIP model. */
const struct text_encoder_class clip_model_text = {.name = "CLIPModel", CLIP_FUNCTIONS};
