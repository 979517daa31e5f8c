/* Weights of 8-bit integers with a scale for each row. They are widened while they are packed, so
 * with every kernel table, in f32 and in bf16, they give the bits of the same weights given as f32.
 * And what is said of files whose integers or scales are not as they must be. */
#include "kernel_check.h"
#include "scratch.h"
#include "store/bind.h"

/* ---- products -------------------------------------------------------------------------------- */

/* Weights of (N, width) integers, and the same as f32. */
struct both {
    struct tensor i8, f32;
    int8_t *q;
    float *scales, *wide;
};

static struct both make_both(size_t N, size_t width) {
    struct both b = {.q = malloc(N * width), .scales = numbers(N), .wide = numbers(N * width)};
    assert_non_null(b.q);
    for (size_t n = 0; n < N; n++) {
        b.scales[n] = n == 1 ? 0.0f : fabsf(b.scales[n]) * 0.01f;
        for (size_t k = 0; k < width; k++) {
            const size_t i = n * width + k;
            b.q[i] = (int8_t)lrintf(b.wide[i] * 127.0f);
            b.wide[i] = b.scales[n] * (float)b.q[i];
        }
    }
    b.q[0] = -128; /* no converter writes it, but a file may hold it */
    b.wide[0] = b.scales[0] * -128.0f;
    b.i8 = (struct tensor){.dtype = DTYPE_I8, .data = b.q, .scales = b.scales};
    b.f32 = (struct tensor){.dtype = DTYPE_F32, .data = b.wide};
    return b;
}

static void free_both(struct both *b) {
    free(b->q), free(b->scales), free(b->wide);
}

static void set_shape(struct both *b, size_t ndim, size_t N, size_t K, size_t k) {
    const size_t shape[TENSOR_DIMS] = {N, K, k, k};
    b->i8.ndim = b->f32.ndim = ndim;
    memcpy(b->i8.shape, shape, sizeof shape);
    memcpy(b->f32.shape, shape, sizeof shape);
}

/* for every table, and every format of products that it has: { ... } */
#define EACH_FORMAT                                                                                \
    EACH_TABLE                                                                                     \
    for (int fast = 0; fast < 2; fast++)                                                           \
        if ((cx.fast = fast ? products_bf16(names[table]) : NULL) != NULL || !fast)

static void linear_case(size_t M, size_t N, size_t K) {
    struct both w = make_both(N, K);
    float *x = numbers(M * K), *bias = numbers(N), *r = numbers(M * N);
    float *y = numbers(M * N), *expected = numbers(M * N);
    const struct epilogue ep = {.bias = bias, .residual = r, .act = ACT_GELU};
    set_shape(&w, 2, N, K, 1);
    EACH_FORMAT {
        cx.threads = 1;
        PLANNED(op_linear(&cx, expected, x, &w.f32, M, &ep));
        for (cx.threads = 1; cx.threads <= 3; cx.threads++) {
            PLANNED(op_linear(&cx, y, x, &w.i8, M, &ep));
            check_bits("linear", y, expected, M * N);
        }
    }
    free_both(&w);
    free(x), free(bias), free(r), free(y), free(expected);
}

static void linear_layers(void **state) {
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},    {2, 33, 5},   {3, 7, 321},   {15, 64, 700},
                                      {77, 95, 40}, {150, 3, 48}, {29, 65, 641}, {19, 470, 90}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        linear_case(sizes[i][0], sizes[i][1], sizes[i][2]);
}

static void conv_case(struct conv_shape s, size_t N, size_t K, size_t k) {
    const size_t H = s.up_H ? s.up_H : s.H, W = s.up_W ? s.up_W : s.W;
    const size_t n = s.B * H * W * N; /* at least: strides make it less */
    struct both w = make_both(N, K * k * k);
    float *x = numbers(s.B * s.H * s.W * K), *bias = numbers(N);
    float *y = numbers(n), *expected = numbers(n);
    const struct epilogue ep = {.bias = bias, .act = ACT_SILU};
    s.pad_before = s.pad_after = (k - 1) / 2;
    set_shape(&w, 4, N, K, k);
    memcpy(expected, y, n * sizeof *y);
    EACH_FORMAT {
        cx.threads = 2;
        PLANNED(op_conv2d(&cx, expected, x, &w.f32, &s, &ep));
        PLANNED(op_conv2d(&cx, y, x, &w.i8, &s, &ep));
        check_bits("convolution", y, expected, n);
    }
    free_both(&w);
    free(x), free(bias), free(y), free(expected);
}

