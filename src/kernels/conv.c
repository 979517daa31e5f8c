/* Convolution as a matrix product over windows (implicit GEMM):
 *
 *     y[b,i,j,n] = epilogue( sum_{p,q,c} x[b, i*stride + p - pad, j*stride + q - pad, c] w[n,c,p,q]
 * )
 *
 * PyTorch's cross-correlation on channels-last pictures. Rows of the product are output pixels,
 * and the row source says where the channels under each tap lie, so padding, stride and
 * nearest-neighbour enlargement cost nothing and no matrix of windows is ever stored.
 *
 * B batch   H, W picture sides   C channels in   N channels out   k side of the window */
#include "kernels/conv3x3.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/op_log.h"

struct windows {
    const float *x; /* (B,H,W,C) */
    struct conv_shape shape;
    size_t C, k;
    size_t in_H, in_W;   /* sides after enlargement */
    size_t out_H, out_W; /* sides of y, of a strip its rows */
};

/* Where input row or column `i` of the padded, enlarged picture lies in the stored one of `side`;
 * false on padding. */
static bool source_index(size_t *out, size_t i, size_t pad, size_t enlarged, size_t side) {
    if (i < pad || i - pad >= enlarged)
        return false;
    *out = enlarged == side ? i - pad : (i - pad) * side / enlarged;
    return true;
}

static void locate_windows(const void *source, size_t first, size_t rows, const float **at) {
    const struct windows *v = source;
    const struct conv_shape *s = &v->shape;
    for (size_t r = first; r < first + rows; r++) {
        size_t b = r / (v->out_H * v->out_W), j = r % v->out_W;
        size_t i = s->first + r / v->out_W % v->out_H;
        for (size_t p = 0; p < v->k; p++)
            for (size_t q = 0; q < v->k; q++) {
                size_t h, w;
                bool inside = source_index(&h, i * s->stride + p, s->pad_before, v->in_H, s->H) &&
                              source_index(&w, j * s->stride + q, s->pad_before, v->in_W, s->W);
                *at++ = inside ? v->x + ((b * s->H + h - s->x_first) * s->W + w) * v->C : NULL;
            }
    }
}

/* The pixel source of conv3x3.h. */
static const float *window_pixel(const void *source, size_t b, size_t i, size_t j) {
    const struct windows *v = source;
    const struct conv_shape *s = &v->shape;
    size_t h, w;
    bool inside = source_index(&h, s->first + i, s->pad_before, v->in_H, s->H) &&
                  source_index(&w, j, s->pad_before, v->in_W, s->W);
    return inside ? v->x + ((b * s->H + h - s->x_first) * s->W + w) * v->C : NULL;
}

/* What a convolution is. */
static struct windows describe(const float *x, const struct tensor *w, const struct conv_shape *s) {
    struct windows v = {.x = x, .shape = *s, .C = w->shape[1]};
    v.k = w->ndim == 4 ? w->shape[2] : 1;
    v.in_H = s->up_H ? s->up_H : s->H;
    v.in_W = s->up_W ? s->up_W : s->W;
    v.out_H = (v.in_H + s->pad_before + s->pad_after - v.k) / s->stride + 1;
    v.out_W = (v.in_W + s->pad_before + s->pad_after - v.k) / s->stride + 1;
    return v;
}

/* Whether the input is enlarged twice, and y, of a strip too, is whole squares of pixels. */
static bool enlarges_twice(const struct windows *v) {
    const struct conv_shape *s = &v->shape;
    return v->in_H == 2 * s->H && v->in_W == 2 * s->W && s->pad_before == 1 && s->pad_after == 1 &&
           s->first % 2 == 0 && s->rows % 2 == 0;
}

enum method { BY_WINDOWS, BY_WINOGRAD, BY_LINES, BY_LINES_TWICE };

/* Whether Winograd's method pays, which rounds in its own way, the shape of the whole decides, and
 * so of an enlargement; lines round as windows do, so a strip may go either way. */
static enum method method_of(const dl_context *cx, const struct windows *v, size_t N) {
    const struct products *format = products_of(cx);
    if (v->k != 3 || v->shape.stride != 1)
        return BY_WINDOWS;
    if (winograd_pays(format, v->out_H, v->out_W, N, v->C))
        return BY_WINOGRAD;
    if (enlarges_twice(v) && lines_fit_twice(format, v->shape.W))
        return BY_LINES_TWICE;
    return lines_fit(format, v->shape.rows ? v->shape.rows : v->out_H, v->out_W) ? BY_LINES
                                                                                 : BY_WINDOWS;
}

static void convolve(dl_context *cx, float *y, const float *x, const struct tensor *w,
                     const struct conv_shape *s, const struct input_norm *norm,
                     const struct epilogue *ep) {
    struct windows v = describe(x, w, s);
    const size_t N = w->shape[0];
    const enum method method = method_of(cx, &v, N);
    op_note(cx, &(struct op_call){
                    .kind = OP_CONV, .N = N, .K = v.C, .side = v.k, .dtype = w->dtype, .conv = *s});
    if (s->rows)
        v.out_H = s->rows;
    const struct conv3x3 p = {.y = y,
                              .B = s->B,
                              .out_H = v.out_H,
                              .out_W = v.out_W,
                              .N = N,
                              .C = v.C,
                              .weight = w,
                              .ep = ep,
                              .norm = norm,
                              .twice = method == BY_LINES_TWICE,
                              .pixel = window_pixel,
                              .source = &v};
    pages_use(cx, w);
    if (method == BY_WINOGRAD)
        winograd(cx, &p);
    else if (method == BY_LINES || method == BY_LINES_TWICE)
        convolve_lines(cx, &p);
    else
        multiply(cx, &(struct product){.y = y,
                                       .M = s->B * v.out_H * v.out_W,
                                       .N = N,
                                       .C = v.C,
                                       .taps = v.k * v.k,
                                       .weight = w,
                                       .ep = ep,
                                       .locate = locate_windows,
                                       .source = &v});
    pages_done(cx, w);
}

void op_conv2d(dl_context *cx, float *y, const float *x, const struct tensor *w,
               const struct conv_shape *s, const struct epilogue *ep) {
    convolve(cx, y, x, w, s, NULL, ep);
}

void op_norm_conv2d(dl_context *cx, float *y, const float *x, float *room, const struct tensor *w,
                    const struct conv_shape *s, const struct input_norm *norm,
                    const struct epilogue *ep) {
    const struct windows v = describe(x, w, s);
    const size_t mark = arena_mark(cx), P = s->H * s->W, C = v.C;
    if (method_of(cx, &v, w->shape[0]) == BY_LINES &&
        (norm->act == ACT_NONE || norm->act == ACT_SILU)) {
        convolve(cx, y, x, w, s, norm, ep);
        return;
    }
    if (!room)
        room = floats(cx, s->B * P * C);
    for (size_t i = 0; i < s->B; i++)
        op_affine(cx, room + i * P * C, x + i * P * C, norm->a + i * C, norm->b + i * C, P, C,
                  norm->act);
    convolve(cx, y, room, w, s, NULL, ep);
    arena_release(cx, mark);
}
