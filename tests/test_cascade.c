/* A cascade's promises, with what is kept of its encodings and its prompts; stages found and
 * missing, configs that do not fit. What it makes: test_if.c. */
#include "cascade_support.h"

#include "family/sibling.h"

/* ---- promises -------------------------------------------------------------------------------- */

enum { SHELF_MAX = 32, SHELF_BYTES = 32 * 32 * 3 };

struct shelf {
    size_t prompt[SHELF_MAX];
    int layer[SHELF_MAX];
    uint8_t rgb[SHELF_MAX][SHELF_BYTES];
    size_t count;
};

static int put_on_shelf(void *user, const dl_picture *picture) {
    struct shelf *s = user;
    assert_int_equal(picture->width * picture->height * 3, SHELF_BYTES);
    assert_true(s->count < SHELF_MAX);
    s->prompt[s->count] = picture->prompt;
    s->layer[s->count] = picture->layer;
    memcpy(s->rgb[s->count++], picture->rgb, SHELF_BYTES);
    return 0;
}

static const uint8_t *on_shelf(const struct shelf *s, size_t prompt, int layer) {
    for (size_t i = 0; i < s->count; i++)
        if (s->prompt[i] == prompt && s->layer[i] == layer)
            return s->rgb[i];
    fail_msg("no picture of prompt %zu, layer %d", prompt, layer);
    return NULL;
}

/* The last layer is generate's picture; a picture is the same alone, among others, whatever the
 * threads; leaving blocks out changes neither layers before them nor the control. */
static void independent_of_company(void **state) {
    const char *prompts[] = {"a red cat", "a green tree in the rain", "blurry"};
    struct shelf *all = calloc(1, sizeof *all), *one = calloc(1, sizeof *one);
    struct shelf *skipped = calloc(1, sizeof *skipped);
    struct fixture f;
    dl_options o;
    (void)state;
    open_fixture(&f, ONE, 2);
    reference_options(&f, &o);
    o.steps = 2;
    o.native = 1;
    assert_int_equal(dl_lens(f.cx, f.model, &o, prompts, 3, put_on_shelf, all), DL_OK);
    assert_int_equal(all->count, 18);
    o.skip_layers = "3";
    assert_int_equal(dl_lens(f.cx, f.model, &o, prompts, 3, put_on_shelf, skipped), DL_OK);
    o.skip_layers = NULL;
    assert_int_equal(dl_set_threads(f.cx, 3), DL_OK);
    assert_int_equal(dl_generate(f.cx, f.model, &o, prompts + 1, 1, put_on_shelf, one), DL_OK);
    assert_memory_equal(one->rgb[0], on_shelf(all, 1, 4), SHELF_BYTES);
    for (size_t p = 0; p < 3; p++) {
        assert_memory_equal(on_shelf(all, p, -1), on_shelf(all, p, 4), SHELF_BYTES);
        assert_memory_equal(on_shelf(skipped, p, -1), on_shelf(all, p, 4), SHELF_BYTES);
        assert_memory_equal(on_shelf(skipped, p, 2), on_shelf(all, p, 2), SHELF_BYTES);
        assert_memory_equal(on_shelf(skipped, p, 3), on_shelf(all, p, 2), SHELF_BYTES);
        assert_memory_not_equal(on_shelf(skipped, p, 4), on_shelf(all, p, 4), SHELF_BYTES);
    }
    close_fixture(&f);
    free(all);
    free(one);
    free(skipped);
}

/* Noise given is the first stage's start; the generator is then as fresh. */
static void noise_is_the_first_stages(void **state) {
    struct shelf *shelf = calloc(1, sizeof *shelf);
    const char *prompt = "a red cat";
    float noise[3 * 16 * 16];
    struct fixture f;
    dl_model_info info;
    dl_options o;
    (void)state;
    open_fixture(&f, ONE, 2);
    dl_model_describe(f.model, &info);
    assert_true(info.noise_channels == 3 && info.noise_scale == 2 && info.latent_scale == 1);
    reference_options(&f, &o);
    o.steps = 2;
    o.layers = "last";
    o.noise = noise;
    dl_noise(5, noise, 3 * 16 * 16);
    assert_int_equal(dl_lens(f.cx, f.model, &o, &prompt, 1, put_on_shelf, shelf), DL_OK);
    dl_noise(6, noise, 3 * 16 * 16);
    assert_int_equal(dl_lens(f.cx, f.model, &o, &prompt, 1, put_on_shelf, shelf), DL_OK);
    assert_memory_not_equal(shelf->rgb[0], shelf->rgb[1], SHELF_BYTES);
    close_fixture(&f);
    free(shelf);
}