/* Windows with and without Winograd's transforms, strides, enlargement, 1x1. */
static void convolutions(void **state) {
    (void)state;
    conv_case((struct conv_shape){.B = 2, .H = 7, .W = 5, .stride = 1}, 33, 4, 3);
    conv_case((struct conv_shape){.B = 1, .H = 29, .W = 26, .stride = 1}, 34, 120, 3);
    conv_case((struct conv_shape){.B = 1, .H = 9, .W = 8, .stride = 1}, 7, 700, 3);
    conv_case((struct conv_shape){.B = 2, .H = 8, .W = 6, .stride = 2}, 9, 35, 3);
    conv_case((struct conv_shape){.B = 1, .H = 4, .W = 3, .stride = 1, .up_H = 8, .up_W = 6}, 20,
              18, 3);
    conv_case((struct conv_shape){.B = 2, .H = 5, .W = 4, .stride = 1}, 35, 341, 1);
}

/* Rows of a matrix are a matrix: scale and shift of a residual block share one. */
static void rows_keep_their_scales(void **state) {
    (void)state;
    enum { M = 3, N = 34, K = 21, FIRST = 16 };
    struct both w = make_both(N, K);
    float *x = numbers(M * K), y[M * N], part[M * (N - FIRST)];
    set_shape(&w, 2, N, K, 1);
    const struct tensor rows = tensor_rows(&w.i8, FIRST, N - FIRST);
    EACH_FORMAT {
        cx.threads = 1;
        PLANNED(op_linear(&cx, y, x, &w.f32, M, NULL));
        PLANNED(op_linear(&cx, part, x, &rows, M, NULL));
        for (size_t m = 0; m < M; m++)
            check_bits("rows", part + m * (N - FIRST), y + m * N + FIRST, N - FIRST);
    }
    free_both(&w);
    free(x);
}

static void widening_is_exact(void **state) {
    (void)state;
    enum { N = 5, K = 77 };
    struct both w = make_both(N, K);
    float y[N * K];
    set_shape(&w, 2, N, K, 1);
    tensor_widen(y, &w.i8);
    assert_memory_equal(y, w.wide, sizeof y);
    EACH_TABLE {
        for (size_t n = 0; n < N; n++)
            cx.kernels->widen(y + n * K, w.q + n * K, DTYPE_I8, w.scales[n], K);
        check_bits("widen", y, w.wide, N * K);
    }
    free_both(&w);
}

/* ---- files ----------------------------------------------------------------------------------- */

static const int8_t integers[12] = {1, -2, 3, 4, 5, -127, 7, 8, 9, 10, 127, 12};
static const float good[3] = {0.5f, 0.0f, 2.0f};

/* A file with one weight of integers (3,4) and, where there are any, its scales. Returns what
 * opening says. */
static int open_with(struct scratch *s, const struct tensor *scales, struct store **store) {
    const struct tensor all[] = {
        {.name = "net.weight", .dtype = DTYPE_I8, .ndim = 2, .shape = {3, 4}, .data = integers},
        scales ? *scales : (struct tensor){0}};
    assert_int_equal(store_write(&s->cx, scratch_path(s, "m"), all, scales ? 2 : 1, NULL), DL_OK);
    return store_open_file(&s->cx, s->path, store);
}

static struct tensor scales_of(enum dtype dtype, size_t ndim, size_t rows, const void *data) {
    return (struct tensor){
        .name = "net.weight_scale", .dtype = dtype, .ndim = ndim, .shape = {rows, 1}, .data = data};
}

