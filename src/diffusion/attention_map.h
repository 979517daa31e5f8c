/* A look at the cross-attention: how much every pixel attends to each token of the text, averaged
 * over the heads of an attention. (The maps that DAAM, Tang et al. 2022, arXiv 2210.04885, section
 * 3, is made of; what becomes of them is the caller's matter.)
 *
 *     map[i,t] = mean over heads of softmax_t(Wq x_i . Wk s_t / sqrt(d))
 *
 * Where text and picture share one list of keys (DeepFloyd IF) the softmax runs over all of them
 * and the map is the text's part: its rows then sum to less than 1.
 *
 * B batch   H, W sides of the level's picture   P = H W pixels   T tokens of the text */
#ifndef DLENS_DIFFUSION_ATTENTION_MAP_H
#define DLENS_DIFFUSION_ATTENTION_MAP_H

#include "diffusion/attention.h"

/* Who looks. */
struct attention_tap {
    /* map (B-first,H,W,T), channels last; dies when the call returns. `attention` tells the
     * attentions of a UNet apart: it is another address for each. */
    void (*fn)(void *user, const void *attention, const float *map, size_t items, size_t H,
               size_t W, size_t T);
    void *user;
    size_t first; /* items of the batch before it are not looked at: the negative half */
};

/* The tap on its way through a UNet. */
struct attention_view {
    const struct attention_tap *tap;
    size_t H, W; /* of the running level */
};

/* Shows attention `w` with these queries and keys, whose first T keys are the text's. q (B,P,C),
 * k (B,keys,C). view NULL: nothing happens. Runs in plan mode too. */
void attention_show(dl_context *cx, struct attention_view *view, const void *w, const float *q,
                    const float *k, const struct attention_shape *shape, size_t T);

/* The same for Attention(n, s) of attention.h, n (B,P,C), s (B,T,D): makes queries and keys again,
 * so that who does not look pays nothing. */
void attention_show_cross(dl_context *cx, struct attention_view *view, const float *n,
                          const float *s, const struct attention *w, size_t B, size_t P, size_t T);

#endif
