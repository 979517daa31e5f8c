/* 3x3 convolution with fewer multiplications (winograd.c), behind op_conv2d. */
#ifndef DLENS_KERNELS_WINOGRAD_H
#define DLENS_KERNELS_WINOGRAD_H

#include "kernels/ops.h"

/* A convolution of stride 1 with a 3x3 window, y (B,out_H,out_W,N) from C channels. */
struct winograd {
    float *y;
    size_t B, out_H, out_W, N, C;
    const struct tensor *weight; /* (N,C,3,3) */
    const struct epilogue *ep;   /* may be NULL */

    /* Where the channels of the pixel under row i, column j of the padded input of item b lie, NULL
     * on padding. Only asked for i < out_H + 2, j < out_W + 2. */
    const float *(*pixel)(const void *source, size_t b, size_t i, size_t j);
    const void *source;
};

/* True where it takes less time than nine products per pixel. Depends on the format and the shape
 * of one item alone, so that an item's result depends neither on the batch nor on the threads. */
bool winograd_pays(const struct products *format, size_t out_H, size_t out_W, size_t N, size_t C);

void winograd(dl_context *cx, const struct winograd *p);

#endif
