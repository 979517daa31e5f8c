/* How far a picture, and what it was made from, is from the last layer's.
 *
 *     picture   RMS = sqrt(mean over pixels and channels of (x - x*)^2), in 8-bit levels
 *     relative  |c - c*| / |c*|, Frobenius norms over all tokens, padding included as the image
 *               model sees it; 0 where they are equal
 *     cosine    mean over the tokens t of c_t . c*_t / (|c_t| |c*_t|)
 *
 * x* is the picture of the run's last layer with the same prompt and seed; c* the prompt's ordinary
 * conditioning, final_norm(H_L) of the whole encoder, whatever the run's control, norm or blocks
 * left out.
 *
 * T tokens   D width of a conditioning   L blocks of the encoder */
#ifndef DLENS_LENS_DISTANCE_H
#define DLENS_LENS_DISTANCE_H

#include "base/context.h"

struct cJSON;
struct grid;

/* NAN: not known, or not defined (a conditioning of zeros). */
struct distance {
    double relative, cosine;
};

/* c, ordinary (T,D). */
struct distance conditioning_distance(const float *c, const float *ordinary, size_t T, size_t D);

/* The pictures' distances, from the files of those that are made, two at a time; x* is the last
 * layer's of `lens`, a grid of the same prompts and seeds: the same one, or that of the run beside
 * which this is a control. */
int distance_pictures(dl_context *cx, struct grid *grid, const char *folder,
                      const struct grid *lens, const char *lens_folder);

/* Conditionings in a manifest: [{"prompt", "layer", "distance", "cosine"}]; native is layer -1.
 * Writing gives NULL without memory; reading takes what fits the grid. */
struct cJSON *distance_json(const struct grid *grid);
void distance_take(struct grid *grid, const struct cJSON *list);

/* A number, or null for NAN. */
struct cJSON *distance_number(double value);

#endif
