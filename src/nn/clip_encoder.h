/* The transformer that CLIP's text tower and its vision tower have in common (transformers'
 * CLIPEncoder): blocks with the norm before each half.
 *
 *     x += Wo attention(q, k, v) + b,   q, k, v = W{q,k,v} norm1(x) + b
 *     x += W2 act(W1 norm2(x) + b1) + b2
 *
 * B batch   T tokens or patches   M = B T rows   D hidden size   F intermediate size   h heads
 * L blocks */
#ifndef DLENS_NN_CLIP_ENCODER_H
#define DLENS_NN_CLIP_ENCODER_H

#include "base/json.h"
#include "nn/layers.h"

struct clip_block {
    struct norm norm1, norm2;        /* (D) */
    struct linear query, key, value; /* (D,D) */
    struct linear out;               /* (D,D) */
    struct linear fc1, fc2;          /* (F,D), (D,F) */
};

struct clip_encoder {
    size_t layers, hidden_size, heads, intermediate; /* L, D, h, F */
    enum activation act;
    float eps;
    bool causal;               /* token i sees tokens 0..i: the text tower */
    struct clip_block *blocks; /* (L), owned */
};

/* Reads num_hidden_layers, hidden_size, num_attention_heads, intermediate_size, hidden_act and
 * layer_norm_eps; *e holds the defaults of the first four. */
void clip_encoder_config(struct config *config, struct clip_encoder *e);

/* Memory for the blocks, freed with clip_encoder_free. */
int clip_encoder_allocate(dl_context *cx, struct clip_encoder *e);
void clip_encoder_free(struct clip_encoder *e);

/* Binds encoder.layers.0 to encoder.layers.L-1 behind the binder's prefix. */
void bind_clip_encoder(struct binder *b, struct clip_encoder *e);

/* x (M,D) = block `index`, from 0, of x. */
void clip_block_forward(dl_context *cx, const struct clip_encoder *e, size_t index, float *x,
                        size_t B, size_t T);

/* Looks inside block `index`, given its input x (M,D): p (B,h,T,T) the attention's probabilities;
 * units (M,F) the feed-forward layer's activations; y (rows,D) = norm1(x), y may be x. */
void clip_block_attention(dl_context *cx, const struct clip_encoder *e, size_t index, float *p,
                          const float *x, size_t B, size_t T);
void clip_block_units(dl_context *cx, const struct clip_encoder *e, size_t index, float *units,
                      const float *x, size_t B, size_t T);
void clip_block_norm(dl_context *cx, const struct clip_encoder *e, size_t index, float *y,
                     const float *x, size_t rows);

#endif
