/* AutoencoderKL's decoder (diffusers models/autoencoders/vae.py, Decoder; Rombach et al. 2022,
 * appendix G, after Esser et al. 2021).
 *
 *     x = conv_in(post_quant_conv(z))
 *     x = resnet(attend(resnet(x)))                        the middle, one head
 *     x = resnets(x);  x = conv(nearest(x)) at twice the size      each level but the last
 *     image = conv_out(silu(norm(x)))
 *
 * The levels run coarse to fine, last entry of block_out_channels first. Each result takes its
 * input's place in the arena: the peak is one layer's input, output and inner activation. A context
 * that is to need less computes the finest levels in strips (resnet_strips.h): the peak is then
 * about one activation, and half of that where it is held in f16 (nn/held.h).
 *
 * H, W sides   P = H W pixels   C channels */
#include "diffusion/attention.h"
#include "diffusion/resnet_strips.h"
#include "diffusion/vae_class.h"
#include "nn/held.h"

#include <stdlib.h>
#include <string.h>

struct up_block {
    size_t channels;
    struct resnet *resnets; /* (layers) */
    struct conv2d upsampler;
    bool upsample;
};

struct kl_decoder {
    struct resnet_style style;
    size_t levels, layers; /* layers: residual blocks in a level, one more than the config says */
    bool use_post_quant_conv, mid_attention;
    struct linear post_quant_conv; /* (C,C) */
    struct conv2d conv_in, conv_out;
    struct resnet mid[2];
    struct self_attention attention;
    struct up_block up[VAE_LEVELS_MAX]; /* coarse to fine */
    struct norm norm;
};

/* ---- config --------------------------------------------------------------------------------- */

static enum activation read_act(struct config *file) {
    static const char *const names[] = {"silu", "swish", "gelu", "relu", NULL};
    static const enum activation acts[] = {ACT_SILU, ACT_SILU, ACT_GELU, ACT_RELU};
    return acts[config_choice(file, "act_fn", names, 0)];
}

static void check_types(struct config *file, size_t levels) {
    static const char *const known = "UpDecoderBlock2D";
    const char *types[VAE_LEVELS_MAX] = {known};
    size_t count = config_string_list(file, "up_block_types", types, VAE_LEVELS_MAX);

    if (count == 0)
        count = 1; /* the default */
    if (count != levels)
        config_fail(file, "up_block_types", "has %zu values; block_out_channels has %zu", count,
                    levels);
    for (size_t i = 0; i < count; i++)
        if (strcmp(types[i], known) != 0)
            config_fail(file, "up_block_types", "%.64s is not supported; known is %s", types[i],
                        known);
}

static void read_levels(struct config *file, struct kl_decoder *d) {
    long channels[VAE_LEVELS_MAX] = {64};
    size_t n = config_int_list(file, "block_out_channels", channels, VAE_LEVELS_MAX, 1, 1,
                               VAE_CHANNELS_MAX);

    d->levels = n > 0 ? n : 1;
    check_types(file, d->levels);
    for (size_t i = 0; i < d->levels; i++) {
        struct up_block *up = &d->up[i];
        up->channels = (size_t)channels[d->levels - 1 - i];
        up->upsample = i + 1 < d->levels;
        if (up->channels % d->style.groups != 0)
            config_fail(file, "block_out_channels", "%zu does not divide by norm_num_groups %zu",
                        up->channels, d->style.groups);
    }
}

static int configure(dl_context *cx, struct config *file, struct vae *vae) {
    struct kl_decoder *d;
    void *memory;

    DL_TRY(allocate(cx, "AutoencoderKL", 1, sizeof *d, &memory));
    vae->decoder = d = memory;
    d->style = (struct resnet_style){
        .groups = (size_t)config_int(file, "norm_num_groups", 32, 1, VAE_CHANNELS_MAX),
        .eps = 1e-6f,
        .act = read_act(file),
        .output_scale = 1};
    d->layers = (size_t)config_int(file, "layers_per_block", 1, 1, VAE_LAYERS_MAX) + 1;
    d->use_post_quant_conv = config_bool(file, "use_post_quant_conv", true);
    d->mid_attention = config_bool(file, "mid_block_add_attention", true);
    read_levels(file, d);
    vae->scale = (size_t)1 << (d->levels - 1);
    vae->latent_channels = (size_t)config_int(file, "latent_channels", 4, 1, VAE_CHANNELS_MAX);
    config_int(file, "out_channels", 3, 3, 3);
    if (config_has(file, "latents_mean") || config_has(file, "latents_std"))
        config_fail(file, "latents_mean", "is not supported; expected null");
    return file->status;
}

