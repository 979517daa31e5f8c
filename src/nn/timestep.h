/* Time embedding: what tells a denoiser how noisy its input is.
 * B batch   C width of the sinusoids   E width of the embedding   G width of the condition */
#ifndef DLENS_NN_TIMESTEP_H
#define DLENS_NN_TIMESTEP_H

#include "nn/layers.h"

/* out (C): sinusoids of t at C/2 frequencies from 1 down to about 1/10000 (Ho et al. 2020, after
 * Vaswani et al. 2017, section 3.5):
 *     w_i = exp(-ln(10000) i / (C/2 - freq_shift))      out = [sin(t w) | cos(t w)]
 * cosines_first swaps the halves; an odd C is filled up with 0. t may be fractional. */
void sinusoids(float *out, float t, size_t C, bool cosines_first, double freq_shift);

/* out (B,E) = post_act(W2 act(W1 (x + Wc condition))): diffusers' TimestepEmbedding. */
struct timestep_embedding {
    size_t C, E, G;
    struct linear linear_1, linear_2;
    struct linear cond_proj; /* (C,G) without bias; only if G > 0 */
    enum activation act, post_act;
};

/* Binds NAME.linear_1, NAME.linear_2 and, if G > 0, NAME.cond_proj. */
void bind_timestep_embedding(struct binder *b, struct timestep_embedding *out, const char *name,
                             size_t C, size_t E, size_t G);

/* x (B,C); condition (B,G) or NULL. */
void timestep_embedding(dl_context *cx, float *out, const float *x, const float *condition,
                        const struct timestep_embedding *w, size_t B);

#endif
