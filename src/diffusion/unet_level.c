/* The levels of a UNet; formulas and shape letters in unet_level.h.
 *
 * Memory. The way down stacks what it keeps in the arena; the running activation lies on top. What
 * is kept is read by the next layer and then by none until the way up: then it is held. On
 * the way up each layer's result is moved down over what it used up, so that the arena never holds
 * more than what is still kept, one layer's input and its output. */
#include "diffusion/unet_level.h"

#include "nn/held.h"
#include "nn/resample.h"

#include <stdlib.h>
#include <string.h>

/* ---- binding -------------------------------------------------------------------------------- */

static int allocate_level(struct binder *b, struct level *w, const struct unet_level *config,
                          size_t resnet_count) {
    size_t count = config->layers;
    void *p;

    memset(w, 0, sizeof *w);
    w->config = config;
    w->resnet_count = resnet_count;
    DL_TRY(allocate(b->cx, "UNet blocks", resnet_count, sizeof *w->resnets, &p));
    w->resnets = p;
    if (config->attention == ATTENTION_TRANSFORMER) {
        DL_TRY(allocate(b->cx, "UNet blocks", count, sizeof *w->transformers, &p));
        w->transformers = p;
    } else if (config->attention == ATTENTION_SELF) {
        DL_TRY(allocate(b->cx, "UNet blocks", count, sizeof *w->self_attentions, &p));
        w->self_attentions = p;
    } else if (config->attention == ATTENTION_ADDED_KV) {
        DL_TRY(allocate(b->cx, "UNet blocks", count, sizeof *w->added_attentions, &p));
        w->added_attentions = p;
    }
    return DL_OK;
}

static int bind_attention_of(struct binder *b, struct level *w, const struct unet_config *c,
                             size_t i) {
    const struct unet_level *l = w->config;
    size_t outer = bind_enter(b, "attentions.%zu.", i);

    if (l->attention == ATTENTION_TRANSFORMER) {
        DL_TRY(bind_transformer(b, &w->transformers[i], l->channels, l->cross_attention_dim,
                                l->heads, c->norm_num_groups, l->transformer_layers,
                                l->only_cross_attention));
    } else if (l->attention == ATTENTION_SELF) {
        bind_self_attention(b, &w->self_attentions[i], l->channels, l->channels / l->head_dim,
                            c->norm_num_groups, c->norm_eps);
    } else if (l->attention == ATTENTION_ADDED_KV) {
        w->added_attentions[i] = (struct added_attention){.C = l->channels,
                                                          .D = l->cross_attention_dim,
                                                          .heads = l->channels / l->head_dim,
                                                          .groups = c->norm_num_groups,
                                                          .norm_states = c->cross_attention_norm,
                                                          .text_only = l->only_cross_attention};
        bind_added_attention(b, &w->added_attentions[i]);
    }
    bind_leave(b, outer);
    return DL_OK;
}

static void bind_resnet_of(struct binder *b, struct level *w, size_t i,
                           const struct resnet_style *style, size_t K) {
    size_t outer = bind_enter(b, "resnets.%zu.", i);

    bind_resnet(b, &w->resnets[i], style, K, w->config->channels);
    bind_leave(b, outer);
}

/* name: "downsamplers.0." or "upsamplers.0." */
static void bind_resampler(struct binder *b, struct level *w, const char *name,
                           const struct resnet_style *style) {
    size_t C = w->config->channels, outer = bind_enter(b, "%s", name);

    if (w->config->resampler == RESAMPLE_CONV)
        bind_conv2d(b, &w->conv_resampler, "conv", C, C, 3, BIAS_YES);
    else
        bind_resnet(b, &w->resnet_resampler, style, C, C);
    bind_leave(b, outer);
}

static const struct resnet_style *style_of(const struct unet_level *level,
                                           const struct level_styles *styles) {
    return level->resampler == RESAMPLE_CONV ? &styles->conv : &styles->resnet;
}

int bind_down_level(struct binder *b, struct level *w, const struct unet_config *c, size_t i,
                    const struct level_styles *styles, size_t in) {
    const struct unet_level *l = &c->down[i];
    const struct resnet_style *style = style_of(l, styles);
    size_t outer = bind_enter(b, "down_blocks.%zu.", i);

    DL_TRY(allocate_level(b, w, l, l->layers));
    for (size_t j = 0; j < l->layers; j++) {
        bind_resnet_of(b, w, j, style, j == 0 ? in : l->channels);
        DL_TRY(bind_attention_of(b, w, c, j));
    }
    if (l->resample)
        bind_resampler(b, w, "downsamplers.0.", style);
    bind_leave(b, outer);
    return DL_OK;
}

