/* From a picture to what the vision tower takes: resized, cropped, in numbers around 0. */
#ifndef DLENS_VISION_PREPROCESS_H
#define DLENS_VISION_PREPROCESS_H

#include "vision/resize.h"

/* What preprocessor_config.json says, by its own names. */
struct preprocess {
    bool do_resize, do_center_crop, do_rescale, do_normalize;
    enum resample resample;
    size_t shortest_edge; /* of `size`; 0: it has height and width */
    size_t height, width;
    size_t side; /* S: the result is a square */
    double rescale_factor;
    float image_mean[3], image_std[3];
};

/* Reads the file in `dir` for a vision tower that takes pictures of side x side pixels. DL_MODEL
 * where it is missing, damaged, of another kind of model, or makes pictures of another size. */
int preprocess_open(dl_context *cx, const char *dir, size_t side, struct preprocess *out);

/* out (3,S,S) from a picture of any size. DL_USAGE where the config leaves the picture in a size
 * that the tower does not take, DL_FAILED without memory. */
int preprocess_picture(dl_context *cx, const struct preprocess *p, const struct image *image,
                       float *out);

/* Reads a PNG file as 8-bit RGB (out/png.h; what is transparent is laid on white, as transformers
 * does it). DL_USAGE where it cannot be read; of other formats the message says what to do. */
int picture_read(dl_context *cx, const char *path, struct image *out);

#endif
