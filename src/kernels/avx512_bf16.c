/* Products in bf16 with AVX-512 BF16: one instruction takes the products of two neighbouring k in
 * every lane and adds them to an f32, twice the work of an f32 multiply-add. bf16.c defines the
 * functions; the table they stand beside is avx512.c's. */
#include "kernels/tables.h"

#if defined(__x86_64__)
#include "kernels/avx512.h"

#include <string.h>

#define ROWS 14

enum { COLUMNS = 2 * LANES, PAIRS = 2 * LANES /* numbers of a vector of lanes */ };

/* The first n numbers at p, zeros for the rest; n may be 0 or more than there are lanes. */
static inline vec load_n(const float *p, size_t n) {
    return n < LANES ? v_load_fill(p, n, 0.0f) : v_load(p);
}

static inline void put_n(float *p, vec x, size_t n) {
    if (n < LANES)
        v_store_n(p, x, n);
    else
        v_store(p, x);
}

/* ---- the format ------------------------------------------------------------------------------ */

/* 32 numbers one after another, to the nearest bf16. */
static inline vec narrow(vec low, vec high) {
    return _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/* Number i of `first` in the lower half of lane i, of `second` in the upper. */
static inline vec pair(vec first_k, vec second_k) {
    static const uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                       21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(
        _mm512_loadu_si512(order), _mm512_castps_si512(narrow(first_k, second_k))));
}

/* n numbers at p, n < PAIRS: zeros for the rest. */
static inline vec narrow_n(const float *p, size_t n) {
    return narrow(load_n(p, n), n > LANES ? load_n(p + LANES, n - LANES) : v_set1(0.0f));
}

static inline size_t lanes_for(size_t n) {
    return (n + 1) / 2;
}

/* ---- matrix product -------------------------------------------------------------------------- */

static inline vec v_product(vec a, vec b, vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}

#include "kernels/tile.inc"

/* ---- packing --------------------------------------------------------------------------------- */

static void left_rows(float *out, const float *const *at, size_t rows, size_t taps, size_t offset,
                      size_t n) {
    const size_t count = lanes_for(n), whole = n / PAIRS * PAIRS;
    for (size_t r = 0; r < rows; r++, out += LEFT_STRIDE) {
        float *to = out;
        for (size_t t = 0; t < taps; t++, to += count) {
            const float *from = *at++;
            if (!from) {
                memset(to, 0, count * sizeof *to);
                continue;
            }
            from += offset;
            for (size_t i = 0; i < whole; i += PAIRS)
                v_store(to + i / 2, narrow(v_load(from + i), v_load(from + i + LANES)));
            if (whole < n)
                v_store_n(to + whole / 2, narrow_n(from + whole, n - whole), count - whole / 2);
        }
    }
}

/* Stores the square v, transposed: row j < rows of out gets `columns` lanes. */
static inline void put_square(float *out, size_t ldo, vec v[LANES], size_t rows, size_t columns) {
    v_transpose(v);
    for (size_t j = 0; j < LANES; j++)
        if (j < rows)
            put_n(out + j * ldo, v[j], columns);
}

static inline void right_square(float *out, size_t ldo, const float *in, size_t ldi, size_t rows,
                                size_t n) {
    vec v[LANES];
    for (size_t i = 0; i < LANES; i++)
        v[i] = i >= rows    ? v_set1(0.0f)
               : n == PAIRS ? narrow(v_load(in + i * ldi), v_load(in + i * ldi + LANES))
                            : narrow_n(in + i * ldi, n);
    put_square(out, ldo, v, lanes_for(n), rows);
}

static void right_rows(float *out, size_t ldo, const float *in, size_t ldi, size_t rows, size_t n) {
    for (size_t i = 0; i < rows; i += LANES)
        for (size_t k = 0; k < n; k += PAIRS) {
            const size_t count = min(LANES, rows - i), width = min(PAIRS, n - k);
            float *to = out + k / 2 * ldo + i;
            if (count == LANES && width == PAIRS) /* constants: no partial vectors */
                right_square(to, ldo, in + i * ldi + k, ldi, LANES, PAIRS);
            else
                right_square(to, ldo, in + i * ldi + k, ldi, count, width);
        }
}

static void left_columns(float *out, size_t ldo, const float *in, size_t ldi, size_t n,
                         size_t columns) {
    for (size_t k = 0; k < n; k += PAIRS)
        for (size_t j = 0; j < columns; j += LANES) {
            const size_t width = min(LANES, columns - j), count = min(PAIRS, n - k);
            const float *from = in + k * ldi + j;
            vec v[LANES];
            for (size_t i = 0; i < LANES; i++)
                v[i] = pair(2 * i < count ? load_n(from + 2 * i * ldi, width) : v_set1(0.0f),
                            2 * i + 1 < count ? load_n(from + (2 * i + 1) * ldi, width)
                                              : v_set1(0.0f));
            put_square(out + j * ldo + k / 2, ldo, v, width, lanes_for(count));
        }
}

