/* Simple measures of a picture, for the flags of a run: a layer's picture may be one flat colour
 * or undenoised noise, which an annotator should know.
 *
 * spread:    the largest standard deviation of the three channels, in 8-bit levels.
 * roughness: Geary's contiguity ratio (R. C. Geary, 1954) over horizontal and vertical neighbours
 *            of the grey picture: mean squared difference of neighbours / (2 variance). 0 for a
 *            smooth picture, 1 for white noise; photographs lie below 0.2. */
#ifndef DLENS_OUT_FLAGS_H
#define DLENS_OUT_FLAGS_H

#include <stddef.h>
#include <stdint.h>

double image_spread(const uint8_t *rgb, int width, int height);
double image_roughness(const uint8_t *rgb, int width, int height); /* 0 where spread is 0 */

/* Root mean square difference of two pictures of the same size, in 8-bit levels. */
double image_distance(const uint8_t *a, const uint8_t *b, int width, int height);

enum { IMAGE_FLAGS_MAX = 2 };

/* Names of the flags that hold: "blank" (spread below 2 levels), "noise" (roughness above 0.6, not
 * blank). Returns how many. The names are string constants. */
size_t image_flags(const uint8_t *rgb, int width, int height, const char *names[IMAGE_FLAGS_MAX]);

#endif
