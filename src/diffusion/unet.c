/* The UNet as a whole; interface, formula and shape letters in unet.h.
 *
 *     temb = MLP(sinusoids(t)) + ...                  time embedding, to every residual block
 *     x = conv_in(sample)
 *     x = down level (x)      keeping activations     fine to coarse
 *     x = mid level (x)
 *     x = up level (x)        using them up           coarse to fine
 *     out = conv_out(act(norm(x))) */
#include "diffusion/unet.h"

#include "diffusion/unet_config.h"
#include "diffusion/unet_embedding.h"
#include "diffusion/unet_level.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unet {
    struct unet_config config;
    struct store *store;
    struct level_styles styles;
    struct unet_embedding embedding;
    struct conv2d conv_in, conv_out;
    struct norm conv_norm_out;
    struct level down[UNET_LEVELS_MAX], mid, up[UNET_LEVELS_MAX];
};

/* ---- opening -------------------------------------------------------------------------------- */

static int bind_levels(struct binder *b, struct unet *u) {
    const struct unet_config *c = &u->config;
    size_t in = c->down[0].channels;

    for (size_t i = 0; i < c->levels; i++) {
        DL_TRY(bind_down_level(b, &u->down[i], c, i, &u->styles, in));
        in = c->down[i].channels;
    }
    if (c->has_mid)
        DL_TRY(bind_mid_level(b, &u->mid, c, &u->styles));
    for (size_t i = 0; i < c->levels; i++) {
        /* the last activation that this level takes was made by the next finer one */
        size_t finer = i + 1 < c->levels ? i + 1 : i;
        DL_TRY(bind_up_level(b, &u->up[i], c, i, &u->styles, in, c->up[finer].channels));
        in = c->up[i].channels;
    }
    return DL_OK;
}

static int bind_unet(struct binder *b, struct unet *u) {
    const struct unet_config *c = &u->config;
    size_t C0 = c->down[0].channels;

    bind_conv2d(b, &u->conv_in, "conv_in", C0, c->in_channels, c->conv_in_kernel, BIAS_YES);
    bind_unet_embedding(b, &u->embedding, c);
    DL_TRY(bind_levels(b, u));
    bind_norm(b, &u->conv_norm_out, "conv_norm_out", C0);
    bind_conv2d(b, &u->conv_out, "conv_out", c->out_channels, C0, c->conv_out_kernel, BIAS_YES);
    return DL_OK;
}

/* Only levels that resample by residual blocks heed resnet_skip_time_act and
 * resnet_out_scale_factor; every middle has a scale factor of its own. */
static void set_styles(struct level_styles *s, const struct unet_config *c) {
    s->conv = (struct resnet_style){.groups = c->norm_num_groups,
                                    .E = c->time_embed_dim,
                                    .eps = c->norm_eps,
                                    .act = c->act,
                                    .scale_shift = c->scale_shift,
                                    .output_scale = 1};
    s->resnet = s->mid_conv = s->mid_resnet = s->conv;
    s->resnet.skip_time_act = s->mid_resnet.skip_time_act = c->resnet_skip_time_act;
    s->resnet.output_scale = c->resnet_out_scale_factor;
    s->mid_conv.output_scale = s->mid_resnet.output_scale = c->mid_block_scale_factor;
}

static int open_weights(dl_context *cx, const char *dir, struct unet *u) {
    struct binder b;
    int status, end;

    DL_TRY(store_open(cx, dir, "diffusion_pytorch_model", &u->store));
    set_styles(&u->styles, &u->config);
    DL_TRY(bind_begin(&b, cx, u->store));
    status = bind_unet(&b, u);
    end = bind_end(&b);
    return status != DL_OK ? status : end;
}

int unet_open(dl_context *cx, const char *dir, struct unet **out) {
    void *memory;
    struct unet *u;
    int status;

    *out = NULL;
    DL_TRY(allocate(cx, "UNet", 1, sizeof *u, &memory));
    u = memory;
    status = unet_config_read(cx, dir, &u->config);
    if (status == DL_OK)
        status = open_weights(cx, dir, u);
    if (status != DL_OK) {
        unet_close(u);
        return status;
    }
    *out = u;
    return DL_OK;
}

