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

void op_conv2d(dl_context *cx, float *y, const float *x, const struct tensor *w,
               const struct conv_shape *s, const struct epilogue *ep) {
    struct windows v = {.x = x, .shape = *s, .C = w->shape[1]};
    v.k = w->ndim == 4 ? w->shape[2] : 1;
    op_note(cx, &(struct op_call){.kind = OP_CONV,
                                  .N = w->shape[0],
                                  .K = v.C,
                                  .side = v.k,
                                  .dtype = w->dtype,
                                  .conv = *s});
    v.in_H = s->up_H ? s->up_H : s->H;
    v.in_W = s->up_W ? s->up_W : s->W;
    v.out_H = (v.in_H + s->pad_before + s->pad_after - v.k) / s->stride + 1;
    v.out_W = (v.in_W + s->pad_before + s->pad_after - v.k) / s->stride + 1;
    const struct products *format = products_of(cx);
    const bool plain = v.k == 3 && s->stride == 1;
    const bool by_winograd =
        plain && winograd_pays(format, v.out_H, v.out_W, w->shape[0], v.C); /* of the whole */
    const bool by_lines = plain && lines_fit(format, v.out_W);
    if (s->rows)
        v.out_H = s->rows;
    const struct conv3x3 p = {.y = y,
                              .B = s->B,
                              .out_H = v.out_H,
                              .out_W = v.out_W,
                              .N = w->shape[0],
                              .C = v.C,
                              .weight = w,
                              .ep = ep,
                              .pixel = window_pixel,
                              .source = &v};
    pages_use(cx, w);
    if (by_winograd)
        winograd(cx, &p);
    else if (by_lines)
        convolve_lines(cx, &p);
    else
        multiply(cx, &(struct product){.y = y,
                                       .M = s->B * v.out_H * v.out_W,
                                       .N = w->shape[0],
                                       .C = v.C,
                                       .taps = v.k * v.k,
                                       .weight = w,
                                       .ep = ep,
                                       .locate = locate_windows,
                                       .source = &v});
    pages_done(cx, w);
}
