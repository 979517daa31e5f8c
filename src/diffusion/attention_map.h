/* A look at the cross-attention: how much every pixel attends to each token of the text, head by
 * head. (The maps that DAAM, Tang et al. 2022, arXiv 2210.04885, section 3, is made of; what
 * becomes of them is the caller's matter.)
 *
 *     map[a,i,t] = softmax_t(Wq x_i . Wk s_t / sqrt(d)) of head a
 *
 * Where text and picture share one list of keys (DeepFloyd IF) the softmax runs over all of them
 * and the map is the text's part: its rows then sum to less than 1.
 *
 * B batch   h heads   H, W sides of the level's picture   P = H W pixels   T tokens of the text */
#ifndef DLENS_DIFFUSION_ATTENTION_MAP_H
#define DLENS_DIFFUSION_ATTENTION_MAP_H

#include "diffusion/attention.h"

/* One look. `attention` tells the attentions of a UNet apart: it is another address for each. */
struct attention_look {
    const void *attention;
    bool middle;      /* it stands in the UNet's middle block */
    const float *map; /* (items,h,H,W,T); dies when the call returns */
    size_t items, heads, H, W, tokens;
};

/* Who looks. */
struct attention_tap {
    void (*fn)(void *user, const struct attention_look *look);
    void *user;
    size_t first; /* items of the batch before it are not looked at: the negative half */
};

/* The tap on its way through a UNet. */
struct attention_view {
    const struct attention_tap *tap;
    size_t H, W; /* of the running level */
    bool middle; /* it is the middle block */
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
