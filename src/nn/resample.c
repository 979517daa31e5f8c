/* Changes of a picture's size; see resample.h. */
#include "nn/resample.h"

#include <string.h>

void enlarge_nearest(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W,
                     size_t C, size_t H2, size_t W2) {
    if (planning(cx))
        return;
    for (size_t row = 0; row < B * H2; row++) {
        const float *source = x + (row / H2 * H + row % H2 * H / H2) * W * C;
        for (size_t j = 0; j < W2; j++)
            memcpy(y + (row * W2 + j) * C, source + j * W / W2 * C, C * sizeof *y);
    }
}

size_t halved(size_t side) {
    return side > 1 ? side / 2 : 1;
}

void halve_mean(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W, size_t C) {
    size_t H2 = halved(H), W2 = halved(W);
    size_t right = W > 1 ? C : 0, below = H > 1 ? W * C : 0; /* steps to the neighbours */

    if (planning(cx))
        return;
    for (size_t row = 0; row < B * H2; row++) {
        const float *source = x + (row / H2 * H + 2 * (row % H2)) * W * C;
        float *target = y + row * W2 * C;
        for (size_t j = 0; j < W2; j++)
            for (size_t c = 0; c < C; c++) {
                const float *p = source + 2 * j * C + c;
                target[j * C + c] = (p[0] + p[right] + p[below] + p[below + right]) / 4;
            }
    }
}
