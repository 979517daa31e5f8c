/* Products of f32 matrices, and attention, by AMX, which multiplies bf16: each number is the sum of
 * three of them,
 *
 *     x = h + m + l      h = bf16(x), m = bf16(x - h), l = bf16(x - h - m)      8 + 8 + 8 bits
 *
 * and of the nine products of two such sums six count; the others are below the last bit of f32:
 *
 *     a b  =  h h'  +  ( h m' + m h' + m m' + h l' + l h' )                 + 2^-24 of |a b|
 *
 * (Henry, Tang and Heinecke 2019, arXiv 1904.06376; each product of bf16 is exact in f32.) The
 * small products of a step are added up first, while their sum is small: it is the large ones whose
 * sum is rounded as f32's own would be, as often. Numbers below 2^-110 lose their smaller pieces,
 * infinite ones have none: their products are NaN.
 *
 * AMX has 14 times the multiply-adds of AVX-512 in f32, six products leave 2.4 of them.
 *
 * Operands lie in groups of 32 neighbouring k: 16 lanes of pairs of h, 16 of m, 16 of l. */
#include "kernels/tables.h"

#if defined(__x86_64__)
#include "kernels/amx_tiles.h"
#include "kernels/bf16_lanes.h"

#include <string.h>

#define LANE_STEP LANES

enum {
    PIECES = 3,
    GROUP = PIECES * LANES, /* lanes of a group */
    ROWS = 2 * LANES,
    LEFT_BYTES = LEFT_STRIDE * sizeof(float),
    RIGHT_BYTES = COLUMNS * sizeof(float),
    PLACES = 6, /* of a group in a tile, one behind each MULTIPLY */
    DEPTH = 192 /* lanes of a step, four groups: 32 rows of both operands fit the first cache */
};

/* ---- the format ------------------------------------------------------------------------------ */

/* 32 numbers to lanes of h, m and l. */
static inline void split(vec out[PIECES], vec low, vec high) {
    for (size_t piece = 0; piece < PIECES; piece++) {
        const __m512i pairs = _mm512_castps_si512(out[piece] = narrow(low, high));
        const __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(pairs));
        const __m512i second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(pairs, 1));
        low = v_sub(low, _mm512_castsi512_ps(_mm512_slli_epi32(first, 16)));
        high = v_sub(high, _mm512_castsi512_ps(_mm512_slli_epi32(second, 16)));
    }
}

static inline void split_n(vec out[PIECES], const float *p, size_t n) {
    if (n >= PAIRS)
        split(out, v_load(p), v_load(p + LANES));
    else
        split(out, load_n(p, n), n > LANES ? load_n(p + LANES, n - LANES) : v_set1(0.0f));
}

static void left_rows(float *out, const float *const *at, size_t rows, size_t taps, size_t offset,
                      size_t n) {
    const size_t count = (n + PAIRS - 1) / PAIRS * GROUP;
    for (size_t r = 0; r < rows; r++, out += LEFT_STRIDE) {
        float *to = out;
        for (size_t t = 0; t < taps; t++, at++) {
            if (!*at) {
                memset(to, 0, count * sizeof *to);
                to += count;
                continue;
            }
            for (size_t k = 0; k < n; k += PAIRS, to += GROUP) {
                vec v[PIECES];
                split_n(v, *at + offset + k, n - k);
                for (size_t piece = 0; piece < PIECES; piece++)
                    v_store(to + piece * LANES, v[piece]);
            }
        }
    }
}

/* A group of up to 16 rows. */
static inline void right_square(float *out, size_t ldo, const float *in, size_t ldi, size_t rows,
                                size_t n) {
    vec v[PIECES][LANES];
    for (size_t i = 0; i < LANES; i++) {
        vec pieces[PIECES] = {v_set1(0.0f), v_set1(0.0f), v_set1(0.0f)};
        if (i < rows)
            split_n(pieces, in + i * ldi, n);
        for (size_t piece = 0; piece < PIECES; piece++)
            v[piece][i] = pieces[piece];
    }
    for (size_t piece = 0; piece < PIECES; piece++, out += LANES * ldo) {
        v_transpose(v[piece]);
        for (size_t j = 0; j < LANES; j++)
            put_n(out + j * ldo, v[piece][j], rows);
    }
}

static void right_rows(float *out, size_t ldo, const float *in, size_t ldi, size_t rows, size_t n) {
    for (size_t i = 0; i < rows; i += LANES)
        for (size_t k = 0; k < n; k += PAIRS) {
            const size_t count = min(LANES, rows - i), width = min(PAIRS, n - k);
            float *to = out + k / PAIRS * GROUP * ldo + i;
            if (count == LANES && width == PAIRS) /* constants: no partial vectors */
                right_square(to, ldo, in + i * ldi + k, ldi, LANES, PAIRS);
            else
                right_square(to, ldo, in + i * ldi + k, ldi, count, width);
        }
}

