/* Products in bf16 with AMX: one instruction multiplies two matrices that lie in tile registers,
 *
 *     C (16, 16) += A (16, 16 lanes) B (16 lanes, 16)      lanes of two neighbouring k, sums in f32
 *
 * 512 multiply-adds a clock, eight times AVX-512 BF16's. A tile register holds 16 rows of 64 bytes;
 * of the eight, four hold the sums of 32 x 32 results, two take turns with A, two with B. Both
 * operands lie in memory as avx512_bf16.c has them, in multiples of 16 lanes, so a step over k
 * loads four tiles and multiplies four times; a load takes as long as a product. bf16.c defines the
 * functions.
 *
 * Transforms cost more than what Winograd's method saves here: there are none, so 3x3 convolutions
 * multiply their windows as they are, which is also more exact. */
#include "kernels/tables.h"

#if defined(__x86_64__)
#include "kernels/amx_tiles.h"

#include <string.h>

#define LANE_STEP LANES

#include "kernels/bf16.inc"

enum {
    ROWS = 2 * LANES,
    LEFT_BYTES = LEFT_STRIDE * sizeof(float),
    RIGHT_BYTES = COLUMNS * sizeof(float),
    DEPTH = 192 /* lanes of a step: 32 rows of both operands then fit the first cache */
};

/* ---- matrix product -------------------------------------------------------------------------- */

/* 32 rows, or without `both`, a constant in every call, the upper 16. Registers 0 and 1 hold the
 * sums of the upper rows, 2 and 3 of the lower ones; 4 and 5 these rows of a, 6 and 7 the left and
 * right columns of b. */
static inline void multiply_rows(float *c, size_t ldc, const float *a, const float *b, size_t K,
                                 bool add, bool both) {
    const size_t row = ldc * sizeof *c;
    const float *a_lower = a + LANES * LEFT_STRIDE;
    float *lower = c + LANES * ldc;
    finish_writing();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (add) {
        _tile_loadd(0, c, row);
        _tile_loadd(1, c + LANES, row);
    }
    if (add && both) {
        _tile_loadd(2, lower, row);
        _tile_loadd(3, lower + LANES, row);
    }
    for (size_t k = 0; k < K; k += LANES, b += LANES * COLUMNS) {
        _tile_loadd(4, a + k, LEFT_BYTES);
        _tile_loadd(6, b, RIGHT_BYTES);
        _tile_loadd(7, b + LANES, RIGHT_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (both) {
            _tile_loadd(5, a_lower + k, LEFT_BYTES);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, row);
    _tile_stored(1, c + LANES, row);
    if (both) {
        _tile_stored(2, lower, row);
        _tile_stored(3, lower + LANES, row);
    }
}

static inline void copy_rows(float *to, size_t ldt, const float *from, size_t ldf, size_t rows) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < COLUMNS; j += LANES)
            v_store(to + i * ldt + j, v_load(from + i * ldf + j));
}

/* Fewer rows: the registers take whole tiles all the same, so a has rows up to the next multiple of
 * 16 that may hold anything, and c goes through a copy. */
static void some_rows(float *c, size_t ldc, const float *a, const float *b, size_t K, bool add,
                      size_t rows) {
    float whole[ROWS * COLUMNS];
    if (add)
        copy_rows(whole, COLUMNS, c, ldc, rows);
    if (rows > LANES)
        multiply_rows(whole, COLUMNS, a, b, K, add, true);
    else
        multiply_rows(whole, COLUMNS, a, b, K, add, false);
    copy_rows(c, ldc, whole, COLUMNS, rows);
}

#define TILE(R)                                                                                    \
    static void tile_##R(float *c, size_t ldc, const float *a, const float *b, size_t K,           \
                         bool add) {                                                               \
        if (R % LANES == 0)                                                                        \
            multiply_rows(c, ldc, a, b, K, add, R == ROWS);                                        \
        else                                                                                       \
            some_rows(c, ldc, a, b, K, add, R);                                                    \
    }
EACH_TILE

/* ---- few rows -------------------------------------------------------------------------------- */

/* Register n holds the sums of columns 16 n to 16 n + 15, if there are so many. */
#define EACH_SUM(f) f(0) f(1) f(2) f(3) f(4)
#define LOAD_SUM(n)                                                                                \
    if (V > n)                                                                                     \
        _tile_loadd(n, c + n * LANES, row);
#define STORE_SUM(n)                                                                               \
    if (V > n)                                                                                     \
        _tile_stored(n, c + n * LANES, row);
#define ADD_PRODUCT(n, b)                                                                          \
    if (V > n) {                                                                                   \
        _tile_loadd(b, x + n * LANES, row);                                                        \
        _tile_dpbf16ps(n, 5, b);                                                                   \
    }

/* 16 rows of w meet V times 16 columns: register 5 holds a tile of w, 6 and 7 take turns with x. V
 * is a constant in every call. */
