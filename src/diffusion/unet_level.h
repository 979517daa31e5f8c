/* One level of a UNet on the way down or up, or its middle: residual blocks, each followed by what
 * attends, and then the change of size.
 *
 *     down:  x = attend(resnet(x)), kept for the way up; ...; x = conv(x) at half the size
 *     mid:   x = resnet(x); x = resnet(attend(x)); ...
 *     up:    x = attend(resnet([x | kept])); ...;        x = conv(nearest(x)) at twice the size
 *
 * B batch   H, W sides   C channels   E width of temb   T tokens */
#ifndef DLENS_DIFFUSION_UNET_LEVEL_H
#define DLENS_DIFFUSION_UNET_LEVEL_H

#include "diffusion/added_attention.h"
#include "diffusion/resnet.h"
#include "diffusion/transformer.h"
#include "diffusion/unet.h"

struct level {
    const struct unet_level *config;
    size_t resnet_count;
    struct resnet *resnets;
    struct transformer *transformers;         /* (config->layers) or NULL, by config->attention */
    struct self_attention *self_attentions;   /* the same */
    struct added_attention *added_attentions; /* the same */
    struct conv2d conv_resampler;             /* if config->resample, by config->resampler */
    struct resnet resnet_resampler;           /* the same */
};

/* The styles of residual blocks in a UNet: they depend on how a level resamples. */
struct level_styles {
    struct resnet_style conv, resnet;         /* RESAMPLE_CONV, RESAMPLE_RESNET */
    struct resnet_style mid_conv, mid_resnet; /* the same for the middle */
};

/* Bind "down_blocks.I.", "mid_block." and "up_blocks.I.". `in` is the width of the level's input;
 * `skip` that of the last kept activation that an up level takes (the others have its own width).
 * They fail only when memory is short; level_free is then still to be called. */
int bind_down_level(struct binder *b, struct level *w, const struct unet_config *c, size_t i,
                    const struct level_styles *styles, size_t in);
int bind_mid_level(struct binder *b, struct level *w, const struct unet_config *c,
                   const struct level_styles *styles);
int bind_up_level(struct binder *b, struct level *w, const struct unet_config *c, size_t i,
                  const struct level_styles *styles, size_t in, size_t skip);
void level_free(struct level *w);

/* An activation (B,H,W,C) in the arena; `mark` is the arena's mark below it. Only the first
 * `items` are there: item b of the batch is equal to item b mod items. They are fewer than B where
 * items of a batch share their sample, until the text tells them apart. One that is kept becomes
 * what is held (nn/held.h) as soon as nothing reads it any more until the way up. */
struct activations {
    float *data;
    bool held;
    size_t mark, H, W, C, items;
};

enum { SKIPS_MAX = 1 + UNET_LEVELS_MAX * (UNET_LAYERS_MAX + 1) };

/* What runs through the levels. */
struct unet_state {
    size_t B;
    const float *temb; /* (B,E) */
    struct text text;
    size_t downsample_padding;
    struct attention_view view;          /* who looks at the attentions; tap NULL: nobody */
    struct activations x;                /* the running activation */
    struct activations skips[SKIPS_MAX]; /* kept for the way up */
    size_t skip_count;
};

/* Takes new memory for a running activation of this size, with room for the whole batch and the
 * items that the old one has. The old one stays where it is. */
void state_next(dl_context *cx, struct unet_state *s, size_t H, size_t W, size_t C);

/* Keeps the running activation for the way up. */
void state_keep(struct unet_state *s);

/* The activation kept last gives up what it needs no more as a held one (nn/held.h); the running
 * one, made from it, moves down behind it. */
void state_hold(dl_context *cx, struct unet_state *s);

/* Makes all items of the running activation, if they are fewer. */
void state_repeat(dl_context *cx, struct unet_state *s);

void down_level(dl_context *cx, struct unet_state *s, const struct level *w);
void mid_level(dl_context *cx, struct unet_state *s, const struct level *w);

/* Layers [first, end) of a level on the way up, and behind the last the change of size. */
void up_level(dl_context *cx, struct unet_state *s, const struct level *w, size_t first,
              size_t end);

/* The keys and values of layer i's attention to keep, as text_keep: of states (N,T,D). */
void layer_keep(dl_context *cx, float *kept, size_t *at, const struct level *w, size_t i,
                const float *states, size_t N, size_t T);

#endif