/* ---- weights -------------------------------------------------------------------------------- */

static void bind_mid(struct binder *b, struct kl_decoder *d, size_t C) {
    for (size_t i = 0; i < 2; i++) {
        size_t outer = bind_enter(b, "mid_block.resnets.%zu.", i);
        bind_resnet(b, &d->mid[i], &d->style, C, C);
        bind_leave(b, outer);
    }
    if (d->mid_attention) {
        size_t outer = bind_enter(b, "mid_block.attentions.0.");
        bind_self_attention(b, &d->attention, C, 1, d->style.groups, d->style.eps);
        bind_leave(b, outer);
    }
}

static int bind_up_block(struct binder *b, struct kl_decoder *d, size_t i) {
    struct up_block *up = &d->up[i];
    size_t C = up->channels, outer = bind_enter(b, "up_blocks.%zu.", i);
    void *memory;

    DL_TRY(allocate(b->cx, "AutoencoderKL", d->layers, sizeof *up->resnets, &memory));
    up->resnets = memory;
    for (size_t j = 0; j < d->layers; j++) {
        size_t inner = bind_enter(b, "resnets.%zu.", j);
        size_t in = j == 0 && i > 0 ? d->up[i - 1].channels : C;
        bind_resnet(b, &up->resnets[j], &d->style, in, C);
        bind_leave(b, inner);
    }
    if (up->upsample)
        bind_conv2d(b, &up->upsampler, "upsamplers.0.conv", C, C, 3, BIAS_YES);
    bind_leave(b, outer);
    return DL_OK;
}

static int bind(struct binder *b, struct vae *vae) {
    struct kl_decoder *d = vae->decoder;
    size_t C = vae->latent_channels, coarse = d->up[0].channels;
    size_t fine = d->up[d->levels - 1].channels, outer;

    if (d->use_post_quant_conv)
        bind_linear(b, &d->post_quant_conv, "post_quant_conv", C, C, BIAS_YES);
    outer = bind_enter(b, "decoder.");
    bind_conv2d(b, &d->conv_in, "conv_in", coarse, C, 3, BIAS_YES);
    bind_mid(b, d, coarse);
    for (size_t i = 0; i < d->levels; i++)
        DL_TRY(bind_up_block(b, d, i));
    bind_norm(b, &d->norm, "conv_norm_out", fine);
    bind_conv2d(b, &d->conv_out, "conv_out", 3, fine, 3, BIAS_YES);
    bind_leave(b, outer);
    return DL_OK;
}

