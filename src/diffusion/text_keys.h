/* The text as the attentions of a UNet see it: a key and a value for each token,
 *
 *     K = Wk s    V = Wv s
 *
 * which depend on the prompt alone. They are made again in every call, or once for all calls of a
 * picture: then they lie one behind the other in the order in which a call asks for them.
 *
 * B batch   T tokens   D width of the states   C width of a key   N items that are kept */
#ifndef DLENS_DIFFUSION_TEXT_KEYS_H
#define DLENS_DIFFUSION_TEXT_KEYS_H

#include "nn/layers.h"

struct text {
    const float *states; /* (B,T,D) */
    size_t tokens;       /* T */
    const float *kept;   /* keys and values, each (N,T,C); NULL: made in every call */
    size_t items;        /* N */
    size_t first;        /* the batch are the items of `kept` from here on */
    size_t at;           /* floats of `kept` that the running call has asked for */
};

/* K or V (B,T,C), C = the outputs of w: kept, or made now in the arena. s (B,T,D) are the states,
 * or what a layer makes of them. */
const float *text_keys(dl_context *cx, struct text *text, const float *s, const struct linear *w,
                       size_t B);

/* Makes what text_keys will find: next (N,T,C) in `kept`, of which *at floats are in use. kept
 * NULL: only counts. */
void text_keep(dl_context *cx, float *kept, size_t *at, const float *s, const struct linear *w,
               size_t rows);

#endif
