/* What a UNet makes of its condition before the levels run: the time embedding with all that is
 * added to it, and the text as the attentions see it.
 *
 *     temb   = act(MLP(sinusoids(t)) + class + pooled text)
 *     states = W states                                      encoder_hid_proj
 *
 * class: MLP(sinusoids(noise level)), or a row of a table. pooled text (diffusers'
 * TextTimeEmbedding, from DeepFloyd IF): a token made of the mean attends to all tokens.
 *
 *     n = norm1(states);  c = mean(n) + position;  a = Attention(c, [c; n]);  norm2(W a)
 *
 * B batch   T tokens   D width of the states   E width of temb */
#ifndef DLENS_DIFFUSION_UNET_EMBEDDING_H
#define DLENS_DIFFUSION_UNET_EMBEDDING_H

#include "diffusion/unet.h"
#include "nn/timestep.h"

struct text_embedding {
    size_t D, E, heads;
    struct norm norm1, norm2;
    struct tensor position; /* (1,D) */
    struct linear q, k, v;  /* (D,D) */
    struct linear proj;     /* (E,D) */
};

struct unet_embedding {
    const struct unet_config *config; /* outlives it */
    struct timestep_embedding time, class_mlp;
    struct tensor class_table; /* (rows,E) */
    struct text_embedding text;
    struct linear states_proj; /* (X,D), X = cross_attention_dim */
    bool project_states;
};

/* Binds time_embedding, class_embedding, add_embedding, encoder_hid_proj: what the config has. */
void bind_unet_embedding(struct binder *b, struct unet_embedding *w, const struct unet_config *c);

/* temb (B,E). */
void embed_time(dl_context *cx, float *temb, const struct unet_embedding *w, float timestep,
                size_t B, const struct unet_condition *condition);

/* The pooled text (B,E), of states (B,T,D). */
void embed_text(dl_context *cx, float *pooled, const struct unet_embedding *w, const float *states,
                size_t B, size_t T);

/* The states (rows,D) as the attentions take them (rows,X): themselves, or projected ones in the
 * arena. */
const float *embed_states(dl_context *cx, const struct unet_embedding *w, const float *states,
                          size_t rows);

#endif
