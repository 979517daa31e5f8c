/* The blocked matrix product behind op_linear and op_conv2d.
 * M rows   N outputs   C channels   taps of the window (1 or 9)   K = taps C */
#ifndef DLENS_KERNELS_GEMM_H
#define DLENS_KERNELS_GEMM_H

#include "kernels/kernels.h"

/* Floats of packed weights that a thread keeps for its next block. */
enum { KEPT_WEIGHTS = 1 << 21 };

struct product {
    float *y; /* (M,N) */
    size_t M, N, C, taps;
    const struct tensor *weight; /* (N,C,taps) */
    const struct epilogue *ep;   /* may be NULL */

    const float *rows; /* (M,C), of a matrix; or NULL and: */

    /* The row source: at[i*taps + t] = where the C channels of row first+i under tap t lie, NULL
     * where the window lies on padding. A convolution so needs no matrix of its windows. */
    void (*locate)(const void *source, size_t first, size_t rows, const float **at);
    const void *source;
};

void multiply(dl_context *cx, const struct product *p);

/* The same for few rows of a matrix (few_rows.c), and whether they are that. */
bool is_few_rows(const struct product *p, const struct products *format);
void multiply_few_rows(dl_context *cx, const struct product *p, const struct products *format);

/* Channels per step: even steps of up to `depth` lanes, none of them empty, for a matrix; as many
 * as fit with all taps for a window (32 for 3x3 in f32: two whole cache lines of each pixel). */
size_t step_channels(size_t C, size_t taps, const struct products *format);

/* Whether n channels of the rows of a matrix's weights are lanes of the operands as they lie. */
bool holds_lanes(const struct products *format, const struct product *p, size_t n);

/* Whether weights are read as they lie; others are widened, or moved, row by row. */
static inline bool weights_in_place(const struct tensor *w) {
    return w->dtype == DTYPE_F32 && tensor_is_aligned(w);
}

/* out (rows, n) = values [from, from + n) of rows [first, first + rows) of the weights, widened;
 * whole rows have `width` values. */
static inline void widen_rows(const struct kernels *kn, float *out, const struct tensor *w,
                              size_t first, size_t rows, size_t width, size_t from, size_t n) {
    const size_t size = dtype_size(w->dtype);
    for (size_t i = 0; i < rows; i++)
        kn->widen(out + i * n, (const char *)w->data + ((first + i) * width + from) * size,
                  w->dtype, w->scales ? w->scales[first + i] : 1.0f, n);
}

/* Weights (n, taps) of `count` rows of w (ld apart), transposed: out (taps, n, columns), zeros in
 * columns that are missing. */
void transpose_window(const struct kernels *kn, float *out, const float *w, size_t ld, size_t count,
                      size_t n, size_t taps);

/* A panel of the right operand of windows, (taps, lanes of n, columns), from `count` rows of w (n,
 * taps; ld apart): what is packed tap by tap lies channel by channel. window: scratch (taps, n,
 * columns) for formats that have right_columns. */
void pack_window(const struct kernels *kn, const struct products *format, float *panel,
                 float *window, const float *w, size_t ld, size_t count, size_t n, size_t taps);

#endif
