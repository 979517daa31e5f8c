/* Products in bf16 with AVX-512 BF16: one instruction takes the products of two neighbouring k in
 * every lane and adds them to an f32, twice the work of an f32 multiply-add. bf16.c defines the
 * functions; the table they stand beside is avx512.c's. */
#include "kernels/tables.h"

#if defined(__x86_64__)
#include "kernels/avx512.h"

#include <string.h>

#define ROWS      14
#define FEW       5
#define VECTORS   5
#define LANE_STEP 1

#include "kernels/bf16.inc"

/* ---- matrix product -------------------------------------------------------------------------- */

static inline vec v_product(vec a, vec b, vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}

#include "kernels/tile.inc"

#include "kernels/few.inc"

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
    .by = "avx512_bf16",
    .per_lane = 2,
    .pieces = 1,
    .lane_step = 1,
    .depth = BLOCK_K,
    .speed = 2.0,
    .rows = ROWS,
    .group = 1,
    .tile = {TILES},
    .few_tile = {SUMS_OF_FEW},
    .few = FEW,
    .vectors = VECTORS,
    .vector = LANES,
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