int bind_mid_level(struct binder *b, struct level *w, const struct unet_config *c,
                   const struct level_styles *styles) {
    const struct unet_level *l = &c->mid;
    const struct resnet_style *style =
        l->resampler == RESAMPLE_CONV ? &styles->mid_conv : &styles->mid_resnet;
    size_t outer = bind_enter(b, "mid_block.");

    DL_TRY(allocate_level(b, w, l, l->layers + 1));
    bind_resnet_of(b, w, 0, style, l->channels);
    for (size_t j = 0; j < l->layers; j++) {
        DL_TRY(bind_attention_of(b, w, c, j));
        bind_resnet_of(b, w, j + 1, style, l->channels);
    }
    bind_leave(b, outer);
    return DL_OK;
}

int bind_up_level(struct binder *b, struct level *w, const struct unet_config *c, size_t i,
                  const struct level_styles *styles, size_t in, size_t skip) {
    const struct unet_level *l = &c->up[i];
    const struct resnet_style *style = style_of(l, styles);
    size_t outer = bind_enter(b, "up_blocks.%zu.", i);

    DL_TRY(allocate_level(b, w, l, l->layers));
    for (size_t j = 0; j < l->layers; j++) {
        size_t x = j == 0 ? in : l->channels;
        size_t kept = j + 1 == l->layers ? skip : l->channels;
        bind_resnet_of(b, w, j, style, x + kept);
        DL_TRY(bind_attention_of(b, w, c, j));
    }
    if (l->resample)
        bind_resampler(b, w, "upsamplers.0.", style);
    bind_leave(b, outer);
    return DL_OK;
}

void level_free(struct level *w) {
    for (size_t i = 0; w->transformers && i < w->config->layers; i++)
        transformer_free(&w->transformers[i]);
    free(w->transformers);
    free(w->self_attentions);
    free(w->added_attentions);
    free(w->resnets);
}

/* ---- running -------------------------------------------------------------------------------- */

void state_next(dl_context *cx, struct unet_state *s, size_t H, size_t W, size_t C) {
    s->x.mark = arena_mark(cx);
    s->x.data = floats(cx, s->B * H * W * C);
    s->x.H = H;
    s->x.W = W;
    s->x.C = C;
}

void state_repeat(dl_context *cx, struct unet_state *s) {
    s->x.items = repeat_items(cx, s->x.data, s->x.items, s->B, s->x.H * s->x.W * s->x.C);
}

void state_keep(struct unet_state *s) {
    s->skips[s->skip_count++] = s->x;
}

void state_hold(dl_context *cx, struct unet_state *s) {
    struct activations *kept = &s->skips[s->skip_count - 1];
    const size_t n = kept->items * kept->H * kept->W * kept->C, below = held_floats(cx, n);
    const size_t count = s->B * s->x.H * s->x.W * s->x.C;

    if (!cx->hold_f16)
        return;
    held_begin(cx, kept->data, n);
    kept->held = true;
    kept->data = floats_spread(cx, kept->mark, s->x.data, count, below + count, below);
    s->x.data = kept->data + below;
    s->x.mark = kept->mark + below * sizeof *kept->data;
}

/* Moves the running activation down to `mark`, over what is not needed any more. */
static void state_settle(dl_context *cx, struct unet_state *s, size_t mark) {
    s->x.mark = mark;
    s->x.data = floats_settle(cx, mark, s->x.data, s->B * s->x.H * s->x.W * s->x.C);
}

/* x = attend(x) */
static void attend(dl_context *cx, struct unet_state *s, const struct level *w, size_t i) {
    size_t P = s->x.H * s->x.W;
    struct attention_view *view = s->view.tap ? &s->view : NULL;

    s->view.H = s->x.H;
    s->view.W = s->x.W;
    if (w->config->attention == ATTENTION_TRANSFORMER) {
        transformer_add(cx, s->x.data, &s->text, &w->transformers[i], s->x.items, s->B, P, view);
        s->x.items = s->B;
    } else if (w->config->attention == ATTENTION_SELF) {
        self_attention_add(cx, s->x.data, &w->self_attentions[i], s->x.items, P);
    } else if (w->config->attention == ATTENTION_ADDED_KV) {
        state_repeat(cx, s);
        added_attention_add(cx, s->x.data, &s->text, &w->added_attentions[i], s->B, P, view);
    }
}

/* x = conv(x) with stride 2. Without padding the zeros lie on the right and below only; a side of
 * 1 needs one more, or nothing would be left of it. */
