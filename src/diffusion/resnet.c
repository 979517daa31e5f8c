/* The residual block; formula and shape letters in resnet.h. */
#include "diffusion/resnet.h"

#include "nn/resample.h"

/* The time projection of a scale_shift block is one matrix (2N,E): scale above shift. */
static void split_time(struct resnet *w, const struct linear *both) {
    w->scale.weight = tensor_rows(&both->weight, 0, w->N);
    w->scale.bias = w->shift.bias = both->bias;
    w->shift.weight = tensor_rows(&both->weight, w->N, w->N);
    if (both->bias)
        w->shift.bias = both->bias + w->N;
}

void bind_resnet(struct binder *b, struct resnet *out, const struct resnet_style *style, size_t K,
                 size_t N) {
    struct linear both = {0};

    out->style = style;
    out->K = K;
    out->N = N;
    bind_norm(b, &out->norm1, "norm1", K);
    bind_conv2d(b, &out->conv1, "conv1", N, K, 3, BIAS_YES);
    if (style->E > 0 && style->scale_shift) {
        bind_linear(b, &both, "time_emb_proj", 2 * N, style->E, BIAS_YES);
        split_time(out, &both);
    } else if (style->E > 0) {
        bind_linear(b, &out->time, "time_emb_proj", N, style->E, BIAS_YES);
    }
    bind_norm(b, &out->norm2, "norm2", N);
    bind_conv2d(b, &out->conv2, "conv2", N, N, 3, BIAS_YES);
    if (K != N)
        bind_linear(b, &out->shortcut, "conv_shortcut", N, K, BIAS_YES);
}

/* One of the block's two norms with its convolution. */
static struct norm_conv half_of(const struct resnet_style *s, const struct norm *norm,
                                const struct conv2d *conv) {
    return (struct norm_conv){
        .norm = norm, .conv = conv, .groups = s->groups, .eps = s->eps, .act = s->act};
}

/* h = conv1(act(norm1(x))); room as norm_conv2d has it. */
static void begin(dl_context *cx, float *h, const float *x, float *room, const struct resnet *w,
                  const struct conv_shape *s) {
    const struct norm_conv first = half_of(w->style, &w->norm1, &w->conv1);
    norm_conv2d(cx, h, x, room, &first, s);
}

/* y (B,H,W,N) = (residual + conv2(act(norm2(h)))) / output_scale, with the time put into h or its
 * norm. h is overwritten. */
static void finish(dl_context *cx, float *y, float *h, const float *residual,
                   const struct resnet *w, const float *temb, size_t B, size_t H, size_t W) {
    const struct resnet_style *s = w->style;
    const struct conv_shape same = same_size(&w->conv2, B, H, W);
    struct norm_conv second = half_of(s, &w->norm2, &w->conv2);
    size_t mark = arena_mark(cx);

    if (s->E > 0) {
        float *t = floats(cx, B * s->E); /* (B,E) act(temb) */
        op_activate(cx, t, temb, B * s->E, s->skip_time_act ? ACT_NONE : s->act);
        float *shift = floats(cx, B * w->N);
        if (s->scale_shift) {
            float *scale = floats(cx, B * w->N);
            linear(cx, scale, t, &w->scale, B);
            linear(cx, shift, t, &w->shift, B);
            second.scale = scale;
            second.shift = shift;
        } else {
            linear(cx, shift, t, &w->time, B);
            op_add_channels(cx, h, shift, B, H * W, w->N);
        }
    }
    second.residual = residual;
    norm_conv2d(cx, y, h, h, &second, &same);
    if (s->output_scale != 1.0f)
        op_scale(cx, y, 1.0f / s->output_scale, B * H * W * w->N);
    arena_release(cx, mark);
}

/* normed (B,P,K) = act(norm1(x)) */
static void first_norm(dl_context *cx, float *normed, const float *x, const struct resnet *w,
                       size_t B, size_t P) {
    op_group_norm(cx, normed, x, w->norm1.weight, w->norm1.bias, NULL, NULL, B, P, w->K,
                  w->style->groups, w->style->eps, w->style->act);
}

/* room (B,H,W,K): for norm1's output, NULL for a buffer of its own. */
static void apply(dl_context *cx, float *y, const float *x, float *room, const struct resnet *w,
                  const float *temb, size_t B, size_t H, size_t W) {
    const struct conv_shape same = same_size(&w->conv1, B, H, W);
    size_t P = H * W, mark = arena_mark(cx);
    float *h = floats(cx, B * P * w->N); /* (B,H,W,N) */

    if (w->K != w->N)
        linear(cx, y, x, &w->shortcut, B * P); /* a 1x1 convolution */
    begin(cx, h, x, room, w, &same);
    finish(cx, y, h, w->K != w->N ? y : x, w, temb, B, H, W);
    arena_release(cx, mark);
}

void resnet(dl_context *cx, float *y, const float *x, const struct resnet *w, const float *temb,
            size_t B, size_t H, size_t W) {
    apply(cx, y, x, NULL, w, temb, B, H, W);
}

void resnet_consume(dl_context *cx, float *y, float *x, const struct resnet *w, const float *temb,
                    size_t B, size_t H, size_t W) {
    apply(cx, y, x, w->K != w->N ? x : NULL, w, temb, B, H, W);
}

void resnet_enlarge(dl_context *cx, float *y, const float *x, const struct resnet *w,
                    const float *temb, size_t B, size_t H, size_t W, size_t H2, size_t W2) {
    size_t C = w->K, mark = arena_mark(cx);
    float *h = floats(cx, B * H2 * W2 * C); /* (B,H2,W2,C) */
    struct conv_shape enlarged = same_size(&w->conv1, B, H, W);

    enlarged.up_H = H2;
    enlarged.up_W = W2;
    begin(cx, h, x, NULL, w, &enlarged);
    enlarge_nearest(cx, y, x, B, H, W, C, H2, W2);
    finish(cx, y, h, y, w, temb, B, H2, W2);
    arena_release(cx, mark);
}

void resnet_halve(dl_context *cx, float *y, const float *x, const struct resnet *w,
                  const float *temb, size_t B, size_t H, size_t W) {
    size_t C = w->K, H2 = halved(H), W2 = halved(W), mark = arena_mark(cx);
    float *h = floats(cx, B * H2 * W2 * C);      /* (B,H2,W2,C) */
    float *normed = floats(cx, B * H * W * C);   /* (B,H,W,C) */
    float *pooled = floats(cx, B * H2 * W2 * C); /* (B,H2,W2,C) */

    first_norm(cx, normed, x, w, B, H * W);
    halve_mean(cx, pooled, normed, B, H, W, C);
    conv2d(cx, h, pooled, &w->conv1, B, H2, W2);
    halve_mean(cx, y, x, B, H, W, C);
    finish(cx, y, h, y, w, temb, B, H2, W2);
    arena_release(cx, mark);
}