/* The upper 16 bits alone: what a bf16 in the upper half of a lane stands for. */
static inline vec upper_half(vec x) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int)0xffff0000u)));
}

/* 16 pairs of numbers to lanes of h, m and l, which lie ldo apart. */
static inline void put_pieces(float *out, size_t ldo, vec a, vec b) {
    for (size_t piece = 0; piece < PIECES; piece++, out += ldo) {
        const vec lanes = pair(a, b);
        v_store(out, lanes);
        a = v_sub(a, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(lanes), 16)));
        b = v_sub(b, upper_half(lanes));
    }
}

static void right_columns(float *out, const float *in, size_t n) {
    for (size_t k = 0; k < round_up(n, PAIRS); k += 2, in += 2 * COLUMNS, out += COLUMNS) {
        for (size_t j = 0; j < COLUMNS; j += LANES)
            put_pieces(out + j, LANES * COLUMNS, k < n ? v_load(in + j) : v_set1(0.0f),
                       k + 1 < n ? v_load(in + COLUMNS + j) : v_set1(0.0f));
        if (k % PAIRS == PAIRS - 2)
            out += (PIECES - 1) * LANES * COLUMNS;
    }
}

static void left_columns(float *out, size_t ldo, const float *in, size_t ldi, size_t n,
                         size_t columns) {
    for (size_t k = 0; k < n; k += PAIRS)
        for (size_t j = 0; j < columns; j += LANES) {
            const size_t width = min(LANES, columns - j), count = min(PAIRS, n - k);
            const float *from = in + k * ldi + j;
            vec v[PIECES][LANES];
            for (size_t i = 0; i < LANES; i++) {
                vec a = v_set1(0.0f), b = a;
                if (2 * i < count)
                    a = load_n(from + 2 * i * ldi, width);
                if (2 * i + 1 < count)
                    b = load_n(from + (2 * i + 1) * ldi, width);
                put_pieces((float *)&v[0][i], LANES * LANES, a, b);
            }
            for (size_t piece = 0; piece < PIECES; piece++) {
                v_transpose(v[piece]);
                for (size_t i = 0; i < width; i++)
                    v_store(out + (j + i) * ldo + k / PAIRS * GROUP + piece * LANES, v[piece][i]);
            }
        }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* e^x = 2^z, z = x / ln 2; 2^z = 2^floor(z) p(z - floor(z)), p fitted to a relative error of 2e-9.
 * 0 at -infinity. z is rounded to 2^-24 of itself: the more, the smaller e^x is beside the largest,
 * which is 1. */
static inline vec exponential(vec x) {
    vec z = v_mul(x, v_set1(1.44269504f));
    vec r = _mm512_reduce_ps(z, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vec p = v_fma(v_set1(2.17022492e-4f), r, v_set1(0.00124396897f));
    p = v_fma(p, r, v_set1(0.00967884079f));
    p = v_fma(p, r, v_set1(0.0554833421f));
    p = v_fma(p, r, v_set1(0.240229836f));
    p = v_fma(p, r, v_set1(0.693146984f));
    p = v_fma(p, r, v_set1(1.0f));
    return v_scale2(p, z); /* scales by the floor */
}

/* Upper 16 bits of a and b as lanes: cut off, not rounded. Of three such pieces a positive number
 * is the exact sum. */
static inline vec cut_pair(vec a, vec b) {
    return _mm512_castsi512_ps(_mm512_mask_blend_epi16(
        0xaaaaaaaau, _mm512_srli_epi32(_mm512_castps_si512(a), 16), _mm512_castps_si512(b)));
}

static inline void put_keys(float *p, size_t k, vec a, vec b) {
    p += (k / PAIRS * GROUP + k % PAIRS / 2) * COLUMNS;
    for (size_t piece = 0; piece < PIECES; piece++, p += LANES * COLUMNS) {
        v_store(p, cut_pair(a, b));
        a = v_sub(a, upper_half(a));
        b = v_sub(b, upper_half(b));
    }
}

#include "kernels/softmax.inc"

/* ---- matrix product -------------------------------------------------------------------------- */

/* Loads two tiles of 16 rows of a piece of a, of 16 columns of b. Tiles of the second half of the
 * rows are left out where there are none. A load takes as long as a product, so each serves two or
 * more. */
#define LOAD_A(piece)                                                                              \
    _tile_loadd(4, upper + (piece) * LANES, LEFT_BYTES);                                           \
    if (both)                                                                                      \
        _tile_loadd(5, lower + (piece) * LANES, LEFT_BYTES);
#define LOAD_B(piece)                                                                              \
    _tile_loadd(6, right + (piece) * LANES * COLUMNS, RIGHT_BYTES);                                \
    _tile_loadd(7, right + (piece) * LANES * COLUMNS + LANES, RIGHT_BYTES);
#define MULTIPLY                                                                                   \
    _tile_dpbf16ps(0, 4, 6);                                                                       \
    _tile_dpbf16ps(1, 4, 7);                                                                       \
    if (both) {                                                                                    \
        _tile_dpbf16ps(2, 5, 6);                                                                   \
        _tile_dpbf16ps(3, 5, 7);                                                                   \
    }                                                                                              \
    if (beside)                                                                                    \
        softmax_pairs(beside, pairs);

/* c (32, 32 columns; ldc apart) = a b, or without `both`, a constant in every call, the upper 16
 * rows. First what is small of all k, then what is large. A softmax beside it, unless NULL, takes
 * `pairs` of its keys in after each MULTIPLY: vectors go on while tiles are multiplied. */
static inline void multiply_tile(float *c, size_t ldc, const float *a, const float *b, size_t K,
                                 bool both, struct softmax *beside, size_t pairs) {
    enum { H, M, L };
    const size_t row = ldc * sizeof *c;
    const float *upper = a, *lower = a + LANES * LEFT_STRIDE, *right = b;
    finish_writing();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < K;
         k += GROUP, upper += GROUP, lower += GROUP, right += GROUP * COLUMNS) {
        LOAD_A(L)
        LOAD_B(H)
        MULTIPLY
        LOAD_A(M)
        MULTIPLY
        LOAD_B(M)
        MULTIPLY
        LOAD_A(H)
        MULTIPLY
        LOAD_B(L)
        MULTIPLY
    }
    upper = a, lower = a + LANES * LEFT_STRIDE, right = b;
    for (size_t k = 0; k < K;
         k += GROUP, upper += GROUP, lower += GROUP, right += GROUP * COLUMNS) {
        LOAD_A(H)
        LOAD_B(H)
        MULTIPLY
    }
    _tile_stored(0, c, row);
    _tile_stored(1, c + LANES, row);
    if (both) {
        _tile_stored(2, c + LANES * ldc, row);
        _tile_stored(3, c + LANES * ldc + LANES, row);
    }
    finish_writing();
}

/* What earlier steps gave is added by f32's own instructions: a register that held it would round
 * six times as often. */
static inline void multiply_rows(float *c, size_t ldc, const float *a, const float *b, size_t K,
                                 bool add, size_t rows) {
    float sums[ROWS * COLUMNS];
    if (!add && rows % LANES == 0) {
        multiply_tile(c, ldc, a, b, K, rows > LANES, NULL, 0);
        return;
    }
    if (rows > LANES)
        multiply_tile(sums, COLUMNS, a, b, K, true, NULL, 0);
    else
        multiply_tile(sums, COLUMNS, a, b, K, false, NULL, 0);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < COLUMNS; j += LANES) {
            vec sum = v_load(sums + i * COLUMNS + j);
            v_store(c + i * ldc + j, add ? v_add(v_load(c + i * ldc + j), sum) : sum);
        }
}

