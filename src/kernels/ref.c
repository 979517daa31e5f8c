/* The kernel table in plain C99: the definition of every function, for processors without a table
 * of their own and to check the others against. */
#include "kernels/tables.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { ROWS = 4, COLUMNS = 16 };

/* ---- matrix product -------------------------------------------------------------------------- */

static inline void tile(float *c, size_t ldc, const float *a, const float *b, size_t K, bool add,
                        size_t rows) {
    float sum[ROWS][COLUMNS] = {{0}};
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < COLUMNS; j++)
                sum[i][j] += a[i * LEFT_STRIDE + k] * b[k * COLUMNS + j];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < COLUMNS; j++)
            c[i * ldc + j] = add ? c[i * ldc + j] + sum[i][j] : sum[i][j];
}

#define TILE(R)                                                                                    \
    static void tile_##R(float *c, size_t ldc, const float *a, const float *b, size_t K,           \
                         bool add) {                                                               \
        tile(c, ldc, a, b, K, add, R);                                                             \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)

static void gather(float *out, const float *const *at, size_t rows, size_t taps, size_t offset,
                   size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < taps; t++) {
            float *to = out + r * LEFT_STRIDE + t * n;
            const float *from = at[r * taps + t];
            for (size_t i = 0; i < n; i++)
                to[i] = from ? from[offset + i] : 0.0f;
        }
}

static void transpose(float *out, size_t ldo, const size_t *order, const float *in, size_t ldi,
                      size_t rows, size_t columns) {
    for (size_t j = 0; j < columns; j++)
        for (size_t i = 0; i < rows; i++)
            out[(order ? order[j] : j) * ldo + i] = in[i * ldi + j];
}

static void transpose_plain(float *out, size_t ldo, const float *in, size_t ldi, size_t rows,
                            size_t columns) {
    transpose(out, ldo, NULL, in, ldi, rows, columns);
}

/* ---- activations ----------------------------------------------------------------------------- */

static float activated(float x, enum activation act) {
    switch (act) {
    case ACT_SILU: /* x sigmoid(x) */
        return x / (1.0f + expf(-x));
    case ACT_GELU: /* x Phi(x) */
        return 0.5f * x * erfcf(-x * 0.707106781f);
    case ACT_GELU_TANH: /* x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3) */
        return 0.5f * x * (1.0f + tanhf(0.797884561f * (x + 0.044715f * x * x * x)));
    case ACT_QUICK_GELU:
        return x / (1.0f + expf(-1.702f * x));
    case ACT_RELU:
        return x < 0.0f ? 0.0f : x; /* not a number: passed on */
    case ACT_NONE:
        break;
    }
    return x;
}

static void activate(float *y, const float *x, size_t n, enum activation act) {
    for (size_t i = 0; i < n; i++)
        y[i] = activated(x[i], act);
}

static void finish(float *y, size_t ldy, const float *c, size_t ldc, const float *bias,
                   const float *factor, const float *residual, size_t rows, size_t n,
                   enum activation act) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            float value = activated(c[i * ldc + j] + (bias ? bias[j] : 0.0f), act);
            value *= factor ? factor[i * ldy + j] : 1.0f;
            y[i * ldy + j] = value + (residual ? residual[i * ldy + j] : 0.0f);
        }
}

static void affine(float *y, const float *x, const float *a, const float *b, size_t rows, size_t n,
                   enum activation act) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++)
            y[i * n + j] = activated(x[i * n + j] * a[j] + b[j], act);
}

/* ---- Winograd's transforms: the matrices of winograd.c written out ----------------------------
 */

#define A 0.70710678f /* the points */
#define B 1.41421356f

static const float INPUT_MATRIX[6][6] = {
    {1.0f, 0.0f, -2.5f, 0.0f, 1.0f, 0.0f},   {0.0f, -2.0f * A, -2.0f, A, 1.0f, 0.0f},
    {0.0f, 2.0f * A, -2.0f, -A, 1.0f, 0.0f}, {0.0f, -0.5f * B, -0.5f, B, 1.0f, 0.0f},
    {0.0f, 0.5f * B, -0.5f, -B, 1.0f, 0.0f}, {0.0f, 1.0f, 0.0f, -2.5f, 0.0f, 1.0f}};
static const float WEIGHT_MATRIX[6][3] = {{1.0f, 0.0f, 0.0f},
                                          {-2.0f / 3, -2.0f * A / 3, -1.0f / 3},
                                          {-2.0f / 3, 2.0f * A / 3, -1.0f / 3},
                                          {1.0f / 6, B / 6, 1.0f / 3},
                                          {1.0f / 6, -B / 6, 1.0f / 3},
                                          {0.0f, 0.0f, 1.0f}};
static const float OUTPUT_MATRIX[4][6] = {{1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 0.0f},
                                          {0.0f, A, -A, B, -B, 0.0f},
                                          {0.0f, 0.5f, 0.5f, 2.0f, 2.0f, 0.0f},
                                          {0.0f, 0.5f * A, -0.5f * A, 2.0f * B, -2.0f * B, 1.0f}};

/* y (rows,rows) = m x m^T, m (rows,side), x (side,side). */
static void two_sided(float *y, const float *m, size_t rows, const float *x, size_t side) {
    float t[36];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < side; j++) {
            t[i * side + j] = 0.0f;
            for (size_t k = 0; k < side; k++)
                t[i * side + j] += m[i * side + k] * x[k * side + j];
        }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < rows; j++) {
            y[i * rows + j] = 0.0f;
            for (size_t k = 0; k < side; k++)
                y[i * rows + j] += t[i * side + k] * m[j * side + k];
        }
}

