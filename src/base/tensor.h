/* A tensor on disk or in memory: dtype, shape, address. Never owns its data. */
#ifndef DLENS_BASE_TENSOR_H
#define DLENS_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I64, DTYPE_OTHER };

enum { TENSOR_DIMS = 5 };

struct tensor {
    const char *name; /* as in the file; owned by the store */
    enum dtype dtype;
    size_t ndim;
    size_t shape[TENSOR_DIMS]; /* PyTorch's order; row-major, contiguous */
    /* Read with memcpy, tensor_widen or the kernels: in files of safetensors before 0.3, whose
     * headers have any length, it may lie at an odd address. */
    const void *data;
};

/* Bytes of one element; 0 for DTYPE_OTHER. */
size_t dtype_size(enum dtype dtype);

/* "F32", "F16", ... as safetensors writes them. */
const char *dtype_name(enum dtype dtype);

/* Number of elements: the product of the shape (1 for a scalar). The store has checked that it
 * fits in size_t. */
size_t tensor_count(const struct tensor *t);

/* Half precision (IEEE binary16) and bfloat16 (the upper half of binary32) as f32: exact. */
float f16_to_f32(uint16_t half);
float bf16_to_f32(uint16_t half);

/* Whether the data may be read in place as an array of the element's type. */
bool tensor_is_aligned(const struct tensor *t);

/* All values of a F32, F16 or BF16 tensor as f32. */
void tensor_widen(float *out, const struct tensor *t);

#endif
