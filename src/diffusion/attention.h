/* Attention and the self-attention of pictures: diffusers' Attention (models/
 * attention_processor.py).
 *
 *     Attention(x, s) = softmax(Wq x (Wk s)^T / sqrt(d)) Wv s, heads side by side, then Wo
 *
 * (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.) s is x itself or the text.
 *
 * B batch   P pixels   T tokens   C channels   D width of s   h heads of d = C/h channels */
#ifndef DLENS_DIFFUSION_ATTENTION_H
#define DLENS_DIFFUSION_ATTENTION_H

#include "diffusion/text_keys.h"

struct attention {
    size_t C, D, heads;
    struct linear q;    /* (C,C) */
    struct linear k, v; /* (C,D) */
    struct linear out;  /* (C,C) */
};

/* Binds PREFIX.to_q, to_k, to_v, to_out.0, also under their names before 2023: query, key, value,
 * proj_attn. bias: whether q, k and v have one; out always has. */
void bind_attention(struct binder *b, struct attention *w, size_t C, size_t D, size_t heads,
                    enum bias bias);

/* x (B,P,C) += Attention(n, n); n (B,P,C) is overwritten. */
void attention_add(dl_context *cx, float *x, float *n, const struct attention *w, size_t B,
                   size_t P);

/* x (B,P,C) += Attention(n, s), s the text; n is overwritten. */
void cross_attention_add(dl_context *cx, float *x, float *n, struct text *text,
                         const struct attention *w, size_t B, size_t P);

/* Its keys and values to keep, as text_keep: of the states (rows,D) of all items' tokens. */
void cross_attention_keep(dl_context *cx, float *kept, size_t *at, const float *states,
                          const struct attention *w, size_t rows);

/* x (B,P,C) += Attention(n, n), n = group_norm(x): every pixel sees every other. */
struct self_attention {
    struct norm norm;
    size_t groups;
    float eps;
    struct attention attention;
};

void bind_self_attention(struct binder *b, struct self_attention *w, size_t C, size_t heads,
                         size_t groups, float eps);
void self_attention_add(dl_context *cx, float *x, const struct self_attention *w, size_t B,
                        size_t P);

#endif
