/* CLIP's vision tower, a vision transformer over patches and a class token in front of them.
 *
 *     patch n = W_patch pixels of the n-th square of p x p               (D)
 *     x = [class | patch 1 ... patch N] + positions                      (N+1, D)
 *     x = norm_pre(x)
 *     x = block k of x for every block (nn/clip_encoder.h), not causal
 *     out = W_projection norm_post(x[0])                                 (P)
 *
 * Pixels at the right and at the bottom that fill no patch are left out.
 * Source: Radford et al. 2021, arXiv 2103.00020, section 2.4; Dosovitskiy et al. 2021, arXiv
 * 2010.11929; names, configuration and defaults as in transformers, models/clip.
 *
 * B batch   S image size   p patch size   N patches   D hidden size   P size of the embedding */
#include "vision/tower.h"

#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 3 };

static const char *const class_names[] = {"CLIPVisionModel", "CLIPVisionModelWithProjection",
                                          "CLIPModel"};

/* ---- configuration ------------------------------------------------------------------------- */

static size_t read_projection(struct config *config) {
    return (size_t)config_int(config, "projection_dim", 512, 1, 1 << 14);
}

/* The config of a whole CLIP model has the tower's inside, and the size of the projection outside.
 * Old ones have it twice: what is in vision_config_dict, and the defaults of what is not, then
 * replace all of vision_config (transformers' CLIPConfig). */
static void enter_config(struct config *config, struct vision_tower *t) {
    if (t->class == VISION_OF_CLIP_MODEL) {
        t->size = read_projection(config);
        if (!config_enter(config, "vision_config_dict"))
            config_enter(config, "vision_config");
    } else if (!config_has(config, "hidden_size")) {
        config_enter(config, "vision_config");
    }
}

/* Keys and defaults of transformers' CLIPVisionConfig. */
static int read_config(struct config *config, struct vision_tower *t) {
    t->encoder = (struct clip_encoder){
        .layers = 12, .hidden_size = 768, .heads = 12, .intermediate = 3072, .causal = false};
    enter_config(config, t);
    clip_encoder_config(config, &t->encoder);
    if (t->class == VISION_MODEL)
        t->size = t->encoder.hidden_size;
    else if (t->class == VISION_MODEL_WITH_PROJECTION)
        t->size = read_projection(config);
    config_int(config, "num_channels", CHANNELS, CHANNELS, CHANNELS);
    t->image_size = (size_t)config_int(config, "image_size", 224, 1, 1 << 12);
    t->patch_size = (size_t)config_int(config, "patch_size", 32, 1, 1 << 12);
    if (t->patch_size > t->image_size)
        config_fail(config, "patch_size", "%zu is more than image_size %zu", t->patch_size,
                    t->image_size);
    t->patches = (t->image_size / t->patch_size) * (t->image_size / t->patch_size);
    return config->status;
}

/* ---- weights ------------------------------------------------------------------------------- */

/* Names with "vision_model." before them, or without (CLIPVisionModel of transformers 5). */
static void bind_vision_model(struct binder *b, struct vision_tower *t) {
    const size_t D = t->encoder.hidden_size, p = t->patch_size;
    const size_t patch[4] = {D, CHANNELS, p, p};
    bool prefixed = bind_has(b, "vision_model.embeddings.class_embedding");
    size_t top = bind_enter(b, "%s", prefixed ? "vision_model." : "");
    bind_tensor(b, &t->class_embedding, "embeddings.class_embedding", 1, &D);
    bind_weight(b, &t->patch_embedding, "embeddings.patch_embedding.weight", 4, patch);
    bind_matrix(b, &t->positions, "embeddings.position_embedding.weight", t->patches + 1, D);
    bind_ignore(b, "embeddings.position_ids");
    bind_norm(b, &t->pre_layernorm, "pre_layrnorm", D);
    bind_clip_encoder(b, &t->encoder);
    bind_norm(b, &t->post_layernorm, "post_layernorm", D);
    bind_leave(b, top);
}

/* The same numbers as matrices: one row of the class token; a row for each output of the
 * convolution, in the order (channel, y, x). */
static void as_matrices(struct vision_tower *t) {
    const size_t D = t->encoder.hidden_size;
    t->class_embedding.ndim = t->patch_embedding.ndim = 2;
    t->class_embedding.shape[0] = 1;
    t->class_embedding.shape[1] = D;
    t->patch_embedding.shape[1] = CHANNELS * t->patch_size * t->patch_size;
}

static int bind_weights(dl_context *cx, struct vision_tower *t) {
    struct binder b;
    DL_TRY(bind_begin(&b, cx, t->store));
    bind_vision_model(&b, t);
    if (t->class == VISION_MODEL)
        bind_ignore(&b, "visual_projection.weight");
    else
        bind_linear(&b, &t->projection, "visual_projection", t->size, t->encoder.hidden_size,
                    BIAS_NO);
    if (t->class == VISION_OF_CLIP_MODEL)
        bind_ignore(&b, "*"); /* the text tower tells what neither uses */
    DL_TRY(bind_end(&b));
    as_matrices(t);
    return DL_OK;
}

