/* Norms as ablations (lens/encode.c): what each is, and that twins are told apart by it; baselines
 * (lens/controls.c). */
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
    assert_int_equal(norm_find("match"), DL_NORM_MATCH);
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

/* ---- baselines ------------------------------------------------------------------------------- */

static dl_encoding encode_control(dl_context *cx, dl_model *model, int control,
                                  const char *prompt) {
    dl_encoding e;
    dl_options o;
    dl_options_init(&o);
    o.control = control;
    if (dl_encode(cx, model, &o, prompt, &e) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return e;
}

static int compare_ids(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The same tokens in another order, what the tokenizer puts around them in its place. */
static void check_shuffled(dl_context *cx, dl_model *model, const char *prompt, size_t first,
                           size_t end) {
    dl_encoding plain = encode_control(cx, model, DL_CONTROL_NONE, prompt);
    dl_encoding mixed = encode_control(cx, model, DL_CONTROL_SHUFFLED, prompt);
    dl_encoding again = encode_control(cx, model, DL_CONTROL_SHUFFLED, prompt);
    assert_true(memcmp(plain.ids, mixed.ids, plain.tokens * sizeof *plain.ids) != 0);
    assert_memory_equal(mixed.ids, again.ids, plain.tokens * sizeof *plain.ids);
    for (size_t t = 0; t < plain.tokens; t++)
        if (t < first || t >= end)
            assert_int_equal(plain.ids[t], mixed.ids[t]);
    qsort(plain.ids, plain.tokens, sizeof *plain.ids, compare_ids);
    qsort(mixed.ids, plain.tokens, sizeof *plain.ids, compare_ids);
    assert_memory_equal(plain.ids, mixed.ids, plain.tokens * sizeof *plain.ids);
    dl_encoding_free(&plain);
    dl_encoding_free(&mixed);
    dl_encoding_free(&again);
}

static void check_padding(dl_context *cx, dl_model *model, const char *prompt) {
    dl_encoding empty = encode_control(cx, model, DL_CONTROL_NONE, "");
    dl_encoding none = encode_control(cx, model, DL_CONTROL_PADDING, prompt);
    const size_t values = (empty.layers + 1) * empty.tokens * empty.hidden_size;
    assert_memory_equal(empty.hidden, none.hidden, values * sizeof(float));
    dl_encoding_free(&empty);
    dl_encoding_free(&none);
}

/* Drawn weights: the same each time, other states than the model's, embeddings as spread out. */
static void check_random(dl_context *cx, dl_model *model, const char *prompt) {
    dl_encoding plain = encode_control(cx, model, DL_CONTROL_NONE, prompt);
    dl_encoding drawn = encode_control(cx, model, DL_CONTROL_RANDOM, prompt);
    dl_encoding again = encode_control(cx, model, DL_CONTROL_RANDOM, prompt);
    const size_t one = plain.tokens * plain.hidden_size, values = (plain.layers + 1) * one;
    assert_memory_equal(plain.ids, drawn.ids, plain.tokens * sizeof *plain.ids);
    assert_memory_equal(drawn.hidden, again.hidden, values * sizeof(float));
    for (size_t k = 0; k <= plain.layers; k++)
        assert_true(memcmp(plain.hidden + k * one, drawn.hidden + k * one, one * sizeof(float)) !=
                    0);
    const double ratio = mean_square(drawn.hidden, one) / mean_square(plain.hidden, one);
    assert_true(ratio > 0.5 && ratio < 2);
    for (size_t i = 0; i < values; i++)
        assert_true(isfinite(drawn.hidden[i]));
    dl_encoding_free(&plain);
    dl_encoding_free(&drawn);
    dl_encoding_free(&again);
}

static void baselines(void **state) {
    static const char prompt[] = "a red dog and a cat";
    dl_context *cx = reference_context();
    dl_model *model;
    dl_tokens tokens;
    (void)state;
    assert_int_equal(dl_model_open(cx, "tests/data/tiny-sd1", &model), DL_OK);
    assert_int_equal(dl_tokenize(cx, model, prompt, strlen(prompt), &tokens), DL_OK);
    check_shuffled(cx, model, prompt, 1, tokens.count - 1);
    dl_tokens_free(&tokens);
    check_padding(cx, model, prompt);
    check_random(cx, model, prompt);
    dl_encoding e = encode_control(cx, model, DL_CONTROL_SHUFFLED, ""); /* nothing to shuffle */
    dl_encoding_free(&e);
    dl_model_close(model);
    const dl_open_options how = {.stages = 1};
    assert_int_equal(dl_model_open_with(cx, "tests/data/if-cascade/IF-I-T-v1.0", &how, &model),
                     DL_OK);
    assert_int_equal(dl_tokenize(cx, model, prompt, strlen(prompt), &tokens), DL_OK);
    check_shuffled(cx, model, prompt, 0, tokens.count - 1);
    dl_tokens_free(&tokens);
    check_padding(cx, model, prompt);
    check_random(cx, model, prompt); /* of weights in shards, bf16 */
    dl_model_close(model);
    dl_context_free(cx);
}

/* A run of a control: the family's own picture stays, the layers' change; its folder is resumed
 * and is another run's than the lens'. */
static void baseline_runs(void **state) {
    const char *prompt = "a red dog";
    char *folder = scratch_folder();
    dl_context *cx = reference_context();
    dl_run run = {.folder = folder};
    dl_run_result result;
    struct pictures plain = {0}, drawn = {0};
    dl_model *model;
    dl_options o;
    (void)state;
    assert_int_equal(dl_model_open(cx, "tests/data/tiny-sd1", &model), DL_OK);
    dl_options_init(&o);
    o.layers = "last";
    o.steps = 1;
    o.native = 1;
    o.width = o.height = 64;
    assert_int_equal(dl_lens(cx, model, &o, &prompt, 1, keep, &plain), DL_OK);
    o.control = DL_CONTROL_RANDOM;
    assert_int_equal(dl_lens(cx, model, &o, &prompt, 1, keep, &drawn), DL_OK);
    assert_true(memcmp(plain.rgb[0], drawn.rgb[0], plain.bytes) != 0);
    assert_memory_equal(plain.rgb[1], drawn.rgb[1], plain.bytes);
    for (size_t i = 0; i < 2; i++) {
        free(plain.rgb[i]);
        free(drawn.rgb[i]);
    }
    for (int round = 0; round < 2; round++) { /* made, then found */
        assert_int_equal(dl_lens_run(cx, model, &o, &prompt, 1, &run, &result), DL_OK);
        assert_int_equal(round ? result.found : result.made, 2);
        dl_free(result.report);
        dl_free(result.manifest);
    }
    o.control = DL_CONTROL_SHUFFLED;
    assert_int_equal(dl_lens_run(cx, model, &o, &prompt, 1, &run, &result), DL_USAGE);
    assert_non_null(strstr(dl_message(cx), "control"));
    o.control = DL_CONTROL_NONE;
    assert_int_equal(dl_lens_run(cx, model, &o, &prompt, 1, &run, &result), DL_USAGE);
    o.control = 9;
    assert_int_equal(dl_lens_run(cx, model, &o, &prompt, 1, &run, &result), DL_USAGE);
    dl_model_close(model);
    dl_context_free(cx);
    scratch_remove(folder);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),
        cmocka_unit_test(norms_that_are_none),
        cmocka_unit_test(equal_states_of_other_blocks),
        cmocka_unit_test(baselines),
        cmocka_unit_test(baseline_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
