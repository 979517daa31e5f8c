/* Where a picture looks at each word: heat maps of the cross-attention, as DAAM has them (Tang et
 * al. 2022, arXiv 2210.04885, section 3, and its authors' program).
 *
 * For one picture, the positive half alone where it is guided:
 *
 *     A_ia[y,x,t]  head a of attention i of the UNet: every layer of the levels down and up, the
 *                  middle block left out; the mean over all calls of the UNet (steps), at the
 *                  level's own size
 *     D[y,x,t]     the mean over all heads of all attentions of max(0, bicubic enlargement of
 *                  A_ia[t] to (h,w)): an attention of more heads counts more
 *     heat[g]      the mean over the tokens t of group g (the sub-words of a word) of D[t]
 *
 * (h,w) are the sides of the latents, in a cascade of the first stage's picture, which alone is
 * looked at. A value is a share of attention: over all tokens they sum to 1 (up to the
 * enlargement's overshoot; with DeepFloyd's joint keys to the share that the text has). DAAM's
 * program sums over steps where this has the mean, which makes a map of another scale alone; and a
 * UNet that looks at the text in the middle block only, which it does not know, is seen there.
 *
 * G groups of tokens (words.h)   T tokens   H, W sides of a level */
#ifndef DLENS_LENS_HEAT_H
#define DLENS_LENS_HEAT_H

#include "diffusion/attention_map.h"
#include "lens/words.h"

struct heat_level {
    const void *attention; /* which it is */
    bool middle;           /* it stands in the middle block */
    float *sum;            /* (heads,H,W,T) over the calls */
    size_t heads, H, W, calls;
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
void heat_take(void *user, const struct attention_look *look);

/* map (G,h,w). DL_FAILED where the collector has failed or seen nothing. */
int heat_finish(dl_context *cx, const struct heat *heat, float *map, size_t h, size_t w);

#endif
