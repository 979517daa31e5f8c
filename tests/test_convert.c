/* Converting models: numbers rounded as torch rounds them, folders complete or absent, and every
 * refusal. That a converted model makes the pictures it should is in cli/convert.sh. */
#include "model_support.h"

#include "kernels/kernels.h"

#include <sys/statvfs.h>

/* ---- rounding -------------------------------------------------------------------------------- */

static const char expected_file[] = "tests/data/convert/rounded.safetensors";

static const void *expected_data(struct store *store, const char *name, size_t *count) {
    const struct tensor *t = store_find(store, name);
    assert_non_null(t);
    *count = tensor_count(t);
    return t->data;
}

static void halves_are_torchs(void **state) {
    struct scratch *s = *state;
    struct store *store;
    size_t n;
    assert_int_equal(store_open_file(&s->cx, expected_file, &store), DL_OK);
    const float *x = expected_data(store, "x", &n);
    const uint16_t *f16 = expected_data(store, "x.f16", &n);
    const uint16_t *bf16 = expected_data(store, "x.bf16", &n);
    assert_true(n > 2000);
    for (size_t i = 0; i < n; i++) {
        if (f32_to_f16(x[i]) != f16[i])
            fail_msg("%.9g as f16: %04x, expected %04x", (double)x[i], f32_to_f16(x[i]), f16[i]);
        if (f32_to_bf16(x[i]) != bf16[i])
            fail_msg("%.9g as bf16: %04x, expected %04x", (double)x[i], f32_to_bf16(x[i]), bf16[i]);
    }
    assert_true(isnan(f16_to_f32(f32_to_f16(NAN))) && isnan(f16_to_f32(f32_to_f16(-NAN))));
    assert_true(isnan(bf16_to_f32(f32_to_bf16(NAN))));
    for (uint32_t half = 0; half < 65536; half++) { /* what is one already stays itself */
        const float f = f16_to_f32((uint16_t)half), b = bf16_to_f32((uint16_t)half);
        assert_true(isnan(f) || f32_to_f16(f) == half);
        assert_true(isnan(b) || f32_to_bf16(b) == half);
    }
    store_close(store);
}

/* ---- models of one part ---------------------------------------------------------------------- */

/* DIR/model with these tensors as its UNet, and a small file. */
static char *make_model(struct scratch *s, const struct tensor *tensors, size_t count) {
    char *dir = path_join(s->dir, "model"), *unet = path_join(dir, "unet");
    char *file = path_join(unet, "diffusion_pytorch_model.safetensors");
    assert_int_equal(dir_make(&s->cx, unet), DL_OK);
    assert_int_equal(store_write(&s->cx, file, tensors, count, NULL), DL_OK);
    put_file(dir, "model_index.json", "{}", 2);
    put_file(unet, "config.json", "{}\n", 3);
    put_file(unet, ".hidden", "x", 1);
    put_file(unet, "old.ckpt", "x", 1);
    free(unet);
    free(file);
    return dir;
}

static struct tensor floats_of(const char *name, size_t rows, size_t columns, const float *data) {
    return (struct tensor){
        .name = name, .dtype = DTYPE_F32, .ndim = 2, .shape = {rows, columns}, .data = data};
}

static int convert_to(struct scratch *s, const char *model, const char *to, const char *output,
                      dl_converted *result) {
    char *path = path_join(s->dir, output);
    const dl_convert_options how = {.to = to, .output = path};
    int status = dl_convert(&s->cx, model, &how, result);
    free(path);
    return status;
}

static struct store *open_unet(struct scratch *s, const char *model) {
    struct store *store;
    char *dir = path_join(s->dir, model), *unet = path_join(dir, "unet");
    assert_int_equal(store_open(&s->cx, unet, "diffusion_pytorch_model", &store), DL_OK);
    free(dir);
    free(unet);
    return store;
}

static bool there(struct scratch *s, const char *name) {
    struct stat info;
    return lstat(scratch_path(s, name), &info) == 0;
}