void unet_close(struct unet *u) {
    if (!u)
        return;
    for (size_t i = 0; i < UNET_LEVELS_MAX; i++) {
        level_free(&u->down[i]);
        level_free(&u->up[i]);
    }
    level_free(&u->mid);
    store_close(u->store);
    free(u);
}

const struct unet_config *unet_config(const struct unet *u) {
    return &u->config;
}

const struct store *unet_store(const struct unet *u) {
    return u->store;
}

/* ---- running -------------------------------------------------------------------------------- */

static void show(dl_context *cx, const struct unet_tap *tap, const char *name, const float *data,
                 size_t B, size_t H, size_t W, size_t C) {
    if (tap && !planning(cx))
        tap->fn(tap->user, name, data, B, H, W, C);
}

static void show_level(dl_context *cx, const struct unet_tap *tap, const char *name, size_t i,
                       struct unet_state *s) {
    char numbered[48];

    if (!tap)
        return;
    state_repeat(cx, s);
    snprintf(numbered, sizeof numbered, "%s.%zu", name, i);
    show(cx, tap, numbered, s->x.data, s->B, s->x.H, s->x.W, s->x.C);
}

/* x (S,H,W,C0) = conv_in(sample), kept as the first skip connection. */
static void enter(dl_context *cx, const struct unet *u, struct unet_state *s, const float *sample,
                  size_t H, size_t W) {
    const struct unet_config *c = &u->config;
    size_t count = s->x.items * H * W * c->in_channels, mark;
    float *pixels; /* (S,H,W,C) */

    state_next(cx, s, H, W, c->down[0].channels);
    mark = arena_mark(cx);
    pixels = floats(cx, count);
    op_to_channels_last(cx, pixels, sample, s->x.items, c->in_channels, H * W);
    if (c->center_input_sample && !planning(cx))
        for (size_t i = 0; i < count; i++)
            pixels[i] = 2 * pixels[i] - 1;
    conv2d(cx, s->x.data, pixels, &u->conv_in, s->x.items, H, W);
    arena_release(cx, mark);
    if (c->text_embedding) /* the text is in temb and so in every residual block */
        state_repeat(cx, s);
    state_keep(s);
}

/* out (B,C',H,W) = conv_out(act(norm(x))); x is overwritten. */
static void leave(dl_context *cx, const struct unet *u, struct unet_state *s, float *out,
                  const struct unet_tap *tap) {
    const struct unet_config *c = &u->config;
    const struct activations *x = &s->x;
    size_t P = x->H * x->W;
    float *y = floats(cx, s->B * P * c->out_channels); /* (B,H,W,C') */

    const struct norm_conv end = {.norm = &u->conv_norm_out,
                                  .conv = &u->conv_out,
                                  .groups = c->norm_num_groups,
                                  .eps = c->norm_eps,
                                  .act = c->act};
    const struct conv_shape same = same_size(&u->conv_out, s->B, x->H, x->W);
    norm_conv2d(cx, y, x->data, x->data, &end, &same);
    show(cx, tap, "conv_out", y, s->B, x->H, x->W, c->out_channels);
    op_to_channels_first(cx, out, y, s->B, c->out_channels, P);
}

/* From conv_in's output to what enters the last layer on the way up. */
static void deep_part(dl_context *cx, const struct unet *u, struct unet_state *s,
                      const struct unet_tap *tap) {
    const struct unet_config *c = &u->config;
    const struct level *last = &u->up[c->levels - 1];

    for (size_t i = 0; i < c->levels; i++) {
        down_level(cx, s, &u->down[i]);
        show_level(cx, tap, "down_blocks", i, s);
    }
    if (c->has_mid) {
        s->view.middle = true;
        mid_level(cx, s, &u->mid);
        s->view.middle = false;
        show(cx, tap, "mid_block", s->x.data, s->B, s->x.H, s->x.W, s->x.C);
    }
    for (size_t i = 0; i + 1 < c->levels; i++) {
        up_level(cx, s, &u->up[i], 0, u->up[i].resnet_count);
        show_level(cx, tap, "up_blocks", i, s);
    }
    up_level(cx, s, last, 0, last->resnet_count - 1);
}

