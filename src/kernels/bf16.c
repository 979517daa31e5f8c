/* Products in bf16, the upper half of an f32 (1 sign, 8 exponent, 7 fraction bits), in plain C99:
 * the definition of what avx512_bf16.c computes, and to check it against.
 *
 * Operands are rounded to the nearest bf16, ties to even; their products are exact in f32, and are
 * added up in f32. Everything else, the transforms before the rounding and the exponential, is in
 * f32. */
#include "kernels/tables.h"

#include <string.h>

enum { ROWS = 4, COLUMNS = 16 };

static void put_lane(float *lane, float first, float second) {
    const uint32_t bits = f32_to_bf16(first) | (uint32_t)f32_to_bf16(second) << 16;
    memcpy(lane, &bits, sizeof bits);
}

static void take_lane(const float *lane, float *first, float *second) {
    uint32_t bits, low;
    memcpy(&bits, lane, sizeof bits);
    low = bits << 16;
    bits &= 0xffff0000u;
    memcpy(first, &low, sizeof low);
    memcpy(second, &bits, sizeof bits);
}

/* ---- matrix product -------------------------------------------------------------------------- */

static void tile(float *c, size_t ldc, const float *a, const float *b, size_t K, bool add,
                 size_t rows) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < COLUMNS; j++) {
            float sum = 0.0f, a0, a1, b0, b1;
            for (size_t k = 0; k < K; k++) {
                take_lane(a + i * LEFT_STRIDE + k, &a0, &a1);
                take_lane(b + k * COLUMNS + j, &b0, &b1);
                sum += a1 * b1;
                sum += a0 * b0;
            }
            c[i * ldc + j] = add ? c[i * ldc + j] + sum : sum;
        }
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

/* ---- packing --------------------------------------------------------------------------------- */

/* out (lanes; step apart) = n numbers, in_step apart. */
static void pack(float *out, size_t step, const float *in, size_t in_step, size_t n) {
    for (size_t i = 0; i < n; i += 2)
        put_lane(out + i / 2 * step, in[i * in_step], i + 1 < n ? in[(i + 1) * in_step] : 0.0f);
}

static void left_rows(float *out, const float *const *at, size_t rows, size_t taps, size_t offset,
                      size_t n) {
    const size_t count = (n + 1) / 2;
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < taps; t++) {
            float *to = out + r * LEFT_STRIDE + t * count;
            const float *from = at[r * taps + t];
            if (from)
                pack(to, 1, from + offset, 1, n);
            else
                memset(to, 0, count * sizeof *to);
        }
}

static void right_rows(float *out, size_t ldo, const float *in, size_t ldi, size_t rows, size_t n) {
    for (size_t i = 0; i < rows; i++)
        pack(out + i, ldo, in + i * ldi, 1, n);
}

static void left_columns(float *out, size_t ldo, const float *in, size_t ldi, size_t n,
                         size_t columns) {
    for (size_t j = 0; j < columns; j++)
        pack(out + j * ldo, 1, in + j, ldi, n);
}

static void right_columns(float *out, const float *in, size_t n) {
    for (size_t j = 0; j < COLUMNS; j++)
        pack(out + j, COLUMNS, in + j, COLUMNS, n);
}

static void softmax_tile(const struct turn_softmax *t) {
    kernels_ref.f32.softmax_tile(t);
    right_columns(t->p, t->p, t->keys);
}

/* ---- Winograd's transforms, of one pair of channels at a time ---------------------------------
 */

static void winograd_input(float *const *out, const float *const *at, size_t offset, size_t n) {
    float v[2 * WINOGRAD_POSITIONS], *to[WINOGRAD_POSITIONS];
    for (size_t p = 0; p < WINOGRAD_POSITIONS; p++)
        to[p] = v + 2 * p;
    for (size_t c = 0; c < n; c += 2) {
        const size_t count = n - c < 2 ? 1 : 2;
        kernels_ref.f32.winograd_input(to, at, offset + c, count);
        for (size_t p = 0; p < WINOGRAD_POSITIONS; p++)
            pack(out[p] + c / 2, 1, to[p], 1, count);
    }
}

static void winograd_weights(float *out, size_t stride, const float *w, size_t K) {
    float u[2 * WINOGRAD_POSITIONS * COLUMNS];
    for (size_t k = 0; k < K; k += 2, w += 18 * COLUMNS, out += COLUMNS) {
        const size_t count = K - k < 2 ? 1 : 2;
        kernels_ref.f32.winograd_weights(u, 2 * COLUMNS, w, count);
        for (size_t p = 0; p < WINOGRAD_POSITIONS; p++)
            right_columns(out + p * stride, u + p * 2 * COLUMNS, count);
    }
}

/* ---- peak ------------------------------------------------------------------------------------ */

static double multiply_adds(float *out, size_t steps) {
    enum { CHAINS = 12 * COLUMNS };
    float s[CHAINS], lane, a0, a1;
    put_lane(&lane, 0.5f, 0.5f);
    for (size_t i = 0; i < CHAINS; i++)
        s[i] = (float)i;
    for (size_t k = 0; k < steps; k++)
        for (size_t i = 0; i < CHAINS; i++) {
            take_lane(&lane, &a0, &a1);
            s[i] = s[i] + a0 * a0 + a1 * a1;
        }
    for (size_t i = COLUMNS; i < CHAINS; i++)
        s[i % COLUMNS] += s[i];
    memcpy(out, s, COLUMNS * sizeof *out);
    return 2.0 * (double)steps * CHAINS;
}

const struct products products_ref_bf16 = {
    .name = "bf16",
    .by = "ref",
    .per_lane = 2,
    .pieces = 1,
    .lane_step = 1,
    .depth = BLOCK_K,
    .speed = 2.0,
    .rows = ROWS,
    .group = 16,
    .tile = {NULL, tile_1, tile_2, tile_3, tile_4},
    .left_rows = left_rows,
    .right_rows = right_rows,
    .left_columns = left_columns,
    .right_columns = right_columns,
    .softmax_tile = softmax_tile,
    .winograd_input = winograd_input,
    .winograd_weights = winograd_weights,
    .multiply_adds = multiply_adds,
};
