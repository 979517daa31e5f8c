/* The kernel table for AArch64's Advanced SIMD (NEON): 4 lanes, 32 registers, a tile of 12 x 8. */
#include "kernels/tables.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#define TABLE   kernels_neon
#define NAME    "neon"
#define LANES   4
#define ROWS    12
#define FEW     4
#define VECTORS 5
#define GROUP   8

typedef float32x4_t vec;

static inline vec v_set1(float x) {
    return vdupq_n_f32(x);
}
static inline vec v_load(const float *p) {
    return vld1q_f32(p);
}
static inline void v_store(float *p, vec x) {
    vst1q_f32(p, x);
}
static inline vec v_load_fill(const float *p, size_t n, float fill) {
    float lanes[LANES] = {fill, fill, fill, fill};
    memcpy(lanes, p, n * sizeof *p);
    return vld1q_f32(lanes);
}
static inline void v_store_n(float *p, vec x, size_t n) {
    float lanes[LANES];
    vst1q_f32(lanes, x);
    memcpy(p, lanes, n * sizeof *p);
}
static inline vec v_add(vec a, vec b) {
    return vaddq_f32(a, b);
}
static inline vec v_sub(vec a, vec b) {
    return vsubq_f32(a, b);
}
static inline vec v_mul(vec a, vec b) {
    return vmulq_f32(a, b);
}
static inline vec v_div(vec a, vec b) {
    return vdivq_f32(a, b);
}
static inline vec v_max(vec a, vec b) {
    return vmaxq_f32(a, b);
}
static inline vec v_fma(vec a, vec b, vec c) {
    return vfmaq_f32(c, a, b);
}
static inline vec v_round(vec x) {
    return vrndnq_f32(x);
}
/* 2^n has the bits (n + 127) << 23. */
static inline vec v_scale2(vec x, vec n) {
    int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}
static inline vec v_abs(vec x) {
    return vabsq_f32(x);
}
static inline vec v_zero_below(vec x, vec y, vec bound) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), vcltq_f32(y, bound)));
}
static inline vec v_if_negative(vec x, vec a, vec b) {
    return vbslq_f32(vcltq_f32(x, vdupq_n_f32(0.0f)), a, b);
}
static inline vec v_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
static inline void v_store_f16(uint16_t *p, vec x) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}
static inline vec v_load_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(p)), 16));
}
static inline vec v_load_i8(const int8_t *p) {
    int32_t lanes;
    memcpy(&lanes, p, sizeof lanes);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(lanes))))));
}

static inline void v_transpose(vec v[LANES]) {
    float32x4x2_t low = vtrnq_f32(v[0], v[1]), high = vtrnq_f32(v[2], v[3]);
    v[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    v[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    v[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    v[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

typedef struct {
    float64x2_t low, high;
} wide;

static inline wide w_zero(void) {
    return (wide){vdupq_n_f64(0.0), vdupq_n_f64(0.0)};
}
static inline wide w_load(const double *p) {
    return (wide){vld1q_f64(p), vld1q_f64(p + 2)};
}
static inline void w_store(double *p, wide x) {
    vst1q_f64(p, x.low);
    vst1q_f64(p + 2, x.high);
}
static inline wide w_add(wide a, wide b) {
    return (wide){vaddq_f64(a.low, b.low), vaddq_f64(a.high, b.high)};
}
static inline wide w_mul(wide a, wide b) {
    return (wide){vmulq_f64(a.low, b.low), vmulq_f64(a.high, b.high)};
}
static inline wide w_from(vec x) {
    return (wide){vcvt_f64_f32(vget_low_f32(x)), vcvt_high_f64_f32(x)};
}
static inline double w_total(wide x) {
    return vaddvq_f64(vaddq_f64(x.low, x.high));
}

#include "kernels/simd.inc"
#endif
