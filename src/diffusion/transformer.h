/* The transformer inside a UNet level: diffusers' Transformer2DModel with BasicTransformerBlocks
 * (Rombach et al. 2022, arXiv 2112.10752, appendix E.2.1). Pixels are its tokens.
 *
 *     z  = proj_in(group_norm(x))
 *     z += Attention1(n, n or states)     n = layer_norm(z)
 *     z += Attention2(n, states)          n = layer_norm(z)
 *     z += W2 (a gelu(g))                 [a | g] = W1 layer_norm(z)     (GEGLU, arXiv 2002.05202)
 *     x += proj_out(z)
 *
 * B batch   P pixels   T tokens of the text   C channels   D width of the text's states */
#ifndef DLENS_DIFFUSION_TRANSFORMER_H
#define DLENS_DIFFUSION_TRANSFORMER_H

#include "diffusion/attention_map.h"

struct transformer_block {
    struct norm norm1, norm2, norm3;
    struct attention attn1, attn2;
    struct linear ff_in;  /* (8C,C): value above gate */
    struct linear ff_out; /* (C,4C) */
};

struct transformer {
    size_t C, D, groups, count;
    bool only_cross_attention; /* attn1, too, looks at the text */
    struct norm norm;
    struct linear proj_in, proj_out;  /* (C,C) */
    struct transformer_block *blocks; /* (count), freed with transformer_free */
};

/* Binds PREFIX.norm, proj_in, transformer_blocks.I, proj_out. The projections are matrices or 1x1
 * convolutions: the same numbers. Fails only when memory is short. */
int bind_transformer(struct binder *b, struct transformer *w, size_t C, size_t D, size_t heads,
                     size_t groups, size_t count, bool only_cross_attention);
void transformer_free(struct transformer *w);

/* x (B,P,C) += transformer(x, text). Of x the first S items are given, and item b is equal to item
 * b mod S: what stands before the first look at the text is computed for them alone. view: who
 * looks at its attentions to the text, or NULL. */
void transformer_add(dl_context *cx, float *x, struct text *text, const struct transformer *w,
                     size_t S, size_t B, size_t P, struct attention_view *view);

/* Its keys and values to keep, as text_keep. */
void transformer_keep(dl_context *cx, float *kept, size_t *at, const float *states,
                      const struct transformer *w, size_t rows);

#endif
