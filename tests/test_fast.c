/* Products in bf16 with every table that has them: operands are rounded to the nearest bf16, ties
 * to even, and nothing else is lost. So against plain loops in double over rounded operands the
 * tolerance is that of f32; where a transform or a softmax lies before the rounding, against the
 * unrounded result within what 8 bits of fraction leave. Results depend neither on the threads nor
 * on the batch: to the bit. */
#include "kernel_check.h"

/* x to the nearest bf16, ties to even, by arithmetic alone. */
static float rounded(float x) {
    int exponent;
    frexp((double)x, &exponent);
    const double unit = ldexp(1.0, exponent - 8);
    return (float)(nearbyint((double)x / unit) * unit);
}

static float *rounded_copy(const float *x, size_t n) {
    float *y = numbers(n);
    for (size_t i = 0; i < n; i++)
        y[i] = rounded(x[i]);
    return y;
}

/* for every table with products in bf16: { ... } */
#define EACH_FAST EACH_TABLE if ((cx.fast = products_bf16(names[table])) != NULL)

/* The error's root mean square as a share of the expected values' one is at most `tolerance`. */
static void check_mean(const char *what, const float *actual, const double *expected, size_t n,
                       double tolerance) {
    double error = 0.0, total = 0.0;
    for (size_t i = 0; i < n; i++) {
        error += pow((double)actual[i] - expected[i], 2);
        total += expected[i] * expected[i];
    }
    if (!(sqrt(error / total) <= tolerance))
        fail_msg("%s, %s: error %g, at most %g", what, cx.kernels->name, sqrt(error / total),
                 tolerance);
}

/* The result of one operation under 1 to 3 threads: always the same bits. */
#define CHECK_THREADS(y, first, n, call)                                                           \
    for (cx.threads = 1; cx.threads <= 3; cx.threads++) {                                          \
        PLANNED(call);                                                                             \
        if (cx.threads == 1)                                                                       \
            memcpy(first, y, (n) * sizeof *(y));                                                   \
        check_bits(what, y, first, n);                                                             \
    }

static void linear_case(size_t M, size_t N, size_t K, enum dtype dtype) {
    float *x = numbers(M * K), *w = numbers(N * K), *b = numbers(N), *r = numbers(M * N);
    float *y = numbers(M * N), *first = numbers(M * N);
    uint16_t *half = malloc(N * K * sizeof *half);
    double *expected = doubles(M * N);
    char what[128];
    struct tensor t = {.dtype = dtype, .ndim = 2, .shape = {N, K}, .data = w};
    struct conv_shape rows = {.B = 1, .H = M, .W = 1, .stride = 1};
    struct epilogue ep = {.bias = b, .residual = r, .act = ACT_GELU};
    if (dtype == DTYPE_BF16) {
        for (size_t i = 0; i < N * K; i++) {
            uint32_t bits;
            w[i] = rounded(w[i]);
            memcpy(&bits, &w[i], sizeof bits);
            half[i] = (uint16_t)(bits >> 16);
        }
        t.data = half;
    }
    float *rx = rounded_copy(x, M * K), *rw = rounded_copy(w, N * K);
    define_conv(expected, rx, rw, N, K, 1, &rows, &ep);
    snprintf(what, sizeof what, "fast linear %zux%zux%zu", M, N, K);
    EACH_FAST {
        CHECK_THREADS(y, first, M * N, op_linear(&cx, y, x, &t, M, &ep));
        check(what, y, expected, M * N, 3e-6);
        PLANNED(op_linear(&cx, y, x, &t, 1, &ep)); /* the first row alone */
        check_bits(what, y, first, N);
    }
    free(x), free(w), free(b), free(r), free(y), free(first), free(half), free(expected);
    free(rx), free(rw);
}

