/* lens --explain (lens/explain.c, heat.c, reading.c, words.c, kernels/attention_map.c) against
 * PyTorch with hooks (tests/data/explain), and its own promises: pictures stay as they are, what is
 * resumed lacks nothing. */
#include "model_support.h"
#include "reference.h"

#include "family/family.h"
#include "lens/explain.h"
#include "lens/run.h"
#include "lens/units.h"
#include "nn/resample.h"

static const double tolerance = 1e-4;

/* ---- a run into a scratch folder ------------------------------------------------------------- */

struct fixture {
    dl_context *cx;
    dl_model *model;
    struct store *expected;
    char *folder, prompt[256];
    dl_options options;
    dl_run run;
};

static const uint64_t seed = 7;

static void open_fixture(struct fixture *f, const char *name, const char *dir, const char *layers) {
    const dl_open_options how = {.stages = strncmp(name, "if", 2) == 0 ? 1 : 0};
    f->cx = reference_context();
    if (dl_model_open_with(f->cx, dir, &how, &f->model) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    f->expected = reference_open_in(f->cx, "explain", name);
    const struct tensor *text = store_find(f->expected, "prompt");
    assert_in_range(text->shape[0], 1, sizeof f->prompt - 1);
    memset(f->prompt, 0, sizeof f->prompt);
    memcpy(f->prompt, text->data, text->shape[0]);
    f->folder = scratch_folder();
    dl_options_init(&f->options);
    f->options.layers = layers;
    f->options.seeds = &seed;
    f->options.seed_count = 1;
    f->options.steps = 3;
    f->options.guidance = 5;
    f->run = (dl_run){.folder = f->folder, .explain = 1};
}

static void close_fixture(struct fixture *f) {
    store_close(f->expected);
    dl_model_close(f->model);
    dl_context_free(f->cx);
    scratch_remove(f->folder);
    free(f->folder);
}

/* Pictures made. */
static size_t run(struct fixture *f) {
    const char *prompt = f->prompt;
    dl_run_result result;
    if (dl_lens_run(f->cx, f->model, &f->options, &prompt, 1, &f->run, &result) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    dl_free(result.report);
    dl_free(result.manifest);
    return result.made;
}

/* FOLDER/0-SLUG/NAME */
static void path_of(const struct fixture *f, const char *name, char path[512]) {
    char words[48];
    slug(words, f->prompt);
    snprintf(path, 512, "%s/0-%s/%s", f->folder, words, name);
}

static struct store *open_result(const struct fixture *f, const char *name) {
    char path[512];
    struct store *store;
    path_of(f, name, path);
    if (store_open_file(f->cx, path, &store) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    return store;
}

static void compare(const struct fixture *f, const struct store *made, const char *name,
                    const char *expected_name, double within) {
    const struct tensor *a = reference_tensor(made, "", name);
    const struct tensor *b = reference_tensor(f->expected, "", expected_name);
    assert_int_equal(tensor_count(a), tensor_count(b));
    assert_close(expected_name, a->data, b->data, tensor_count(b), within);
}

/* ---- against PyTorch ------------------------------------------------------------------------- */

static void check_heat(const struct fixture *f, int layer) {
    char file[64], name[16];
    snprintf(file, sizeof file, "seed-7/layer-%02d.heat.safetensors", layer);
    snprintf(name, sizeof name, "heat.%d", layer);
    struct store *made = open_result(f, file);
    compare(f, made, "heat", name, tolerance);
    store_close(made);
}

/* Pieces are the same where the reference's cosines tell them apart. */
static void check_nearest(const struct fixture *f, const struct store *made) {
    const struct tensor *ids = store_find(f->expected, "nearest.ids");
    const struct tensor *mine = store_find(made, "nearest.ids");
    const struct tensor *cosine = reference_tensor(f->expected, "", "nearest.cosine");
    const size_t k = ids->shape[2];
    const float *c = cosine->data;
    size_t told = 0;
    compare(f, made, "nearest.cosine", "nearest.cosine", tolerance);
    assert_int_equal(tensor_count(mine), tensor_count(ids));
    for (size_t i = 0; i < tensor_count(ids); i++) {
        const bool above = i % k == 0 || c[i - 1] - c[i] > 1e-5f;
        const bool below = i % k + 1 < k && c[i] - c[i + 1] > 1e-5f; /* the last may be tied */
        if (above && below) {
            assert_int_equal(((const int64_t *)mine->data)[i], ((const int64_t *)ids->data)[i]);
            told++;
        }
    }
    assert_true(told > tensor_count(ids) / 2);
}

static void check_readings(const struct fixture *f) {
    struct store *made = open_result(f, "explain.safetensors");
    for (size_t k = 1; k <= f->model->encoder->layers; k++) {
        char name[32];
        snprintf(name, sizeof name, "attention.%zu", k);
        compare(f, made, name, name, tolerance);
    }
    check_nearest(f, made);
    compare(f, made, "cosine", "cosine", tolerance);
    compare(f, made, "cka", "cka", tolerance);
    store_close(made);
}

/* What text_encoder_units and _block_norm give, for the prompt's tokens of every block. */
static void check_blocks(const struct fixture *f) {
    const struct text_encoder *e = f->model->encoder;
    const size_t T = f->model->tokens, D = e->hidden_size;
    const char *prompt = f->prompt;
    struct cache cache = {0};
    struct encodings encodings;
    float *units = malloc(T * e->units * sizeof *units), *first = malloc(T * D * sizeof *first);
    assert_int_equal(encode_prompts(f->cx, f->model, &prompt, 1, NULL, &cache, NULL, &encodings),
                     DL_OK);
    for (size_t b = 0; b < e->layers; b++) {
        const float *x = encodings.items->hidden + b * encodings.items->stride;
        char name[32];
        snprintf(name, sizeof name, "units.%zu", b + 1);
        const struct tensor *u = reference_tensor(f->expected, "", name);
        assert_int_equal(text_encoder_units(f->cx, e, b, units, x,
                                            f->model->mask_padding ? encodings.mask : NULL, 1, T),
                         DL_OK);
        assert_close(name, units, u->data, tensor_count(u), tolerance);
        snprintf(name, sizeof name, "first.%zu", b + 1);
        const struct tensor *n = reference_tensor(f->expected, "", name);
        text_encoder_block_norm(f->cx, e, b, first, x, T);
        assert_close(name, first, n->data, tensor_count(n), tolerance);
    }
    assert_int_equal(text_encoder_units(f->cx, e, e->layers, units, first, NULL, 1, T), DL_USAGE);
    encodings_free(&encodings);
    free(units);
    free(first);
}

static void check_words(const struct fixture *f) {
    const struct tensor *group = store_find(f->expected, "group");
    struct tokens tokens;
    struct words words;
    assert_int_equal(model_tokenize(f->cx, f->model, f->prompt, strlen(f->prompt), &tokens), DL_OK);
    assert_int_equal(words_find(f->cx, &tokens, f->model->tokens, &words), DL_OK);
    assert_int_equal(tensor_count(group), f->model->tokens);
    for (size_t t = 0; t < f->model->tokens; t++)
        assert_int_equal(words.group[t], ((const int64_t *)group->data)[t]);
    words_free(&words);
    tokens_free(&tokens);
}

static void check(struct fixture *f, int last) {
    assert_int_equal(run(f), 2);
    check_words(f);
    check_heat(f, 1);
    check_heat(f, last);
    check_readings(f);
    check_blocks(f);
    close_fixture(f);
}

static void against_pytorch_sd1(void **state) {
    struct fixture f;
    (void)state;
    open_fixture(&f, "tiny-sd1", "tests/data/tiny-sd1", "1,4");
    f.options.width = 72;
    f.options.height = 56;
    f.options.sampler = "ddim";
    check(&f, 4);
}

static void against_pytorch_sd2(void **state) {
    struct fixture f;
    (void)state;
    open_fixture(&f, "tiny-sd2", "tests/data/tiny-sd2", "1,5");
    f.options.width = f.options.height = 64;
    f.options.sampler = "ddim";
    check(&f, 5);
}

static void against_pytorch_if(void **state) {
    struct fixture f;
    (void)state;
    open_fixture(&f, "if-cascade", "tests/data/if-cascade/IF-I-T-v1.0", "1,4");
    f.options.width = 24;
    f.options.height = 16;
    f.options.guidance = 4;
    check(&f, 4);
}

/* ---- promises -------------------------------------------------------------------------------- */

static size_t read_bytes(const char *path, char *data, size_t size) {
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    const size_t n = fread(data, 1, size, stream);
    fclose(stream);
    return n;
}

/* Looking changes no picture; what is missing is made again, and nothing else; threads make no
 * difference. */
static void resumed_without_change(void **state) {
    enum { SIZE = 1 << 17 };
    static char plain[SIZE], looked[SIZE];
    struct fixture f;
    char picture[512], heat[512], readings[512];
    (void)state;
    open_fixture(&f, "tiny-sd1", "tests/data/tiny-sd1", "0,2,-1");
    f.options.width = f.options.height = 64;
    f.options.native = 1;
    path_of(&f, "seed-7/layer-02.png", picture);
    path_of(&f, "seed-7/layer-02.heat.safetensors", heat);
    path_of(&f, "explain.safetensors", readings);
    f.run.explain = 0;
    assert_int_equal(run(&f), 4);
    assert_false(file_exists(heat));
    const size_t size = read_bytes(picture, plain, SIZE);
    f.run.explain = 1;
    assert_int_equal(run(&f), 4); /* heat maps are made with their pictures */
    assert_int_equal(read_bytes(picture, looked, SIZE), size);
    assert_memory_equal(plain, looked, size);
    assert_int_equal(run(&f), 0);

    const size_t map = read_bytes(heat, plain, SIZE);
    assert_int_equal(unlink(heat), 0);
    dl_set_threads(f.cx, 3);
    assert_int_equal(run(&f), 1);
    assert_int_equal(read_bytes(heat, looked, SIZE), map);
    assert_memory_equal(plain, looked, map);
    assert_int_equal(unlink(readings), 0);
    assert_int_equal(run(&f), 1);
    assert_true(file_exists(readings));

    f.options.steps = 2; /* another run: nothing of the old one is left */
    f.options.layers = "0";
    f.run.overwrite = 1;
    f.run.explain = 0;
    assert_int_equal(run(&f), 2);
    assert_false(file_exists(heat));
    assert_false(file_exists(readings));
    close_fixture(&f);
}

static char *read_page(const struct fixture *f) {
    char *path = path_join(f->folder, "index.html"), *text = NULL;
    assert_int_equal(file_read(f->cx, DL_FAILED, path, 1 << 24, &text, NULL), DL_OK);
    free(path);
    return text;
}

/* The page shows all four parts, with the words escaped; nothing of the kind without --explain. */
static void report(void **state) {
    static const char *const parts[] = {
        "Where the picture looks at each word", "What each token has become",
        "The encoder\xE2\x80\x99s own attention", "How alike the layers are", "&lt;b&gt;"};
    struct fixture f;
    (void)state;
    open_fixture(&f, "tiny-sd2", "tests/data/tiny-sd2", "0,-1");
    f.options.width = f.options.height = 64;
    strcpy(f.prompt, "<b>");
    f.run.explain = 0;
    assert_int_equal(run(&f), 2);
    char *page = read_page(&f);
    assert_null(strstr(page, "Other ways of looking"));
    free(page);
    f.run.explain = 1;
    assert_int_equal(run(&f), 2);
    page = read_page(&f);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(page, parts[i]));
    assert_null(strstr(page, "<b>"));
    free(page);
    close_fixture(&f);
}

/* Damaged files are made again where they do not open, and never harm the page. */
static void damaged_files(void **state) {
    enum { SIZE = 1 << 17, ROUNDS = 30 };
    static unsigned char whole[2][SIZE], damaged[SIZE];
    static const char *const names[2] = {"explain.safetensors", "seed-7/layer-02.heat.safetensors"};
    size_t sizes[2];
    uint64_t random = 77;
    struct fixture f;
    char path[2][512];
    (void)state;
    open_fixture(&f, "tiny-sd2", "tests/data/tiny-sd2", "2");
    f.options.width = f.options.height = 64;
    f.options.steps = 1;
    assert_int_equal(run(&f), 1);
    for (int i = 0; i < 2; i++) {
        path_of(&f, names[i], path[i]);
        sizes[i] = read_bytes(path[i], (char *)whole[i], SIZE / 2);
    }
    f.run.explain = 0; /* the page is made of what is there */
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++) {
            memcpy(damaged, whole[i], sizes[i]);
            FILE *stream = fopen(path[i], "wb");
            assert_non_null(stream);
            /* the header alone, as random bytes of the data only change numbers */
            const size_t header = sizes[i] < 900 ? sizes[i] : 900;
            const size_t kept =
                round % 10 == 0 ? scratch_mutate(&random, damaged, sizes[i]) : sizes[i];
            if (round % 10)
                damaged[8 + scratch_random(&random) % (header - 8)] ^=
                    (unsigned char)(1 + scratch_random(&random) % 255);
            assert_int_equal(fwrite(damaged, 1, kept, stream), kept);
            fclose(stream);
            assert_int_equal(run(&f), 0);
        }
    close_fixture(&f);
}

/* A block that is left out attends to nothing. */
static void skipped_block(void **state) {
    struct fixture f;
    (void)state;
    open_fixture(&f, "tiny-sd1", "tests/data/tiny-sd1", "last");
    f.options.width = f.options.height = 64;
    f.options.skip_layers = "2";
    assert_int_equal(run(&f), 1);
    struct store *made = open_result(&f, "explain.safetensors");
    const struct tensor *t = reference_tensor(made, "", "attention.2");
    for (size_t i = 0; i < tensor_count(t); i++)
        assert_true(((const float *)t->data)[i] == 0);
    compare(&f, made, "attention.1", "attention.1", tolerance);
    store_close(made);
    close_fixture(&f);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void check_grouping(const char *const *pieces, size_t count, size_t T, const char *names) {
    dl_context *cx = reference_context();
    struct tokens tokens = {.count = count, .pieces = (char **)(uintptr_t)pieces};
    struct words w;
    char joined[256] = "";
    size_t total = 0;
    assert_int_equal(words_find(cx, &tokens, T, &w), DL_OK);
    for (size_t g = 0; g < w.groups; g++) {
        strcat(strcat(joined, g ? " " : ""), w.names[g]);
        total += w.sizes[g];
    }
    assert_string_equal(joined, names);
    assert_int_equal(total, T);
    words_free(&w);
    dl_context_free(cx);
}

static void words_of_tokenizers(void **state) {
    static const char *const clip[] = {"<|startoftext|>", "a</w>",        "gold",
                                       "fish</w>",        ",</w>",        "<|endoftext|>",
                                       "x</w>",           "<|endoftext|>"};
    static const char *const t5[] = {"\xE2\x96\x81",   "a",   "\xE2\x96\x81gold", "fish", "<unk>",
                                     "\xE2\x96\x81it", "</s>"};
    static const char *const bytes[] = {"a",
                                        "\xC4\xA0"
                                        "cat",
                                        "s"};
    static const char *const empty[] = {"</s>"};
    (void)state;
    check_grouping(clip, 8, 10, "a goldfish , <|endoftext|> x (start) (end) (padding)");
    check_grouping(t5, 7, 7, "a goldfish<unk> it (end)");
    check_grouping(bytes, 3, 4, "a cats (padding)");
    check_grouping(empty, 1, 3, "(end) (padding)");
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* A collector that is given what does not fit says so, and does not read beyond it. */
static void heat_that_does_not_fit(void **state) {
    static const char *const pieces[] = {"a</w>"};
    struct tokens tokens = {.count = 1, .pieces = (char **)(uintptr_t)pieces};
    dl_context *cx = reference_context();
    const float map[8] = {1, 0, 1, 0, 1, 0, 1, 0};
    struct attention_look look = {map, false, map, 1, 1, 2, 2, 2};
    float out[8];
    struct words w;
    struct heat heat;
    (void)state;
    assert_int_equal(words_find(cx, &tokens, 2, &w), DL_OK);
    heat_begin(&heat, &w);
    assert_int_equal(heat_finish(cx, &heat, out, 2, 2), DL_FAILED); /* nothing seen */
    heat_take(&heat, &look);
    assert_int_equal(heat_finish(cx, &heat, out, 2, 2), DL_OK);
    assert_true(out[0] == 1 && out[3] == 1 && out[4] == 0);
    look.H = 1; /* another size */
    heat_take(&heat, &look);
    assert_int_equal(heat_finish(cx, &heat, out, 2, 2), DL_FAILED);
    heat_free(&heat);
    heat_begin(&heat, &w);
    look.tokens = 3;
    heat_take(&heat, &look);
    assert_int_equal(heat_finish(cx, &heat, out, 2, 2), DL_FAILED);
    heat_free(&heat);
    words_free(&w);
    dl_context_free(cx);
}

/* Heads are clamped one by one, each counts the same whatever its attention, and the middle block
 * is left out where there is more than it. */
static void heat_of_heads(void **state) {
    static const char *const pieces[] = {"a</w>", "b</w>"};
    struct tokens tokens = {.count = 2, .pieces = (char **)(uintptr_t)pieces};
    dl_context *cx = reference_context();
    /* a step along x, which the enlargement overshoots, and its opposite: clamped after their mean
     * nothing would be cut off */
    const float steps[2 * 4 * 2] = {0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0};
    const float flat[2] = {0.25f, 0};
    float out[2 * 8], middle[2 * 8], mean[2 * 8];
    const struct attention_look two = {steps, false, steps, 1, 2, 1, 4, 2};
    const struct attention_look one = {flat, false, flat, 1, 1, 1, 1, 2};
    const struct attention_look mid = {out, true, flat, 1, 1, 1, 1, 2};
    struct words w;
    struct heat heat;
    (void)state;
    assert_int_equal(words_find(cx, &tokens, 2, &w), DL_OK);
    heat_begin(&heat, &w);
    heat_take(&heat, &mid);
    assert_int_equal(heat_finish(cx, &heat, middle, 1, 8), DL_OK);
    assert_true(fabsf(middle[0] - 0.25f) < 1e-6f); /* alone it is looked at */
    heat_take(&heat, &two);
    assert_int_equal(heat_finish(cx, &heat, mean, 1, 8), DL_OK);
    for (size_t i = 0; i < 8; i++)
        assert_true(mean[i] >= 0.5f - 1e-6f);
    assert_true(mean[2] > 0.51f); /* the head that falls below 0 here does not count against it */
    heat_take(&heat, &one);
    assert_int_equal(heat_finish(cx, &heat, out, 1, 8), DL_OK);
    for (size_t i = 0; i < 8; i++)
        assert_true(fabsf(out[i] - (2 * mean[i] + 0.25f) / 3) < 1e-6f);
    assert_true(out[8] == 0);
    heat_free(&heat);
    words_free(&w);
    dl_context_free(cx);
}

/* Each row is a distribution over all keys; those kept are the first ones. */
static void attention_maps(void **state) {
    enum { B = 2, H = 3, Q = 70, K = 9, D = 5 };
    static float q[B * Q * H * D], k[B * K * H * D], all[B * H * Q * K], first[B * H * Q * 4];
    dl_context *cx = reference_context();
    const struct attention_shape shape = {
        .batch = B, .heads = H, .queries = Q, .keys = K, .head_dim = D, .scale = 0.5f};
    uint64_t random = 5;
    (void)state;
    for (size_t i = 0; i < sizeof q / sizeof *q; i++)
        q[i] = (float)(scratch_random(&random) % 2000) / 1000 - 1;
    for (size_t i = 0; i < sizeof k / sizeof *k; i++)
        k[i] = (float)(scratch_random(&random) % 2000) / 1000 - 1;
    arena_plan(cx);
    op_attention_map(cx, all, q, k, &shape, K);
    assert_int_equal(arena_reserve(cx, "map"), DL_OK);
    op_attention_map(cx, all, q, k, &shape, K);
    op_attention_map(cx, first, q, k, &shape, 4);
    for (size_t i = 0; i < B * H * Q; i++) {
        float sum = 0;
        for (size_t j = 0; j < K; j++)
            sum += all[i * K + j];
        assert_true(fabsf(sum - 1) < 1e-6f);
        assert_memory_equal(all + i * K, first + i * 4, 4 * sizeof *all);
    }
    dl_context_free(cx);
}

/* ---- units ----------------------------------------------------------------------------------- */

/* Answers are the largest values of the reference's activations and states; the start token's do
 * not count. */
static void units_of(const char *name, const char *dir) {
    struct fixture f;
    struct settings settings;
    struct unit *units;
    struct answer answers[9];
    size_t count;
    open_fixture(&f, name, dir, "all");
    const char *const prompts[3] = {"cat", f.prompt, ""};
    const size_t first = strncmp(name, "if", 2) == 0 ? 0 : 1; /* T5 has no start token */
    assert_int_equal(settings_resolve(f.cx, f.model, &f.options, &settings), DL_OK);
    assert_int_equal(units_parse(f.cx, "2.ff.7,1.out.3:5", f.model->encoder, &units, &count),
                     DL_OK);
    assert_int_equal(count, 3);
    assert_int_equal(units_answer(f.cx, f.model, &settings, prompts, 3, units, count, answers),
                     DL_OK);
    const struct tensor *t = reference_tensor(f.expected, "", "units.2");
    const float *values = t->data;
    size_t best = first;
    for (size_t i = first; i < t->shape[0]; i++)
        if (values[i * t->shape[1] + 7] > values[best * t->shape[1] + 7])
            best = i;
    assert_int_equal(answers[1].token, best);
    assert_true(fabsf(answers[1].value - values[best * t->shape[1] + 7]) < 1e-4f);

    dl_encoding e;
    f.options.norm = DL_NORM_NONE;
    assert_int_equal(dl_encode(f.cx, f.model, &f.options, f.prompt, &e), DL_OK);
    const float *h = e.hidden + e.tokens * e.hidden_size; /* output of block 1 */
    for (size_t u = 3; u < 5; u++) {
        float most = -INFINITY;
        for (size_t i = first; i < t->shape[0]; i++)
            most = fmaxf(most, h[i * e.hidden_size + u]);
        assert_true(fabsf(answers[(u - 2) * 3 + 1].value - most) < 1e-5f);
    }
    dl_encoding_free(&e);
    free(units);
    settings_free(&settings);
    close_fixture(&f);
}

static void units_answer_as_the_reference(void **state) {
    (void)state;
    units_of("tiny-sd1", "tests/data/tiny-sd1");
    units_of("if-cascade", "tests/data/if-cascade/IF-I-T-v1.0");
}

static void units_that_are_none(void **state) {
    static const char *const wrong[] = {"",
                                        "4",
                                        "0.ff.1",
                                        "5.out.1",
                                        "1.ff.64000",
                                        "1.out.5:3",
                                        "1.out.1,",
                                        "1.fx.1",
                                        "1.ff.1x",
                                        "1.ff.",
                                        "1.ff.-1",
                                        "1.ff.1:",
                                        "1.ff.:",
                                        "-1.out.0",
                                        "1.out.3:99999999999999999999999",
                                        "1.ff.1;1.ff.2"};
    struct fixture f;
    struct unit *units;
    size_t count;
    char name[64];
    (void)state;
    open_fixture(&f, "tiny-sd1", "tests/data/tiny-sd1", "all");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (units_parse(f.cx, wrong[i], f.model->encoder, &units, &count) != DL_USAGE)
            fail_msg("\"%s\" is taken for a unit", wrong[i]);
        free(units);
    }
    assert_int_equal(units_parse(f.cx, "4.ff", f.model->encoder, &units, &count), DL_OK);
    assert_int_equal(count, f.model->encoder->units);
    unit_name(name, &units[3]);
    assert_string_equal(name, "4.ff.3");
    free(units);
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_pytorch_sd1),
        cmocka_unit_test(against_pytorch_sd2),
        cmocka_unit_test(against_pytorch_if),
        cmocka_unit_test(resumed_without_change),
        cmocka_unit_test(report),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(skipped_block),
        cmocka_unit_test(words_of_tokenizers),
        cmocka_unit_test(heat_that_does_not_fit),
        cmocka_unit_test(heat_of_heads),
        cmocka_unit_test(attention_maps),
        cmocka_unit_test(units_answer_as_the_reference),
        cmocka_unit_test(units_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
