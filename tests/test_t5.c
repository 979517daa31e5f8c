/* text/: T5's encoder against transformers, layer by layer, v1.0 and v1.1, with a mask; configs and
 * weights that cannot be. */
#include "reference.h"
#include "text/encoder.h"

static const double tolerance = 1e-5; /* of a tensor's largest value */

struct fixture {
    dl_context *cx;
    struct text_encoder *encoder;
    struct store *expected;
    int32_t *ids;        /* (B,T) */
    unsigned char *mask; /* (B,T) */
    size_t B, T, D, L;
};

static const struct tensor *integers(const struct store *store, const char *name) {
    const struct tensor *t = store_find(store, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, DTYPE_I64);
    return t;
}

static struct fixture open_model(const char *model) {
    struct fixture f = {.cx = reference_context()};
    char path[128];
    snprintf(path, sizeof path, "tests/data/t5/%s", model);
    if (text_encoder_open(f.cx, path, "T5EncoderModel", &f.encoder) != DL_OK)
        fail_msg("%s", dl_message(f.cx));
    snprintf(path, sizeof path, "tests/data/t5/%s/expected.safetensors", model);
    assert_int_equal(store_open_file(f.cx, path, &f.expected), DL_OK);
    const struct tensor *ids = integers(f.expected, "ids"), *mask = integers(f.expected, "mask");
    f.B = ids->shape[0];
    f.T = ids->shape[1];
    f.D = f.encoder->hidden_size;
    f.L = f.encoder->layers;
    f.ids = malloc(f.B * f.T * sizeof *f.ids);
    f.mask = malloc(f.B * f.T);
    for (size_t i = 0; i < f.B * f.T; i++) {
        f.ids[i] = (int32_t)((const int64_t *)ids->data)[i];
        f.mask[i] = ((const int64_t *)mask->data)[i] != 0;
    }
    return f;
}

static void close_model(struct fixture *f) {
    free(f->ids);
    free(f->mask);
    text_encoder_close(f->encoder);
    store_close(f->expected);
    dl_context_free(f->cx);
}

/* (L+1,B,T,D), fresh memory. */
static float *encode(const struct fixture *f, const unsigned char *skip) {
    float *hidden = malloc((f->L + 1) * f->B * f->T * f->D * sizeof *hidden);
    if (text_encoder_forward(f->cx, f->encoder, hidden, f->ids, f->mask, f->B, f->T, skip) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    assert_int_equal(arena_mark(f->cx), 0);
    return hidden;
}

static void check(const struct fixture *f, const char *format, size_t k, const float *actual) {
    char name[64];
    snprintf(name, sizeof name, "%s%zu", format, k);
    assert_close(name, actual, reference_tensor(f->expected, "", name)->data, f->B * f->T * f->D,
                 tolerance);
}

static void check_layers(const char *model, size_t layers) {
    struct fixture f = open_model(model);
    size_t count = f.B * f.T * f.D;
    float *hidden = encode(&f, NULL), *normed = malloc(count * sizeof *normed);
    assert_int_equal(f.L, layers);
    assert_int_equal(f.encoder->max_tokens, 0);
    assert_int_equal(f.encoder->pooled_size, 0);
    for (size_t k = 0; k <= f.L; k++) {
        check(&f, "hidden.", k, hidden + k * count);
        text_encoder_final_norm(f.cx, f.encoder, normed, hidden + k * count, f.B * f.T);
        check(&f, "cond.", k, normed);
    }
    free(hidden);
    free(normed);
    close_model(&f);
}

static void test_layers_v1_0(void **state) {
    (void)state;
    check_layers("v1.0", 3);
}

static void test_layers_v1_1(void **state) {
    (void)state;
    check_layers("v1.1", 4);
}

/* Block 2 of 1..L left out: state 2 is state 1, later ones are transformers' without the block. */
static void test_skipped_blocks(void **state) {
    struct fixture f = open_model("v1.1");
    unsigned char skip[4] = {0, 1, 0, 0};
    size_t count = f.B * f.T * f.D;
    float *hidden = encode(&f, skip);
    (void)state;
    assert_memory_equal(hidden + count, hidden + 2 * count, count * sizeof *hidden);
    for (size_t k = 3; k <= f.L; k++)
        check(&f, "skip.2.hidden.", k, hidden + k * count);
    free(hidden);
    skip[0] = 1; /* the block that has the table of positions: the others use it all the same */
    hidden = encode(&f, skip);
    assert_memory_equal(hidden, hidden + 2 * count, count * sizeof *hidden);
    free(hidden);
    close_model(&f);
}

/* Padding changes nothing in the real tokens: their states are, up to rounding, those of the text
 * alone. */
static void test_mask(void **state) {
    struct fixture f = open_model("v1.0");
    size_t length = 0, count = f.B * f.T * f.D, last = f.T;
    float *padded = encode(&f, NULL);
    (void)state;
    while (f.mask[last + length])
        length++;
    assert_true(length > 2 && length < f.T);
    float *alone = malloc((f.L + 1) * length * f.D * sizeof *alone);
    assert_int_equal(
        text_encoder_forward(f.cx, f.encoder, alone, f.ids + f.T, NULL, 1, length, NULL), DL_OK);
    for (size_t k = 0; k <= f.L; k++)
        assert_close("alone", alone + k * length * f.D, padded + k * count + f.T * f.D,
                     length * f.D, tolerance);
    free(alone);
    free(padded);
    close_model(&f);
}

/* A text longer than the largest distance that has a row of its own. */
static void test_long_text(void **state) {
    const char *const models[] = {"v1.0", "v1.1"};
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct fixture f = open_model(models[m]);
        const struct tensor *ids = integers(f.expected, "long.ids");
        size_t T = ids->shape[1], count = T * f.D;
        int32_t *narrow = malloc(T * sizeof *narrow);
        float *hidden = malloc((f.L + 1) * count * sizeof *hidden);
        for (size_t i = 0; i < T; i++)
            narrow[i] = (int32_t)((const int64_t *)ids->data)[i];
        assert_int_equal(text_encoder_forward(f.cx, f.encoder, hidden, narrow, NULL, 1, T, NULL),
                         DL_OK);
        assert_close("long", hidden + f.L * count,
                     reference_tensor(f.expected, "long.", "hidden.L")->data, count, tolerance);
        free(hidden);
        free(narrow);
        close_model(&f);
    }
}

