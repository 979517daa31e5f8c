/* text/: CLIP's text encoder against transformers, layer by layer; skipped blocks; pooling; f16 and
 * bf16 weights; configs and weights that cannot be. */
#include "reference.h"
#include "text/encoder.h"

static const double tolerance = 1e-5; /* of a tensor's largest value */

/* ---- against transformers -------------------------------------------------------------------- */

struct fixture {
    dl_context *cx;
    struct text_encoder *encoder;
    struct store *expected;
    size_t T, D, L;
};

static struct fixture open_model(const char *model) {
    struct fixture f = {reference_context(), NULL, NULL, 0, 0, 0};
    char name[128];
    snprintf(name, sizeof name, "tests/data/%s/text_encoder", model);
    if (text_encoder_open(f.cx, name, "CLIPTextModel", &f.encoder) != DL_OK)
        fail_msg("%s", dl_message(f.cx));
    snprintf(name, sizeof name, "%s-text", model);
    f.expected = reference_open(f.cx, name);
    f.T = f.encoder->max_tokens;
    f.D = f.encoder->hidden_size;
    f.L = f.encoder->layers;
    return f;
}

static void close_model(struct fixture *f) {
    text_encoder_close(f->encoder);
    store_close(f->expected);
    dl_context_free(f->cx);
}

static void read_ids(const struct fixture *f, int prompt, int32_t *ids) {
    char name[64];
    snprintf(name, sizeof name, "prompt.%d.ids", prompt);
    const struct tensor *t = store_find(f->expected, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, DTYPE_I64);
    assert_int_equal(tensor_count(t), f->T);
    for (size_t i = 0; i < f->T; i++)
        ids[i] = (int32_t)((const int64_t *)t->data)[i];
}

/* All hidden states of B prompts from the first, (L+1,B,T,D), fresh memory. */
static float *encode(const struct fixture *f, int first, size_t B, const unsigned char *skip) {
    float *hidden = malloc((f->L + 1) * B * f->T * f->D * sizeof *hidden);
    int32_t *ids = malloc(B * f->T * sizeof *ids);
    for (size_t b = 0; b < B; b++)
        read_ids(f, first + (int)b, ids + b * f->T);
    if (text_encoder_forward(f->cx, f->encoder, hidden, ids, NULL, B, f->T, skip) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    assert_int_equal(arena_mark(f->cx), 0);
    free(ids);
    return hidden;
}

static void check(const struct fixture *f, const char *name, const float *actual) {
    assert_close(name, actual, reference_tensor(f->expected, "", name)->data, f->T * f->D,
                 tolerance);
}

static void check_layers(const char *model, size_t layers) {
    struct fixture f = open_model(model);
    size_t count = f.T * f.D;
    float *hidden = encode(&f, 0, 1, NULL), *normed = malloc(count * sizeof *normed);
    assert_int_equal(f.L, layers);
    for (size_t k = 0; k <= f.L; k++) {
        char name[64];
        snprintf(name, sizeof name, "prompt.0.hidden.%zu", k);
        check(&f, name, hidden + k * count);
        text_encoder_final_norm(f.cx, f.encoder, normed, hidden + k * count, f.T);
        snprintf(name, sizeof name, "prompt.0.cond.%zu", k);
        check(&f, name, normed);
    }
    free(hidden);
    free(normed);
    close_model(&f);
}

static void test_layers_sd1(void **state) {
    (void)state;
    check_layers("tiny-sd1", 4);
}

static void test_layers_sd2(void **state) {
    (void)state;
    check_layers("tiny-sd2", 5);
}

static void test_layers_lcm(void **state) {
    (void)state;
    check_layers("tiny-lcm", 2);
}

/* A batch gives, bit for bit, what its prompts give alone. */
static void test_batch(void **state) {
    struct fixture f = open_model("tiny-sd1");
    const size_t B = 3;
    size_t count = f.T * f.D;
    float *together = encode(&f, 0, B, NULL);
    (void)state;
    for (size_t b = 0; b < B; b++) {
        float *alone = encode(&f, (int)b, 1, NULL);
        for (size_t k = 0; k <= f.L; k++)
            assert_memory_equal(together + (k * B + b) * count, alone + k * count,
                                count * sizeof *alone);
        free(alone);
    }
    free(together);
    close_model(&f);
}

/* Block 2 of 1..L left out: state 2 is state 1, later ones are transformers' without the block. The
 * reference counts only the states of blocks that ran: its K is our K + 1. */
static void test_skipped_block(void **state) {
    const char *const models[] = {"tiny-sd1", "tiny-sd2"};
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct fixture f = open_model(models[m]);
        unsigned char skip[16] = {0, 1};
        float *hidden = encode(&f, 0, 1, skip);
        size_t count = f.T * f.D;
        assert_memory_equal(hidden + count, hidden + 2 * count, count * sizeof *hidden);
        for (size_t k = 3; k <= f.L; k++) {
            char name[64];
            snprintf(name, sizeof name, "skip.2.prompt.0.hidden.%zu", k - 1);
            check(&f, name, hidden + k * count);
        }
        free(hidden);
        close_model(&f);
    }
}

