/* Products, convolutions and attention with every kernel table that this machine runs, against
 * plain loops in double precision: odd sizes, all weight dtypes, all epilogues. Each call is
 * planned and then made in an arena of exactly the planned size. Results must not depend on the
 * number of threads, nor an item's result on the batch it is in: to the bit. */
#include "kernel_check.h"

/* ---- 16-bit weights -------------------------------------------------------------------------- */

/* The nearest bf16 (to zero) and f16 (exponent in the normal range) of x, and x made equal to it.
 */
static uint16_t narrow(float *x, enum dtype dtype) {
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    if (dtype == DTYPE_BF16) {
        bits &= 0xffff0000u;
        memcpy(x, &bits, sizeof bits);
        return (uint16_t)(bits >> 16);
    }
    bits &= 0xffffe000u;
    uint32_t exponent = (bits >> 23) & 255u;
    if (exponent < 113)
        bits = 0;
    memcpy(x, &bits, sizeof bits);
    return bits == 0 ? 0
                     : (uint16_t)(((bits >> 16) & 0x8000u) | ((exponent - 112) << 10) |
                                  ((bits >> 13) & 0x3ffu));
}

/* A weight of that dtype and the same values in f32. */
static struct tensor weight(float *values, size_t n, enum dtype dtype) {
    struct tensor w = {.name = "w", .dtype = dtype, .data = values};
    if (dtype != DTYPE_F32) {
        uint16_t *half = malloc(n * sizeof *half);
        assert_non_null(half);
        for (size_t i = 0; i < n; i++)
            half[i] = narrow(&values[i], dtype);
        w.data = half;
    }
    return w;
}

static void free_weight(struct tensor *w, float *values) {
    if (w->data != values)
        free((void *)(uintptr_t)w->data);
    free(values);
}

/* ---- matrix product -------------------------------------------------------------------------- */

static void linear_case(size_t M, size_t N, size_t K, enum dtype dtype, enum activation act,
                        bool bias, bool residual, bool in_place) {
    float *x = numbers(M * K), *values = numbers(N * K), *b = numbers(N), *r = numbers(M * N);
    float *y = malloc(M * N * sizeof *y), *first = malloc(M * N * sizeof *first);
    float *f = numbers(M * N);
    double *expected = doubles(M * N);
    char what[128];
    struct tensor w = weight(values, N * K, dtype);
    struct conv_shape rows = {.B = 1, .H = M, .W = 1, .stride = 1};
    struct epilogue ep = {bias ? b : NULL, residual ? r : NULL, act, act == ACT_GELU ? f : NULL};
    w.ndim = 2, w.shape[0] = N, w.shape[1] = K;
    define_conv(expected, x, values, N, K, 1, &rows, &ep);
    EACH_TABLE {
        for (cx.threads = 1; cx.threads <= 3; cx.threads++) {
            snprintf(what, sizeof what, "linear %zux%zux%zu %s act %d, %d threads", M, N, K,
                     dtype_name(dtype), act, cx.threads);
            if (in_place) {
                arena_plan(&cx);
                ep.residual = y;
                op_linear(&cx, y, x, &w, M, &ep);
                assert_int_equal(arena_reserve(&cx, "test"), DL_OK);
                memcpy(y, r, M * N * sizeof *y);
                op_linear(&cx, y, x, &w, M, &ep);
                arena_free(&cx);
            } else
                PLANNED(op_linear(&cx, y, x, &w, M, bias || residual || act ? &ep : NULL));
            check(what, y, expected, M * N, 3e-6);
            if (cx.threads == 1)
                memcpy(first, y, M * N * sizeof *y);
            check_bits(what, y, first, M * N);
        }
    }
    free_weight(&w, values);
    free(x), free(b), free(r), free(f), free(y), free(first), free(expected);
}

static void linear_sizes(void **state) {
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},      {1, 33, 5},     {2, 7, 321},   {3, 64, 700},
                                      {13, 31, 16},   {14, 32, 320},  {15, 33, 17},  {29, 65, 641},
                                      {77, 95, 40},   {150, 3, 48},   {5, 470, 9},   {150, 470, 90},
                                      {1100, 40, 20}, {8, 40, 33},    {9, 31, 330},  {77, 75, 700},
                                      {100, 40, 64},  {160, 33, 650}, {161, 33, 650}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        linear_case(sizes[i][0], sizes[i][1], sizes[i][2], DTYPE_F32, ACT_NONE, false, false,
                    false);
}