static void options_out_of_range(void **state) {
    struct shelf *shelf = calloc(1, sizeof *shelf);
    const char *prompt = "a red cat";
    struct fixture f;
    dl_options bad[7];
    (void)state;
    open_fixture(&f, ONE, 2);
    for (size_t i = 0; i < 7; i++)
        dl_options_init(&bad[i]);
    bad[0].width = 30;
    bad[1].height = 1;
    bad[2].timesteps = "fast28";
    bad[3].timesteps = "fast27,";
    bad[4].timesteps = "fast27,super27,super27";
    bad[5].timesteps = "fast27";
    bad[5].steps = 27;
    bad[6].timesteps = "fast27";
    bad[6].sampler = "ddim";
    for (size_t i = 0; i < 7; i++) {
        const int status = dl_lens(f.cx, f.model, &bad[i], &prompt, 1, put_on_shelf, shelf);
        if (status != DL_USAGE)
            fail_msg("case %zu: status %d", i, status);
    }
    assert_int_equal(shelf->count, 0);
    close_fixture(&f);
    free(shelf);
}

/* The plan counts every step of every stage. */
static void plan_is_told(void **state) {
    struct fixture f;
    dl_options o;
    dl_plan p;
    (void)state;
    open_fixture(&f, ONE, 3);
    dl_options_init(&o);
    assert_int_equal(dl_plan_picture(f.cx, f.model, &o, &p), DL_OK);
    assert_true(p.stages[0].steps == 100 && p.stages[1].steps == 50 && p.stages[2].steps == 75);
    assert_true(p.stages[2].decode > 0 && p.stages[1].decode == 0);
    double all = 0;
    for (size_t i = 0; i < 3; i++)
        all += p.stages[i].step * p.stages[i].steps + p.stages[i].decode;
    /* and what is computed once for all steps of a stage */
    assert_true(p.picture > all && p.picture < 1.02 * all && p.step == p.stages[0].step);
    o.timesteps = "fast27,super40,super27"; /* the upscaler's own sampler takes no list */
    assert_int_equal(dl_plan_picture(f.cx, f.model, &o, &p), DL_USAGE);
    o.timesteps = "fast27,super40"; /* it keeps its own */
    assert_int_equal(dl_plan_picture(f.cx, f.model, &o, &p), DL_OK);
    assert_true(p.stages[0].steps == 27 && p.stages[1].steps == 40 && p.stages[2].steps == 75);
    o.timesteps = "fast27,super40,super27";
    o.sampler = "ddpm";
    assert_int_equal(dl_plan_picture(f.cx, f.model, &o, &p), DL_OK);
    assert_true(p.stages[0].steps == 27 && p.stages[1].steps == 40 && p.stages[2].steps == 27);
    close_fixture(&f);
}

/* ---- the cache ------------------------------------------------------------------------------- */

/* The only file in a folder; freed by the caller. */
static char *only_file(const char *folder) {
    DIR *dir = opendir(folder);
    char *path = NULL;
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (e->d_name[0] != '.') {
            assert_null(path);
            path = path_join(folder, e->d_name);
        }
    closedir(dir);
    assert_non_null(path);
    return path;
}

/* The largest difference of the last conditioning from `expected`, which is set where it is NULL.
 */
