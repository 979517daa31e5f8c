/* A tensor on disk or in memory: dtype, shape, address. Never owns its data. */
#ifndef DLENS_BASE_TENSOR_H
#define DLENS_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The types of safetensors. Computed with are F32, F16 and BF16, and I8 as weights (see scales). */
enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I8,
    DTYPE_I64,
    DTYPE_F64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_U8,
    DTYPE_U16,
    DTYPE_U32,
    DTYPE_U64,
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    DTYPE_BOOL,
    DTYPES /* their number */
};

enum { TENSOR_DIMS = 5 };

struct tensor {
    const char *name; /* as in the file; owned by the store */
    enum dtype dtype;
    size_t ndim;
    size_t shape[TENSOR_DIMS]; /* PyTorch's order; row-major, contiguous */
    /* Read with memcpy, tensor_widen or the kernels: in files of safetensors before 0.3, whose
     * headers have any length, it may lie at an odd address. */
    const void *data;
    /* I8: (shape[0]), a weight of row i is scales[i] times its integer; NULL where the file has no
     * scales. Other types: NULL. */
    const float *scales;
};

/* Bytes of one element. */
size_t dtype_size(enum dtype dtype);

/* F32, F16 or BF16. */
bool dtype_is_float(enum dtype dtype);

/* "F32", "F16", ... as safetensors writes them. */
const char *dtype_name(enum dtype dtype);

/* The type of that name; false if there is none. */
bool dtype_find(const char *name, enum dtype *out);

/* Number of elements: the product of the shape (1 for a scalar). The store has checked that it
 * fits in size_t. */
size_t tensor_count(const struct tensor *t);

/* Elements of a row, which is what lies under one index of the first dimension; 0 if empty. */
size_t tensor_row(const struct tensor *t);

/* Rows [first, first + count), where they lie. */
struct tensor tensor_rows(const struct tensor *t, size_t first, size_t count);

/* Half precision (IEEE binary16) and bfloat16 (the upper half of binary32) as f32: exact. */
float f16_to_f32(uint16_t half);
float bf16_to_f32(uint16_t half);

/* The nearest such number, ties to the even one, as torch's half() and bfloat16() round: what is too
 * large becomes infinite; NaN stays one. */
uint16_t f32_to_f16(float x);
uint16_t f32_to_bf16(float x);

/* Whether the data may be read in place as an array of the element's type. */
bool tensor_is_aligned(const struct tensor *t);

/* All values of a F32, F16, BF16 or I8 tensor as f32; I8 with its scales, rounded once. */
void tensor_widen(float *out, const struct tensor *t);

#endif
