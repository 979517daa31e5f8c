/* The table of functions of one instruction set, and its choice.
 *
 * Everything that is worth vector code is here, as small functions over contiguous rows; what they
 * are combined to (ops.h) is written once, in plain C, for all instruction sets: gemm.c,
 * few_rows.c, conv.c, attention.c, norm.c, elementwise.c. ref.c defines each function in C99;
 * simd.inc writes them over a few vector functions, and avx2.c, avx512.c and neon.c give these.
 * Products have tables of their own for other formats than f32: bf16.c defines them, avx512_bf16.c
 * and amx.c are fast; amx_f32.c makes f32 of bf16. Only files named after an instruction set are
 * compiled for more than the base architecture.
 *
 * Equal bits. An element's value never depends on where in a row, panel or tile it stands: partial
 * vectors go through the same instructions as full ones. So results depend neither on the number
 * of threads nor on what else is in a batch. Between tables they differ by rounding. */
#ifndef DLENS_KERNELS_KERNELS_H
#define DLENS_KERNELS_KERNELS_H

#include "base/size.h"
#include "base/tensor.h"
#include "kernels/ops.h"

enum {
    /* A block of the product's inner dimension has at most BLOCK_K lanes. Rows of the left
     * operand lie LEFT_STRIDE lanes apart: a constant, so that the inner loop addresses every row
     * from one register; an odd number of cache lines, so that rows do not meet in one set. */
    BLOCK_K = 320,
    LEFT_STRIDE = 336,
    TILE_ROWS_MAX = 32, /* upper bounds of rows and columns below */
    TILE_COLUMNS_MAX = 32,
    WINOGRAD_POSITIONS = 36 /* of a transformed tile, 6 x 6 */
};

/* c (R, columns) = a (R,K) b (K, columns), or += with `add`. R is fixed per function; rows of a lie
 * LEFT_STRIDE apart, rows of b are contiguous, rows of c lie ldc apart. K lanes <= BLOCK_K. Of a,
 * rows up to the next multiple of lane_step must be there to be read, whatever they hold. */
typedef void tile_function(float *c, size_t ldc, const float *a, const float *b, size_t K,
                           bool add);

/* The same with few rows (few_rows.c): c (few, columns) = w (few, K lanes; ldw apart) x (K,
 * columns), or += with `add`; c and x contiguous. The columns are V vectors; `few` and V are fixed
 * per function. `ahead`: rows like w that come next, to be asked for; or NULL. */
enum { FEW_VECTORS = 5 };
typedef void few_function(float *c, const float *w, size_t ldw, const float *x, size_t K, bool add,
                          const float *ahead);

/* Sums of windows, c (16 parts, columns) = or += with `add`, for `parts` times 16 outputs:
 *
 *     c[16 i + r, n] (+)= sum over planes k, taps t, lanes l of
 *         x_i[k plane + tap_t + r 16 + l] b[((taps k + t) 16 + l) columns + n]
 *
 * x_i, i < parts: the upper left corner of what the first of 16 neighbouring outputs sees. A pixel
 * has 16 lanes of a plane. `parts` is fixed per function. */
enum { WINDOW_PARTS = 3 };
struct windows_layout {
    size_t plane; /* lanes from plane to plane, */
    size_t taps;
    size_t tap[9]; /* from the corner to the pixel under each tap */
};
typedef void window_function(float *c, const float *const *x, const struct windows_layout *layout,
                             size_t planes, const float *b, bool add);

/* Such planes from pixels: lane l of pixel i in plane k = channels 32 k + 2 l and the next of the n
 * at at[i], rounded; zeros beyond n and where the pointer is NULL. With `a` instead of the channels
 * x a + b, then silu if `silu`. */
typedef void plane_function(float *out, size_t plane, const float *const *at, size_t pixels,
                            size_t n, const float *a, const float *b, bool silu);

/* The parts of attention (attention.c), for a panel of queries and a tile of keys.
 *
 * A product, c (rows, columns) = a (rows, K lanes; LEFT_STRIDE apart) b (K, columns). Rows of a and
 * c up to the next multiple of lane_step must be there.
 *
 * A softmax over keys, for all columns (queries) at once; s (keys, columns):
 *     max' = max(max, max_k s_k);  rescale = exp(max - max');  p_k = exp(s_k - max');
 *     sum = sum rescale + sum_k p_k;  max = max'              (Milakov, Gimelshein 2018)
 * p (lanes_of(keys), columns) is a right operand; without pieces it may be s. */
