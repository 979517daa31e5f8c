/* Resizing of 8-bit pictures as Pillow does it, to the same bytes. */
#ifndef DLENS_VISION_RESIZE_H
#define DLENS_VISION_RESIZE_H

#include "out/image.h"

/* Pillow's numbers, as preprocessor_config.json has them. */
enum resample {
    RESAMPLE_NEAREST = 0,
    RESAMPLE_LANCZOS = 1,
    RESAMPLE_BILINEAR = 2,
    RESAMPLE_BICUBIC = 3,
    RESAMPLE_BOX = 4,
    RESAMPLE_HAMMING = 5
};

/* A part of the resized picture. */
struct part {
    size_t left, top, width, height;
};

/* out (part.height, part.width, 3): this part of what Image.resize((new_width, new_height)) makes
 * of the picture. Only the part is computed, so new_width and new_height may be as large as a
 * picture of one row makes them. The part lies inside and has at least one pixel. DL_FAILED without
 * memory. */
int resize_part(dl_context *cx, const struct image *image, size_t new_width, size_t new_height,
                enum resample resample, const struct part *part, uint8_t *out);

#endif
