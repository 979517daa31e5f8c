/* Simple measures of a picture, for the flags of a run: a layer's picture may be one flat colour
 * or undenoised noise, which an annotator should know.
 *
 * spread:    the largest standard deviation of the three channels, in 8-bit levels.
 * roughness: Geary's contiguity ratio (R. C. Geary, 1954) over horizontal and vertical neighbours
 *            of the grey picture: mean squared difference of neighbours / (2 variance). 0 for a
 *            smooth picture, 1 for white noise; photographs lie below 0.2.
 * fineness:  the share of the picture's energy in its fine detail, at a coarse scale: noise among
 *            latents becomes blotches of eight pixels and more, which are smooth from pixel to
 *            pixel. The luminance (0.2126 R + 0.7152 G + 0.0722 B) is averaged over k x k blocks,
 *            k the least that leaves no side above 64, weighted by a Hann window after its weighted
 *            mean is taken away, and transformed by a discrete Fourier transform to F:
 *
 *                fineness = sum of |F|^2 where |f| >= 1/4 / sum of |F|^2,  f in cycles per block
 *
 *            1/4 is half the highest frequency of a side. White noise has 0.8 (all of the frequency
 *            plane but a disc: 1 - pi / 16), at any size and also where it was drawn at 64 x 64
 *            and enlarged eightfold (0.69); amplitudes falling as 1/sqrt(f) 0.5 to 0.6; as 1/f, as
 *            those of photographs, 0.2 to 0.25; 314 pictures of the bundled model, of 1 to 30 steps
 *            and all layers, its controls included, at most 0.12. */
#ifndef DLENS_OUT_FLAGS_H
#define DLENS_OUT_FLAGS_H

#include <stddef.h>
#include <stdint.h>

double image_spread(const uint8_t *rgb, int width, int height);
double image_roughness(const uint8_t *rgb, int width, int height); /* 0 where spread is 0 */
double image_fineness(const uint8_t *rgb, int width, int height); /* the same; and below 8 blocks */

/* Root mean square difference of two pictures of the same size, in 8-bit levels. */
double image_distance(const uint8_t *a, const uint8_t *b, int width, int height);

enum { IMAGE_FLAGS_MAX = 2 };

/* Names of the flags that hold: "blank" (spread below 2 levels), else "noise" (roughness above
 * 0.6), else "coarse-noise" (fineness above 0.4: incoherent, though not from pixel to pixel).
 * Returns how many. The names are string constants. */
size_t image_flags(const uint8_t *rgb, int width, int height, const char *names[IMAGE_FLAGS_MAX]);

#endif