struct turn_product {
    float *c;
    const float *a, *b;
    size_t rows, K;
};
struct turn_softmax {
    float *p;
    const float *s;
    size_t keys;
    float *max, *sum, *rescale;
};

/* Parts that do not wait for each other, computed side by side. Those with a NULL where they write
 * are left out. */
struct attention_turn {
    struct turn_product scores, values;
    struct turn_softmax softmax;
};

#define F16_MAX 65504.0f

/* How a table multiplies in one format of numbers. Both operands of the tile are packed along k in
 * lanes of 32 bits (typed float wherever they lie, and moved as such): one f32, or two neighbouring
 * k in bf16, the first in the lower half. n numbers so take lanes_of(n), a multiple of lane_step;
 * numbers that are missing there are zeros. Sums are f32. Where a number is a sum of
 * several, each lane_step of lanes is followed by those of the other pieces (amx_f32.c). */
struct products {
    const char *name; /* "f32", "bf16" */
    const char *by;   /* the instructions: other ones round elsewhere */
    size_t per_lane;  /* 1 or 2 */
    size_t pieces;    /* numbers of the format that one of ours is the sum of, 1 or 3 */
    size_t lane_step; /* 1 or 16 */
    double speed;     /* multiply-adds in the time of one of f32, about */
    size_t depth;     /* lanes of a step over k, at most BLOCK_K */
    size_t rows;      /* of the register tile; its columns are those of the table */
    size_t group;     /* row panels that a packed right panel meets in the innermost cache */
    tile_function *tile[TILE_ROWS_MAX + 1];  /* tile[R] computes R rows */
    few_function *few_tile[FEW_VECTORS + 1]; /* by V; not where few is 0 */
    size_t few, vectors, vector;         /* rows of w there, the most of V, columns of a vector */
    window_function *const *window_tile; /* (WINDOW_PARTS + 1) by parts; NULL: there are none */
    plane_function *planes;

    /* A plane of windows' weights as they lie in a bf16 file, w (rows, n, 9; ld numbers apart), n
     * even and at most a plane's, rows at most the table's columns, to the right operand (9, 16
     * lanes, columns), zeros for what is missing. */
    void (*right_windows)(float *out, const uint16_t *w, size_t ld, size_t rows, size_t n);

    /* What a thread calls before and after its tiles; NULL: nothing. */
    void (*enter)(void), (*leave)(void);

    /* The left operand from rows that k runs along: row r of out (rows, LEFT_STRIDE apart) =
     * [at[r*taps + 0][0..n) | at[r*taps + 1][0..n) | ...], each in lanes of its own, every pointer
     * moved on by `offset`; a NULL pointer stands for zeros. */
    void (*left_rows)(float *out, const float *const *at, size_t rows, size_t taps, size_t offset,
                      size_t n);

    /* The right operand from such rows: out (lanes_of(n), rows; ldo apart), in (rows, n; ldi
     * apart). */
    void (*right_rows)(float *out, size_t ldo, const float *in, size_t ldi, size_t rows, size_t n);

    /* The left operand from columns: out (columns, lanes_of(n); ldo apart), in (n, columns; ldi
     * apart). */
    void (*left_columns)(float *out, size_t ldo, const float *in, size_t ldi, size_t n,
                         size_t columns);

    /* The right operand from columns: out (lanes_of(n), table's columns), in (n, table's columns).
     * NULL where these are the same. */
    void (*right_columns)(float *out, const float *in, size_t n);

    void (*softmax_tile)(const struct turn_softmax *part);

    /* A turn, where products are computed beside a softmax in less time than one after the other;
     * NULL elsewhere. */
    void (*attend)(const struct attention_turn *turn);

    /* The transforms of F(4x4,3x3) (winograd.c), all positions p in rows of 6.
     *     input    out[p][i] = (B^T d B)_p for n channels i, as a left operand; d (6,6) of channel
     *              i lies at at[6*row + column][offset + i], zeros where the pointer is NULL
     *     weights  out[p*stride + k*columns + j] = (G g G^T)_p, g_t = w[(k*9 + t)*columns + j], as
     * a right operand of k < K
     * Both NULL: this format does without. */
    void (*winograd_input)(float *const *out, const float *const *at, size_t offset, size_t n);
    void (*winograd_weights)(float *out, size_t stride, const float *w, size_t K);

