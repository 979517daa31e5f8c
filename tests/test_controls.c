/* Norms as ablations (lens/encode.c): what each is, and that twins are told apart by it. */
#include "model_support.h"
#include "reference.h"

#include "family/family.h"
#include "lens/lens.h"

static dl_encoding encode(dl_context *cx, dl_model *model, int norm, const char *prompt) {
    dl_encoding e;
    dl_options o;
    dl_options_init(&o);
    o.norm = norm;
    if (dl_encode(cx, model, &o, prompt, &e) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return e;
}

/* first.K of tests/data/explain is block K's input behind its own norm: the conditioning of layer
 * K-1. */
static void check_block(dl_context *cx, dl_model *model, const struct store *expected,
                        const char *prompt) {
    dl_encoding block = encode(cx, model, DL_NORM_BLOCK, prompt);
    dl_encoding final = encode(cx, model, DL_NORM_FINAL, prompt);
    const size_t values = block.tokens * block.hidden_size;
    for (size_t k = 1; k <= block.layers; k++) {
        char name[32];
        snprintf(name, sizeof name, "first.%zu", k);
        const struct tensor *t = reference_tensor(expected, "", name);
        assert_close(name, block.conditioning + (k - 1) * values, t->data, tensor_count(t), 1e-4);
    }
    assert_memory_equal(block.conditioning + block.layers * values,
                        final.conditioning + block.layers * values, values * sizeof(float));
    dl_encoding_free(&block);
    dl_encoding_free(&final);
}

static double mean_square(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum / (double)n;
}

/* Every token is as large as the last layer's, and points where the raw state does. */
static void check_match(dl_context *cx, dl_model *model, const char *prompt) {
    dl_encoding match = encode(cx, model, DL_NORM_MATCH, prompt);
    dl_encoding final = encode(cx, model, DL_NORM_FINAL, prompt);
    const size_t D = match.hidden_size, T = match.tokens;
    for (size_t i = 0; i < (match.layers + 1) * T; i++) {
        const float *c = match.conditioning + i * D, *h = match.hidden + i * D;
        const double size = mean_square(c, D), own = mean_square(h, D);
        const double last = mean_square(final.conditioning + (match.layers * T + i % T) * D, D);
        double product = 0;
        for (size_t j = 0; j < D; j++)
            product += (double)c[j] * (double)h[j] / (double)D;
        assert_true(fabs(size - last) < 1e-5 * last);
        assert_true(fabs(product - sqrt(size * own)) < 1e-5 * product);
    }
    dl_encoding_free(&match);
    dl_encoding_free(&final);
}

static void norms_of(const char *name, const char *dir) {
    const dl_open_options how = {.stages = strncmp(name, "if", 2) == 0 ? 1 : 0};
    dl_context *cx = reference_context();
    struct store *expected = reference_open_in(cx, "explain", name);
    const struct tensor *text = store_find(expected, "prompt");
    char prompt[256] = "";
    dl_model *model;
    memcpy(prompt, text->data, text->shape[0]);
    assert_int_equal(dl_model_open_with(cx, dir, &how, &model), DL_OK);
    check_block(cx, model, expected, prompt);
    check_match(cx, model, prompt);
    dl_model_close(model);
    store_close(expected);
    dl_context_free(cx);
}

static void norms(void **state) {
    (void)state;
    norms_of("tiny-sd1", "tests/data/tiny-sd1");
    norms_of("if-cascade", "tests/data/if-cascade/IF-I-T-v1.0");
}

static void norms_that_are_none(void **state) {
    dl_context *cx = reference_context();
    dl_model *model;
    dl_encoding e;
    dl_options o;
    (void)state;
    assert_int_equal(dl_model_open(cx, "tests/data/tiny-sd1", &model), DL_OK);
    dl_options_init(&o);
    o.norm = 4;
    assert_int_equal(dl_encode(cx, model, &o, "a", &e), DL_USAGE);
    o.norm = -1;
    assert_int_equal(dl_encode(cx, model, &o, "a", &e), DL_USAGE);
    assert_int_equal(norm_find("match"), NORM_MATCH);
    assert_int_equal(norm_find("raw"), NORM_COUNT);
    assert_int_equal(norm_find(NULL), NORM_COUNT);
    dl_model_close(model);
    dl_context_free(cx);
}

/* ---- pictures -------------------------------------------------------------------------------- */

struct pictures {
    uint8_t *rgb[8];
    size_t count, bytes;
};

static int keep(void *user, const dl_picture *picture) {
    struct pictures *p = user;
    p->bytes = 3 * (size_t)picture->width * (size_t)picture->height;
    p->rgb[p->count] = malloc(p->bytes);
    memcpy(p->rgb[p->count++], picture->rgb, p->bytes);
    return 0;
}

/* With block 2 left out the states of layers 1 and 2 are equal, but the blocks behind them norm
 * them differently: two pictures, not one taken twice. The control is normed as ever. */
static void equal_states_of_other_blocks(void **state) {
    struct pictures block = {0}, final = {0};
    const char *prompt = "a red dog";
    dl_context *cx = reference_context();
    dl_model *model;
    dl_options o;
    (void)state;
    assert_int_equal(dl_model_open(cx, "tests/data/tiny-sd1", &model), DL_OK);
    dl_options_init(&o);
    o.layers = "1,2";
    o.skip_layers = "2";
    o.steps = 2;
    o.native = 1;
    o.width = o.height = 64;
    o.norm = DL_NORM_BLOCK;
    assert_int_equal(dl_lens(cx, model, &o, &prompt, 1, keep, &block), DL_OK);
    o.norm = DL_NORM_FINAL;
    assert_int_equal(dl_lens(cx, model, &o, &prompt, 1, keep, &final), DL_OK);
    assert_int_equal(block.count, 3);
    assert_int_equal(final.count, 3);
    assert_true(memcmp(block.rgb[0], block.rgb[1], block.bytes) != 0);
    assert_memory_equal(final.rgb[0], final.rgb[1], final.bytes);
    assert_memory_equal(block.rgb[2], final.rgb[2], final.bytes);
    for (size_t i = 0; i < 3; i++) {
        free(block.rgb[i]);
        free(final.rgb[i]);
    }
    dl_model_close(model);
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),
        cmocka_unit_test(norms_that_are_none),
        cmocka_unit_test(equal_states_of_other_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
