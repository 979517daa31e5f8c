/* Operations on single elements, and moves: bound by memory, not by arithmetic.
 * B batch   P pixels   C channels   M rows   n elements */
#include "kernels/kernels.h"
#include "kernels/threads.h"

#include <string.h>

enum { PIECE = 4096 }; /* elements that one thread takes at a time */

static size_t pieces(size_t n) {
    return (n + PIECE - 1) / PIECE;
}

static size_t piece_length(size_t n, size_t i) {
    return n - i * PIECE < PIECE ? n - i * PIECE : PIECE;
}

void op_activate(dl_context *cx, float *y, const float *x, size_t n, enum activation act) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, n)) schedule(static)
    for (size_t i = 0; i < pieces(n); i++)
        cx->kernels->activate(y + i * PIECE, x + i * PIECE, piece_length(n, i), act);
}

void op_add(dl_context *cx, float *y, const float *x, size_t n) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, n)) schedule(static)
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

void op_add_channels(dl_context *cx, float *y, const float *x, size_t B, size_t P, size_t C) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, B * P * C)) schedule(static)
    for (size_t i = 0; i < B * P; i++)
        for (size_t c = 0; c < C; c++)
            y[i * C + c] += x[i / P * C + c];
}

void op_scale(dl_context *cx, float *y, float s, size_t n) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, n)) schedule(static)
    for (size_t i = 0; i < n; i++)
        y[i] *= s;
}

void op_concat(dl_context *cx, float *y, const float *a, size_t A, const void *b, enum dtype b_dtype,
               size_t B, size_t M) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, M * (A + B))) schedule(static)
    for (size_t m = 0; m < M; m++) {
        memcpy(y + m * (A + B), a + m * A, A * sizeof *y);
        cx->kernels->widen(y + m * (A + B) + A, (const char *)b + m * B * dtype_size(b_dtype), b_dtype,
                           1.0f, B);
    }
}

/* y (B,Q,R) = x (B,R,Q) transposed, in squares that fit the first cache. */
static void transpose_items(dl_context *cx, float *y, const float *x, size_t B, size_t R,
                            size_t Q) {
    enum { SIDE = 64 };
    size_t across = (Q + SIDE - 1) / SIDE;
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, B * R * Q)) schedule(static)
    for (size_t i = 0; i < B * across; i++) {
        size_t b = i / across, q = i % across * SIDE, columns = Q - q < SIDE ? Q - q : SIDE;
        for (size_t r = 0; r < R; r += SIDE)
            cx->kernels->transpose(y + (b * Q + q) * R + r, R, NULL, x + (b * R + r) * Q + q, Q,
                                   R - r < SIDE ? R - r : SIDE, columns);
    }
}

void op_to_channels_last(dl_context *cx, float *y, const float *x, size_t B, size_t C, size_t P) {
    transpose_items(cx, y, x, B, C, P);
}

void op_to_channels_first(dl_context *cx, float *y, const float *x, size_t B, size_t C, size_t P) {
    transpose_items(cx, y, x, B, P, C);
}

void op_embedding_row(dl_context *cx, float *y, const struct tensor *table, size_t index) {
    size_t C = table->shape[1];
    if (!planning(cx))
        cx->kernels->widen(y, (const char *)table->data + index * C * dtype_size(table->dtype),
                           table->dtype, 1.0f, C);
}

void op_widen(dl_context *cx, float *y, const void *x, enum dtype dtype, size_t n) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, n)) schedule(static)
    for (size_t i = 0; i < pieces(n); i++)
        cx->kernels->widen(y + i * PIECE, (const char *)x + i * PIECE * dtype_size(dtype), dtype, 1.0f,
                           piece_length(n, i));
}

void op_narrow(dl_context *cx, uint16_t *y, const float *x, size_t n) {
    if (planning(cx))
        return;
#pragma omp parallel for num_threads(threads_for_elements(cx, n)) schedule(static)
    for (size_t i = 0; i < pieces(n); i++)
        cx->kernels->narrow(y + i * PIECE, x + i * PIECE, piece_length(n, i));
}

/* In order, and by way of a buffer: a piece's results lie over pieces that were read before it. */
uint16_t *op_narrow_in_place(dl_context *cx, float *x, size_t n) {
    uint16_t piece[PIECE], *y = (uint16_t *)(void *)x;
    for (size_t i = 0; i < pieces(n) && !planning(cx); i++) {
        cx->kernels->narrow(piece, x + i * PIECE, piece_length(n, i));
        memcpy(y + i * PIECE, piece, piece_length(n, i) * sizeof *piece);
    }
    return y;
}