static int open_tower(dl_context *cx, const char *dir, struct vision_tower *t) {
    struct config config;
    DL_TRY(config_open(cx, dir, "config.json", &config));
    read_config(&config, t);
    DL_TRY(config_end(&config));
    DL_TRY(clip_encoder_allocate(cx, &t->encoder));
    DL_TRY(store_open(cx, dir, "model", &t->store));
    return bind_weights(cx, t);
}

int vision_open(dl_context *cx, const char *dir, enum vision_class class,
                struct vision_tower **out) {
    *out = NULL;
    struct vision_tower *t;
    DL_TRY(allocate(cx, class_names[class], 1, sizeof *t, (void **)&t));
    t->class = class;
    int status = open_tower(cx, dir, t);
    if (status != DL_OK) {
        vision_close(t);
        return status;
    }
    *out = t;
    return DL_OK;
}

void vision_close(struct vision_tower *t) {
    if (!t)
        return;
    store_close(t->store);
    clip_encoder_free(&t->encoder);
    free(t);
}

/* ---- forward ------------------------------------------------------------------------------- */

/* patches (N, 3 p p) of one picture pixels (3,S,S): each in the order of the convolution's weights,
 * channel, y, x. */
static void cut_patches(const struct vision_tower *t, float *patches, const float *pixels) {
    const size_t S = t->image_size, p = t->patch_size, across = S / p;
    for (size_t n = 0; n < t->patches; n++)
        for (size_t c = 0; c < CHANNELS; c++)
            for (size_t y = 0; y < p; y++, patches += p)
                memcpy(patches, pixels + (c * S + n / across * p + y) * S + n % across * p,
                       p * sizeof *patches);
}

/* x (B,N+1,D) = [class | patches] + positions */
static void embed(dl_context *cx, const struct vision_tower *t, float *x, const float *pixels,
                  size_t B) {
    const size_t S = t->image_size, N = t->patches, D = t->encoder.hidden_size;
    const size_t mark = arena_mark(cx);
    float *patches = floats(cx, N * CHANNELS * t->patch_size * t->patch_size);
    float *position = floats(cx, D);
    for (size_t b = 0; b < B; b++) {
        float *row = x + b * (N + 1) * D;
        if (!planning(cx))
            cut_patches(t, patches, pixels + b * CHANNELS * S * S);
        op_embedding_row(cx, row, &t->class_embedding, 0);
        op_linear(cx, row + D, patches, &t->patch_embedding, N, NULL);
        for (size_t i = 0; i <= N && !planning(cx); i++) {
            op_embedding_row(cx, position, &t->positions, i);
            op_add(cx, row + i * D, position, D);
        }
    }
    arena_release(cx, mark);
}

/* out (B,P) = W norm(x[:,0]), x (B,N+1,D) */
static void pool(dl_context *cx, const struct vision_tower *t, float *out, const float *x,
                 size_t B) {
    const size_t N = t->patches, D = t->encoder.hidden_size, mark = arena_mark(cx);
    float *rows = t->class == VISION_MODEL ? out : floats(cx, B * D);
    for (size_t b = 0; b < B && !planning(cx); b++)
        memcpy(rows + b * D, x + b * (N + 1) * D, D * sizeof *rows);
    layer_norm(cx, rows, rows, &t->post_layernorm, B, D, t->encoder.eps);
    if (t->class != VISION_MODEL)
        linear(cx, out, rows, &t->projection, B);
    arena_release(cx, mark);
}

static void forward(dl_context *cx, const struct vision_tower *t, float *out, const float *pixels,
                    size_t B) {
    const size_t T = t->patches + 1, D = t->encoder.hidden_size, mark = arena_mark(cx);
    float *x = floats(cx, B * T * D);
    embed(cx, t, x, pixels, B);
    layer_norm(cx, x, x, &t->pre_layernorm, B * T, D, t->encoder.eps);
    for (size_t k = 0; k < t->encoder.layers; k++)
        clip_block_forward(cx, &t->encoder, k, x, B, T);
    pool(cx, t, out, x, B);
    arena_release(cx, mark);
}

static int check_batch(dl_context *cx, const struct vision_tower *t, size_t B) {
    const struct clip_encoder *e = &t->encoder;
    size_t count = t->patches + 1;
    const size_t wide = e->intermediate > e->hidden_size ? e->intermediate : e->hidden_size;
    if (B == 0 || !size_mul(count, B, &count) || !size_mul(count, wide, &count) ||
        !size_mul(count, 8 * sizeof(float), &count))
        return fail(cx, DL_USAGE, "%s: %zu pictures of %zu patches cannot be taken at once",
                    class_names[t->class], B, t->patches);
    return DL_OK;
}

int vision_embed(dl_context *cx, const struct vision_tower *tower, float *out, const float *pixels,
                 size_t B) {
    DL_TRY(check_batch(cx, tower, B));
    arena_plan(cx);
    forward(cx, tower, NULL, NULL, B);
    DL_TRY(arena_reserve(cx, "vision tower"));
    forward(cx, tower, out, pixels, B);
    return DL_OK;
}