static void test_pooled(void **state) {
    const char *const models[] = {"tiny-sd1", "tiny-sd2", "tiny-lcm"};
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct fixture f = open_model(models[m]);
        size_t count = f.T * f.D;
        int32_t *ids = malloc(f.T * sizeof *ids);
        float *pooled = malloc(f.D * sizeof *pooled);
        assert_int_equal(f.encoder->pooled_size, f.D);
        for (int p = 0; p < 8; p++) {
            char name[64];
            float *hidden = encode(&f, p, 1, NULL), *last = hidden + f.L * count;
            read_ids(&f, p, ids);
            text_encoder_final_norm(f.cx, f.encoder, last, last, f.T);
            assert_int_equal(text_encoder_pooled(f.cx, f.encoder, pooled, last, ids, 1, f.T),
                             DL_OK);
            snprintf(name, sizeof name, "prompt.%d.pooled", p);
            assert_close(name, pooled, reference_tensor(f.expected, "", name)->data, f.D,
                         tolerance);
            free(hidden);
        }
        free(ids);
        free(pooled);
        close_model(&f);
    }
}

/* CLIPTextModelWithProjection: its state at the end token, projected. */
static void check_projection(const char *dir, const char *prefix) {
    dl_context *cx = reference_context();
    struct text_encoder *encoder;
    struct store *expected;
    if (text_encoder_open(cx, dir, "CLIPTextModelWithProjection", &encoder) != DL_OK)
        fail_msg("%s", dl_message(cx));
    assert_int_equal(
        store_open_file(cx, "tests/data/clip-projection/expected.safetensors", &expected), DL_OK);
    const size_t B = 3, T = encoder->max_tokens, D = encoder->hidden_size, P = encoder->pooled_size;
    size_t last = encoder->layers * B * T * D;
    const int64_t *ids64 = store_find(expected, "ids")->data;
    int32_t *ids = malloc(B * T * sizeof *ids);
    float *hidden = malloc((last + B * T * D) * sizeof *hidden);
    float *pooled = malloc(B * P * sizeof *pooled);
    for (size_t i = 0; i < B * T; i++)
        ids[i] = (int32_t)ids64[i];
    assert_int_equal(P, 6);
    assert_int_equal(text_encoder_forward(cx, encoder, hidden, ids, NULL, B, T, NULL), DL_OK);
    assert_close("hidden.L", hidden + last, reference_tensor(expected, "", "hidden.L")->data,
                 B * T * D, tolerance);
    text_encoder_final_norm(cx, encoder, hidden + last, hidden + last, B * T);
    assert_int_equal(text_encoder_pooled(cx, encoder, pooled, hidden + last, ids, B, T), DL_OK);
    assert_close("text_embeds", pooled, reference_tensor(expected, prefix, "text_embeds")->data,
                 B * P, tolerance);
    free(pooled);
    free(hidden);
    free(ids);
    store_close(expected);
    text_encoder_close(encoder);
    dl_context_free(cx);
}

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

static void test_projection(void **state) {
    const char *const folder = "tests/data/clip-projection";
    char path[128], old[1024];
    size_t size;
    struct scratch s;
    (void)state;
    check_projection(folder, "");
    scratch_begin(&s); /* the same model with the end token 2 that old configs have */
    snprintf(path, sizeof path, "%s/config.json", folder);
    char *config = read_whole(path, &size), *eos = strstr(config, "41");
    assert_non_null(eos);
    snprintf(old, sizeof old, "%.*s2%s", (int)(eos - config), config, eos + 2);
    scratch_text(&s, "config.json", old);
    free(config);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    char *weights = read_whole(path, &size);
    scratch_file(&s, "model.safetensors", weights, size);
    free(weights);
    check_projection(s.dir, "largest.");
    scratch_end(&s);
}

static void test_input_out_of_range(void **state) {
    struct fixture f = open_model("tiny-lcm");
    int32_t ids[17] = {0};
    float *hidden = malloc((f.L + 1) * 17 * f.D * sizeof *hidden);
    (void)state;
    ids[3] = 602;
    assert_int_equal(text_encoder_forward(f.cx, f.encoder, hidden, ids, NULL, 1, 16, NULL),
                     DL_USAGE);
    assert_contains(dl_message(f.cx), "id 602");
    ids[3] = -1;
    assert_int_equal(text_encoder_forward(f.cx, f.encoder, hidden, ids, NULL, 1, 16, NULL),
                     DL_USAGE);
    ids[3] = 0;
    assert_int_equal(text_encoder_forward(f.cx, f.encoder, hidden, ids, NULL, 1, 17, NULL),
                     DL_USAGE);
    assert_int_equal(text_encoder_forward(f.cx, f.encoder, hidden, ids, NULL, 1, 0, NULL),
                     DL_USAGE);
    assert_int_equal(text_encoder_forward(f.cx, f.encoder, hidden, ids, NULL, 1, 16, NULL), DL_OK);
    assert_true(text_encoder_memory(f.cx, f.encoder, 2, 16) >= 2 * 16 * f.D * 4 * sizeof(float));
    free(hidden);
    close_model(&f);
}

