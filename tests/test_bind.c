/* store/bind: what is bound, and what is said of what is missing, misshapen or unused. */
#include "scratch.h"
#include "store/bind.h"

static const float values[64] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint16_t halves[8] = {0x3c00, 0x4000, 0xc200, 0, 0, 0, 0, 0};
static const uint16_t bfloats[8] = {0x3f80, 0xc000, 0, 0, 0, 0, 0, 0};

static const struct tensor model[] = {
    {"net.0.to_q.weight", DTYPE_F32, 2, {2, 3}, values, NULL},
    {"net.0.query.bias", DTYPE_F16, 1, {3}, halves, NULL},
    {"net.1.conv.weight", DTYPE_BF16, 4, {2, 4, 1, 1}, bfloats, NULL},
    {"net.1.conv.bias", DTYPE_BF16, 1, {2}, bfloats, NULL},
    {"net.1.norm", DTYPE_F32, 2, {4, 1}, values, NULL},
    {"net.position_ids", DTYPE_I64, 2, {1, 2}, values, NULL},
    {"conv_in.weight", DTYPE_F32, 4, {4, 1, 3, 1}, values, NULL},
};
enum { COUNT = sizeof model / sizeof *model };

struct bound {
    struct scratch scratch;
    struct store *store;
    struct binder b;
};

static int begin(void **state) {
    struct bound *f = malloc(sizeof *f);
    assert_non_null(f);
    scratch_begin(&f->scratch);
    dl_context *cx = &f->scratch.cx;
    assert_int_equal(store_write(cx, scratch_path(&f->scratch, "m"), model, COUNT, NULL), DL_OK);
    assert_int_equal(store_open_file(cx, f->scratch.path, &f->store), DL_OK);
    assert_int_equal(bind_begin(&f->b, cx, f->store), DL_OK);
    *state = f;
    return 0;
}

static int end(void **state) {
    struct bound *f = *state;
    store_close(f->store);
    scratch_end(&f->scratch);
    free(f);
    return 0;
}

static void all_is_bound(void **state) {
    struct bound *f = *state;
    struct tensor q, conv, in;
    const float *bias, *conv_bias, *norm;
    const size_t shape[] = {4, 1, 3, 1};
    size_t outer = bind_enter(&f->b, "net.%d.", 0);
    assert_true(bind_has(&f->b, "to_q.weight"));
    assert_true(bind_has(&f->b, "nothing|to_q.weight"));
    assert_false(bind_has(&f->b, "to_q"));
    bind_matrix(&f->b, &q, "to_q.weight|query.weight", 2, 3);
    bind_vector(&f->b, &bias, "to_q.bias|query.bias", 3);
    bind_leave(&f->b, outer);
    outer = bind_enter(&f->b, "net.");
    size_t inner = bind_enter(&f->b, "%s.", "1");
    bind_matrix(&f->b, &conv, "conv.weight", 2, 4);
    bind_vector(&f->b, &conv_bias, "conv.bias", 2);
    bind_vector(&f->b, &norm, "norm", 4);
    bind_leave(&f->b, inner);
    bind_ignore(&f->b, "none|position_ids");
    bind_leave(&f->b, outer);
    assert_string_equal(f->b.prefix, "");
    bind_tensor(&f->b, &in, "conv_in.weight", 4, shape);
    assert_int_equal(bind_end(&f->b), DL_OK);
    assert_int_equal(f->scratch.lines, 0);

    assert_int_equal(q.dtype, DTYPE_F32);
    assert_true(((const float *)q.data)[5] == 6);
    assert_true(bias[0] == 1 && bias[1] == 2 && bias[2] == -3);
    assert_int_equal(conv.ndim, 2);
    assert_int_equal(conv.shape[1], 4);
    assert_int_equal(conv.shape[2], 0);
    assert_int_equal(conv.dtype, DTYPE_BF16);
    assert_true(conv_bias[1] == -2);
    assert_memory_equal(norm, store_find(f->store, "net.1.norm")->data, 4 * sizeof *norm);
    assert_int_equal(in.ndim, 4);
}

