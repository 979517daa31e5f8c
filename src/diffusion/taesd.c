/* AutoencoderTiny's decoder: TAESD, a small convolutional network distilled from Stable
 * Diffusion's (github.com/madebyollin/taesd; diffusers models/autoencoders/vae.py, DecoderTiny).
 *
 *     x = act(conv(3 tanh(z / 3)))
 *     x = relu(x + conv(act(conv(act(conv(x))))))          blocks of a level
 *     x = conv(nearest(x))                                 at factor times the size
 *     image = 2 conv(x) - 1                                last level
 *
 * H, W sides   C channels, the same at all levels */
#include "diffusion/vae_class.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct tiny_block {
    struct conv2d conv[3];
};

struct tiny_level {
    size_t count;
    struct tiny_block *blocks; /* (count) */
    struct conv2d conv;        /* of the enlarged picture; the last makes the image */
};

struct tiny_decoder {
    size_t C, levels, factor;
    enum activation act;
    struct conv2d conv_in;
    struct tiny_level level[VAE_LEVELS_MAX];
};

static void read_levels(struct config *file, struct tiny_decoder *d) {
    long blocks[VAE_LEVELS_MAX] = {3, 3, 3, 1}, channels[VAE_LEVELS_MAX] = {64, 64, 64, 64};
    size_t n =
        config_int_list(file, "num_decoder_blocks", blocks, VAE_LEVELS_MAX, 0, 0, VAE_LAYERS_MAX);
    size_t m = config_int_list(file, "decoder_block_out_channels", channels, VAE_LEVELS_MAX, 0, 1,
                               VAE_CHANNELS_MAX);

    d->levels = m > 0 ? m : 4;
    d->C = (size_t)channels[0];
    if (d->levels != (n > 0 ? n : 4))
        config_fail(file, "num_decoder_blocks",
                    "has %zu values; decoder_block_out_channels has %zu", n, d->levels);
    for (size_t i = 0; i < d->levels; i++) {
        d->level[i].count = (size_t)blocks[i];
        if (channels[i] != channels[0])
            config_fail(file, "decoder_block_out_channels", "%ld and %ld; all must be the same",
                        channels[0], channels[i]);
    }
}

static int configure(dl_context *cx, struct config *file, struct vae *vae) {
    static const char *const acts[] = {"relu", "silu", "swish", "gelu", NULL};
    static const enum activation act[] = {ACT_RELU, ACT_SILU, ACT_SILU, ACT_GELU};
    static const char *const upsample[] = {"nearest", NULL};
    struct tiny_decoder *d;
    void *memory;

    DL_TRY(allocate(cx, "AutoencoderTiny", 1, sizeof *d, &memory));
    vae->decoder = d = memory;
    d->act = act[config_choice(file, "act_fn", acts, 0)];
    d->factor = (size_t)config_int(file, "upsampling_scaling_factor", 2, 1, 4);
    config_choice(file, "upsample_fn", upsample, 0);
    config_int(file, "out_channels", 3, 3, 3);
    read_levels(file, d);
    vae->latent_channels = (size_t)config_int(file, "latent_channels", 4, 1, VAE_CHANNELS_MAX);
    vae->scale = 1;
    for (size_t i = 1; i < d->levels; i++)
        vae->scale *= d->factor;
    return file->status;
}

/* The layers are numbered through, with those that have no weights. */
static int bind(struct binder *b, struct vae *vae) {
    static const char *const convs[3] = {"conv.0", "conv.2", "conv.4"};
    struct tiny_decoder *d = vae->decoder;
    size_t C = d->C, layer = 2; /* conv_in, activation */

    bind_conv2d(b, &d->conv_in, "decoder.layers.0", C, vae->latent_channels, 3, BIAS_YES);
    for (size_t i = 0; i < d->levels; i++) {
        struct tiny_level *level = &d->level[i];
        bool last = i + 1 == d->levels;
        size_t outer;
        void *memory = NULL;

        if (level->count > 0)
            DL_TRY(
                allocate(b->cx, "AutoencoderTiny", level->count, sizeof *level->blocks, &memory));
        level->blocks = memory;
        for (size_t j = 0; j < level->count; j++) {
            outer = bind_enter(b, "decoder.layers.%zu.", layer++);
            for (size_t k = 0; k < 3; k++)
                bind_conv2d(b, &level->blocks[j].conv[k], convs[k], C, C, 3, BIAS_YES);
            bind_leave(b, outer);
        }
        if (!last)
            layer++; /* the enlargement */
        outer = bind_enter(b, "decoder.layers.");
        char number[24];
        snprintf(number, sizeof number, "%zu", layer++);
        bind_conv2d(b, &level->conv, number, last ? 3 : C, C, 3, last ? BIAS_YES : BIAS_NO);
        bind_leave(b, outer);
    }
    return DL_OK;
}