/* ---- hostile folders ------------------------------------------------------------------------- */

static const char *const source = "tests/data/tiny-lcm/text_encoder";

static void copy_into(struct scratch *s, const char *name) {
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", source, name);
    char *data = read_whole(path, &size);
    scratch_file(s, name, data, size);
    free(data);
}

/* Opens what is in the scratch folder: the status, with nothing left open. */
static int try_open(struct scratch *s, const char *class_name) {
    struct text_encoder *encoder;
    int status = text_encoder_open(&s->cx, s->dir, class_name, &encoder);
    assert_true((status == DL_OK) == (encoder != NULL));
    text_encoder_close(encoder);
    return status;
}

static void refuses(struct scratch *s, const char *class_name, const char *why) {
    assert_int_equal(try_open(s, class_name), DL_MODEL);
    assert_contains(s->cx.message, why);
}

static void test_missing_files(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    refuses(&s, "CLIPTextModel", "config.json");
    copy_into(&s, "config.json");
    refuses(&s, "CLIPTextModel", s.dir);
    copy_into(&s, "model.safetensors");
    assert_int_equal(try_open(&s, "CLIPTextModel"), DL_OK);
    refuses(&s, "BertModel", "CLIPTextModel");
    refuses(&s, "CLIPTextModelWithProjection", "text_projection");
    scratch_end(&s);
}

/* The config with one key's value replaced. */
static void config_with(struct scratch *s, const char *key, const char *value) {
    char text[2048];
    snprintf(text, sizeof text,
             "{\"hidden_act\": \"quick_gelu\", \"hidden_size\": 32, \"intermediate_size\": 64, "
             "\"max_position_embeddings\": 16, \"num_attention_heads\": 4, "
             "\"num_hidden_layers\": 2, \"vocab_size\": 602, \"eos_token_id\": 2, \"%s\": %s}",
             key, value);
    scratch_text(s, "config.json", text);
}

static void test_config_values(void **state) {
    const char *const keys[] = {"hidden_size",         "intermediate_size",
                                "num_attention_heads", "num_hidden_layers",
                                "vocab_size",          "max_position_embeddings"};
    const char *const values[] = {"0",    "-1",     "2147483648", "1e308",
                                  "1.5",  "\"32\"", "[32]",       "{}",
                                  "true", "33",     "1e9",        "4611686018427387904"};
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_into(&s, "model.safetensors");
    config_with(&s, "x", "0");
    assert_int_equal(try_open(&s, "CLIPTextModel"), DL_OK);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            config_with(&s, keys[k], values[v]);
            assert_int_equal(try_open(&s, "CLIPTextModel"), DL_MODEL);
            assert_true(s.cx.message[0] != '\0');
        }
    }
    config_with(&s, "hidden_act", "\"swiglu\"");
    refuses(&s, "CLIPTextModel", "swiglu");
    config_with(&s, "layer_norm_eps", "-1");
    refuses(&s, "CLIPTextModel", "layer_norm_eps");
    config_with(&s, "eos_token_id", "-5");
    refuses(&s, "CLIPTextModel", "eos_token_id");
    scratch_text(&s, "config.json", "[]");
    refuses(&s, "CLIPTextModel", "config.json");
    scratch_end(&s);
}

/* Each file empty and cut at every 1/20th of its length; the config of a whole CLIP model. */
static void test_cut_files(void **state) {
    const char *const names[] = {"config.json", "model.safetensors"};
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_into(&s, names[0]);
    copy_into(&s, names[1]);
    for (size_t n = 0; n < 2; n++) {
        size_t size;
        char *data = read_whole(scratch_path(&s, names[n]), &size);
        for (size_t part = 0; part < 20; part++) {
            scratch_file(&s, names[n], data, size * part / 20);
            assert_int_equal(try_open(&s, "CLIPTextModel"), DL_MODEL);
            assert_contains(s.cx.message, names[n]);
        }
        scratch_file(&s, names[n], data, size);
        free(data);
    }
    size_t size;
    char *config = read_whole(scratch_path(&s, names[0]), &size);
    char *nested = malloc(size + 64);
    snprintf(nested, size + 64, "{\"model_type\": \"clip\", \"text_config\": %s}", config);
    scratch_text(&s, "config.json", nested);
    assert_int_equal(try_open(&s, "CLIPTextModel"), DL_OK);
    free(nested);
    free(config);
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_sd1),    cmocka_unit_test(test_layers_sd2),
        cmocka_unit_test(test_layers_lcm),    cmocka_unit_test(test_batch),
        cmocka_unit_test(test_skipped_block), cmocka_unit_test(test_pooled),
        cmocka_unit_test(test_projection),    cmocka_unit_test(test_input_out_of_range),
        cmocka_unit_test(test_missing_files), cmocka_unit_test(test_config_values),
        cmocka_unit_test(test_cut_files),
    };
    return cmocka_run_group_tests_name("text encoder", tests, NULL, NULL);
}