static void linear_layers(void **state) {
    (void)state;
    static const size_t sizes[][3] = {
        {1, 1, 1},       {1, 33, 5},      {2, 7, 641},  {3, 64, 1300}, {14, 32, 640},
        {15, 33, 17},    {29, 65, 643},   {77, 95, 40}, {150, 3, 48},  {150, 470, 90},
        {1100, 40, 20},  {500, 440, 645}, {9, 31, 32},  {77, 75, 672}, {100, 40, 64},
        {160, 33, 1312}, {161, 33, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        linear_case(sizes[i][0], sizes[i][1], sizes[i][2], DTYPE_F32);
        linear_case(sizes[i][0], sizes[i][1], sizes[i][2], DTYPE_BF16);
    }
}

/* `exact`: the windows are multiplied as they are, so only the operands' rounding is lost; always
 * so where there are no transforms. */
static void conv_case(const struct conv_shape *s, size_t N, size_t K, size_t k, bool exact) {
    const size_t H = s->up_H ? s->up_H : s->H, W = s->up_W ? s->up_W : s->W;
    const size_t pads = s->pad_before + s->pad_after;
    const size_t item = ((H + pads - k) / s->stride + 1) * ((W + pads - k) / s->stride + 1) * N;
    const size_t n = s->B * item, in = s->B * s->H * s->W * K;
    float *x = numbers(in), *w = numbers(N * K * k * k), *b = numbers(N);
    float *y = numbers(n), *first = numbers(n);
    float *rx = rounded_copy(x, in), *rw = rounded_copy(w, N * K * k * k);
    double *expected = doubles(n), *rounded = doubles(n);
    char what[128];
    uint16_t *half = malloc(N * K * k * k * sizeof *half);
    struct tensor t = {.dtype = DTYPE_F32, .ndim = 4, .shape = {N, K, k, k}, .data = w};
    struct tensor narrow = {.dtype = DTYPE_BF16, .ndim = 4, .shape = {N, K, k, k}, .data = half};
    struct epilogue ep = {.bias = b};
    for (size_t i = 0; i < N * K * k * k; i++)
        half[i] = f32_to_bf16(w[i]);
    define_conv(expected, x, w, N, K, k, s, &ep);
    define_conv(rounded, rx, rw, N, K, k, s, &ep);
    snprintf(what, sizeof what, "fast %zux%zu convolution of %zux%zu, %zu <- %zu", k, k, H, W, N,
             K);
    EACH_FAST {
        CHECK_THREADS(y, first, n, op_conv2d(&cx, y, x, &t, s, &ep));
        if (exact || !cx.fast->winograd_input)
            check(what, y, rounded, n, 3e-6);
        else
            check_mean(what, y, expected, n, 0.015);
        struct conv_shape one = *s;
        one.B = 1;
        PLANNED(op_conv2d(&cx, y, x, &t, &one, &ep));
        check_bits(what, y, first, item);
        if (!cx.fast->winograd_input) { /* whose transforms are of what is not yet rounded */
            PLANNED(op_conv2d(&cx, y, x, &narrow, s, &ep));
            check_bits(what, y, first, n);
        }
    }
    free(half);
    free(x), free(w), free(b), free(y), free(first), free(rx), free(rw), free(expected);
    free(rounded);
}

static void convolutions(void **state) {
    (void)state;
    struct conv_shape s = {.B = 2, .H = 7, .W = 6, .stride = 2, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 33, 75, 3, true);
    s.pad_before = 0;
    conv_case(&s, 20, 3, 3, true);
    s.pad_after = 0;
    conv_case(&s, 35, 34, 1, true);
    s.stride = 1;
    conv_case(&s, 35, 341, 1, true);
    s.pad_before = s.pad_after = 1;
    conv_case(&s, 4, 3, 3, false); /* either way */
    s.H = 29, s.W = 26;
    conv_case(&s, 34, 21, 3, false);
    s.H = 9, s.W = 8;
    conv_case(&s, 7, 700, 3, false);
    s.up_H = 17, s.up_W = 16;
    conv_case(&s, 40, 33, 3, false);
}

/* Lines of whole tiles: pictures that share a block, a number of tiles that is none of a
 * register's, channels in several parts, fewer than a plane's; of several blocks; each in one
 * padding only. */
static void convolutions_by_lines(void **state) {
    (void)state;
    struct conv_shape s = {.B = 3, .H = 5, .W = 16, .stride = 1, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 70, 350, 3, false);
    s.H = 1, s.W = 80;
    conv_case(&s, 3, 20, 3, false);
    s.B = 2, s.H = 41, s.W = 64;
    conv_case(&s, 34, 40, 3, false);
    s = (struct conv_shape){.B = 2, .H = 6, .W = 17, .stride = 1, .pad_after = 1};
    conv_case(&s, 33, 65, 3, false);
    s.up_H = 12, s.up_W = 33;
    conv_case(&s, 5, 33, 3, false);
    s = (struct conv_shape){.B = 3, .H = 4, .W = 8, .stride = 1, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 40, 340, 3, false); /* tiles of two lines, */
    s.B = 2, s.H = 16, s.W = 3;
    conv_case(&s, 9, 50, 3, false); /* of a picture's all */
}

/* Of an input enlarged twice each tap of a phase has the rounded sum of the weights that meet there
 * (lines.c): the small picture with windows of four of these among zeros. */
static void enlarged_case(size_t B, size_t H, size_t W, size_t N, size_t K) {
    const struct conv_shape s = {.B = B,
                                 .H = H,
                                 .W = W,
                                 .stride = 1,
                                 .pad_before = 1,
                                 .pad_after = 1,
                                 .up_H = 2 * H,
                                 .up_W = 2 * W};
    const struct conv_shape small = {
        .B = B, .H = H, .W = W, .stride = 1, .pad_before = 1, .pad_after = 1};
    static const size_t tap_of[2][3] = {{0, 1, 1}, {1, 1, 2}}; /* of a window, by phase */
    const size_t in = B * H * W * K, n = 4 * B * H * W * N;
    float *x = numbers(in), *w = numbers(N * K * 9), *bias = numbers(N), *r = numbers(n);
    float *y = numbers(n), *first = numbers(n), *rx = rounded_copy(x, in);
    float *sums = numbers(N * K * 9);
    double *expected = doubles(n), *part = doubles(n / 4);
    const struct tensor t = {.dtype = DTYPE_F32, .ndim = 4, .shape = {N, K, 3, 3}, .data = w};
    const struct epilogue ep = {.bias = bias, .residual = r, .act = ACT_SILU};
    const char *what = "fast convolution of an enlargement";
    for (size_t phase = 0; phase < 4; phase++) {
        const size_t a = phase / 2, b = phase % 2;
        memset(sums, 0, N * K * 9 * sizeof *sums);
        for (size_t i = 0; i < N * K; i++)
            for (size_t tap = 0; tap < 9; tap++)
                sums[9 * i + 3 * tap_of[a][tap / 3] + tap_of[b][tap % 3]] += w[9 * i + tap];
        for (size_t i = 0; i < N * K * 9; i++)
            sums[i] = rounded(sums[i]);
        define_conv(part, rx, sums, N, K, 3, &small, NULL);
        for (size_t m = 0; m < B * H * W; m++)
            for (size_t j = 0; j < N; j++) {
                const size_t at = (2 * (m / W) + a) * 2 * W + 2 * (m % W) + b;
                expected[at * N + j] = finished(part[m * N + j], &ep, at, j, N);
            }
    }
    EACH_FAST {
        if (!cx.fast->window_tile)
            continue;
        CHECK_THREADS(y, first, n, op_conv2d(&cx, y, x, &t, &s, &ep));
        check(what, y, expected, n, 3e-6);
        struct conv_shape one = s;
        one.B = 1;
        PLANNED(op_conv2d(&cx, y, x, &t, &one, &ep));
        check_bits(what, y, first, n / B);
    }
    free(x), free(w), free(bias), free(r), free(y), free(first), free(rx), free(sums);
    free(expected), free(part);
}

/* Pictures that share a block; of several blocks; channels in several parts, fewer than a plane's;
 * columns of several panels. */
static void convolutions_of_enlargements(void **state) {
    (void)state;
    enlarged_case(3, 3, 16, 5, 7);
    enlarged_case(2, 5, 32, 70, 40);
    enlarged_case(1, 40, 64, 33, 64);
    enlarged_case(2, 2, 16, 34, 1300);
}

/* A norm before a convolution, by itself and put in: as long as it is written the same bits; put
 * in, the same but for what a short exponential moves over the edges of bf16. */
static void norm_case(size_t B, size_t H, size_t W, enum activation act) {
    enum { C = 44, N = 10, GROUPS = 4 };
    const size_t P = H * W, n = B * P * N;
    float *x = numbers(B * P * C), *w = numbers(N * C * 9), *weight = numbers(C),
          *bias = numbers(C);
    float *normed = numbers(B * P * C), *room = numbers(B * P * C);
    float *y = numbers(n), *expected = numbers(n), *a = numbers(B * C), *b = numbers(B * C);
    double *wide = doubles(n);
    const struct tensor t = {.dtype = DTYPE_F32, .ndim = 4, .shape = {N, C, 3, 3}, .data = w};
    const struct conv_shape s = {
        .B = B, .H = H, .W = W, .stride = 1, .pad_before = 1, .pad_after = 1};
    const struct input_norm norm = {a, b, act};
    EACH_TABLE for (int fast = 0; fast < 2; fast++) {
        if (!(cx.fast = fast ? products_bf16(names[table]) : NULL) && fast)
            continue;
        PLANNED(
            op_group_norm(&cx, normed, x, weight, bias, NULL, NULL, B, P, C, GROUPS, 1e-5f, act));
        PLANNED(op_conv2d(&cx, expected, normed, &t, &s, NULL));
        PLANNED(
            op_group_norm_factors(&cx, a, b, x, weight, bias, NULL, NULL, B, P, C, GROUPS, 1e-5f));
        for (int own = 0; own < 2; own++) {
            PLANNED(op_norm_conv2d(&cx, y, x, own ? NULL : room, &t, &s, &norm, NULL));
            for (size_t i = 0; i < n; i++)
                wide[i] = (double)expected[i];
            if (cx.fast && cx.fast->planes)
                check_mean("norm put in", y, wide, n, 1e-3);
            else
                check_bits("norm", y, expected, n);
        }
    }
    cx.fast = NULL;
    free(x), free(w), free(weight), free(bias), free(normed), free(room), free(y), free(expected);
    free(a), free(b), free(wide);
}

static void norms_before_convolutions(void **state) {
    (void)state;
    norm_case(2, 3, 16, ACT_SILU);
    norm_case(1, 4, 16, ACT_NONE);
    norm_case(3, 4, 4, ACT_SILU);
    norm_case(2, 5, 16, ACT_GELU); /* written: not every activation is put in */
}

static void attention_case(struct attention_shape s) {
    const size_t D = s.heads * s.head_dim, item = s.queries * D, n = s.batch * item;
    const size_t m = s.batch * s.keys * D;
    float *q = numbers(n), *k = numbers(m), *v = numbers(m), *y = numbers(n), *first = numbers(n);
    float *mask = numbers(s.batch * s.keys);
    double *expected = doubles(n);
    char what[128];
    for (size_t i = 0; i < s.batch * s.keys; i++)
        mask[i] = i % s.keys % 3 == 1 ? -1e9f : 0.0f;
    s.key_bias = mask;
    define_attention(expected, q, k, v, &s);
    snprintf(what, sizeof what, "fast attention %zux%zu d %zu", s.queries, s.keys, s.head_dim);
    EACH_FAST {
        CHECK_THREADS(y, first, n, op_attention(&cx, y, q, k, v, &s));
        check_mean(what, y, expected, n, 0.005);
        struct attention_shape one = s;
        one.batch = 1;
        PLANNED(op_attention(&cx, y, q, k, v, &one));
        check_bits(what, y, first, item);
    }
    free(q), free(k), free(v), free(y), free(first), free(mask), free(expected);
}

static void attentions(void **state) {
    (void)state;
    attention_case((struct attention_shape){
        .batch = 2, .heads = 3, .queries = 33, .keys = 77, .head_dim = 40, .scale = 0.158f});
    attention_case((struct attention_shape){.batch = 1,
                                            .heads = 2,
                                            .queries = 77,
                                            .keys = 77,
                                            .head_dim = 64,
                                            .scale = 0.125f,
                                            .causal = true});
    attention_case((struct attention_shape){
        .batch = 2, .heads = 1, .queries = 1, .keys = 1, .head_dim = 1, .scale = 1.0f});
    attention_case((struct attention_shape){
        .batch = 2, .heads = 1, .queries = 301, .keys = 699, .head_dim = 7, .scale = 1.0f});
    attention_case((struct attention_shape){
        .batch = 1, .heads = 1, .queries = 35, .keys = 50, .head_dim = 661, .scale = 0.05f});
}

/* A first tile that is masked whole must not count, nor scores far apart overflow. */
static void attention_extremes(void **state) {
    (void)state;
    enum { KEYS = 601, D = 3 };
    float q[D] = {1, 1, 1}, *k = numbers(KEYS * D), *v = numbers(KEYS * D), y[D];
    float *mask = numbers(KEYS);
    double expected[D];
    struct attention_shape s = {1, 1, 1, KEYS, D, 256.0f, false, NULL, mask};
    for (size_t i = 0; i < KEYS * D; i++) {
        k[i] = (float)(i / D % 128);
        v[i] = rounded(v[i]);
    }
    for (size_t i = 0; i < KEYS; i++)
        mask[i] = i < KEYS - 9 ? -INFINITY : 0.0f;
    define_attention(expected, q, k, v, &s);
    EACH_FAST {
        cx.threads = 1;
        PLANNED(op_attention(&cx, y, q, k, v, &s));
        check("masked fast attention", y, expected, D, 3e-6);
    }
    free(k), free(v), free(mask);
}

/* One product at a time: ties go to the even neighbour, infinities and NaN come through. */
static void rounding(void **state) {
    (void)state;
    static const float cases[][2] = {{1.00390625f, 1.0f},
                                     {1.01171875f, 1.015625f},
                                     {1.00390637f, 1.0078125f},
                                     {-1.00390625f, -1.0f},
                                     {INFINITY, INFINITY},
                                     {3.4e38f, INFINITY},
                                     {0.0f, 0.0f},
                                     {1e-30f, 0.0f}};
    const float one = 1.0f;
    struct tensor w = {.dtype = DTYPE_F32, .ndim = 2, .shape = {1, 1}, .data = &one};
    cx.threads = 1;
    EACH_FAST {
        float y, nan = NAN;
        for (size_t i = 0; i + 1 < sizeof cases / sizeof *cases; i++) {
            PLANNED(op_linear(&cx, &y, cases[i], &w, 1, NULL));
            assert_true(y == cases[i][1]);
        }
        PLANNED(op_linear(&cx, &y, cases[7], &w, 1, NULL));
        assert_float_equal(y, 1e-30f, 1e-32f);
        PLANNED(op_linear(&cx, &y, &nan, &w, 1, NULL));
        assert_true(isnan(y));
    }
}

/* f32 stays what it is beside: the context decides, and "ref" has bf16 everywhere. */
static void only_where_asked(void **state) {
    (void)state;
    const float x = 1.0009765625f, one = 1.0f;
    struct tensor w = {.dtype = DTYPE_F32, .ndim = 2, .shape = {1, 1}, .data = &one};
    float y;
    assert_non_null(products_bf16("ref"));
    EACH_TABLE {
        cx.fast = NULL;
        PLANNED(op_linear(&cx, &y, &x, &w, 1, NULL));
        assert_true(y == x);
    }
    cx.kernels = kernels_choose("ref");
    cx.fast = products_bf16("ref");
    PLANNED(op_linear(&cx, &y, &x, &w, 1, NULL));
    assert_true(y == 1.0f);
    cx.fast = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_layers),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolutions_by_lines),
        cmocka_unit_test(convolutions_of_enlargements),
        cmocka_unit_test(norms_before_convolutions),
        cmocka_unit_test(attentions),
        cmocka_unit_test(attention_extremes),
        cmocka_unit_test(rounding),
        cmocka_unit_test(only_where_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