static void free_decoder(void *decoder) {
    struct tiny_decoder *d = decoder;

    for (size_t i = 0; i < d->levels; i++)
        free(d->level[i].blocks);
    free(d);
}

/* y (H,W,N) = conv(x) with an activation and, if given, a residual. */
static void conv_act(dl_context *cx, float *y, const float *x, const struct conv2d *w,
                     const float *residual, enum activation act, size_t H, size_t W) {
    const struct conv_shape shape = {
        .B = 1, .H = H, .W = W, .stride = 1, .pad_before = 1, .pad_after = 1};

    op_conv2d(cx, y, x, &w->weight, &shape,
              &(struct epilogue){.bias = w->bias, .residual = residual, .act = act});
}

/* x (H,W,C) = relu(x + conv(act(conv(act(conv(x)))))) */
static void run_block(dl_context *cx, float *x, const struct tiny_block *w, enum activation act,
                      size_t C, size_t H, size_t W) {
    size_t count = H * W * C, mark = arena_mark(cx);
    float *h1 = floats(cx, count), *h2 = floats(cx, count); /* (H,W,C) */

    conv_act(cx, h1, x, &w->conv[0], NULL, act, H, W);
    conv_act(cx, h2, h1, &w->conv[1], NULL, act, H, W);
    conv_act(cx, x, h2, &w->conv[2], x, ACT_NONE, H, W);
    op_activate(cx, x, x, count, ACT_RELU);
    arena_release(cx, mark);
}

/* x (fH,fW,C) = conv(nearest(x (H,W,C))): its new place, at the arena's `mark`. */
static float *enlarge(dl_context *cx, const float *x, const struct tiny_decoder *d,
                      const struct conv2d *w, size_t mark, size_t H, size_t W) {
    const size_t up_H = d->factor * H, up_W = d->factor * W, count = up_H * up_W * d->C;
    float *y = floats(cx, count);

    conv2d_enlarged(cx, y, x, w, 1, H, W, up_H, up_W);
    return floats_settle(cx, mark, y, count);
}

static float *enter(dl_context *cx, const struct vae *vae, const float *z, size_t H, size_t W) {
    const struct tiny_decoder *d = vae->decoder;
    size_t count = H * W * vae->latent_channels, mark;
    float *x = floats(cx, H * W * d->C), *clamped;

    mark = arena_mark(cx);
    clamped = floats(cx, count);
    if (!planning(cx))
        for (size_t i = 0; i < count; i++)
            clamped[i] = tanhf(z[i] / 3) * 3;
    conv_act(cx, x, clamped, &d->conv_in, NULL, d->act, H, W);
    arena_release(cx, mark);
    return x;
}

static void decode(dl_context *cx, const struct vae *vae, float *image, const float *z, size_t H,
                   size_t W) {
    const struct tiny_decoder *d = vae->decoder;
    size_t mark = arena_mark(cx), last = d->levels - 1;
    float *x = enter(cx, vae, z, H, W), *y;

    for (size_t i = 0; i < d->levels; i++) {
        for (size_t j = 0; j < d->level[i].count; j++)
            run_block(cx, x, &d->level[i].blocks[j], d->act, d->C, H, W);
        if (i != last) {
            x = enlarge(cx, x, d, &d->level[i].conv, mark, H, W);
            H *= d->factor;
            W *= d->factor;
        }
    }
    y = floats(cx, H * W * 3);
    conv_act(cx, y, x, &d->level[last].conv, NULL, ACT_NONE, H, W);
    op_to_channels_first(cx, image, y, 1, 3, H * W);
    if (!planning(cx))
        for (size_t i = 0; i < H * W * 3; i++)
            image[i] = 2 * image[i] - 1;
    arena_release(cx, mark);
}

const struct vae_class autoencoder_tiny = {.name = "AutoencoderTiny",
                                           .configure = configure,
                                           .bind = bind,
                                           .decode = decode,
                                           .free = free_decoder,
                                           .scaling_factor = 1};