static inline void multiply_few(float *c, const float *w, size_t ldw, const float *x, size_t K,
                                bool add, const float *ahead, size_t V) {
    const size_t row = V * ROW_BYTES;
    finish_writing();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    if (add) {
        EACH_SUM(LOAD_SUM)
    }
    for (size_t k = 0; k < K; k += LANES, x += V * LANES * LANES) {
        for (size_t i = 0; ahead && i < LANES; i++)
            __builtin_prefetch(ahead + i * ldw + k, 0, 3);
        _tile_loadd(5, w + k, ldw * sizeof *w);
        ADD_PRODUCT(0, 6)
        ADD_PRODUCT(1, 7)
        ADD_PRODUCT(2, 6)
        ADD_PRODUCT(3, 7)
        ADD_PRODUCT(4, 6)
    }
    EACH_SUM(STORE_SUM)
}

#define FEW_SUMS(V)                                                                                \
    static void few_##V(float *c, const float *w, size_t ldw, const float *x, size_t K, bool add,  \
                        const float *ahead) {                                                      \
        multiply_few(c, w, ldw, x, K, add, ahead, V);                                              \
    }
FEW_SUMS(1)
FEW_SUMS(2)
FEW_SUMS(3)
FEW_SUMS(4)
FEW_SUMS(5)

/* ---- windows --------------------------------------------------------------------------------- */

/* x sigmoid(x) to 1e-4, a twentieth of what rounding to bf16 costs. */
static inline vec silu_for_bf16(vec x) {
    vec e = exponential(v_sub(v_set1(0.0f), x)); /* infinite below -88: its inverse is 0 */
    return v_mul(x, _mm512_rcp14_ps(v_add(v_set1(1.0f), e)));
}

static inline void planes_as(float *out, size_t plane, const float *const *at, size_t pixels,
                             size_t n, const float *a, const float *b, bool silu) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < n; c += PAIRS) {
            vec v[2] = {v_set1(0.0f), v_set1(0.0f)};
            for (size_t h = 0; h < 2 && at[i] && c + h * LANES < n; h++) {
                const size_t k = c + h * LANES;
                v[h] = load_n(at[i] + k, n - k);
                if (a)
                    v[h] = v_fma(v[h], load_n(a + k, n - k), load_n(b + k, n - k));
                if (silu)
                    v[h] = silu_for_bf16(v[h]); /* of 0, beyond n, it is 0 */
            }
            v_store(out + c / PAIRS * plane + i * LANES, narrow(v[0], v[1]));
        }
}

/* n is a number of whole planes but for the last ones of a picture's channels. */
static void planes(float *out, size_t plane, const float *const *at, size_t pixels, size_t n,
                   const float *a, const float *b, bool silu) {
    if (a && silu)
        planes_as(out, plane, at, pixels, n, a, b, true);
    else if (a)
        planes_as(out, plane, at, pixels, n, a, b, false);
    else
        planes_as(out, plane, at, pixels, n, NULL, NULL, false);
}

/* Of the weights' rows, seen as numbers of 32 bits, columns become vectors; number 9 c + t of a row
 * and number 9 (c + 1) + t, which are a lane of tap t, are then halves of two of them: both the
 * half that they are to be for an even t, the other one for an odd t. */
static void right_windows(float *out, const uint16_t *w, size_t ld, size_t rows, size_t n) {
    enum { TAPS = 9, MOST = TAPS * LANES }; /* 32-bit numbers of a row */
    const size_t count = TAPS * n / 2;
    __m512i column[MOST];
    for (size_t half = 0; half < COLUMNS; half += LANES) {
        for (size_t k = 0; k < count; k += LANES) {
            vec v[LANES];
            for (size_t i = 0; i < LANES; i++)
                v[i] =
                    half + i < rows
                        ? load_n((const float *)(const void *)(w + (half + i) * ld) + k, count - k)
                        : v_set1(0.0f);
            v_transpose(v);
            for (size_t i = 0; i < LANES; i++)
                column[k + i] = _mm512_castps_si512(v[i]);
        }
        for (size_t t = 0; t < TAPS; t++)
            for (size_t p = 0; p < LANES; p++) {
                __m512i lane = _mm512_setzero_si512();
                if (2 * p < n) {
                    const __m512i a = column[TAPS * p + t / 2];
                    const __m512i b = column[TAPS * p + (t + TAPS) / 2];
                    lane = t % 2
                               ? _mm512_or_si512(_mm512_srli_epi32(a, 16), _mm512_slli_epi32(b, 16))
                               : _mm512_mask_blend_epi16(0xaaaaaaaau, a, b);
                }
                v_store(out + (t * LANES + p) * COLUMNS + half, _mm512_castsi512_ps(lane));
            }
    }
}