static void integers_are_torchs(void **state) {
    struct scratch *s = *state;
    struct store *expected, *made;
    dl_converted result;
    size_t n, rows;
    assert_int_equal(store_open_file(&s->cx, expected_file, &expected), DL_OK);
    struct tensor w = *store_find(expected, "w");
    w.name = "proj.weight";
    char *model = make_model(s, &w, 1);
    assert_int_equal(convert_to(s, model, "int8", "out", &result), DL_OK);
    made = open_unet(s, "out");
    const struct tensor *q = store_find(made, "proj.weight");
    assert_int_equal(q->dtype, DTYPE_I8);
    const void *want = expected_data(expected, "w.q", &n);
    assert_memory_equal(q->data, want, n);
    want = expected_data(expected, "w.s", &rows);
    assert_memory_equal(q->scales, want, rows * sizeof(float));
    assert_memory_equal(store_find(made, "proj.weight_scale")->data, want, rows * sizeof(float));
    assert_int_equal(result.count, 1);
    assert_string_equal(result.parts[0].name, "unet");
    assert_string_equal(result.parts[0].from, "F32");
    assert_string_equal(result.parts[0].to, "I8");
    assert_int_equal(result.parts[0].tensors, 2);
    assert_int_equal(result.parts[0].changed, 1);
    assert_int_equal(result.after, store_bytes(made));
    assert_true(result.parts[0].largest_error > 1e-3 && result.parts[0].largest_error < 0.5 / 127);
    dl_converted_free(&result);
    store_close(made);
    store_close(expected);
    free(model);
}

/* What becomes of each kind of tensor, there and back. */
static void each_tensor_has_its_dtype(void **state) {
    static float values[64 * 64];
    static const int64_t ids[2] = {1, 2};
    static const double wide[1] = {0.1};
    const struct tensor tensors[] = {
        floats_of("a.linear.weight", 16, 32, values),
        {.name = "conv.weight",
         .dtype = DTYPE_F32,
         .ndim = 4,
         .shape = {8, 4, 2, 2},
         .data = values},
        floats_of("short_rows.weight", 64, 15, values),
        floats_of("linear.other", 16, 32, values),
        floats_of("embeddings.token_embedding.weight", 16, 32, values),
        floats_of("shared.weight", 16, 32, values),
        floats_of("class_embedding.weight", 16, 32, values),
        floats_of("class_embedding.linear_1.weight", 16, 32, values),
        {.name = "norm.weight", .dtype = DTYPE_F32, .ndim = 1, .shape = {64}, .data = values},
        {.name = "scalar", .dtype = DTYPE_F32, .ndim = 0, .data = values},
        {.name = "empty.weight", .dtype = DTYPE_F32, .ndim = 2, .shape = {0, 32}, .data = values},
        {.name = "ids", .dtype = DTYPE_I64, .ndim = 1, .shape = {2}, .data = ids},
        {.name = "wide", .dtype = DTYPE_F64, .ndim = 0, .data = wide},
    };
    enum { COUNT = sizeof tensors / sizeof *tensors };
    static const enum dtype as_i8[COUNT] = {DTYPE_I8,  DTYPE_I8,  DTYPE_F32, DTYPE_F32, DTYPE_F32,
                                            DTYPE_F32, DTYPE_F32, DTYPE_I8,  DTYPE_F32, DTYPE_F32,
                                            DTYPE_F32, DTYPE_I64, DTYPE_F64};
    struct scratch *s = *state;
    dl_converted result;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = (float)((int)(i * 37 % 255) - 127); /* whole rows of integers: exact */
    for (size_t i = 0; i < 256; i++)
        values[i * 16] = 127;
    char *model = make_model(s, tensors, COUNT), *int8 = path_join(s->dir, "int8");
    assert_int_equal(convert_to(s, model, "int8", "int8", &result), DL_OK);
    assert_true(result.parts[0].largest_error == 0);
    dl_converted_free(&result);
    struct store *made = open_unet(s, "int8");
    assert_int_equal(store_count(made), COUNT + 3);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(store_find(made, tensors[i].name)->dtype, as_i8[i]);
    store_close(made);
    static const char *const to[] = {"f32", "f16", "bf16", "int8"};
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t k = 0; k < 4; k++) {
        assert_int_equal(convert_to(s, int8, to[k], to[k][0] == 'i' ? "same" : to[k], &result),
                         DL_OK);
        assert_true(result.parts[0].largest_error == 0);
        dl_converted_free(&result);
        made = open_unet(s, k == 3 ? "same" : to[k]);
        assert_int_equal(store_count(made), k == 3 ? COUNT + 3 : COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            const struct tensor *t = store_find(made, tensors[i].name);
            float now[64 * 64];
            assert_int_equal(t->dtype, k == 3 ? as_i8[i]
                                       : as_i8[i] == DTYPE_I64 || as_i8[i] == DTYPE_F64
                                           ? as_i8[i]
                                           : dtypes[k]);
            if (!dtype_is_float(t->dtype) && t->dtype != DTYPE_I8)
                continue;
            tensor_widen(now, t);
            assert_memory_equal(now, tensors[i].data, tensor_count(t) * sizeof *now);
        }
        store_close(made);
    }
    assert_true(there(s, "int8/model_index.json") && there(s, "int8/unet/config.json"));
    assert_false(there(s, "int8/unet/.hidden") || there(s, "int8/unet/old.ckpt"));
    assert_false(there(s, "int8/.dlens-convert"));
    free(model);
    free(int8);
}

