/* Layers: weights with the operation that uses them, and how they are bound by name.
 *
 *     linear        y (M,N) = x (M,K) W^T + b                     W (N,K)
 *     convolution   y (B,H,W,N) = x (B,H,W,K) * W + b             W (N,K,k,k)
 *     layer norm    y = (x - mean) / sqrt(var + eps) * w + b      over C */
#include "nn/layers.h"

#include <stdio.h>
#include <string.h>

/* Every alternative of "a|b" with `ending` behind it: "a.weight|b.weight". False if it does not
 * fit (names come from the code, so the buffer is chosen large enough for all of them). */
static bool with_ending(char *out, size_t size, const char *names, const char *ending) {
    size_t used = 0;
    for (;;) {
        size_t length = strcspn(names, "|");
        int n = snprintf(out + used, size - used, "%.*s%s%s", (int)length, names, ending,
                         names[length] ? "|" : "");
        if (n < 0 || (size_t)n >= size - used)
            return false;
        used += (size_t)n;
        if (!names[length])
            return true;
        names += length + 1;
    }
}

enum { NAMES_MAX = 512 };

static void bind_bias(struct binder *b, const float **out, const char *names, size_t N,
                      enum bias bias) {
    char full[NAMES_MAX];
    *out = NULL;
    if (bias == BIAS_NO || !with_ending(full, sizeof full, names, ".bias"))
        return;
    if (bias == BIAS_YES || bind_has(b, full))
        bind_vector(b, out, full, N);
}

static void bind_named(struct binder *b, struct tensor *out, const char *names, size_t ndim,
                       const size_t *shape) {
    char full[NAMES_MAX];
    if (with_ending(full, sizeof full, names, ".weight"))
        bind_weight(b, out, full, ndim, shape);
}

void bind_linear(struct binder *b, struct linear *out, const char *names, size_t N, size_t K,
                 enum bias bias) {
    bind_named(b, &out->weight, names, 2, (const size_t[]){N, K});
    bind_bias(b, &out->bias, names, N, bias);
}

void bind_conv2d(struct binder *b, struct conv2d *out, const char *names, size_t N, size_t K,
                 size_t k, enum bias bias) {
    bind_named(b, &out->weight, names, 4, (const size_t[]){N, K, k, k});
    bind_bias(b, &out->bias, names, N, bias);
}

void bind_norm(struct binder *b, struct norm *out, const char *names, size_t C) {
    char full[NAMES_MAX];
    if (with_ending(full, sizeof full, names, ".weight"))
        bind_vector(b, &out->weight, full, C);
    bind_bias(b, &out->bias, names, C, BIAS_YES);
}

void linear(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M) {
    op_linear(cx, y, x, &w->weight, M, &(struct epilogue){.bias = w->bias});
}

void linear_act(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M,
                enum activation act) {
    op_linear(cx, y, x, &w->weight, M, &(struct epilogue){.bias = w->bias, .act = act});
}

void linear_gate(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M,
                 enum activation act) {
    op_linear(cx, y, x, &w->weight, M,
              &(struct epilogue){.bias = w->bias, .act = act, .factor = y});
}

struct linear linear_rows(const struct linear *w, size_t first, size_t count) {
    return (struct linear){.weight = tensor_rows(&w->weight, first, count),
                           .bias = w->bias ? w->bias + first : NULL};
}

void linear_add(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M) {
    op_linear(cx, y, x, &w->weight, M, &(struct epilogue){.bias = w->bias, .residual = y});
}

/* Stride 1 and (k-1)/2 zeros around: the output has the input's sides. */
struct conv_shape same_size(const struct conv2d *w, size_t B, size_t H, size_t W) {
    const size_t pad = w->weight.ndim == 4 ? (w->weight.shape[2] - 1) / 2 : 0;
    return (struct conv_shape){
        .B = B, .H = H, .W = W, .stride = 1, .pad_before = pad, .pad_after = pad};
}

void conv2d(dl_context *cx, float *y, const float *x, const struct conv2d *w, size_t B, size_t H,
            size_t W) {
    const struct conv_shape s = same_size(w, B, H, W);
    op_conv2d(cx, y, x, &w->weight, &s, &(struct epilogue){.bias = w->bias});
}

void norm_conv2d(dl_context *cx, float *y, const float *x, float *room, const struct norm_conv *w,
                 const struct conv_shape *s) {
    const size_t C = w->conv->weight.shape[1], mark = arena_mark(cx);
    float *a = floats(cx, s->B * C), *b = floats(cx, s->B * C);
    op_group_norm_factors(cx, a, b, x, w->norm->weight, w->norm->bias, w->scale, w->shift, s->B,
                          s->H * s->W, C, w->groups, w->eps);
    op_norm_conv2d(cx, y, x, room, &w->conv->weight, s, &(struct input_norm){a, b, w->act},
                   &(struct epilogue){.bias = w->conv->bias, .residual = w->residual});
    arena_release(cx, mark);
}

void conv2d_enlarged(dl_context *cx, float *y, const float *x, const struct conv2d *w, size_t B,
                     size_t H, size_t W, size_t up_H, size_t up_W) {
    struct conv_shape s = same_size(w, B, H, W);
    s.up_H = up_H;
    s.up_W = up_W;
    op_conv2d(cx, y, x, &w->weight, &s, &(struct epilogue){.bias = w->bias});
}

void layer_norm(dl_context *cx, float *y, const float *x, const struct norm *w, size_t M, size_t C,
                float eps) {
    op_layer_norm(cx, y, x, w->weight, w->bias, M, C, eps);
}

size_t repeat_items(dl_context *cx, float *x, size_t S, size_t B, size_t n) {
    for (size_t b = S; b < B && !planning(cx); b++)
        memcpy(x + b * n, x + b % S * n, n * sizeof *x);
    return B;
}