static void a_wrong_shape_is_named(void **state) {
    struct bound *f = *state;
    struct tensor t;
    const size_t shape[] = {4, 9, 3, 3};
    bind_tensor(&f->b, &t, "conv_in.weight", 4, shape);
    assert_null(t.data);
    assert_int_equal(bind_end(&f->b), DL_MODEL);
    char expected[SCRATCH_PATH_MAX + 128];
    snprintf(expected, sizeof expected,
             "%s: tensor conv_in.weight has shape [4,1,3,1], expected [4,9,3,3]",
             store_path(f->store));
    assert_string_equal(f->scratch.cx.message, expected);
    assert_int_equal(f->scratch.lines, 0); /* nothing is said of unused tensors beside it */
}

static void a_wrong_dtype_is_named(void **state) {
    struct bound *f = *state;
    struct tensor t;
    bind_matrix(&f->b, &t, "net.position_ids", 1, 2);
    assert_int_equal(bind_end(&f->b), DL_MODEL);
    assert_contains(f->scratch.cx.message,
                    "tensor net.position_ids has dtype I64, expected F32, F16 or BF16");
}

static void the_first_failures_are_listed(void **state) {
    struct bound *f = *state;
    struct tensor t;
    const float *v;
    bind_matrix(&f->b, &t, "net.0.to_q.weight", 3, 2);
    for (int i = 0; i < 40; i++) {
        size_t outer = bind_enter(&f->b, "blocks.%d.", i);
        bind_vector(&f->b, &v, "norm.bias|ln.bias", 4);
        assert_null(v);
        bind_leave(&f->b, outer);
    }
    assert_int_equal(bind_end(&f->b), DL_MODEL);
    assert_contains(f->scratch.cx.message,
                    ": tensor net.0.to_q.weight has shape [2,3], expected [3,2]; tensor "
                    "blocks.0.norm.bias is missing; tensor blocks.1.norm.bias is missing");
    assert_contains(f->scratch.cx.message, "(41 tensors do not fit the config)");
}

static void unused_tensors_are_told(void **state) {
    struct bound *f = *state;
    bind_ignore(&f->b, "net.*");
    assert_int_equal(bind_end(&f->b), DL_OK);
    assert_int_equal(f->scratch.lines, 1);
    assert_int_equal(f->scratch.level, DL_LOG_WARNING);
    assert_contains(f->scratch.line, "/m: 1 tensor is not used: conv_in.weight");
    assert_int_equal(bind_begin(&f->b, &f->scratch.cx, f->store), DL_OK);
    assert_int_equal(bind_end(&f->b), DL_OK);
    assert_contains(f->scratch.line,
                    "/m: 7 tensors are not used: conv_in.weight, net.0.query.bias");
    assert_contains(f->scratch.line, ", ...");
}

static void long_names_are_refused(void **state) {
    struct bound *f = *state;
    const float *v;
    char name[2000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    bind_vector(&f->b, &v, name, 1);
    size_t outer = bind_enter(&f->b, "%s.", name);
    bind_vector(&f->b, &v, name, 1);
    bind_leave(&f->b, outer);
    assert_int_equal(bind_end(&f->b), DL_MODEL);
    assert_contains(f->scratch.cx.message, "name would be too long");
}

static void absurd_sizes_are_no_match(void **state) {
    struct bound *f = *state;
    struct tensor t;
    const float *v;
    const size_t shape[] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    bind_tensor(&f->b, &t, "conv_in.weight", 5, shape);
    bind_matrix(&f->b, &t, "conv_in.weight", 0, 0);
    bind_vector(&f->b, &v, "net.1.conv.bias", SIZE_MAX / 2);
    assert_int_equal(f->b.failures, 3);
    assert_int_equal(bind_end(&f->b), DL_MODEL);
    assert_contains(f->scratch.cx.message, "18446744073709551615");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(all_is_bound),
        T(a_wrong_shape_is_named),
        T(a_wrong_dtype_is_named),
        T(the_first_failures_are_listed),
        T(unused_tensors_are_told),
        T(long_names_are_refused),
        T(absurd_sizes_are_no_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