static void linear_dtypes_and_epilogues(void **state) {
    (void)state;
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t i = 0; i < 3; i++)
        for (size_t a = 0; a < sizeof activations / sizeof *activations; a++) {
            linear_case(17, 37, 53, dtypes[i], activations[a], true, a % 2, false);
            linear_case(16, 35, 330, dtypes[i], activations[a], a % 2, true, true);
            linear_case(99, 35, 330, dtypes[i], activations[a], true, true, false);
        }
}

/* Row m of a product is the same whatever M: the time embedding of a batch of 1 and of 2, a text of
 * 77 tokens beside another. */
static void rows_do_not_depend_on_their_number(void **state) {
    (void)state;
    enum { M = 203, N = 145, K = 333 };
    float *x = numbers(M * K), *values = numbers(N * K);
    float *all = malloc(M * N * sizeof *all), *one = malloc(M * N * sizeof *one);
    struct tensor w = {.dtype = DTYPE_F32, .ndim = 2, .shape = {N, K}, .data = values};
    struct epilogue ep = {.bias = values, .act = ACT_GELU};
    EACH_TABLE {
        cx.threads = 2;
        PLANNED(op_linear(&cx, all, x, &w, M, &ep));
        for (size_t m = 0; m < M; m += 7) {
            static const size_t rows[] = {1, 2, 3, 13, 40, 77, 100};
            const size_t count = min(rows[m / 7 % 7], M - m);
            cx.threads = m % 2 ? 3 : 1;
            PLANNED(op_linear(&cx, one, x + m * K, &w, count, &ep));
            check_bits("rows", one, all + m * N, count * N);
        }
    }
    free(x), free(values), free(all), free(one);
}

/* The product with the identity is x, to the last bit, whatever the size of its numbers: nothing is
 * lost where they are cut into pieces. */
static void the_identity_changes_nothing(void **state) {
    (void)state;
    enum { M = 45, K = 150 };
    float *x = numbers(M * K), *one = calloc(K * K, sizeof *one), *y = numbers(M * K);
    struct tensor w = {.dtype = DTYPE_F32, .ndim = 2, .shape = {K, K}, .data = one};
    for (size_t i = 0; i < K; i++)
        one[i * K + i] = 1.0f;
    for (size_t i = 0; i < M * K; i++)
        x[i] = ldexpf(x[i], (int)(i % 160) - 80);
    EACH_TABLE {
        PLANNED(op_linear(&cx, y, x, &w, M, NULL));
        check_bits("identity", y, x, M * K);
    }
    free(x), free(one), free(y);
}

/* A layer whose result multiplies what is there. */
static void gates_in_place(void **state) {
    (void)state;
    enum { M = 35, N = 50, K = 333 };
    float *x = numbers(M * K), *values = numbers(N * K), *f = numbers(M * N);
    float *y = numbers(M * N), *apart = numbers(M * N);
    struct tensor w = {.dtype = DTYPE_F32, .ndim = 2, .shape = {N, K}, .data = values};
    EACH_TABLE {
        PLANNED(op_linear(&cx, apart, x, &w, M, &(struct epilogue){.act = ACT_GELU, .factor = f}));
        memcpy(y, f, M * N * sizeof *y);
        arena_plan(&cx);
        op_linear(&cx, y, x, &w, M, &(struct epilogue){.act = ACT_GELU, .factor = y});
        assert_int_equal(arena_reserve(&cx, "test"), DL_OK);
        op_linear(&cx, y, x, &w, M, &(struct epilogue){.act = ACT_GELU, .factor = y});
        arena_free(&cx);
        check_bits("gate", y, apart, M * N);
    }
    free(x), free(values), free(f), free(y), free(apart);
}