static void what_does_not_fit_is_named(void **state) {
    struct scratch *s = *state;
    static float values[2 * 64];
    const struct tensor t = floats_of("deep.wo.weight", 2, 64, values);
    dl_converted result;
    values[3] = 65519; /* rounds to the largest f16 */
    char *model = make_model(s, &t, 1);
    assert_int_equal(convert_to(s, model, "f16", "fits", &result), DL_OK);
    dl_converted_free(&result);
    values[100] = -7e4f;
    free(make_model(s, &t, 1));
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_FAILED);
    assert_contains(s->cx.message, "tensor deep.wo.weight: -70000 is too large for f16, which ends "
                                   "at 65504; --to bf16 holds it");
    values[100] = 3.4e38f;
    free(make_model(s, &t, 1));
    assert_int_equal(convert_to(s, model, "bf16", "out", &result), DL_FAILED);
    assert_contains(s->cx.message, "is too large for bf16");
    values[100] = INFINITY; /* no rounding makes it worse */
    free(make_model(s, &t, 1));
    assert_int_equal(convert_to(s, model, "bf16", "infinite", &result), DL_OK);
    dl_converted_free(&result);
    assert_int_equal(convert_to(s, model, "int8", "out", &result), DL_FAILED);
    assert_contains(s->cx.message, "tensor deep.wo.weight: row 1 holds inf, which int8 cannot");
    values[100] = NAN;
    free(make_model(s, &t, 1));
    assert_int_equal(convert_to(s, model, "int8", "out", &result), DL_FAILED);
    assert_contains(s->cx.message, "row 1 holds");
    assert_false(there(s, "out") || there(s, "out.converting"));
    assert_int_equal(scratch_count(s), 3);
    free(model);
}

/* ---- folders --------------------------------------------------------------------------------- */

static const float ones[64] = {1};

static char *plain_model(struct scratch *s) {
    const struct tensor t = floats_of("a.weight", 2, 32, ones);
    return make_model(s, &t, 1);
}