/* x (B,H,W,C): what enters the last layer, computed and kept, or as it was kept. */
static void pass_deep_part(dl_context *cx, const struct unet *u, struct unet_state *s,
                           const struct unet_condition *condition) {
    const struct unet_memory *memory = condition->memory;
    const size_t C = u->config.up[u->config.levels - 1].channels;
    const size_t item = s->x.H * s->x.W * C;

    if (condition->reuse) {
        state_next(cx, s, s->x.H, s->x.W, C);
        s->x.items = s->B;
    } else {
        deep_part(cx, u, s, condition->tap);
    }
    if (!memory || !memory->deep || planning(cx))
        return;
    float *deep = memory->deep + condition->first * item;
    memcpy(condition->reuse ? s->x.data : deep, condition->reuse ? deep : s->x.data,
           s->B * item * sizeof *deep);
}

static struct text text_of(dl_context *cx, const struct unet *u, size_t B,
                           const struct unet_condition *condition) {
    const struct unet_memory *memory = condition->memory;
    struct text text = {.tokens = condition->tokens};

    if (memory) {
        text.kept = memory->text;
        text.items = memory->items;
        text.first = condition->first;
        text.at = condition->reuse ? memory->text_last : 0;
    }
    if (!memory || condition->attention) /* who looks at attentions makes queries and keys anew */
        text.states = embed_states(cx, &u->embedding, condition->states, B * condition->tokens);
    return text;
}

/* Keys and values of all layers in the order of a call, as text_keep; *last: where those of the
 * last layer begin. */
static void keep_layers(dl_context *cx, const struct unet *u, float *kept, size_t *at, size_t *last,
                        const float *states, size_t N, size_t T) {
    const struct unet_config *c = &u->config;
    const struct level *levels[2 * UNET_LEVELS_MAX + 1];
    size_t count = 0;

    for (size_t i = 0; i < c->levels; i++)
        levels[count++] = &u->down[i];
    if (c->has_mid)
        levels[count++] = &u->mid;
    for (size_t i = 0; i < c->levels; i++)
        levels[count++] = &u->up[i];
    for (size_t l = 0; l < count; l++)
        for (size_t i = 0; i < levels[l]->config->layers; i++) {
            *last = *at;
            layer_keep(cx, kept, at, levels[l], i, states, N, T);
        }
}

void unet_remember(dl_context *cx, const struct unet *u, struct unet_memory *memory, size_t N,
                   size_t H, size_t W, bool deep, const struct unet_condition *condition) {
    const struct unet_config *c = &u->config;
    const size_t T = condition->tokens;
    size_t count = 0, at = 0;

    *memory = (struct unet_memory){.items = N};
    keep_layers(cx, u, NULL, &count, &memory->text_last, NULL, N, T);
    memory->text = floats(cx, count);
    if (c->text_embedding)
        memory->pooled = floats(cx, N * c->time_embed_dim);
    if (deep)
        memory->deep = floats(cx, N * H * W * c->up[c->levels - 1].channels);
    const size_t mark = arena_mark(cx);
    const float *states = embed_states(cx, &u->embedding, condition->states, N * T);
    keep_layers(cx, u, memory->text, &at, &memory->text_last, states, N, T);
    if (c->text_embedding)
        embed_text(cx, memory->pooled, &u->embedding, condition->states, N, T);
    arena_release(cx, mark);
}

void unet_forward(dl_context *cx, const struct unet *u, float *out, const float *sample, size_t B,
                  size_t H, size_t W, float timestep, const struct unet_condition *condition) {
    const struct unet_config *c = &u->config;
    const struct level *last = &u->up[c->levels - 1];
    size_t mark = arena_mark(cx);
    float *temb = floats(cx, B * c->time_embed_dim); /* (B,E) */
    struct unet_state s = {.B = B,
                           .temb = temb,
                           .text = text_of(cx, u, B, condition),
                           .view = {.tap = condition->attention},
                           .downsample_padding = c->downsample_padding,
                           .x.items = condition->samples ? condition->samples : B};

    embed_time(cx, temb, &u->embedding, timestep, B, condition);
    enter(cx, u, &s, sample, H, W);
    show(cx, condition->tap, "conv_in", s.x.data, s.x.items, H, W, s.x.C);
    pass_deep_part(cx, u, &s, condition);
    up_level(cx, &s, last, last->resnet_count - 1, last->resnet_count);
    show_level(cx, condition->tap, "up_blocks", c->levels - 1, &s);
    leave(cx, u, &s, out, condition->tap);
    arena_release(cx, mark);
}
