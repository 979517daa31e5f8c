/* Attention of DeepFloyd IF's UNets: the picture attends to the text and to itself at once, over
 * one list of keys, text first: diffusers' Attention with AttnAddedKVProcessor (after Dhariwal &
 * Nichol 2021 and Imagen, arXiv 2205.11487, appendix B).
 *
 *     n = group_norm(x)    s = norm_cross(states), or states
 *     x += Wo softmax(Wq n [Wk' s; Wk n]^T / sqrt(d)) [Wv' s; Wv n]
 *
 * B batch   P pixels   T tokens   C channels   D width of the states   d channels of a head */
#ifndef DLENS_DIFFUSION_ADDED_ATTENTION_H
#define DLENS_DIFFUSION_ADDED_ATTENTION_H

#include "diffusion/attention_map.h"

enum { CROSS_NORM_GROUPS = 32 }; /* of norm_cross, whatever the config */

struct added_attention {
    size_t C, D, heads, groups;
    bool norm_states; /* cross_attention_norm */
    bool text_only;   /* only_cross_attention: no Wk, Wv */
    struct norm norm, norm_cross;
    struct linear q, k, v;      /* (C,C) */
    struct linear add_k, add_v; /* (C,D): Wk', Wv' */
    struct linear out;          /* (C,C) */
};

/* Binds PREFIX.group_norm, norm_cross, to_q, to_k, to_v, add_k_proj, add_v_proj, to_out.0; the
 * sizes and switches of *w are set before. */
void bind_added_attention(struct binder *b, struct added_attention *w);

/* x (B,P,C) += attention(x, text). view: who looks at it, or NULL. */
void added_attention_add(dl_context *cx, float *x, struct text *text,
                         const struct added_attention *w, size_t B, size_t P,
                         struct attention_view *view);

/* Its keys and values to keep, as text_keep; states (N,T,D). */
void added_attention_keep(dl_context *cx, float *kept, size_t *at, const float *states,
                          const struct added_attention *w, size_t N, size_t T);

#endif