static void winograd_input(float *const *out, const float *const *at, size_t offset, size_t n) {
    for (size_t c = 0; c < n; c++) {
        float d[36], v[36];
        for (size_t i = 0; i < 36; i++)
            d[i] = at[i] ? at[i][offset + c] : 0.0f;
        two_sided(v, &INPUT_MATRIX[0][0], 6, d, 6);
        for (size_t i = 0; i < 36; i++)
            out[i][c] = v[i];
    }
}

static void winograd_weights(float *out, size_t stride, const float *w, size_t K) {
    for (size_t k = 0; k < K; k++)
        for (size_t j = 0; j < COLUMNS; j++) {
            float g[9], u[36];
            for (size_t i = 0; i < 9; i++)
                g[i] = w[(k * 9 + i) * COLUMNS + j];
            two_sided(u, &WEIGHT_MATRIX[0][0], 6, g, 3);
            for (size_t i = 0; i < 36; i++)
                out[i * stride + k * COLUMNS + j] = u[i];
        }
}

static void winograd_output(float *y, const float *in, size_t stride) {
    for (size_t j = 0; j < COLUMNS; j++) {
        float m[36], tile_y[16];
        for (size_t i = 0; i < 36; i++)
            m[i] = in[i * stride + j];
        two_sided(tile_y, &OUTPUT_MATRIX[0][0], 4, m, 6);
        for (size_t i = 0; i < 16; i++)
            y[i * COLUMNS + j] = tile_y[i];
    }
}

#undef A
#undef B

/* ---- softmax --------------------------------------------------------------------------------- */

static void softmax_tile(const struct turn_softmax *t) {
    for (size_t j = 0; j < COLUMNS; j++) {
        float max = t->max[j], total = 0.0f;
        for (size_t k = 0; k < t->keys; k++)
            max = fmaxf(max, t->s[k * COLUMNS + j]);
        for (size_t k = 0; k < t->keys; k++) {
            const float e = expf(t->s[k * COLUMNS + j] - max);
            t->p[k * COLUMNS + j] = e;
            total += e;
        }
        t->rescale[j] = expf(t->max[j] - max);
        t->sum[j] = t->sum[j] * t->rescale[j] + total;
        t->max[j] = max;
    }
}

static void scale_columns(float *y, const float *s, size_t rows) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < COLUMNS; j++)
            y[i * COLUMNS + j] *= s[j];
}

static void scale_and_add(float *y, const float *s, const float *x, size_t rows) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < COLUMNS; j++)
            y[i * COLUMNS + j] = y[i * COLUMNS + j] * s[j] + x[i * COLUMNS + j];
}

/* ---- norms ----------------------------------------------------------------------------------- */

static void column_sums(double *sum, double *squares, const float *x, size_t ldx, size_t rows,
                        size_t n) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            double value = x[i * ldx + j];
            sum[j] += value;
            squares[j] += value * value;
        }
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, size_t n,
                       float eps) {
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++)
        squares += (double)(x[i] - mean) * (double)(x[i] - mean);
    float r = (float)(1.0 / sqrt(squares / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * r * weight[i] + bias[i];
}

static void rms_norm(float *y, const float *x, const float *weight, size_t n, float eps) {
    double squares = 0.0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    float r = (float)(1.0 / sqrt(squares / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * r * weight[i];
}

/* ---- weights --------------------------------------------------------------------------- */

static void widen(float *y, const void *x, enum dtype dtype, float scale, size_t n) {
    const struct tensor t = {
        .dtype = dtype, .ndim = 2, .shape = {1, n}, .data = x, .scales = &scale};
    tensor_widen(y, &t);
}

static void narrow(uint16_t *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_f16(x[i] > F16_MAX ? F16_MAX : x[i] < -F16_MAX ? -F16_MAX : x[i]);
}

/* ---- peak ------------------------------------------------------------------------------------ */

static double multiply_adds(float *out, size_t steps) {
    enum { CHAINS = 12 * COLUMNS };
    float s[CHAINS];
    for (size_t i = 0; i < CHAINS; i++)
        s[i] = (float)i;
    for (size_t k = 0; k < steps; k++)
        for (size_t i = 0; i < CHAINS; i++)
            s[i] = s[i] * 0.999f + 1e-3f;
    for (size_t i = COLUMNS; i < CHAINS; i++)
        s[i % COLUMNS] += s[i];
    memcpy(out, s, COLUMNS * sizeof *out);
    return (double)steps * CHAINS;
}

const struct kernels kernels_ref = {
    .name = "ref",
    .columns = COLUMNS,
    .f32 =
        {
            .name = "f32",
            .by = "ref",
            .per_lane = 1,
            .pieces = 1,
            .lane_step = 1,
            .depth = BLOCK_K,
            .speed = 1.0,
            .rows = ROWS,
            .group = 16,
            .tile = {NULL, tile_1, tile_2, tile_3, tile_4},
            .left_rows = gather,
            .right_rows = transpose_plain,
            .left_columns = transpose_plain,
            .softmax_tile = softmax_tile,
            .winograd_input = winograd_input,
            .winograd_weights = winograd_weights,
            .multiply_adds = multiply_adds,
        },
    .transpose = transpose,
    .finish = finish,
    .winograd_output = winograd_output,
    .scale_columns = scale_columns,
    .scale_and_add = scale_and_add,
    .column_sums = column_sums,
    .affine = affine,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .activate = activate,
    .widen = widen,
    .narrow = narrow,
};
