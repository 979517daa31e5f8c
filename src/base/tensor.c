/* Element types and element counts of tensors. */
#include "base/tensor.h"

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
