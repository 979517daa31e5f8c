/* Normalisation over channels (layer norm, RMS norm: one row at a time) and over groups of channels
 * and all pixels (group norm, Wu and He 2018).
 *
 *     group norm   y = act((x - mean) / sqrt(var + eps) * weight + bias),  or with scale and shift
 *                  y = act((...) * (1 + scale) + shift)
 *
 * Group norm adds sums in double over strips of pixels, which do not depend on the number of
 * threads, then the strips in order; so mean(x^2) - mean^2 loses nothing that f32 would show. Both
 * passes fold into one factor and one term per channel: y = act(x * a + b).
 *
 * B batch   M rows   P pixels   C channels */
#include "kernels/kernels.h"
#include "kernels/threads.h"

#include <math.h>
#include <string.h>

enum { STRIP = 512 }; /* pixels */

void op_layer_norm(dl_context *cx, float *y, const float *x, const float *weight, const float *bias,
                   size_t M, size_t C, float eps) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, M *C)) schedule(static)
    for (size_t m = 0; m < M; m++)
        cx->kernels->layer_norm(y + m * C, x + m * C, weight, bias, C, eps);
}

void op_rms_norm(dl_context *cx, float *y, const float *x, const float *weight, size_t M, size_t C,
                 float eps) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, M *C)) schedule(static)
    for (size_t m = 0; m < M; m++)
        cx->kernels->rms_norm(y + m * C, x + m * C, weight, C, eps);
}

/* Factors a and terms b (C) of one item from its sums and squares (strips, 2, C). */
static void group_factors(float *a, float *b, double *sums, size_t strips, size_t P, size_t C,
                          size_t groups, float eps, const float *weight, const float *bias,
                          const float *scale, const float *shift) {
    size_t G = C / groups;
    for (size_t s = 1; s < strips; s++)
        for (size_t c = 0; c < 2 * C; c++)
            sums[c] += sums[s * 2 * C + c];
    for (size_t g = 0; g < groups; g++) {
        double sum = 0.0, squares = 0.0, n = (double)P * (double)G;
        for (size_t c = g * G; c < (g + 1) * G; c++) {
            sum += sums[c];
            squares += sums[C + c];
        }
        double mean = sum / n, var = squares / n - mean * mean;
        double r = 1.0 / sqrt((var > 0.0 ? var : 0.0) + (double)eps);
        for (size_t c = g * G; c < (g + 1) * G; c++) {
            double factor = r * (double)weight[c], term = (double)bias[c] - mean * factor;
            double gain = scale ? 1.0 + (double)scale[c] : 1.0;
            a[c] = (float)(factor * gain);
            b[c] = (float)(term * gain + (shift ? (double)shift[c] : 0.0));
        }
    }
}

void op_group_norm_factors(dl_context *cx, float *a, float *b, const float *x, const float *weight,
                           const float *bias, const float *scale, const float *shift, size_t B,
                           size_t P, size_t C, size_t groups, float eps) {
    size_t mark = arena_mark(cx), strips = (P + STRIP - 1) / STRIP;
    double *sums = arena_bytes(cx, B * strips * 2 * C * sizeof *sums);
    if (!planning(cx)) {
        memset(sums, 0, B * strips * 2 * C * sizeof *sums);
#pragma omp parallel for num_threads(threads_for_elements(cx, B *P *C)) schedule(static)
        for (size_t i = 0; i < B * strips; i++) {
            size_t first = i % strips * STRIP, rows = P - first < STRIP ? P - first : STRIP;
            double *sum = sums + i * 2 * C;
            cx->kernels->column_sums(sum, sum + C, x + (i / strips * P + first) * C, C, rows, C);
        }
        for (size_t i = 0; i < B; i++)
            group_factors(a + i * C, b + i * C, sums + i * strips * 2 * C, strips, P, C, groups,
                          eps, weight, bias, scale ? scale + i * C : NULL,
                          shift ? shift + i * C : NULL);
    }
    arena_release(cx, mark);
}

void op_group_norm(dl_context *cx, float *y, const float *x, const float *weight, const float *bias,
                   const float *scale, const float *shift, size_t B, size_t P, size_t C,
                   size_t groups, float eps, enum activation act) {
    size_t mark = arena_mark(cx);
    float *a = floats(cx, B * C), *b = floats(cx, B * C);
    op_group_norm_factors(cx, a, b, x, weight, bias, scale, shift, B, P, C, groups, eps);
    for (size_t i = 0; i < B; i++)
        op_affine(cx, y + i * P * C, x + i * P * C, a + i * C, b + i * C, P, C, act);
    arena_release(cx, mark);
}

/* ---- group norm in pieces -------------------------------------------------------------------- */

void op_group_sums_begin(dl_context *cx, struct group_sums *s, size_t C) {
    s->pixels = 0;
    s->strip = arena_bytes(cx, 2 * C * sizeof *s->strip);
    s->total = arena_bytes(cx, 2 * C * sizeof *s->total);
    if (planning(cx))
        return;
    memset(s->strip, 0, 2 * C * sizeof *s->strip);
    memset(s->total, 0, 2 * C * sizeof *s->total);
}

/* total += strip, whose place the next strip takes. */
static void end_strip(struct group_sums *s, size_t C) {
    for (size_t c = 0; c < 2 * C; c++)
        s->total[c] += s->strip[c];
    memset(s->strip, 0, 2 * C * sizeof *s->strip);
}

void op_group_sums_add(dl_context *cx, struct group_sums *s, const float *x, size_t n, size_t C) {
    enum { CHANNELS = 32 }; /* of a thread */
    while (n > 0 && !planning(cx)) {
        size_t room = STRIP - s->pixels % STRIP, rows = n < room ? n : room;
#pragma omp parallel for num_threads(threads_for_elements(cx, rows *C)) schedule(static)
        for (size_t c = 0; c < C; c += CHANNELS)
            cx->kernels->column_sums(s->strip + c, s->strip + C + c, x + c, C, rows,
                                     C - c < CHANNELS ? C - c : CHANNELS);
        if (rows == room)
            end_strip(s, C);
        s->pixels += rows;
        x += rows * C;
        n -= rows;
    }
}

void op_group_factors(dl_context *cx, float *a, float *b, const struct group_sums *s,
                      const float *weight, const float *bias, size_t C, size_t groups, float eps) {
    if (planning(cx))
        return;
    if (s->pixels % STRIP)
        for (size_t c = 0; c < 2 * C; c++)
            s->total[c] += s->strip[c];
    group_factors(a, b, s->total, 1, s->pixels, C, groups, eps, weight, bias, NULL, NULL);
}

void op_affine(dl_context *cx, float *y, const float *x, const float *a, const float *b, size_t n,
               size_t C, enum activation act) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, n *C)) schedule(static)
    for (size_t i = 0; i < n; i += STRIP)
        cx->kernels->affine(y + i * C, x + i * C, a, b, n - i < STRIP ? n - i : STRIP, C, act);
}
