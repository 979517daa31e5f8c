/* Activations held in f32 or f16; see held.h. */
#include "nn/held.h"

#include "kernels/ops.h"

#include <string.h>

enum { LINE = 16 }; /* floats */

enum dtype held_dtype(const dl_context *cx) {
    return cx->hold_f16 ? DTYPE_F16 : DTYPE_F32;
}

size_t held_floats(const dl_context *cx, size_t n) {
    return cx->hold_f16 ? (n / 2 + LINE) / LINE * LINE : n;
}

void held_put(dl_context *cx, float *held, size_t at, const float *x, size_t n) {
    if (cx->hold_f16)
        op_narrow(cx, (uint16_t *)(void *)held + at, x, n);
    else if (!planning(cx))
        memcpy(held + at, x, n * sizeof *x);
}

void held_get(dl_context *cx, float *x, const float *held, size_t at, size_t n) {
    const size_t size = dtype_size(held_dtype(cx));
    op_widen(cx, x, (const char *)held + at * size, held_dtype(cx), n);
}

void held_begin(dl_context *cx, float *x, size_t n) {
    if (cx->hold_f16)
        op_narrow_in_place(cx, x, n);
}
