/* Numerical operations on f32 activations, channels last. They return nothing and cannot fail.
 * Scratch comes from the context's arena, so every one of them can run in plan mode (counts,
 * computes nothing). Threads split outputs, never reductions: results do not depend on their
 * number; they do not depend on the batch an item is in either.
 *
 * B batch   H, W picture sides   C channels   M rows (tokens, pixels)   N outputs   K inputs
 * T tokens   h heads   d channels of a head */
#ifndef DLENS_KERNELS_OPS_H
#define DLENS_KERNELS_OPS_H

#include "base/context.h"
#include "base/tensor.h"

enum activation { ACT_NONE, ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_QUICK_GELU, ACT_RELU };

/* What happens to a product before it is stored: y = act(product + bias) * factor + residual. */
struct epilogue {
    const float *bias;     /* (N) or NULL */
    const float *residual; /* (M,N) contiguous, may be y itself; or NULL */
    enum activation act;
    const float *factor; /* like residual */
};

/* y (M,N) = epilogue(x (M,K) w^T), w (N,K) of dtype F32, F16, BF16, or I8 with a scale for each of
 * the N rows, all contiguous. The result is that of the same weights widened to f32, bit for bit. y
 * may not overlap x. ep may be NULL. */
void op_linear(dl_context *cx, float *y, const float *x, const struct tensor *w, size_t M,
               const struct epilogue *ep);

struct conv_shape {
    size_t B, H, W; /* input picture */
    size_t stride;  /* 1 or 2 */
    size_t pad_before, pad_after; /* zeros above/left and below/right */
    /* input is first enlarged to (up_H, up_W) by nearest neighbour as torch does it (source index
     * floor(i * H / up_H)); 0: not enlarged */
    size_t up_H, up_W;
    /* A strip of the output alone, for one picture: rows [first, first + rows), y (1,rows,W',N),
     * from an x that begins with row x_first of the input and holds the rows that are needed. Equal
     * to those rows of the whole, bit for bit, where first is a multiple of CONV_STRIP. rows 0: all
     * of the output, x_first then 0. */
    size_t first, rows, x_first;
};

enum { CONV_STRIP = 12 }; /* rows: whole tiles of any algorithm */

/* y (B,H',W',N) = epilogue(x (B,H,W,K) * w), w (N,K,kh,kw) with kh = kw = 1 or 3, as PyTorch's
 * cross-correlation. H' = (H + pads - kh) / stride + 1. Never a full im2col buffer. */
void op_conv2d(dl_context *cx, float *y, const float *x, const struct tensor *w,
               const struct conv_shape *s, const struct epilogue *ep);

/* A normalisation of a convolution's input, with factors of op_group_norm_factors:
 * x'[i,p,c] = act(x[i,p,c] a[i,c] + b[i,c]); padding stays zero. */
struct input_norm {
    const float *a, *b; /* (B,K) */
    enum activation act;
};

/* op_conv2d of x'. Where convolutions can put the norm in as they read x, in products of bf16, x'
 * is never written, and act is exact to what its rounding to bf16 leaves; elsewhere it goes to
 * `room` (B,H,W,K), which may be x; NULL: a place of its own in the arena. Strips are not taken. */
void op_norm_conv2d(dl_context *cx, float *y, const float *x, float *room, const struct tensor *w,
                    const struct conv_shape *s, const struct input_norm *norm,
                    const struct epilogue *ep);

struct attention_shape {
    size_t batch, heads, queries, keys, head_dim;
    float scale;          /* on the scores, 1/sqrt(d) or 1 */
    bool causal;          /* query i sees keys 0..i */
    const float *bias;    /* (heads, queries, keys) added to the scores, or NULL */
    const float *key_bias; /* (batch, keys) added to the scores (0 or a large negative), or NULL */
};

/* out (B,Tq,h*d) = softmax(scale q k^T + bias) v, q (B,Tq,h*d), k and v (B,Tk,h*d). Never the full
 * score matrix. */
