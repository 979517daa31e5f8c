/* Element types and element counts of tensors; 16-bit floats and scaled integers as f32. */
#include "base/tensor.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} traits[DTYPES] = {
    [DTYPE_F32] = {"F32", 4},         [DTYPE_F16] = {"F16", 2},         [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_I8] = {"I8", 1},           [DTYPE_I64] = {"I64", 8},         [DTYPE_F64] = {"F64", 8},
    [DTYPE_I32] = {"I32", 4},         [DTYPE_I16] = {"I16", 2},         [DTYPE_U8] = {"U8", 1},
    [DTYPE_U16] = {"U16", 2},         [DTYPE_U32] = {"U32", 4},         [DTYPE_U64] = {"U64", 8},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [DTYPE_F8_E5M2] = {"F8_E5M2", 1}, [DTYPE_BOOL] = {"BOOL", 1},
};

size_t dtype_size(enum dtype dtype) {
    return traits[dtype].size;
}

const char *dtype_name(enum dtype dtype) {
    return traits[dtype].name;
}

bool dtype_find(const char *name, enum dtype *out) {
    for (size_t i = 0; i < DTYPES; i++)
        if (strcmp(traits[i].name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    return false;
}

bool dtype_is_float(enum dtype dtype) {
    return dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16;
}

size_t tensor_count(const struct tensor *t) {
    size_t count = 1;
    for (size_t i = 0; i < t->ndim; i++)
        count *= t->shape[i];
    return count;
}

size_t tensor_row(const struct tensor *t) {
    const size_t count = tensor_count(t);
    return t->ndim == 0 || count == 0 ? count : count / t->shape[0];
}

struct tensor tensor_rows(const struct tensor *t, size_t first, size_t count) {
    struct tensor rows = *t;
    rows.shape[0] = count;
    if (t->data)
        rows.data = (const char *)t->data + first * tensor_row(t) * dtype_size(t->dtype);
    if (t->scales)
        rows.scales = t->scales + first;
    return rows;
}

/* sign 1 | exponent 5 (bias 15) | fraction 10. Written with ldexp: the definition, not fast. */
float f16_to_f32(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = exponent == 0    ? ldexpf((float)fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : ldexpf((float)(fraction + 1024), exponent - 25);
    return half >> 15 ? -value : value;
}

float bf16_to_f32(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

uint16_t f32_to_f16(float x) {
    const uint32_t sign = bits_of(x) >> 16 & 0x8000u;
    uint32_t size = bits_of(x) & 0x7fffffffu;
    if (isnan(x))
        return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) /* 65520, half way from the largest number to the next */
        return (uint16_t)(sign | 0x7c00u);
    if (size < 0x38800000u) /* below 2^-14: multiples of 2^-24 */
        return (uint16_t)(sign | (uint32_t)rintf(fabsf(x) * 0x1p24f));
    size += 0xfffu + (size >> 13 & 1u);
    return (uint16_t)(sign | (size - (112u << 23)) >> 13); /* 112: the biases' difference */
}

uint16_t f32_to_bf16(float x) {
    const uint32_t bits = bits_of(x);
    if (isnan(x))
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

bool tensor_is_aligned(const struct tensor *t) {
    return (uintptr_t)t->data % dtype_size(t->dtype) == 0;
}

/* One value of 16 bits. */
static float widen_half(const unsigned char *data, enum dtype dtype) {
    uint16_t half;
    memcpy(&half, data, sizeof half);
    return dtype == DTYPE_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void tensor_widen(float *out, const struct tensor *t) {
    const size_t count = tensor_count(t), row = tensor_row(t);
    const unsigned char *data = t->data;
    if (t->dtype == DTYPE_F32 && count > 0)
        memcpy(out, data, count * sizeof *out);
    for (size_t i = 0; i < count && t->dtype != DTYPE_F32; i++)
        out[i] = t->dtype == DTYPE_I8 ? t->scales[i / row] * (float)((const int8_t *)t->data)[i]
                                      : widen_half(data + i * sizeof(uint16_t), t->dtype);
}