static void free_decoder(void *decoder) {
    struct kl_decoder *d = decoder;

    for (size_t i = 0; i < d->levels; i++)
        free(d->up[i].resnets);
    free(d);
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* x (H,W,N) from x (H,W,K): its new place, at the arena's `mark`, where it also lies now. */
static float *run_resnet(dl_context *cx, float *x, const struct resnet *w, size_t mark, size_t H,
                         size_t W) {
    if (w->K == w->N) {
        resnet(cx, x, x, w, NULL, 1, H, W);
        return x;
    }
    float *y = floats(cx, H * W * w->N);
    resnet_consume(cx, y, x, w, NULL, 1, H, W);
    return floats_settle(cx, mark, y, H * W * w->N);
}

/* x (2H,2W,C) = conv(nearest(x (H,W,C))) */
static float *run_upsampler(dl_context *cx, const float *x, const struct up_block *up, size_t mark,
                            size_t H, size_t W) {
    size_t count = 4 * H * W * up->channels;
    float *y = floats(cx, count);

    conv2d_enlarged(cx, y, x, &up->upsampler, 1, H, W, 2 * H, 2 * W);
    return floats_settle(cx, mark, y, count);
}

/* x (H,W,C) = conv_in(post_quant_conv(z)), then the middle. */
static void run_mid(dl_context *cx, float *x, const struct vae *vae, const float *z, size_t H,
                    size_t W) {
    const struct kl_decoder *d = vae->decoder;
    size_t mark = arena_mark(cx);
    float *q = floats(cx, H * W * vae->latent_channels);

    if (d->use_post_quant_conv)
        linear(cx, q, z, &d->post_quant_conv, H * W);
    conv2d(cx, x, d->use_post_quant_conv ? q : z, &d->conv_in, 1, H, W);
    arena_release(cx, mark);
    resnet(cx, x, x, &d->mid[0], NULL, 1, H, W);
    if (d->mid_attention)
        self_attention_add(cx, x, &d->attention, 1, H * W);
    resnet(cx, x, x, &d->mid[1], NULL, 1, H, W);
}

/* Whether a level is computed in strips: always where they are held in f16, so that a picture does
 * not depend on what else is done for memory. */
static bool in_strips(const dl_context *cx, const struct kl_decoder *d, size_t level) {
    return cx->hold_f16 || level + cx->thrift.strips >= d->levels;
}

/* x (H,W,C) through a level's residual blocks from number `first` on: its new place. */
static float *run_level(dl_context *cx, float *x, const struct kl_decoder *d, size_t level,
                        size_t first, size_t mark, size_t H, size_t W) {
    for (size_t j = first; j < d->layers; j++) {
        const struct resnet *w = &d->up[level].resnets[j];
        if (in_strips(cx, d, level) && w->K == w->N)
            resnet_strips(cx, x, w, H, W);
        else
            x = run_resnet(cx, x, w, mark, H, W);
    }
    return x;
}

/* x (H,W,C), n numbers, as the strips take it. */
static float *hold(dl_context *cx, float *x, size_t mark, size_t n) {
    held_begin(cx, x, n);
    return floats_settle(cx, mark, x, held_floats(cx, n));
}

/* y (H,W,3) = conv_out(silu(norm(x))) */
static void run_end(dl_context *cx, float *y, float *x, const struct kl_decoder *d, size_t H,
                    size_t W) {
    struct resnet_style style = d->style;

    style.act = ACT_SILU;
    if (cx->hold_f16) {
        conv_strips(cx, y, x, &d->norm, &d->conv_out, &style, H, W);
        return;
    }
    const struct norm_conv end = {.norm = &d->norm,
                                  .conv = &d->conv_out,
                                  .groups = style.groups,
                                  .eps = style.eps,
                                  .act = style.act};
    const struct conv_shape same = same_size(&d->conv_out, 1, H, W);
    norm_conv2d(cx, y, x, x, &end, &same);
}

static void decode(dl_context *cx, const struct vae *vae, float *image, const float *z, size_t H,
                   size_t W) {
    const struct kl_decoder *d = vae->decoder;
    size_t mark = arena_mark(cx), done = 0;
    float *x = floats(cx, H * W * d->up[0].channels), *y;

    run_mid(cx, x, vae, z, H, W);
    if (in_strips(cx, d, 0))
        x = hold(cx, x, mark, H * W * d->up[0].channels);
    for (size_t i = 0; i < d->levels; i++) {
        const struct up_block *up = &d->up[i];
        x = run_level(cx, x, d, i, done, mark, H, W);
        if (!up->upsample)
            continue;
        done = in_strips(cx, d, i + 1) ? 1 : 0; /* the next level's first block goes along */
        if (done && !in_strips(cx, d, i))
            x = hold(cx, x, mark, H * W * up->channels);
        if (done)
            x = resnet_strips_enlarge(cx, x, &up->upsampler, &d->up[i + 1].resnets[0], mark, H, W,
                                      2 * H, 2 * W);
        else
            x = run_upsampler(cx, x, up, mark, H, W);
        H *= 2;
        W *= 2;
    }
    y = floats(cx, H * W * 3);
    run_end(cx, y, x, d, H, W);
    op_to_channels_first(cx, image, y, 1, 3, H * W);
    arena_release(cx, mark);
}

const struct vae_class autoencoder_kl = {.name = "AutoencoderKL",
                                         .configure = configure,
                                         .bind = bind,
                                         .decode = decode,
                                         .free = free_decoder,
                                         .scaling_factor = 0.18215};