/* 16 parts x 32 sums of windows: registers 0 to 2 hold those of the left columns, 3 to 5 those of
 * the right ones, 6 the pixels of one part after the other, 7 the left columns of b and then the
 * right: for each product a third less of b is read than with 32 rows. `parts` is a constant in
 * every call. */
static inline void multiply_windows(float *c, const float *const *x,
                                    const struct windows_layout *layout, size_t planes,
                                    const float *b, bool add, size_t parts) {
    float *c1 = c + LANES * COLUMNS, *c2 = c1 + LANES * COLUMNS;
    finish_writing();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    if (add) {
        _tile_loadd(0, c, RIGHT_BYTES);
        _tile_loadd(3, c + LANES, RIGHT_BYTES);
    }
    if (add && parts > 1) {
        _tile_loadd(1, c1, RIGHT_BYTES);
        _tile_loadd(4, c1 + LANES, RIGHT_BYTES);
    }
    if (add && parts > 2) {
        _tile_loadd(2, c2, RIGHT_BYTES);
        _tile_loadd(5, c2 + LANES, RIGHT_BYTES);
    }
    for (size_t k = 0; k < planes; k++)
        for (size_t tap = 0; tap < layout->taps; tap++, b += LANES * COLUMNS) {
            const size_t at = k * layout->plane + layout->tap[tap];
            _tile_loadd(7, b, RIGHT_BYTES);
            _tile_loadd(6, x[0] + at, ROW_BYTES);
            _tile_dpbf16ps(0, 6, 7);
            if (parts > 1) {
                _tile_loadd(6, x[1] + at, ROW_BYTES);
                _tile_dpbf16ps(1, 6, 7);
            }
            if (parts > 2) {
                _tile_loadd(6, x[2] + at, ROW_BYTES);
                _tile_dpbf16ps(2, 6, 7);
            }
            _tile_loadd(7, b + LANES, RIGHT_BYTES);
            if (parts > 2)
                _tile_dpbf16ps(5, 6, 7);
            if (parts > 1) {
                _tile_loadd(6, x[1] + at, ROW_BYTES);
                _tile_dpbf16ps(4, 6, 7);
            }
            _tile_loadd(6, x[0] + at, ROW_BYTES);
            _tile_dpbf16ps(3, 6, 7);
        }
    _tile_stored(0, c, RIGHT_BYTES);
    _tile_stored(3, c + LANES, RIGHT_BYTES);
    if (parts > 1) {
        _tile_stored(1, c1, RIGHT_BYTES);
        _tile_stored(4, c1 + LANES, RIGHT_BYTES);
    }
    if (parts > 2) {
        _tile_stored(2, c2, RIGHT_BYTES);
        _tile_stored(5, c2 + LANES, RIGHT_BYTES);
    }
}

#define WINDOWS(P)                                                                                 \
    static void windows_##P(float *c, const float *const *x, const struct windows_layout *layout,  \
                            size_t planes, const float *b, bool add) {                             \
        multiply_windows(c, x, layout, planes, b, add, P);                                         \
    }
WINDOWS(1)
WINDOWS(2)
WINDOWS(3)

static window_function *const windows[WINDOW_PARTS + 1] = {NULL, windows_1, windows_2, windows_3};

/* ---- peak ------------------------------------------------------------------------------------ */

static double multiply_adds(float *out, size_t steps) {
    float zeros[LANES * LANES] = {0}, sums[4][LANES * LANES];
    finish_writing();
    enter();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, zeros, ROW_BYTES);
    _tile_loadd(5, zeros, ROW_BYTES);
    _tile_loadd(6, zeros, ROW_BYTES);
    _tile_loadd(7, zeros, ROW_BYTES);
    for (size_t i = 0; i < steps; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0], ROW_BYTES);
    _tile_stored(1, sums[1], ROW_BYTES);
    _tile_stored(2, sums[2], ROW_BYTES);
    _tile_stored(3, sums[3], ROW_BYTES);
    leave();
    memcpy(out, sums[0], LANES * sizeof *out);
    return (double)steps * 4 * LANES * LANES * PAIRS;
}

const struct products products_amx = {
    .name = "bf16",
    .by = "amx",
    .per_lane = 2,
    .pieces = 1,
    .lane_step = LANE_STEP,
    .speed = 14.0,
    .depth = DEPTH,
    .rows = ROWS,
    .group = 1,
    .tile = {TILES},
    .few_tile = {NULL, few_1, few_2, few_3, few_4, few_5},
    .few = LANES,
    .vectors = FEW_VECTORS,
    .vector = LANES,
    .window_tile = windows,
    .planes = planes,
    .right_windows = right_windows,
    .enter = enter,
    .leave = leave,
    .left_rows = left_rows,
    .right_rows = right_rows,
    .left_columns = left_columns,
    .right_columns = right_columns,
    .softmax_tile = softmax_tile,
    .multiply_adds = multiply_adds,
};
#endif