/* Weights of old files lie at odd addresses: the same bits as from aligned ones. */
static void unaligned_weights(void **state) {
    (void)state;
    enum { M = 19, N = 37, K = 53 };
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t i = 0; i < 3; i++) {
        float *x = numbers(M * K), *values = numbers(N * K);
        float *aligned = malloc(M * N * sizeof *aligned), *odd = malloc(M * N * sizeof *odd);
        size_t bytes = N * K * dtype_size(dtypes[i]);
        unsigned char *moved = malloc(bytes + 1);
        struct tensor w = weight(values, N * K, dtypes[i]), at_odd = w;
        w.ndim = at_odd.ndim = 2;
        w.shape[0] = at_odd.shape[0] = N, w.shape[1] = at_odd.shape[1] = K;
        memcpy(moved + 1, w.data, bytes);
        at_odd.data = moved + 1;
        assert_false(tensor_is_aligned(&at_odd));
        EACH_TABLE {
            PLANNED(op_linear(&cx, aligned, x, &w, M, NULL));
            PLANNED(op_linear(&cx, odd, x, &at_odd, M, NULL));
            check_bits("unaligned", odd, aligned, M * N);
            op_embedding_row(&cx, odd, &at_odd, N - 1);
            op_embedding_row(&cx, aligned, &w, N - 1);
            check_bits("unaligned row", odd, aligned, K);
        }
        free_weight(&w, values);
        free(x), free(aligned), free(odd), free(moved);
    }
}

/* ---- convolution ----------------------------------------------------------------------------- */

static void conv_case(const struct conv_shape *s, size_t N, size_t K, size_t k, enum dtype dtype,
                      enum activation act, bool residual) {
    size_t H = s->up_H ? s->up_H : s->H, W = s->up_W ? s->up_W : s->W;
    size_t pads = s->pad_before + s->pad_after;
    size_t P = ((H + pads - k) / s->stride + 1) * ((W + pads - k) / s->stride + 1);
    size_t n = s->B * P * N, item = s->H * s->W * K;
    float *x = numbers(s->B * item), *values = numbers(N * K * k * k), *b = numbers(N);
    float *r = numbers(n), *f = numbers(n);
    float *y = malloc(n * sizeof *y), *first = malloc(n * sizeof *first);
    double *expected = doubles(n);
    char what[128];
    struct tensor w = weight(values, N * K * k * k, dtype);
    struct epilogue ep = {b, residual ? r : NULL, act, act == ACT_SILU ? f : NULL};
    w.ndim = 4, w.shape[0] = N, w.shape[1] = K, w.shape[2] = w.shape[3] = k;
    define_conv(expected, x, values, N, K, k, s, &ep);
    EACH_TABLE {
        for (cx.threads = 1; cx.threads <= 3; cx.threads++) {
            snprintf(what, sizeof what, "conv %zux%zux%zu %zu<-%zu k %zu stride %zu %s", s->B, s->H,
                     s->W, N, K, k, s->stride, dtype_name(dtype));
            PLANNED(op_conv2d(&cx, y, x, &w, s, &ep));
            check(what, y, expected, n, 3e-6);
            if (cx.threads == 1)
                memcpy(first, y, n * sizeof *y);
            check_bits(what, y, first, n);
        }
        struct conv_shape single = *s;
        single.B = 1;
        for (size_t i = 0; i < s->B; i++) {
            struct epilogue one = {b, residual ? r + i * P * N : NULL, act,
                                   ep.factor ? f + i * P * N : NULL};
            PLANNED(op_conv2d(&cx, y, x + i * item, &w, &single, &one));
            check_bits(what, y, first + i * P * N, P * N);
        }
    }
    free_weight(&w, values);
    free(x), free(b), free(r), free(f), free(y), free(first), free(expected);
}

static void convolutions(void **state) {
    (void)state;
    struct conv_shape s = {.B = 2, .H = 7, .W = 5, .stride = 1, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 33, 4, 3, DTYPE_F32, ACT_NONE, false);
    conv_case(&s, 40, 70, 3, DTYPE_F32, ACT_SILU, true);
    s.H = 20;
    conv_case(&s, 65, 40, 3, DTYPE_F32, ACT_NONE, false);
    s.H = 7;
    conv_case(&s, 3, 33, 3, DTYPE_F16, ACT_NONE, false);
    conv_case(&s, 17, 32, 3, DTYPE_BF16, ACT_RELU, true);
    conv_case(&s, 5, 40, 5, DTYPE_F32, ACT_NONE, false);
    s.stride = 2;
    conv_case(&s, 9, 31, 3, DTYPE_F32, ACT_NONE, false);
    s.pad_before = 0; /* the autoencoder's downsampling */
    conv_case(&s, 9, 5, 3, DTYPE_F32, ACT_NONE, false);
    s.stride = 1, s.pad_after = 0;
    conv_case(&s, 9, 5, 3, DTYPE_F32, ACT_NONE, false);
    conv_case(&s, 35, 341, 1, DTYPE_F32, ACT_GELU, true);
    s.stride = 2;
    conv_case(&s, 35, 34, 1, DTYPE_F16, ACT_NONE, true);
}