static void outputs_are_refused(void **state) {
    struct scratch *s = *state;
    char *model = plain_model(s);
    dl_converted result;
    char deep[SCRATCH_PATH_MAX];
    const struct {
        const char *output, *message;
    } cases[] = {
        {"model", "this is the model itself"},
        {"model/", "this is the model itself"},
        {"model/../model/.", "this is the model itself"},
        {"link", "this is the model itself"},
        {"model/unet/new", "must lie beside the model"},
        {"link/new/deeper", "must lie beside the model"},
        {"", "must lie beside the model"},
        {"file", "is no folder"},
        {"foreign", "is there and not empty"},
    };
    snprintf(deep, sizeof deep, "%s/link", s->dir);
    assert_int_equal(symlink(model, deep), 0);
    scratch_text(s, "file", "x");
    assert_int_equal(dir_make(&s->cx, scratch_path(s, "foreign")), DL_OK);
    scratch_text(s, "foreign/thesis.txt", "x");
    const int before = scratch_count(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(convert_to(s, model, "f16", cases[i].output, &result), DL_USAGE);
        assert_contains(s->cx.message, cases[i].message);
    }
    dl_convert_options how = {.to = "f16", .output = scratch_path(s, "foreign"), .overwrite = 1};
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_USAGE);
    assert_contains(s->cx.message,
                    "holds no model (no model_index.json), so it is not overwritten");
    assert_true(there(s, "foreign/thesis.txt"));
    assert_int_equal(scratch_count(s), before);
    free(model);
}

static void models_are_replaced_when_asked(void **state) {
    struct scratch *s = *state;
    char *model = plain_model(s), *output = path_join(s->dir, "out");
    dl_converted result;
    dl_convert_options how = {.to = "f16", .output = output};
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_OK);
    dl_converted_free(&result);
    put_file(output, "old.txt", "x", 1);
    how.to = "bf16";
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_USAGE);
    assert_contains(s->cx.message, "--overwrite replaces the model in it");
    how.overwrite = 1;
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_OK);
    dl_converted_free(&result);
    struct store *made = open_unet(s, "out");
    assert_int_equal(store_at(made, 0)->dtype, DTYPE_BF16);
    store_close(made);
    assert_false(there(s, "out/old.txt") || there(s, "out.replaced") ||
                 there(s, "out/.dlens-convert"));
    assert_int_equal(scratch_count(s), 2);
    free(model);
    free(output);
}

/* Another process that is no more: no system counts so far. */
static void leave_owner(struct scratch *s, const char *folder, const char *process) {
    char name[64];
    assert_int_equal(dir_make(&s->cx, scratch_path(s, folder)), DL_OK);
    snprintf(name, sizeof name, "%s/.dlens-convert", folder);
    scratch_text(s, name, process);
    snprintf(name, sizeof name, "%s/unet", folder);
    assert_int_equal(dir_make(&s->cx, scratch_path(s, name)), DL_OK);
    snprintf(name, sizeof name, "%s/unet/half", folder);
    scratch_text(s, name, "x");
}

static void what_was_killed_is_cleared(void **state) {
    struct scratch *s = *state;
    char *model = plain_model(s), self[32];
    dl_converted result;
    leave_owner(s, "out.converting", "1999999999\n");
    leave_owner(s, "out.replaced", "1999999999\n"); /* goes back to out, which is no model */
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_USAGE);
    assert_true(there(s, "out/unet/half"));
    scratch_remove(scratch_path(s, "out"));
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_OK);
    dl_converted_free(&result);
    assert_int_equal(scratch_count(s), 2);
    scratch_remove(scratch_path(s, "out"));

    snprintf(self, sizeof self, "%ld\n", (long)getppid());
    leave_owner(s, "out.converting", self);
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_FAILED);
    assert_contains(s->cx.message, "is converting to this folder");
    unlink(scratch_path(s, "out.converting/.dlens-convert"));
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_USAGE);
    assert_contains(s->cx.message, "out.converting: is in the way, and not dlens's");
    assert_true(there(s, "out.converting/unet/half"));
    free(model);
}

static int stop(void *user, const dl_progress *progress) {
    assert_string_equal(progress->stage, "convert");
    assert_int_equal(progress->steps, 1);
    return ++*(int *)user == 1;
}

