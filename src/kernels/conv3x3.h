/* 3x3 convolutions of stride 1 by other means than the product of windows (gemm.h), behind
 * op_conv2d: with fewer multiplications (winograd.c), or without gathering windows (lines.c). */
#ifndef DLENS_KERNELS_CONV3X3_H
#define DLENS_KERNELS_CONV3X3_H

#include "kernels/kernels.h"

/* y (B,out_H,out_W,N) from C channels. */
struct conv3x3 {
    float *y;
    size_t B, out_H, out_W, N, C;
    const struct tensor *weight; /* (N,C,3,3) */
    const struct epilogue *ep;   /* may be NULL */
    const struct input_norm *norm; /* for lines.c only; NULL: the input as it is */
    bool twice; /* for lines.c only: the input is enlarged twice, to the nearest, y an even number
                   of lines from an even one on */

    /* Where the channels of the pixel under row i, column j of the padded input of item b lie, NULL
     * on padding. Only asked for i < out_H + 2, j < out_W + 2. */
    const float *(*pixel)(const void *source, size_t b, size_t i, size_t j);
    const void *source;
};

/* True where it takes less time than nine products per pixel. Depends on the format and the shape
 * of one item alone, so that an item's result depends neither on the batch nor on the threads. */
bool winograd_pays(const struct products *format, size_t out_H, size_t out_W, size_t N, size_t C);

void winograd(dl_context *cx, const struct conv3x3 *p);

/* True where the format has tiles for it and lines are whole tiles, as many together as divide a
 * picture. */
bool lines_fit(const struct products *format, size_t out_H, size_t out_W);

/* True where the four pixels that each of W in a line becomes can be made from it, with four taps
 * instead of nine. */
bool lines_fit_twice(const struct products *format, size_t W);

void convolve_lines(dl_context *cx, const struct conv3x3 *p);

#endif