static void integers_are_bound(void **state) {
    struct scratch *s = *state;
    for (size_t ndim = 1; ndim <= 2; ndim++) {
        const struct tensor scales = scales_of(DTYPE_F32, ndim, 3, good);
        const size_t shape[] = {3, 4};
        struct store *store;
        struct binder b;
        struct tensor w;
        float wide[12];
        assert_int_equal(open_with(s, &scales, &store), DL_OK);
        assert_int_equal(bind_begin(&b, &s->cx, store), DL_OK);
        bind_weight(&b, &w, "net.weight", 2, shape);
        assert_int_equal(bind_end(&b), DL_OK);
        assert_int_equal(s->lines, 0); /* the scales count as used */
        assert_int_equal(w.dtype, DTYPE_I8);
        tensor_widen(wide, &w);
        for (size_t i = 0; i < 12; i++)
            assert_true(wide[i] == good[i / 4] * (float)integers[i]);
        assert_true(store_is_scales(store, store_find(store, "net.weight_scale")));
        assert_false(store_is_scales(store, store_find(store, "net.weight")));
        store_close(store);
    }
}

/* Integers without scales are no failure of the file: nobody may want them. */
static void integers_where_none_may_be(void **state) {
    struct scratch *s = *state;
    const struct tensor scales = scales_of(DTYPE_F32, 1, 3, good);
    const size_t shape[] = {3, 4};
    struct store *store;
    struct binder b;
    struct tensor w;
    assert_int_equal(open_with(s, NULL, &store), DL_OK);
    assert_int_equal(bind_begin(&b, &s->cx, store), DL_OK);
    bind_weight(&b, &w, "net.weight", 2, shape);
    assert_int_equal(bind_end(&b), DL_MODEL);
    assert_contains(s->cx.message, "m: tensor net.weight has dtype I8, but its scales, "
                                   "net.weight_scale, are missing");
    store_close(store);
    assert_int_equal(open_with(s, &scales, &store), DL_OK);
    assert_int_equal(bind_begin(&b, &s->cx, store), DL_OK);
    bind_matrix(&b, &w, "net.weight", 3, 4);
    assert_int_equal(bind_end(&b), DL_MODEL);
    assert_contains(s->cx.message, "m: tensor net.weight has dtype I8, expected F32, F16 or BF16");
    store_close(store);
}

static void broken_scales_are_refused(void **state) {
    struct scratch *s = *state;
    static const uint16_t halves[3] = {0x3c00, 0x3c00, 0x3c00};
    static const float nan_[3] = {1, NAN, 1}, infinite[3] = {1, 1, INFINITY}, minus[3] = {-1, 1, 1};
    const struct {
        struct tensor scales;
        const char *message;
    } cases[] = {
        {scales_of(DTYPE_F16, 1, 3, halves), "tensor net.weight_scale has dtype F16; scales of "
                                             "net.weight must be F32"},
        {scales_of(DTYPE_I8, 1, 3, integers), "tensor net.weight_scale has dtype I8; scales"},
        {scales_of(DTYPE_F32, 1, 2, good), "tensor net.weight_scale has 2 values in 2 rows; "
                                           "net.weight needs one for each of its 3 rows"},
        {scales_of(DTYPE_F32, 0, 0, good), "tensor net.weight_scale has 1 values in 1 rows"},
        {{.name = "net.weight_scale", .ndim = 2, .shape = {1, 3}, .data = good},
         "tensor net.weight_scale has 3 values in 1 rows"},
        {scales_of(DTYPE_F32, 1, 3, nan_), "the scale of row 1 is nan"},
        {scales_of(DTYPE_F32, 1, 3, infinite), "the scale of row 2 is inf"},
        {scales_of(DTYPE_F32, 1, 3, minus), "the scale of row 0 is -1; it must be finite and not "
                                            "negative"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store *store;
        assert_int_equal(open_with(s, &cases[i].scales, &store), DL_MODEL);
        assert_null(store);
        assert_contains(s->cx.message, cases[i].message);
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_layers),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(rows_keep_their_scales),
        cmocka_unit_test(widening_is_exact),
        T(integers_are_bound),
        T(integers_where_none_may_be),
        T(broken_scales_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
