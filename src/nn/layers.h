/* Layers: weights with the operation that uses them, and how they are bound by name.
 * Shape letters as in kernels/ops.h. */
#ifndef DLENS_NN_LAYERS_H
#define DLENS_NN_LAYERS_H

#include "kernels/ops.h"
#include "store/bind.h"

struct linear {
    struct tensor weight; /* (N,K) */
    const float *bias;    /* (N) or NULL */
};

struct conv2d {
    struct tensor weight; /* (N,K,k,k) */
    const float *bias;    /* (N) or NULL */
};

struct norm { /* layer norm, group norm; bias NULL for RMS norm */
    const float *weight, *bias;
};

/* Whether a layer has a bias. BIAS_IF_THERE: as the file has it. */
enum bias { BIAS_NO, BIAS_YES, BIAS_IF_THERE };

/* "NAME.weight" and "NAME.bias"; names may list alternatives: "to_q|query". */
void bind_linear(struct binder *b, struct linear *out, const char *names, size_t N, size_t K,
                 enum bias bias);
void bind_conv2d(struct binder *b, struct conv2d *out, const char *names, size_t N, size_t K,
                 size_t k, enum bias bias);
void bind_norm(struct binder *b, struct norm *out, const char *names, size_t C);

/* y (M,N) = x W^T + b;  with activation;  y += x W^T + b;  y = act(x W^T + b) * y. */
void linear(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M);
void linear_act(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M,
                enum activation act);
void linear_add(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M);
void linear_gate(dl_context *cx, float *y, const float *x, const struct linear *w, size_t M,
                 enum activation act);

/* Outputs [first, first + count) of a layer. */
struct linear linear_rows(const struct linear *w, size_t first, size_t count);

/* Same-size convolution (stride 1, pad (k-1)/2): y (B,H,W,N) from x (B,H,W,K). */
void conv2d(dl_context *cx, float *y, const float *x, const struct conv2d *w, size_t B, size_t H,
            size_t W);

/* The same of x enlarged to (up_H,up_W) by nearest neighbour, a 3x3 convolution: y (B,up_H,up_W,N). */
void conv2d_enlarged(dl_context *cx, float *y, const float *x, const struct conv2d *w, size_t B,
                     size_t H, size_t W, size_t up_H, size_t up_W);

/* A group norm and the convolution behind it: y = conv(act(norm(x))) + residual. */
struct norm_conv {
    const struct norm *norm;
    const struct conv2d *conv;
    size_t groups;
    float eps;
    enum activation act;
    const float *scale, *shift; /* (B,K) as op_group_norm takes them, or NULL */
    const float *residual;      /* like y, or NULL */
};

/* x (B,H,W,K) of the shape's sides. room like x, may be x: for what lies between, if need be; NULL: a
 * place of its own. */
void norm_conv2d(dl_context *cx, float *y, const float *x, float *room, const struct norm_conv *w,
                 const struct conv_shape *s);

/* Stride 1, padding (k-1)/2: y is as large as x. */
struct conv_shape same_size(const struct conv2d *w, size_t B, size_t H, size_t W);

void layer_norm(dl_context *cx, float *y, const float *x, const struct norm *w, size_t M, size_t C,
                float eps);

/* x (B,n): item b becomes a copy of item b mod S, of which there are S already. Returns B. */
size_t repeat_items(dl_context *cx, float *x, size_t S, size_t B, size_t n);

#endif
