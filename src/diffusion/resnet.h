/* The residual block of UNets and decoders: diffusers' ResnetBlock2D.
 *
 *     h = conv1(act(norm1(x)))
 *     h = act(norm2(h + Wt act(temb)))                       or, with scale_shift,
 *     h = act(norm2(h) (1 + scale) + shift)                  [scale | shift] = Wt act(temb)
 *     y = (shortcut(x) + conv2(h)) / output_scale
 *
 * A block that changes the size does so behind act(norm1(x)) and on x: up by nearest neighbour,
 * down by the mean of 2x2.
 *
 * (He et al. 2016, arXiv 1512.03385, with group norm and time; scale and shift: Dhariwal & Nichol
 * 2021, arXiv 2105.05233, section 3.1.) The shortcut is the identity where the width stays.
 *
 * B batch   H, W sides   K input channels   N output channels   E width of temb */
#ifndef DLENS_DIFFUSION_RESNET_H
#define DLENS_DIFFUSION_RESNET_H

#include "nn/layers.h"

/* What all residual blocks of a network have in common. */
struct resnet_style {
    size_t groups, E; /* E 0: without time (decoders) */
    float eps;
    enum activation act;
    bool scale_shift;
    bool skip_time_act; /* Wt temb, without act */
    float output_scale;
};

struct resnet {
    const struct resnet_style *style; /* outlives the block */
    size_t K, N;
    struct norm norm1, norm2;
    struct conv2d conv1, conv2;
    struct linear time;         /* (N,E) */
    struct linear scale, shift; /* (N,E) each, if scale_shift */
    struct linear shortcut;     /* (N,K), if K != N */
};

/* Binds PREFIX.norm1, conv1, time_emb_proj, norm2, conv2, conv_shortcut. */
void bind_resnet(struct binder *b, struct resnet *out, const struct resnet_style *style, size_t K,
                 size_t N);

/* y (B,H,W,N) from x (B,H,W,K) and temb (B,E; NULL if E is 0). y may be x where K = N. */
void resnet(dl_context *cx, float *y, const float *x, const struct resnet *w, const float *temb,
            size_t B, size_t H, size_t W);

/* The same where x is not needed any more: overwrites it, to save a buffer, if K != N. */
void resnet_consume(dl_context *cx, float *y, float *x, const struct resnet *w, const float *temb,
                    size_t B, size_t H, size_t W);

/* The same with a change of size, K = N: y (B,H2,W2,N), enlarged; y (B,H2,W2,N), sides halved as in
 * nn/resample.h. */
void resnet_enlarge(dl_context *cx, float *y, const float *x, const struct resnet *w,
                    const float *temb, size_t B, size_t H, size_t W, size_t H2, size_t W2);
void resnet_halve(dl_context *cx, float *y, const float *x, const struct resnet *w,
                  const float *temb, size_t B, size_t H, size_t W);

#endif
