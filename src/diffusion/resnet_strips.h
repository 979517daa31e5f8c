/* A residual block over a picture too large to be held more than once: in strips of rows.
 *
 *     u = x,  or  u = conv(nearest(x)) at a larger size
 *     y = shortcut(u) + conv2(act(norm2(conv1(act(norm1(u))))))
 *
 * A group norm needs the sums over the whole of its input before its first output. So u is made
 * strip by strip three times: for the sums of norm1; for h = conv1(...) and the sums of norm2; and
 * for y. What is held are x, y and a few strips of u and h between two convolutions; the price is
 * making u two times more and h once more. Bit for bit the result of resnet(), but where x and y
 * are held in f16: they are held activations (nn/held.h).
 *
 * H, W sides of u and y   K channels of u   N channels of y */
#ifndef DLENS_DIFFUSION_RESNET_STRIPS_H
#define DLENS_DIFFUSION_RESNET_STRIPS_H

#include "diffusion/resnet.h"

/* x (H,W,K) becomes y (H,W,N) at the same place; K = N. A block without time and output scale, as
 * decoders have them. */
void resnet_strips(dl_context *cx, float *x, const struct resnet *w, size_t H, size_t W);

/* y (H,W,N), f32 = conv(act(norm(x (H,W,C)))): a decoder's end. */
void conv_strips(dl_context *cx, float *y, const float *x, const struct norm *norm,
                 const struct conv2d *conv, const struct resnet_style *style, size_t H, size_t W);

/* y (H2,W2,N) from x (H,W,C), u = up(nearest(x)) (H2,W2,K). x lies at the arena's `mark`, as the
 * last piece; y takes its place and is returned. */
float *resnet_strips_enlarge(dl_context *cx, const float *x, const struct conv2d *up,
                             const struct resnet *w, size_t mark, size_t H, size_t W, size_t H2,
                             size_t W2);

#endif