static double encode_against(const struct fixture *f, const char *cache, const char *skip,
                             dl_encoding *expected) {
    dl_encoding e;
    dl_options o;
    double worst = 0;
    dl_options_init(&o);
    o.cache = cache;
    o.skip_layers = skip;
    if (dl_encode(f->cx, f->model, &o, "a red cat", &e) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    if (!expected->hidden) {
        *expected = e;
        return 0;
    }
    for (size_t i = 0; i < (e.layers + 1) * e.tokens * e.hidden_size; i++)
        worst = fmax(worst, fabs((double)e.conditioning[i] - expected->conditioning[i]));
    dl_encoding_free(&e);
    return worst;
}

static void encodings_are_kept_and_taken(void **state) {
    char *folder = scratch_folder(), *kept = path_join(folder, "a/b"), *file, *data = NULL;
    struct fixture f;
    dl_encoding plain = {0};
    size_t size;
    (void)state;
    open_fixture(&f, ONE, 1);
    encode_against(&f, NULL, NULL, &plain);
    assert_true(encode_against(&f, kept, NULL, &plain) == 0); /* made, kept */
    file = only_file(kept);
    assert_true(encode_against(&f, kept, NULL, &plain) == 0); /* taken */
    assert_int_equal(file_read(f.cx, DL_FAILED, file, 1 << 20, &data, &size), DL_OK);
    memset(data + size - 4096, 0, 4096);
    put_file(kept, strrchr(file, '/') + 1, data, size);
    assert_true(encode_against(&f, kept, NULL, &plain) > 0.1); /* what is there is taken */
    put_file(kept, strrchr(file, '/') + 1, data, size / 2);
    assert_true(encode_against(&f, kept, NULL, &plain) == 0); /* damaged: made anew, */
    free(file);
    file = only_file(kept);
    assert_true(encode_against(&f, kept, NULL, &plain) == 0); /* and taken again */
    assert_true(encode_against(&f, kept, "2", &plain) > 0.1); /* an ablation is another encoding */
    /* a folder that cannot be made */
    dl_options o;
    dl_encoding e;
    dl_options_init(&o);
    o.cache = file;
    assert_int_equal(dl_encode(f.cx, f.model, &o, "a red cat", &e), DL_USAGE);
    o.cache = "";
    assert_int_equal(dl_encode(f.cx, f.model, &o, "a red cat", &e), DL_USAGE);
    dl_encoding_free(&plain);
    close_fixture(&f);
    scratch_remove(folder);
    free(folder);
    free(kept);
    free(file);
    free(data);
}

/* Of several prompts some kept and some not: the pictures are the same. */
static void some_encodings_are_kept(void **state) {
    const char *prompts[] = {"a red cat", "a green tree in the rain", "blurry"};
    struct shelf *all = calloc(1, sizeof *all), *again = calloc(1, sizeof *again);
    char *folder = scratch_folder();
    struct fixture f;
    dl_options o;
    (void)state;
    open_fixture(&f, ONE, 2);
    reference_options(&f, &o);
    o.steps = 1;
    o.layers = "2";
    assert_int_equal(dl_lens(f.cx, f.model, &o, prompts, 3, put_on_shelf, all), DL_OK);
    o.cache = folder;
    assert_int_equal(dl_lens(f.cx, f.model, &o, prompts + 1, 1, put_on_shelf, again), DL_OK);
    assert_int_equal(dl_lens(f.cx, f.model, &o, prompts, 3, put_on_shelf, again), DL_OK);
    assert_memory_equal(again->rgb[0], all->rgb[1], SHELF_BYTES);
    for (size_t p = 0; p < 3; p++)
        assert_memory_equal(again->rgb[1 + p], all->rgb[p], SHELF_BYTES);
    close_fixture(&f);
    scratch_remove(folder);
    free(folder);
    free(all);
    free(again);
}

/* ---- prompts --------------------------------------------------------------------------------- */

static void captions_are_cleaned_where_asked(void **state) {
    const dl_open_options how = {.stages = 1, .clean_caption = 1};
    const char *prompt = "a <b>red</b> cat: photo.jpg", *clean = "a red cat:";
    dl_context *cx;
    dl_model *model;
    dl_tokens a, b;
    (void)state;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    assert_int_equal(dl_model_open_with(cx, ONE, &how, &model), DL_OK);
    assert_int_equal(dl_tokenize(cx, model, prompt, strlen(prompt), &a), DL_OK);
    dl_model_close(model);
    assert_int_equal(dl_model_open_with(cx, ONE, &(dl_open_options){.stages = 1}, &model), DL_OK);
    assert_int_equal(dl_tokenize(cx, model, clean, strlen(clean) - 1, &b), DL_OK);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.ids, b.ids, a.count * sizeof *a.ids);
    dl_tokens_free(&a);
    dl_tokens_free(&b);
    dl_model_close(model);
    dl_context_free(cx);
}

static void prompts_that_are_no_text(void **state) {
    struct fixture f;
    dl_tokens tokens;
    (void)state;
    open_fixture(&f, ONE, 1);
    assert_int_equal(dl_tokenize(f.cx, f.model, "a\xff", 2, &tokens), DL_USAGE);
    assert_int_equal(dl_tokenize(f.cx, f.model, "a\0b", 3, &tokens), DL_USAGE);
    assert_int_equal(dl_tokenize(f.cx, f.model, "", 0, &tokens), DL_OK);
    assert_int_equal(tokens.count, 1);
    assert_int_equal(tokens.ids[0], 1);
    dl_tokens_free(&tokens);
    close_fixture(&f);
}

/* ---- stages ---------------------------------------------------------------------------------- */

