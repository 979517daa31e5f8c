/* Changes of a picture's size; see resample.h. */
#include "nn/resample.h"

#include <math.h>
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

/* Pixel i of a side of n2 lies at `at` + `share` of a side of n. */
static void source_place(size_t i, size_t n, size_t n2, size_t *at, float *share) {
    const float step = n2 > 1 ? (float)(n - 1) / (float)(n2 - 1) : 0;
    const float place = step * (float)i;

    *at = (size_t)place < n ? (size_t)place : n - 1;
    *share = *at + 1 < n ? place - (float)*at : 0;
}

void enlarge_bilinear(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W,
                      size_t C, size_t H2, size_t W2) {
    if (planning(cx))
        return;
    for (size_t row = 0; row < B * H2; row++) {
        size_t i, j;
        float down, right;
        source_place(row % H2, H, H2, &i, &down);
        const float *above = x + (row / H2 * H + i) * W * C;
        const float *below = above + (i + 1 < H ? W * C : 0);
        for (size_t column = 0; column < W2; column++) {
            float *target = y + (row * W2 + column) * C;
            source_place(column, W, W2, &j, &right);
            const size_t left = j * C, next = left + (j + 1 < W ? C : 0);
            for (size_t c = 0; c < C; c++) {
                const float a = (1 - right) * above[left + c] + right * above[next + c];
                const float b = (1 - right) * below[left + c] + right * below[next + c];
                target[c] = (1 - down) * a + down * b;
            }
        }
    }
}

/* The four pixels of a side of n around pixel i of a side of n2, and their weights. */
static void cubic_place(size_t i, size_t n, size_t n2, size_t at[4], float weights[4]) {
    const float a = -0.75f, scale = (float)n / (float)n2;
    const float place = scale * ((float)i + 0.5f) - 0.5f, below = floorf(place);
    const float t = place - below, u = 1 - t;
    for (int k = 0; k < 4; k++) {
        const float p = below + (float)(k - 1);
        at[k] = p < 0 ? 0 : p > (float)(n - 1) ? n - 1 : (size_t)p;
    }
    weights[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    weights[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    weights[2] = ((a + 2) * u - (a + 3)) * u * u + 1;
    weights[3] = ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a;
}

void enlarge_bicubic(dl_context *cx, float *y, const float *x, size_t B, size_t H, size_t W,
                     size_t C, size_t H2, size_t W2) {
    if (planning(cx))
        return;
    for (size_t row = 0; row < B * H2; row++) {
        size_t is[4], js[4];
        float down[4], right[4];
        cubic_place(row % H2, H, H2, is, down);
        for (size_t column = 0; column < W2; column++) {
            float *target = y + (row * W2 + column) * C;
            cubic_place(column, W, W2, js, right);
            memset(target, 0, C * sizeof *target);
            for (int k = 0; k < 16; k++) {
                const float *source = x + ((row / H2 * H + is[k / 4]) * W + js[k % 4]) * C;
                const float weight = down[k / 4] * right[k % 4];
                for (size_t c = 0; c < C; c++)
                    target[c] += weight * source[c];
            }
        }
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
