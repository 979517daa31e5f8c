/* The vectors of the AVX-512 tables: 16 lanes, 32 registers. See simd.inc for what each function
 * does. Included only by files that are compiled for AVX-512. */
#ifndef DLENS_KERNELS_AVX512_H
#define DLENS_KERNELS_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define LANES 16

typedef __m512 vec;

static inline __mmask16 first(size_t n) {
    return (__mmask16)((1u << n) - 1u);
}

static inline vec v_set1(float x) {
    return _mm512_set1_ps(x);
}
static inline vec v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vec x) {
    _mm512_storeu_ps(p, x);
}
static inline vec v_load_fill(const float *p, size_t n, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(n), p);
}
static inline void v_store_n(float *p, vec x, size_t n) {
    _mm512_mask_storeu_ps(p, first(n), x);
}
static inline vec v_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
static inline vec v_sub(vec a, vec b) {
    return _mm512_sub_ps(a, b);
}
static inline vec v_mul(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}
static inline vec v_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}
static inline vec v_max(vec a, vec b) {
    return _mm512_max_ps(a, b);
}
static inline vec v_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vec v_round(vec x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vec v_scale2(vec x, vec n) {
    return _mm512_scalef_ps(x, n);
}
static inline vec v_abs(vec x) {
    return _mm512_abs_ps(x);
}
static inline vec v_zero_below(vec x, vec y, vec bound) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, bound, _CMP_NLT_UQ), x);
}
static inline vec v_if_negative(vec x, vec a, vec b) {
    return _mm512_mask_mov_ps(b, _mm512_movepi32_mask(_mm512_castps_si512(x)), a);
}
static inline vec v_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline void v_store_f16(uint16_t *p, vec x) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
static inline vec v_load_bf16(const uint16_t *p) {
    __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
static inline vec v_load_i8(const int8_t *p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* Pairs of rows, pairs of pairs, then 128-bit quarters. */
static inline void v_transpose(vec v[LANES]) {
    vec u[LANES];
    for (int i = 0; i < 16; i += 2) {
        u[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        u[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_shuffle_ps(u[i], u[i + 2], 0x44);
        v[i + 1] = _mm512_shuffle_ps(u[i], u[i + 2], 0xee);
        v[i + 2] = _mm512_shuffle_ps(u[i + 1], u[i + 3], 0x44);
        v[i + 3] = _mm512_shuffle_ps(u[i + 1], u[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        u[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
        u[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
        u[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        u[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        v[i] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0xdd);
    }
}

typedef struct {
    __m512d low, high;
} wide;

static inline wide w_zero(void) {
    return (wide){_mm512_setzero_pd(), _mm512_setzero_pd()};
}
static inline wide w_load(const double *p) {
    return (wide){_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)};
}
static inline void w_store(double *p, wide x) {
    _mm512_storeu_pd(p, x.low);
    _mm512_storeu_pd(p + 8, x.high);
}
static inline wide w_add(wide a, wide b) {
    return (wide){_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)};
}
static inline wide w_mul(wide a, wide b) {
    return (wide){_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)};
}
static inline wide w_from(vec x) {
    return (wide){_mm512_cvtps_pd(_mm512_castps512_ps256(x)),
                  _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))};
}
static inline double w_total(wide x) {
    return _mm512_reduce_add_pd(_mm512_add_pd(x.low, x.high));
}

#endif
