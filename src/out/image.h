/* Pictures in memory: 8-bit RGB, rows from the top, (height,width,3). */
#ifndef DLENS_OUT_IMAGE_H
#define DLENS_OUT_IMAGE_H

#include "base/context.h"

enum { IMAGE_SIDE_MAX = 1 << 16, IMAGE_BYTES_MAX = 1 << 30 }; /* what is made or read at most */

struct image {
    int width, height;
    uint8_t *rgb; /* (height,width,3), owned; NULL when empty */
};

/* A white picture. DL_FAILED (memory) or DL_USAGE (a side below 1, or too large). */
int image_make(dl_context *cx, int width, int height, struct image *out);
void image_free(struct image *image); /* leaves it empty; empty is allowed */

/* rgb (h,w,3) from chw (3,h,w) in about [-1,1]: x/2 + 0.5, clamped, times 255, rounded half to
 * even, as diffusers' image_processor.py does it. NaN becomes 0. */
void image_from_float(uint8_t *rgb, const float *chw, int width, int height);

/* The largest width and height within (max_width, max_height) that keep the shape of
 * (width, height); both at least 1. */
void image_fit(int width, int height, int max_width, int max_height, int *fit_width,
               int *fit_height);

/* A picture of the given size: by area averaging (box filter) along a side that shrinks, by
 * Catmull-Rom cubic interpolation along one that grows. */
int image_resize(dl_context *cx, const uint8_t *rgb, int width, int height, int new_width,
                 int new_height, struct image *out);

/* A copy no larger than max_side on either side (never enlarged). */
int image_thumbnail(dl_context *cx, const uint8_t *rgb, int width, int height, int max_side,
                    struct image *out);

#endif