static void an_interrupted_conversion_leaves_nothing(void **state) {
    struct scratch *s = *state;
    char *model = plain_model(s), *output = path_join(s->dir, "out");
    int calls = 0;
    dl_converted result;
    const dl_convert_options how = {
        .to = "f16", .output = output, .progress = stop, .user = &calls};
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_CANCELLED);
    assert_int_equal(calls, 1);
    assert_int_equal(scratch_count(s), 1);
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_OK);
    dl_converted_free(&result);
    free(model);
    free(output);
}

/* A file with a hole, larger than what the disk has room for. */
static void a_full_disk_is_told_before(void **state) {
    struct scratch *s = *state;
    struct statvfs disk;
    char *model = plain_model(s), header[256], path[SCRATCH_PATH_MAX];
    dl_converted result;
    assert_int_equal(statvfs(s->dir, &disk), 0);
    const unsigned long long bytes =
        (unsigned long long)disk.f_bavail * disk.f_frsize / 4096 * 4096 + (1ull << 30);
    snprintf(header, sizeof header,
             "{\"w\":{\"dtype\":\"F32\",\"shape\":[%llu,4],\"data_offsets\":[0,%llu]}}", bytes / 16,
             bytes);
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors", model);
    FILE *f = fopen(path, "wb");
    const uint64_t length = strlen(header);
    fwrite(&length, 8, 1, f);
    fwrite(header, 1, length, f);
    const int fits = ftruncate(fileno(f), (off_t)(8 + length + bytes)) == 0;
    fclose(f);
    if (fits) { /* not every file system has such holes */
        assert_int_equal(convert_to(s, model, "f32", "out", &result), DL_FAILED);
        assert_contains(s->cx.message, "MB are needed, the disk has room for");
        assert_int_equal(scratch_count(s), 1);
    }
    unlink(path);
    free(model);
}

static void calls_are_checked(void **state) {
    struct scratch *s = *state;
    char *model = plain_model(s);
    dl_converted result;
    dl_convert_options how = {.to = "f16", .output = scratch_path(s, "out"), .parts = "unet,vae"};
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_USAGE);
    assert_contains(s->cx.message, "--parts: no part vae in");
    assert_contains(s->cx.message, "; it has unet");
    how.parts = "";
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_USAGE);
    how.parts = "unet,";
    assert_int_equal(dl_convert(&s->cx, model, &how, &result), DL_USAGE);
    assert_int_equal(convert_to(s, model, "f8", "out", &result), DL_USAGE);
    assert_contains(s->cx.message, "--to f8: must be f32, f16, bf16 or int8");
    assert_int_equal(convert_to(s, model, NULL, "out", &result), DL_USAGE);
    assert_int_equal(convert_to(s, "no/such", "f16", "out", &result), DL_MODEL);
    char *file = path_join(model, "unet/diffusion_pytorch_model.safetensors");
    assert_int_equal(convert_to(s, file, "f16", "out", &result), DL_MODEL);
    assert_contains(s->cx.message, "is a single file; this version converts folders");
    put_file(model, "unet/diffusion_pytorch_model.safetensors", "damaged", 7);
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_MODEL);
    unlink(file);
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_MODEL);
    assert_contains(s->cx.message, "no folder in it holds safetensors weights");
    unlink(scratch_path(s, "model/model_index.json"));
    assert_int_equal(convert_to(s, model, "f16", "out", &result), DL_MODEL);
    assert_contains(s->cx.message, "no model_index.json");
    assert_int_equal(scratch_count(s), 1);
    free(file);
    free(model);
}

static int begin(void **state) {
    scratch_setup(state);
    ((struct scratch *)*state)->cx.kernels = kernels_choose(NULL);
    return 0;
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, begin, scratch_teardown)
    const struct CMUnitTest tests[] = {
        T(halves_are_torchs),          T(integers_are_torchs),
        T(each_tensor_has_its_dtype),  T(what_does_not_fit_is_named),
        T(outputs_are_refused),        T(models_are_replaced_when_asked),
        T(what_was_killed_is_cleared), T(an_interrupted_conversion_leaves_nothing),
        T(a_full_disk_is_told_before), T(calls_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
