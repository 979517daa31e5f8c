/* Vectors of f32 to lanes of two bf16, on AVX-512. Included only by files that are compiled for it.
 */
#ifndef DLENS_KERNELS_BF16_LANES_H
#define DLENS_KERNELS_BF16_LANES_H

#include "kernels/avx512.h"

enum { PAIRS = 2 * LANES /* numbers of a vector of lanes */ };

/* The first n numbers at p, zeros for the rest; n may be 0 or more than there are lanes. */
static inline vec load_n(const float *p, size_t n) {
    return n < LANES ? v_load_fill(p, n, 0.0f) : v_load(p);
}

static inline void put_n(float *p, vec x, size_t n) {
    if (n < LANES)
        v_store_n(p, x, n);
    else
        v_store(p, x);
}

/* 32 numbers one after another, to the nearest bf16. */
static inline vec narrow(vec low, vec high) {
    return _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high, low));
}

#endif
