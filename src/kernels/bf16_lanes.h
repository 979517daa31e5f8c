/* Vectors of f32 to lanes of two bf16, on AVX-512. Included only by files that are compiled for it.
 */
#ifndef DLENS_KERNELS_BF16_LANES_H
#define DLENS_KERNELS_BF16_LANES_H

#include "kernels/avx512.h"

enum {
    PAIRS = 2 * LANES,  /* numbers of a vector of lanes */
    COLUMNS = 2 * LANES /* of a register tile */
};

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

/* Number i of `first` in the lower half of lane i, of `second` in the upper. */
static inline vec pair(vec first_k, vec second_k) {
    static const uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                       21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(
        _mm512_loadu_si512(order), _mm512_castps_si512(narrow(first_k, second_k))));
}

/* The largest of a column of s and of `max`: four chains, for each waits for its last result. */
static inline vec column_max(const float *s, size_t keys, vec max) {
    vec a = max, b = max, c = max;
    size_t k = 0;
    for (; k + 4 <= keys; k += 4, s += 4 * COLUMNS) {
        max = v_max(max, v_load(s));
        a = v_max(a, v_load(s + COLUMNS));
        b = v_max(b, v_load(s + 2 * COLUMNS));
        c = v_max(c, v_load(s + 3 * COLUMNS));
    }
    for (; k < keys; k++, s += COLUMNS)
        max = v_max(max, v_load(s));
    return v_max(v_max(max, a), v_max(b, c));
}

#endif
