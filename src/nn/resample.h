/* Changes of a picture's size without weights; channels last.
 * B batch   H, W sides   C channels */
#ifndef DLENS_NN_RESAMPLE_H
#define DLENS_NN_RESAMPLE_H

#include "base/context.h"

/* y (B,H2,W2,C) from x (B,H,W,C) by nearest neighbour: source index floor(i H / H2), as torch. */
void enlarge_nearest(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W,
                     size_t C, size_t H2, size_t W2);

/* The same by linear interpolation along both sides, corner pixels on corner pixels: source place
 * i (H - 1) / (H2 - 1) (torch's align_corners). */
void enlarge_bilinear(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W,
                      size_t C, size_t H2, size_t W2);

/* The same by Keys' cubic convolution (R. Keys, 1981) with a = -0.75, pixels' centres on pixels'
 * centres, edges repeated: torch's interpolate(mode="bicubic"). May overshoot. */
void enlarge_bicubic(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W,
                     size_t C, size_t H2, size_t W2);

/* A side halved: odd ones lose their last row, but 1 stays 1. */
size_t halved(size_t side);

/* y (B,halved(H),halved(W),C): means of 2x2 pixels of x (B,H,W,C). */
void halve_mean(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W, size_t C);

#endif
