/* The kernel table for AVX2 with FMA and F16C: 8 lanes, 16 registers, a tile of 6 x 16. */
#include "kernels/tables.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TABLE   kernels_avx2
#define NAME    "avx2"
#define LANES   8
#define ROWS    6
#define FEW     6
#define VECTORS 2
#define GROUP   16

typedef __m256 vec;

/* All bits of the first n lanes. */
static inline __m256i first(size_t n) {
    static const int32_t bits[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(const void *)(bits + 8 - n));
}

static inline vec v_set1(float x) {
    return _mm256_set1_ps(x);
}
static inline vec v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline void v_store(float *p, vec x) {
    _mm256_storeu_ps(p, x);
}
static inline vec v_load_fill(const float *p, size_t n, float fill) {
    __m256i mask = first(n);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, mask),
                            _mm256_castsi256_ps(mask));
}
static inline void v_store_n(float *p, vec x, size_t n) {
    _mm256_maskstore_ps(p, first(n), x);
}
static inline vec v_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
static inline vec v_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}
static inline vec v_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
static inline vec v_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}
static inline vec v_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}
static inline vec v_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vec v_round(vec x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* 2^n has the bits (n + 127) << 23. */
static inline vec v_scale2(vec x, vec n) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
static inline vec v_abs(vec x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
static inline vec v_zero_below(vec x, vec y, vec bound) {
    return _mm256_andnot_ps(_mm256_cmp_ps(y, bound, _CMP_LT_OQ), x);
}
static inline vec v_if_negative(vec x, vec a, vec b) {
    return _mm256_blendv_ps(b, a, x);
}
static inline vec v_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline void v_store_f16(uint16_t *p, vec x) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
static inline vec v_load_bf16(const uint16_t *p) {
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
static inline vec v_load_i8(const int8_t *p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

/* Pairs of rows, pairs of pairs, then 128-bit halves. */
static inline void v_transpose(vec v[LANES]) {
    vec u[LANES];
    for (int i = 0; i < 8; i += 2) {
        u[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        u[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        v[i] = _mm256_shuffle_ps(u[i], u[i + 2], 0x44);
        v[i + 1] = _mm256_shuffle_ps(u[i], u[i + 2], 0xee);
        v[i + 2] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0x44);
        v[i + 3] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        u[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
        u[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        v[i] = u[i];
}

typedef struct {
    __m256d low, high;
} wide;

static inline wide w_zero(void) {
    return (wide){_mm256_setzero_pd(), _mm256_setzero_pd()};
}
static inline wide w_load(const double *p) {
    return (wide){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}
static inline void w_store(double *p, wide x) {
    _mm256_storeu_pd(p, x.low);
    _mm256_storeu_pd(p + 4, x.high);
}
static inline wide w_add(wide a, wide b) {
    return (wide){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}
static inline wide w_mul(wide a, wide b) {
    return (wide){_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)};
}
static inline wide w_from(vec x) {
    return (wide){_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                  _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}
static inline double w_total(wide x) {
    double lanes[4];
    _mm256_storeu_pd(lanes, _mm256_add_pd(x.low, x.high));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

#include "kernels/simd.inc"
#endif
