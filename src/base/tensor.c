/* Element types and element counts of tensors; the 16-bit floats as f32. */
#include "base/tensor.h"

#include <math.h>
#include <string.h>

size_t dtype_size(enum dtype dtype) {
    static const size_t sizes[] = {
        [DTYPE_F32] = 4, [DTYPE_F16] = 2, [DTYPE_BF16] = 2, [DTYPE_I64] = 8, [DTYPE_OTHER] = 0};
    return sizes[dtype];
}

const char *dtype_name(enum dtype dtype) {
    static const char *const names[] = {[DTYPE_F32] = "F32",
                                        [DTYPE_F16] = "F16",
                                        [DTYPE_BF16] = "BF16",
                                        [DTYPE_I64] = "I64",
                                        [DTYPE_OTHER] = "other"};
    return names[dtype];
}

size_t tensor_count(const struct tensor *t) {
    size_t count = 1;
    for (size_t i = 0; i < t->ndim; i++)
        count *= t->shape[i];
    return count;
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

bool tensor_is_aligned(const struct tensor *t) {
    size_t size = dtype_size(t->dtype);
    return size == 0 || (uintptr_t)t->data % size == 0;
}

void tensor_widen(float *out, const struct tensor *t) {
    size_t count = tensor_count(t);
    const unsigned char *data = t->data;
    if (t->dtype == DTYPE_F32 && count > 0)
        memcpy(out, data, count * sizeof *out);
    for (size_t i = 0; i < count && (t->dtype == DTYPE_F16 || t->dtype == DTYPE_BF16); i++) {
        uint16_t half;
        memcpy(&half, data + i * sizeof half, sizeof half);
        out[i] = t->dtype == DTYPE_F16 ? f16_to_f32(half) : bf16_to_f32(half);
    }
}
