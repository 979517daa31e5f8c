/* Activations that are held while others are made: the skip connections of a UNet, the pictures
 * between a decoder's strips. They lie in f32, or in half the memory in f16 where the context is
 * told so (dl_set_activations). Rounded to f16 a number keeps 11 bits; beyond 65504 it saturates.
 *
 * A held activation is a piece of the arena; numbers in it are counted from its beginning. */
#ifndef DLENS_NN_HELD_H
#define DLENS_NN_HELD_H

#include "base/context.h"
#include "base/tensor.h"

/* DTYPE_F32 or DTYPE_F16. */
enum dtype held_dtype(const dl_context *cx);

/* Floats of the arena that n of them take, whole cache lines. */
size_t held_floats(const dl_context *cx, size_t n);

/* Numbers [at, at + n) of `held` from x (n), and x from them. */
void held_put(dl_context *cx, float *held, size_t at, const float *x, size_t n);
void held_get(dl_context *cx, float *x, const float *held, size_t at, size_t n);

/* What lies in f32 (n) becomes what is held, at the same place. */
void held_begin(dl_context *cx, float *x, size_t n);

#endif