void op_attention(dl_context *cx, float *out, const float *q, const float *k, const float *v,
                  const struct attention_shape *s);

/* The probabilities themselves, of the first `kept` keys: p (B,h,Tq,kept). For looking at: much
 * slower than op_attention. */
void op_attention_map(dl_context *cx, float *p, const float *q, const float *k,
                      const struct attention_shape *s, size_t kept);

/* y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimension C. y may be x. */
void op_layer_norm(dl_context *cx, float *y, const float *x, const float *weight,
                   const float *bias, size_t M, size_t C, float eps);

/* y = x / sqrt(mean(x^2) + eps) * weight (T5). y may be x. */
void op_rms_norm(dl_context *cx, float *y, const float *x, const float *weight, size_t M, size_t C,
                 float eps);

/* Group norm over (pixels, C/groups) of each item, then the activation; x (B,P,C), P pixels.
 * If scale and shift (B,C) are given: act(norm * (1 + scale) + shift). y may be x. */
void op_group_norm(dl_context *cx, float *y, const float *x, const float *weight,
                   const float *bias, const float *scale, const float *shift, size_t B, size_t P,
                   size_t C, size_t groups, float eps, enum activation act);

/* The same in two parts: y = act(x a + b), a and b (B,C). */
void op_group_norm_factors(dl_context *cx, float *a, float *b, const float *x, const float *weight,
                           const float *bias, const float *scale, const float *shift, size_t B,
                           size_t P, size_t C, size_t groups, float eps);

/* Group norm of a picture that is never whole in memory (one item): its pixels are added up in
 * order, as many at a time as are there; the sums give a factor and a term per channel, a and b (C),
 * and y (n,C) = act(x a + b). Bit for bit what op_group_norm makes of the whole. */
struct group_sums {
    size_t pixels;         /* added so far */
    double *strip, *total; /* (2,C) each: sums, squares; in the arena */
};
void op_group_sums_begin(dl_context *cx, struct group_sums *s, size_t C);
void op_group_sums_add(dl_context *cx, struct group_sums *s, const float *x, size_t n, size_t C);
void op_group_factors(dl_context *cx, float *a, float *b, const struct group_sums *s,
                      const float *weight, const float *bias, size_t C, size_t groups, float eps);
void op_affine(dl_context *cx, float *y, const float *x, const float *a, const float *b, size_t n,
               size_t C, enum activation act);

/* y (n) = act(x); y may be x. */
void op_activate(dl_context *cx, float *y, const float *x, size_t n, enum activation act);

/* y (n) += x (n);  y (B,P,C) += x (B,C) for every pixel;  y (n) *= s. */
void op_add(dl_context *cx, float *y, const float *x, size_t n);
void op_add_channels(dl_context *cx, float *y, const float *x, size_t B, size_t P, size_t C);
void op_scale(dl_context *cx, float *y, float s, size_t n);

/* y (M, A+B) = [a (M,A) | b (M,B)]: the skip connections' concatenation over channels. b is F32 or
 * F16. */
void op_concat(dl_context *cx, float *y, const float *a, size_t A, const void *b, enum dtype b_dtype,
               size_t B, size_t M);

/* (B,C,P) <-> (B,P,C): PyTorch's order to channels last and back. */
void op_to_channels_last(dl_context *cx, float *y, const float *x, size_t B, size_t C, size_t P);
void op_to_channels_first(dl_context *cx, float *y, const float *x, size_t B, size_t C, size_t P);

/* Row `index` of table (rows, C) widened to f32. The caller has checked the index. */
void op_embedding_row(dl_context *cx, float *y, const struct tensor *table, size_t index);

/* Widens n values of any float dtype to f32. */
void op_widen(dl_context *cx, float *y, const void *x, enum dtype dtype, size_t n);

/* Rounds n values to f16 (saturating). */
void op_narrow(dl_context *cx, uint16_t *y, const float *x, size_t n);

/* The same at the same place, of which the first half is then used: returns it. */
uint16_t *op_narrow_in_place(dl_context *cx, float *x, size_t n);

#endif