static void right_columns(float *out, const float *in, size_t n) {
    for (size_t k = 0; k < n; k += 2, in += 2 * COLUMNS, out += COLUMNS)
        for (size_t j = 0; j < COLUMNS; j += LANES)
            v_store(out + j,
                    pair(v_load(in + j), k + 1 < n ? v_load(in + COLUMNS + j) : v_set1(0.0f)));
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* e^x = 2^z, z = x / ln 2; 2^z = 2^floor(z) p(z - floor(z)), p fitted to a relative error of 3e-6,
 * a thousandth of what rounding to bf16 costs. 0 at -infinity. */
static inline vec exponential(vec x) {
    vec z = v_mul(x, v_set1(1.44269504f));
    vec r = _mm512_reduce_ps(z, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vec p = v_fma(v_set1(0.01353417f), r, v_set1(0.05201146f));
    p = v_fma(p, r, v_set1(0.24144276f));
    p = v_fma(p, r, v_set1(0.69300383f));
    p = v_fma(p, r, v_set1(1.00000259f));
    return v_scale2(p, z); /* scales by the floor */
}

static void softmax_tile(float *s, size_t keys, float *m, float *sum, float *rescale) {
    for (size_t j = 0; j < COLUMNS; j += LANES) {
        vec old = v_load(m + j), max = old, total = v_set1(0.0f);
        for (size_t k = 0; k < keys; k++)
            max = v_max(max, v_load(s + k * COLUMNS + j));
        for (size_t k = 0; k < keys; k += 2) {
            vec p = exponential(v_sub(v_load(s + k * COLUMNS + j), max)), q = v_set1(0.0f);
            if (k + 1 < keys)
                q = exponential(v_sub(v_load(s + (k + 1) * COLUMNS + j), max));
            v_store(s + k / 2 * COLUMNS + j, pair(p, q));
            total = v_add(total, v_add(p, q));
        }
        vec factor = exponential(v_sub(old, max));
        v_store(rescale + j, factor);
        v_store(sum + j, v_fma(v_load(sum + j), factor, total));
        v_store(m + j, max);
    }
}

/* ---- Winograd's transforms ------------------------------------------------------------------- */

#include "kernels/winograd.inc"

/* Up to PAIRS channels from channel c on. */
static inline void input_pairs(float *const *out, const float *const *at, size_t offset, size_t c,
                               size_t n) {
    vec t[2][36], y[2][6];
    for (size_t h = 0; h < 2; h++)
        for (size_t j = 0; j < 6; j++) {
            const size_t from = offset + c + h * LANES, count = n > h * LANES ? n - h * LANES : 0;
            vec d[6];
            for (size_t i = 0; i < 6; i++)
                d[i] = at[6 * i + j] && count ? load_n(at[6 * i + j] + from, count) : v_set1(0.0f);
            winograd_rows_in(t[h] + j, 6, d);
        }
    for (size_t i = 0; i < 6; i++) {
        winograd_rows_in(y[0], 1, t[0] + 6 * i);
        winograd_rows_in(y[1], 1, t[1] + 6 * i);
        for (size_t j = 0; j < 6; j++)
            put_n(out[6 * i + j] + c / 2, narrow(y[0][j], y[1][j]), lanes_for(n));
    }
}

static void winograd_input(float *const *out, const float *const *at, size_t offset, size_t n) {
    size_t c = 0;
    for (; c + PAIRS <= n; c += PAIRS)
        input_pairs(out, at, offset, c, PAIRS);
    if (c < n)
        input_pairs(out, at, offset, c, n - c);
}

/* G g of the three columns of the windows at w, for LANES columns of the panel. */
static inline void weight_columns(vec t[18], const float *w) {
    for (size_t j = 0; j < 3; j++) {
        vec g[3];
        for (size_t i = 0; i < 3; i++)
            g[i] = v_load(w + (3 * i + j) * COLUMNS);
        winograd_rows_weights(t + j, 3, g);
    }
}

static void winograd_weights(float *out, size_t stride, const float *w, size_t K) {
    for (size_t k = 0; k < K; k += 2, w += 18 * COLUMNS, out += COLUMNS)
        for (size_t half = 0; half < COLUMNS; half += LANES) {
            vec t[2][18], y[2][6];
            weight_columns(t[0], w + half);
            if (k + 1 < K)
                weight_columns(t[1], w + 9 * COLUMNS + half);
            else
                memset(t[1], 0, sizeof t[1]);
            for (size_t i = 0; i < 6; i++) {
                winograd_rows_weights(y[0], 1, t[0] + 3 * i);
                winograd_rows_weights(y[1], 1, t[1] + 3 * i);
                for (size_t j = 0; j < 6; j++)
                    v_store(out + (6 * i + j) * stride + half, pair(y[0][j], y[1][j]));
            }
        }
}

/* ---- peak ------------------------------------------------------------------------------------ */

static double multiply_adds(float *out, size_t steps) {
    enum { CHAINS = 12 };
    vec s[CHAINS], a = narrow(v_set1(0.5f), v_set1(0.5f));
    for (int i = 0; i < CHAINS; i++)
        s[i] = v_set1((float)i);
    for (size_t k = 0; k < steps; k++)
        for (int i = 0; i < CHAINS; i++)
            s[i] = v_product(a, a, s[i]);
    for (int i = 1; i < CHAINS; i++)
        s[0] = v_add(s[0], s[i]);
    v_store(out, s[0]);
    return (double)steps * CHAINS * PAIRS;
}

const struct products products_avx512_bf16 = {
    .name = "bf16",
    .per_lane = 2,
    .rows = ROWS,
    .group = 1,
    .tile = {TILES},
    .left_rows = left_rows,
    .right_rows = right_rows,
    .left_columns = left_columns,
    .right_columns = right_columns,
    .softmax_tile = softmax_tile,
    .winograd_input = winograd_input,
    .winograd_weights = winograd_weights,
    .multiply_adds = multiply_adds,
};
#endif