#define TILE(R)                                                                                    \
    static void tile_##R(float *c, size_t ldc, const float *a, const float *b, size_t K,           \
                         bool add) {                                                               \
        multiply_rows(c, ldc, a, b, K, add, R);                                                    \
    }
EACH_TILE

/* ---- attention ------------------------------------------------------------------------------- */

/* Places of a product's tiles where a softmax beside it goes on. */
static size_t places(const struct turn_product *p) {
    return p->c ? ceil_div(p->rows, ROWS) * (p->K / GROUP) * PLACES : 0;
}

/* c = a b, the softmax x going on in between. */
static inline void multiply_beside(const struct turn_product *p, struct softmax *x, size_t pairs) {
    for (size_t i = 0; p->c && i < p->rows; i += ROWS) {
        float *c = p->c + i * COLUMNS;
        if (p->rows - i > LANES)
            multiply_tile(c, COLUMNS, p->a + i * LEFT_STRIDE, p->b, p->K, true, x, pairs);
        else
            multiply_tile(c, COLUMNS, p->a + i * LEFT_STRIDE, p->b, p->K, false, x, pairs);
    }
}

static void attend(const struct attention_turn *t) {
    struct softmax x = softmax_begin(&t->softmax);
    const size_t all = places(&t->values) + places(&t->scores);
    const size_t pairs = all ? ceil_div(t->softmax.keys / 2, all) : 0;
    multiply_beside(&t->values, &x, pairs);
    multiply_beside(&t->scores, &x, pairs);
    softmax_end(&x);
}

const struct products products_amx_f32 = {
    .name = "f32",
    .by = "amx",
    .per_lane = 2,
    .pieces = PIECES,
    .lane_step = LANE_STEP,
    .speed = 3.0,
    .depth = DEPTH,
    .rows = ROWS,
    .group = 1,
    .tile = {TILES},
    .enter = enter,
    .leave = leave,
    .left_rows = left_rows,
    .right_rows = right_rows,
    .left_columns = left_columns,
    .right_columns = right_columns,
    .softmax_tile = softmax_tile,
    .attend = attend,
};
#endif