static void test_refusals(void **state) {
    struct fixture f = open_model("v1.0");
    float *hidden = malloc((f.L + 1) * f.B * f.T * f.D * sizeof *hidden);
    (void)state;
    f.ids[1] = 90;
    assert_int_equal(text_encoder_forward(f.cx, f.encoder, hidden, f.ids, NULL, 1, f.T, NULL),
                     DL_USAGE);
    f.ids[1] = 1;
    assert_int_equal(
        text_encoder_forward(f.cx, f.encoder, hidden, f.ids, NULL, 1, (size_t)1 << 40, NULL),
        DL_USAGE);
    assert_int_equal(text_encoder_pooled(f.cx, f.encoder, hidden, hidden, f.ids, 1, f.T), DL_USAGE);
    free(hidden);
    close_model(&f);
}

/* ---- hostile folders ------------------------------------------------------------------------- */

static char *read_whole(const char *path, size_t *size) {
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    fseek(stream, 0, SEEK_END);
    *size = (size_t)ftell(stream);
    rewind(stream);
    char *data = malloc(*size + 1);
    assert_int_equal(fread(data, 1, *size, stream), *size);
    data[*size] = '\0';
    fclose(stream);
    return data;
}

static void copy_into(struct scratch *s, const char *name) {
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "tests/data/t5/v1.0/%s", name);
    char *data = read_whole(path, &size);
    scratch_file(s, name, data, size);
    free(data);
}

static int try_open(struct scratch *s) {
    struct text_encoder *encoder;
    int status = text_encoder_open(&s->cx, s->dir, "T5EncoderModel", &encoder);
    assert_true((status == DL_OK) == (encoder != NULL));
    text_encoder_close(encoder);
    return status;
}

static void test_config_values(void **state) {
    const char *const keys[] = {"d_model",
                                "d_kv",
                                "d_ff",
                                "num_layers",
                                "num_heads",
                                "vocab_size",
                                "relative_attention_num_buckets"};
    const char *const values[] = {"0", "-1", "2147483648", "1e308", "1.5", "\"24\"", "[]", "7"};
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_into(&s, "model.safetensors");
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            char text[1024];
            snprintf(text, sizeof text,
                     "{\"%s\": %s, \"d_model\": 24, \"d_kv\": 8, \"d_ff\": 48, \"num_layers\": 3, "
                     "\"num_heads\": 3, \"vocab_size\": 90, \"%s\": %s}",
                     keys[k], values[v], keys[k], values[v]);
            scratch_text(&s, "config.json", text);
            assert_int_equal(try_open(&s), DL_MODEL);
        }
    }
    scratch_text(&s, "config.json", "{\"feed_forward_proj\": \"gated-swish\"}");
    assert_int_equal(try_open(&s), DL_MODEL);
    assert_contains(s.cx.message, "gated-swish");
    scratch_text(
        &s, "config.json",
        "{\"relative_attention_num_buckets\": 64, \"relative_attention_max_distance\": 8}");
    assert_int_equal(try_open(&s), DL_MODEL);
    assert_contains(s.cx.message, "relative_attention_max_distance");
    scratch_end(&s);
}

static void test_cut_files(void **state) {
    const char *const names[] = {"config.json", "model.safetensors"};
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_into(&s, names[0]);
    assert_int_equal(try_open(&s), DL_MODEL);
    copy_into(&s, names[1]);
    assert_int_equal(try_open(&s), DL_OK);
    for (size_t n = 0; n < 2; n++) {
        size_t size;
        char *data = read_whole(scratch_path(&s, names[n]), &size);
        for (size_t part = 0; part < 20; part++) {
            scratch_file(&s, names[n], data, size * part / 20);
            assert_int_equal(try_open(&s), DL_MODEL);
            assert_contains(s.cx.message, names[n]);
        }
        scratch_file(&s, names[n], data, size);
        free(data);
    }
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_v1_0),    cmocka_unit_test(test_layers_v1_1),
        cmocka_unit_test(test_skipped_blocks), cmocka_unit_test(test_mask),
        cmocka_unit_test(test_long_text),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_config_values),  cmocka_unit_test(test_cut_files),
    };
    return cmocka_run_group_tests_name("T5 encoder", tests, NULL, NULL);
}