/* Winograd's way: more tiles than a block holds, more channels than a row of V, cut tiles. */
static void large_convolutions(void **state) {
    (void)state;
    struct conv_shape s = {.B = 3, .H = 29, .W = 26, .stride = 1, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 34, 20, 3, DTYPE_F32, ACT_SILU, true);
    s = (struct conv_shape){.B = 2, .H = 9, .W = 8, .stride = 1, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 7, 700, 3, DTYPE_F16, ACT_NONE, false);
    conv_case(&s, 70, 113, 3, DTYPE_BF16, ACT_NONE, true);
    s.pad_before = 0; /* other sums of pads than the window's own */
    conv_case(&s, 20, 40, 3, DTYPE_F32, ACT_NONE, false);
    s.pad_after = 3;
    conv_case(&s, 20, 40, 3, DTYPE_F32, ACT_NONE, false);
    s = (struct conv_shape){.B = 1, .H = 16, .W = 15, .stride = 1, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 36, 2700, 3, DTYPE_BF16, ACT_NONE, true); /* channels in groups */
}

static void enlarging_convolutions(void **state) {
    (void)state;
    struct conv_shape s = {
        .B = 2, .H = 4, .W = 3, .stride = 1, .pad_before = 1, .pad_after = 1, .up_H = 8, .up_W = 6};
    conv_case(&s, 20, 18, 3, DTYPE_F32, ACT_NONE, false);
    s.up_H = 7, s.up_W = 5; /* to the size of a skip connection with odd sides */
    conv_case(&s, 20, 18, 3, DTYPE_F32, ACT_NONE, false);
    s.up_H = 4, s.up_W = 11;
    conv_case(&s, 20, 18, 1, DTYPE_BF16, ACT_NONE, false);
}

/* A picture of one pixel sees nothing but padding around it. */
static void smallest_picture(void **state) {
    (void)state;
    struct conv_shape s = {.B = 1, .H = 1, .W = 1, .stride = 1, .pad_before = 1, .pad_after = 1};
    conv_case(&s, 2, 1, 3, DTYPE_F32, ACT_NONE, false);
}

/* ---- attention ------------------------------------------------------------------------------- */

static void attention_case(struct attention_shape s, bool bias, bool key_bias) {
    size_t D = s.heads * s.head_dim, n = s.batch * s.queries * D, m = s.batch * s.keys * D;
    float *q = numbers(n), *k = numbers(m), *v = numbers(m);
    float *b = numbers(s.heads * s.queries * s.keys), *kb = numbers(s.batch * s.keys);
    float *y = malloc(n * sizeof *y), *first = malloc(n * sizeof *first);
    double *expected = doubles(n);
    char what[128];
    for (size_t i = 1; i < s.batch * s.keys; i += 3)
        kb[i] = -1e9f; /* masked, as padding is; the first key of an item never is */
    for (size_t i = 0; i < s.batch; i++)
        kb[i * s.keys] = 0.0f;
    s.bias = bias ? b : NULL;
    s.key_bias = key_bias ? kb : NULL;
    define_attention(expected, q, k, v, &s);
    EACH_TABLE {
        snprintf(what, sizeof what, "attention %zux%zu %zux%zu d %zu%s", s.batch, s.heads,
                 s.queries, s.keys, s.head_dim, s.causal ? " causal" : "");
        for (cx.threads = 1; cx.threads <= 3; cx.threads++) {
            PLANNED(op_attention(&cx, y, q, k, v, &s));
            check(what, y, expected, n, 3e-6);
            if (cx.threads == 1)
                memcpy(first, y, n * sizeof *y);
            check_bits(what, y, first, n);
        }
        struct attention_shape one = s;
        one.batch = 1;
        for (size_t i = 0; i < s.batch; i++) {
            one.key_bias = key_bias ? kb + i * s.keys : NULL;
            size_t item = i * s.keys * D;
            PLANNED(op_attention(&cx, y, q + i * s.queries * D, k + item, v + item, &one));
            check_bits(what, y, first + i * s.queries * D, s.queries * D);
        }
    }
    free(q), free(k), free(v), free(b), free(kb), free(y), free(first), free(expected);
}

