/* Where a picture looks at each word: heat maps of the cross-attention, after DAAM (Tang et al.
 * 2022, arXiv 2210.04885, section 3).
 *
 * For one picture, the positive half alone where it is guided:
 *
 *     A_i[y,x,t]  attention i of the UNet (i = 0..I-1: every layer of every level, the middle
 *                 included), the mean over its heads and over all calls of the UNet (steps), at
 *                 the level's own size
 *     A_i[y,x,g]  the mean over the tokens t of group g (the sub-words of a word)
 *     heat[g]     the mean over i of max(0, bicubic enlargement of A_i[g] to (h,w))
 *
 * (h,w) are the sides of the latents, in a cascade of the first stage's picture, which alone is
 * looked at. A value is a share of attention: over all tokens they sum to 1 (up to the
 * enlargement's overshoot; with DeepFloyd's joint keys to the share that the text has).
 *
 * Differences from DAAM's program: it takes heads apart until behind the clamp, leaves out the
 * middle level, and sums over steps. What falls below 0 in the enlargement of a mean over heads is
 * small, and a constant factor does not change a map.
 *
 * G groups of tokens (words.h)   H, W sides of a level */
#ifndef DLENS_LENS_HEAT_H
#define DLENS_LENS_HEAT_H

#include "diffusion/attention_map.h"
#include "lens/words.h"

struct heat_level {
    const void *attention; /* which it is */
    float *sum;            /* (H,W,G) over the calls */
    size_t H, W, calls;
};

struct heat {
    const struct words *words; /* borrowed */
    struct heat_level *levels; /* (count) one for each attention */
    size_t count, capacity;
    bool failed; /* memory was short, or a map did not fit the words */
};

/* A collector for one picture; freed with heat_free. */
void heat_begin(struct heat *heat, const struct words *words);
void heat_free(struct heat *heat);

/* The function for struct attention_tap; user is the struct heat. */
void heat_take(void *user, const void *attention, const float *map, size_t items, size_t H,
               size_t W, size_t T);

/* map (G,h,w). DL_FAILED where the collector has failed or seen nothing. */
int heat_finish(dl_context *cx, const struct heat *heat, float *map, size_t h, size_t w);

#endif
