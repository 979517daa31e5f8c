/* A tensor on disk or in memory: dtype, shape, address. Never owns its data. */
#ifndef DLENS_BASE_TENSOR_H
#define DLENS_BASE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I64, DTYPE_OTHER };

enum { TENSOR_DIMS = 5 };

struct tensor {
    const char *name; /* as in the file; owned by the store */
    enum dtype dtype;
    size_t ndim;
    size_t shape[TENSOR_DIMS]; /* PyTorch's order; row-major, contiguous */
    const void *data;          /* aligned to the element's size */
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

/* All values of a F32, F16 or BF16 tensor as f32. */
void tensor_widen(float *out, const struct tensor *t);

#endif