static void attentions(void **state) {
    (void)state;
    attention_case(
        (struct attention_shape){
            .batch = 2, .heads = 3, .queries = 33, .keys = 77, .head_dim = 40, .scale = 0.158f},
        false, false);
    attention_case((struct attention_shape){.batch = 1,
                                            .heads = 2,
                                            .queries = 77,
                                            .keys = 77,
                                            .head_dim = 64,
                                            .scale = 0.125f,
                                            .causal = true},
                   false, false);
    attention_case(
        (struct attention_shape){
            .batch = 2, .heads = 1, .queries = 1, .keys = 1, .head_dim = 1, .scale = 1.0f},
        false, false);
    attention_case(
        (struct attention_shape){
            .batch = 2, .heads = 2, .queries = 9, .keys = 11, .head_dim = 7, .scale = 1.0f},
        true, true);
    attention_case(
        (struct attention_shape){
            .batch = 1, .heads = 1, .queries = 35, .keys = 50, .head_dim = 331, .scale = 0.05f},
        false, true);
}

/* More queries than a task, more keys than a tile; causal across tiles. */
static void long_attentions(void **state) {
    (void)state;
    attention_case(
        (struct attention_shape){
            .batch = 1, .heads = 1, .queries = 301, .keys = 700, .head_dim = 8, .scale = 3.0f},
        false, false);
    attention_case((struct attention_shape){.batch = 2,
                                            .heads = 1,
                                            .queries = 600,
                                            .keys = 600,
                                            .head_dim = 5,
                                            .scale = 2.0f,
                                            .causal = true},
                   false, false);
}

/* Scores far apart must not overflow, and a first tile that is masked whole must not count. */
static void attention_extremes(void **state) {
    (void)state;
    enum { KEYS = 600, D = 3 };
    float *q = numbers(D), *k = numbers(KEYS * D), *v = numbers(KEYS * D), y[D];
    float *mask = numbers(KEYS);
    double expected[D];
    struct attention_shape s = {1, 1, 1, KEYS, D, 1e4f, false, NULL, mask};
    for (size_t i = 0; i < KEYS; i++)
        mask[i] = i < KEYS - 10 ? -INFINITY : 0.0f;
    define_attention(expected, q, k, v, &s);
    EACH_TABLE {
        cx.threads = 1;
        PLANNED(op_attention(&cx, y, q, k, v, &s));
        check("masked attention", y, expected, D, 3e-6);
    }
    free(q), free(k), free(v), free(mask);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void tables_are_chosen_by_name(void **state) {
    (void)state;
    assert_null(kernels_choose("mmx"));
    assert_null(kernels_choose(""));
    assert_string_equal(kernels_choose("ref")->name, "ref");
    assert_non_null(kernels_choose(NULL));
    EACH_TABLE {
        const bool amx = strcmp(names[table], "amx") == 0; /* beside the table of AVX-512 */
        assert_string_equal(cx.kernels->name, amx ? "avx512" : names[table]);
        if (amx)
            assert_string_equal(products_bf16("amx")->by, "amx");
    }
}

/* The planned work is the number of multiply-adds. */
static void work_is_counted(void **state) {
    (void)state;
    struct tensor w = {.dtype = DTYPE_F32, .ndim = 4, .shape = {6, 5, 3, 3}};
    struct conv_shape s = {.B = 2, .H = 8, .W = 4, .stride = 1, .pad_before = 1, .pad_after = 1};
    struct attention_shape a = {2, 3, 7, 11, 5, 1.0f, false, NULL, NULL};
    cx.threads = 2;
    cx.kernels = kernels_choose(NULL);
    arena_plan(&cx);
    op_conv2d(&cx, NULL, NULL, &w, &s, NULL);
    op_attention(&cx, NULL, NULL, NULL, NULL, &a);
    assert_float_equal(cx.arena.work, 64 * 6 * 45 + 2 * 6 * 77 * 5, 0.0);
    arena_plan_end(&cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_chosen_by_name),
        cmocka_unit_test(linear_sizes),
        cmocka_unit_test(linear_dtypes_and_epilogues),
        cmocka_unit_test(rows_do_not_depend_on_their_number),
        cmocka_unit_test(gates_in_place),
        cmocka_unit_test(the_identity_changes_nothing),
        cmocka_unit_test(unaligned_weights),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(large_convolutions),
        cmocka_unit_test(enlarging_convolutions),
        cmocka_unit_test(smallest_picture),
        cmocka_unit_test(attentions),
        cmocka_unit_test(long_attentions),
        cmocka_unit_test(attention_extremes),
        cmocka_unit_test(work_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