static void downsample_conv(dl_context *cx, struct unet_state *s, const struct conv2d *w) {
    const struct activations x = s->x;
    size_t before = s->downsample_padding;
    size_t after = before == 0 && (x.H == 1 || x.W == 1) ? 2 : 1;
    const struct conv_shape shape = {
        .B = x.items, .H = x.H, .W = x.W, .stride = 2, .pad_before = before, .pad_after = after};

    state_next(cx, s, (x.H + before + after - 3) / 2 + 1, (x.W + before + after - 3) / 2 + 1, x.C);
    op_conv2d(cx, s->x.data, x.data, &w->weight, &shape, &(struct epilogue){.bias = w->bias});
}

static void downsample(dl_context *cx, struct unet_state *s, const struct level *w) {
    const struct activations x = s->x;

    if (w->config->resampler == RESAMPLE_CONV) {
        downsample_conv(cx, s, &w->conv_resampler);
    } else {
        state_next(cx, s, halved(x.H), halved(x.W), x.C);
        resnet_halve(cx, s->x.data, x.data, &w->resnet_resampler, s->temb, x.items, x.H, x.W);
    }
}

/* x enlarged to the size of what is kept next, convolved. */
static void upsample(dl_context *cx, struct unet_state *s, const struct level *w) {
    const struct activations x = s->x, *next = &s->skips[s->skip_count - 1];

    state_next(cx, s, next->H, next->W, x.C);
    if (w->config->resampler == RESAMPLE_CONV)
        conv2d_enlarged(cx, s->x.data, x.data, &w->conv_resampler, x.items, x.H, x.W, next->H,
                        next->W);
    else
        resnet_enlarge(cx, s->x.data, x.data, &w->resnet_resampler, s->temb, x.items, x.H, x.W,
                       next->H, next->W);
    state_settle(cx, s, x.mark);
}

void down_level(dl_context *cx, struct unet_state *s, const struct level *w) {
    for (size_t i = 0; i < w->resnet_count; i++) {
        const struct activations x = s->x;
        state_next(cx, s, x.H, x.W, w->config->channels);
        resnet(cx, s->x.data, x.data, &w->resnets[i], s->temb, s->x.items, x.H, x.W);
        state_hold(cx, s);
        attend(cx, s, w, i);
        state_keep(s);
    }
    if (w->config->resample) {
        downsample(cx, s, w);
        state_hold(cx, s);
        state_keep(s);
    }
}

void mid_level(dl_context *cx, struct unet_state *s, const struct level *w) {
    const struct activations x = s->x;

    state_next(cx, s, x.H, x.W, x.C); /* x itself is kept */
    resnet(cx, s->x.data, x.data, &w->resnets[0], s->temb, s->x.items, x.H, x.W);
    state_hold(cx, s);
    for (size_t i = 0; i < w->config->layers; i++) {
        attend(cx, s, w, i);
        resnet(cx, s->x.data, s->x.data, &w->resnets[i + 1], s->temb, s->x.items, x.H, x.W);
    }
}

/* y (B,H,W,C+C') = [x | kept], each with as many items as it has. */
static void join_kept(dl_context *cx, float *y, const struct activations *x,
                      const struct activations *kept, size_t B) {
    const size_t P = x->H * x->W;
    const enum dtype dtype = kept->held ? held_dtype(cx) : DTYPE_F32;
    const size_t item = P * kept->C * dtype_size(dtype);

    for (size_t b = 0; b < B; b++)
        op_concat(cx, y + b * P * (x->C + kept->C), x->data + b % x->items * P * x->C, x->C,
                  (const char *)kept->data + b % kept->items * item, dtype, kept->C, P);
}

void up_level(dl_context *cx, struct unet_state *s, const struct level *w, size_t first,
              size_t end) {
    for (size_t i = first; i < end; i++) {
        const struct activations x = s->x, kept = s->skips[--s->skip_count];
        float *both = floats(cx, s->B * x.H * x.W * (x.C + kept.C)); /* (B,H,W,C+C') */

        join_kept(cx, both, &x, &kept, s->B);
        state_next(cx, s, x.H, x.W, w->config->channels);
        s->x.items = s->B;
        resnet_consume(cx, s->x.data, both, &w->resnets[i], s->temb, s->B, x.H, x.W);
        state_settle(cx, s, kept.mark);
        attend(cx, s, w, i);
    }
    if (end == w->resnet_count && w->config->resample)
        upsample(cx, s, w);
}

void layer_keep(dl_context *cx, float *kept, size_t *at, const struct level *w, size_t i,
                const float *states, size_t N, size_t T) {
    if (w->config->attention == ATTENTION_TRANSFORMER)
        transformer_keep(cx, kept, at, states, &w->transformers[i], N * T);
    else if (w->config->attention == ATTENTION_ADDED_KV)
        added_attention_keep(cx, kept, at, states, &w->added_attentions[i], N, T);
}