static void siblings_by_name(void **state) {
    static const struct {
        const char *first, *name;
        int number, rank;
    } cases[] = {
        {"IF-I-XL-v1.0", "IF-II-L-v1.0", 2, 2},
        {"IF-I-XL-v1.0", "IF-II-M-v1.0", 2, 1},
        {"IF-I-L-v1.0", "IF-II-L-v1.0", 2, 3},
        {"IF-I-L-v1.0", "IF-III-L-v1.0", 3, 3},
        {"IF-I-L-v1.0", "IF-III-L-v1.0", 2, 0},
        {"IF-I-L-v1.0", "IF-I-M-v1.0", 2, 0},
        {"stage-1", "stage-2", 2, 3},
        {"stage1", "stage2", 2, 3},
        {"stage1", "stage23", 2, 0},
        {"model", "model-2", 2, 0},
        {"stage_i", "stage_ii", 2, 3},
        {"1", "2", 2, 3},
        {"1", "3", 3, 3},
        {"v1.0", "v2.0", 2, 0},
        {"IF-I-XL-v1.0", "if-ii-l-v1.0", 2, 0},
        {"I", "II", 2, 3},
        {"my-IF-I", "my-IF-II", 2, 3},
        {"a1b1", "a1b2", 2, 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (sibling_rank(cases[i].first, cases[i].name, cases[i].number) != cases[i].rank)
            fail_msg("%s, %s: not rank %d", cases[i].first, cases[i].name, cases[i].rank);
}

/* Opens FOLDER with these options; the message names WHAT where it fails. */
static void expect_open(const char *folder, const dl_open_options *how, int status,
                        const char *what) {
    dl_context *cx;
    dl_model *model = NULL;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_set_log(cx, quiet, NULL);
    const int got = dl_model_open_with(cx, folder, how, &model);
    if (got != status || (what && !strstr(dl_message(cx), what)))
        fail_msg("%s: status %d, \"%s\"; expected \"%s\"", folder, got, dl_message(cx), what);
    dl_model_close(model);
    dl_context_free(cx);
}

static void stages_missing_and_wrong(void **state) {
    char *folder = scratch_folder(), *alone = path_join(folder, "IF-I-M-v1.0");
    char *two = path_join(folder, "IF-II-M-v1.0");
    (void)state;
    link_tree(ONE, alone);
    expect_open(alone, &(dl_open_options){0}, DL_OK, NULL);
    expect_open(alone, &(dl_open_options){.stages = 1}, DL_OK, NULL);
    expect_open(alone, &(dl_open_options){.stages = 2}, DL_MODEL, "--stage2");
    expect_open(alone, &(dl_open_options){.stages = 4}, DL_USAGE, "--stages 4");
    expect_open(alone, &(dl_open_options){.stages = -1}, DL_USAGE, "--stages -1");
    expect_open(alone, &(dl_open_options){.stage2 = TWO}, DL_OK, NULL);
    expect_open(alone, &(dl_open_options){.stage2 = TWO, .stage3 = THREE}, DL_OK, NULL);
    expect_open(alone, &(dl_open_options){.stage3 = THREE}, DL_MODEL, "stage 2 is missing");
    expect_open(alone, &(dl_open_options){.stage2 = "/nonexistent"}, DL_MODEL, "/nonexistent");
    expect_open(alone, &(dl_open_options){.stage2 = THREE}, DL_MODEL, "IFSuperResolutionPipeline");
    expect_open(alone, &(dl_open_options){.stage2 = ONE}, DL_MODEL, "IFSuperResolutionPipeline");
    expect_open(alone, &(dl_open_options){.stage2 = TWO, .stages = 3}, DL_MODEL, "--stage3");
    expect_open(TWO, &(dl_open_options){0}, DL_MODEL, "IFSuperResolutionPipeline");
    expect_open("tests/data/tiny-sd1", &(dl_open_options){.stages = 2}, DL_USAGE, "cascade");
    expect_open("tests/data/tiny-sd1", &(dl_open_options){.stage2 = TWO}, DL_USAGE, "cascade");
    /* a folder of the right name but of another kind is passed over */
    link_tree(THREE, two);
    expect_open(alone, &(dl_open_options){.stages = 2}, DL_MODEL, "stage 2 is missing");
    scratch_remove(two);
    link_tree(TWO, two);
    expect_open(alone, &(dl_open_options){.stages = 2}, DL_OK, NULL);
    scratch_remove(folder);
    free(folder);
    free(alone);
    free(two);
}

/* A file of the cascade with the first FROM replaced by TO: opening fails, naming WHAT. */
static const struct damage {
    const char *stage, *file, *from, *to, *what;
} damages[] = {
    {ONE, "unet/config.json", "\"in_channels\": 3", "\"in_channels\": 4", "conv_in"},
    {ONE, "unet/config.json", "\"encoder_hid_dim\": 32", "\"encoder_hid_dim\": 16", "shape"},
    {ONE, "unet/config.json", "\"class_embed_type\": null", "\"class_embed_type\": \"timestep\"",
     "class_embed"},
    {ONE, "unet/config.json", "text_proj", "image_proj", "encoder_hid_dim_type"},
    {ONE, "unet/config.json", "\"group_norm\"", "\"layer_norm\"", "cross_attention_norm"},
    {ONE, "unet/config.json", "\"sample_size\": 16", "\"sample_size\": 0", "sample_size"},
    {ONE, "unet/config.json", "\"sample_size\": 16", "\"sample_size\": 24", "sample_size"},
    {ONE, "unet/config.json", "SimpleCrossAttnDownBlock2D", "SimplestDownBlock2D", "down_block"},
    {ONE, "text_encoder/config.json", "gated-gelu", "gated-tanh", "feed_forward_proj"},
    {ONE, "text_encoder/config.json", "\"d_model\": 32", "\"d_model\": -1", "d_model"},
    {ONE, "scheduler/scheduler_config.json", "learned_range", "learned_domain", "variance_type"},
    {ONE, "model_index.json", "\"T5EncoderModel\"", "null", "text_encoder"},
    {ONE, "model_index.json", "\"T5EncoderModel\"", "\"T6EncoderModel\"", "T6EncoderModel"},
    {ONE, "model_index.json", "\"IFPipeline\"", "\"IFImg2ImgPipeline\"", "IFImg2ImgPipeline"},
    {TWO, "image_noising_scheduler/scheduler_config.json", "1000", "100", "num_train_timesteps"},
    {TWO, "model_index.json", "image_noising_scheduler", "image_scheduler",
     "image_noising_scheduler"},
    {TWO, "unet/config.json", "\"encoder_hid_dim\": 32", "\"encoder_hid_dim\": 12", "shape"},
    {TWO, "unet/config.json", "\"sample_size\": 32", "\"sample_size\": 4", "sample_size"},
    {THREE, "model_index.json", "\"max_noise_level\": 350", "\"max_noise_level\": -3",
     "max_noise_level"},
    {THREE, "unet/config.json", "\"num_class_embeds\": 128", "\"num_class_embeds\": 99", "class"},
    {THREE, "tokenizer/tokenizer_config.json", "16", "0", "model_max_length"},
    {THREE, "vae/config.json", "\"latent_channels\": 4", "\"latent_channels\": 3", "shape"},
};

static void damaged_configs(void **state) {
    char *folder = scratch_folder();
    const struct {
        const char *source, *name;
    } stages[] = {{ONE, "IF-I-M-v1.0"}, {TWO, "IF-II-M-v1.0"}, {THREE, "IF-III-M-v1.0"}};
    (void)state;
    for (size_t d = 0; d < sizeof damages / sizeof *damages; d++) {
        char *first = path_join(folder, stages[0].name), *text = NULL, changed[8192];
        size_t size;
        dl_context *cx;
        for (size_t i = 0; i < 3; i++) {
            char *dir = path_join(folder, stages[i].name);
            link_tree(stages[i].source, dir);
            if (strcmp(damages[d].stage, stages[i].source) == 0) {
                char *path = path_join(dir, damages[d].file);
                assert_int_equal(dl_context_new(&cx), DL_OK);
                assert_int_equal(file_read(cx, DL_MODEL, path, sizeof changed / 2, &text, &size),
                                 DL_OK);
                dl_context_free(cx);
                const char *at = strstr(text, damages[d].from);
                if (!at)
                    fail_msg("%s holds no %s", path, damages[d].from);
                const int n = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text,
                                       damages[d].to, at + strlen(damages[d].from));
                put_file(dir, damages[d].file, changed, (size_t)n);
                free(text);
                free(path);
            }
            free(dir);
        }
        expect_open(first, &(dl_open_options){.stages = 3}, DL_MODEL, damages[d].what);
        free(first);
        for (size_t i = 0; i < 3; i++) {
            char *dir = path_join(folder, stages[i].name);
            scratch_remove(dir);
            free(dir);
        }
    }
    scratch_remove(folder);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(independent_of_company),
        cmocka_unit_test(noise_is_the_first_stages),
        cmocka_unit_test(options_out_of_range),
        cmocka_unit_test(plan_is_told),
        cmocka_unit_test(encodings_are_kept_and_taken),
        cmocka_unit_test(some_encodings_are_kept),
        cmocka_unit_test(captions_are_cleaned_where_asked),
        cmocka_unit_test(prompts_that_are_no_text),
        cmocka_unit_test(siblings_by_name),
        cmocka_unit_test(stages_missing_and_wrong),
        cmocka_unit_test(damaged_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