    /* `steps` times 12 vectors s = s + a b that do not wait for each other: the processor's peak.
     * Returns the number of multiply-adds; out: a vector, so that they are not left out. */
    double (*multiply_adds)(float *out, size_t steps);
};

struct kernels {
    const char *name; /* "ref", "avx2", "avx512", "neon" */
    size_t columns;   /* of every register tile */
    struct products f32;

    /* out[order[j]*ldo + i] = in[i*ldi + j], i < rows, j < columns; order NULL: j itself. */
    void (*transpose)(float *out, size_t ldo, const size_t *order, const float *in, size_t ldi,
                      size_t rows, size_t columns);

    /* y (rows,n; ldy apart) = act(c (rows,n; ldc apart) + bias) * factor + residual, both like y;
     * bias, factor and residual may be NULL. */
    void (*finish)(float *y, size_t ldy, const float *c, size_t ldc, const float *bias,
                   const float *factor, const float *residual, size_t rows, size_t n,
                   enum activation act);

    /* The last transform of F(4x4,3x3): y (4,4,columns) = A^T m A, m_p (columns) at in[p*stride].
     */
    void (*winograd_output)(float *y, const float *in, size_t stride);

    /* y (rows, columns; contiguous) *= s (columns). */
    void (*scale_columns)(float *y, const float *s, size_t rows);

    /* y (rows, columns; contiguous) = y s + x, x like y. */
    void (*scale_and_add)(float *y, const float *s, const float *x, size_t rows);

    /* sum (n) += sum over rows of x (rows,n; ldx apart); squares (n) += that of x^2. */
    void (*column_sums)(double *sum, double *squares, const float *x, size_t ldx, size_t rows,
                        size_t n);

    /* y (rows,n) = act(x * a + b), a and b (n). y may be x. */
    void (*affine)(float *y, const float *x, const float *a, const float *b, size_t rows, size_t n,
                   enum activation act);

    /* y (n) = (x - mean) / sqrt(mean of (x - mean)^2 + eps) * weight + bias. y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *weight, const float *bias, size_t n,
                       float eps);

    /* y (n) = x / sqrt(mean of x^2 + eps) * weight. y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *weight, size_t n, float eps);

    void (*activate)(float *y, const float *x, size_t n, enum activation act);

    /* y (n) = x widened to f32 from F32, F16 or BF16, or from I8 and then times scale. */
    void (*widen)(float *y, const void *x, enum dtype dtype, float scale, size_t n);

    /* y (n) = x rounded to f16; what f16 cannot hold becomes +-F16_MAX. */
    void (*narrow)(uint16_t *y, const float *x, size_t n);
};

/* The table called `name`, or with NULL the fastest that this processor can run. NULL if there is
 * no such table or the processor lacks the instructions. */
const struct kernels *kernels_choose(const char *name);

/* Products in bf16 beside the table that kernels_choose gives for that name: NULL where the
 * processor has no instructions for them, and without a name where they are not faster than f32's.
 * "amx" is the table "avx512" with products by AMX, which that name itself leaves out. "ref" has
 * them on every machine, in plain C. */
const struct products *products_bf16(const char *name);

/* What products of matrices and attention are made with in f32, where something is faster than the
 * table: NULL elsewhere. The name is that of kernels_choose. */
const struct products *products_of_matrices(const char *name);

/* What products are made with under the context's precision. */
static inline const struct products *products_of(const dl_context *cx) {
    return cx->fast ? cx->fast : &cx->kernels->f32;
}

/* And products of matrices and attention. */
static inline const struct products *matrix_products_of(const dl_context *cx) {
    return !cx->fast && cx->matrices ? cx->matrices : products_of(cx);
}

/* finish for a part of y: rows ldy apart, its first element number `at` of y and in column j; what
 * the epilogue has is that of all of y. ep may be NULL. */
static inline void finish_part(const struct kernels *kn, float *y, size_t ldy, size_t at, size_t j,
                               const float *c, size_t ldc, const struct epilogue *ep, size_t rows,
                               size_t n) {
    static const struct epilogue none;
    if (!ep)
        ep = &none;
    kn->finish(y + at, ldy, c, ldc, ep->bias ? ep->bias + j : NULL,
               ep->factor ? ep->factor + at : NULL, ep->residual ? ep->residual + at : NULL, rows,
               n, ep->act);
}

static inline size_t lanes_of(const struct products *products, size_t n) {
    return products->pieces * round_up(ceil_div(n, products->per_lane), products->lane_step);
}

#endif
