/* DeepFloyd IF against diffusers: every stage of a tiny cascade (tests/data/if-cascade), the text
 * encoder's states; T5 in Stable Diffusion. */
#include "cascade_support.h"

#include "nn/resample.h"

/* ---- against diffusers ----------------------------------------------------------------------- */

struct comparison {
    const struct tensor *values, *pixels; /* pixels may be NULL */
    const char *name;
    size_t pictures;
};

static int compare(void *user, const dl_picture *picture) {
    struct comparison *c = user;
    const size_t n = tensor_count(c->values);
    float *want = calloc(n, sizeof *want);
    tensor_widen(want, c->values);
    struct tensor wide = *c->values;
    wide.data = want;
    const double error = relative_error(picture->latents, &wide);
    if (getenv("DLENS_TEST_VERBOSE") || !(error < 1e-3))
        print_message("%s: differs by %.2g\n", c->name, error);
    assert_true(error < 1e-3);
    if (c->pixels)
        assert_true(psnr(picture->rgb, c->pixels->data, tensor_count(c->pixels)) > 40);
    free(want);
    c->pictures++;
    return 0;
}

/* One picture with the reference's settings, compared to tensor NAME. */
static void check(const struct fixture *f, const dl_options *base, const char *name, int layer) {
    char pixels[128], spec[16];
    const uint64_t seed = 7;
    const char *prompt = f->prompt;
    dl_options o = *base;
    snprintf(pixels, sizeof pixels, "%s.pixels", name);
    snprintf(spec, sizeof spec, "%d", layer);
    struct comparison c = {store_find(f->expected, name), store_find(f->expected, pixels), name, 0};
    assert_non_null(c.values);
    o.layers = spec;
    o.seeds = &seed;
    o.seed_count = 1;
    o.keep_latents = 1;
    if (dl_lens(f->cx, f->model, &o, &prompt, 1, compare, &c) != DL_OK)
        fail_msg("%s: %s", name, dl_message(f->cx));
    assert_int_equal(c.pictures, 1);
}

/* Every SAMPLER.layer.K.stage.STAGES of the reference. */
static size_t check_samplers(const struct fixture *f, int stages) {
    size_t checked = 0;
    for (size_t i = 0; i < store_count(f->expected); i++) {
        const char *name = store_at(f->expected, i)->name;
        char sampler[16];
        int layer, stage, end = 0;
        dl_options o;
        if (sscanf(name,
                   stages < 3 ? "%15[^.].layer.%d.stage.%d%n"
                              : "upscaled.%15[^.].layer.%d.stage.%d%n",
                   sampler, &layer, &stage, &end) != 3 ||
            name[end] || stage != stages || strpbrk(sampler, "-15"))
            continue;
        if (strcmp(sampler, "wide") == 0 || strcmp(sampler, "fast27") == 0)
            continue;
        reference_options(f, &o);
        o.sampler = sampler;
        check(f, &o, name, layer);
        checked++;
    }
    return checked;
}

/* One of a kind, with the model's own sampler. */
static void check_variations(const struct fixture *f, int stages) {
    char name[64];
    dl_options o;
    reference_options(f, &o);
    o.width = 24 * stages;
    o.height = 16 * stages;
    snprintf(name, sizeof name, "wide.layer.2.stage.%d", stages);
    check(f, &o, name, 2);
    reference_options(f, &o);
    o.guidance = 1;
    snprintf(name, sizeof name, "guidance-1.layer.2.stage.%d", stages);
    check(f, &o, name, 2);
    reference_options(f, &o);
    o.steps = 0;
    o.timesteps = "fast27";
    snprintf(name, sizeof name, "fast27.layer.2.stage.%d", stages);
    check(f, &o, name, 2);
    reference_options(f, &o);
    o.sampler = "ddim";
    o.eta = 1;
    snprintf(name, sizeof name, "eta-1.layer.2.stage.%d", stages);
    check(f, &o, name, 2);
}

static void first_stage_as_diffusers(void **state) {
    struct fixture f;
    dl_model_info info;
    (void)state;
    open_fixture(&f, ONE, 1);
    dl_model_describe(f.model, &info);
    assert_string_equal(info.family, "deepfloyd-if");
    assert_string_equal(info.sampler, "ddpm");
    assert_int_equal(info.steps, 100);
    assert_true(info.guidance == 7.0);
    assert_int_equal(info.tokens, 77);
    assert_true(info.width == 16 && info.height == 16);
    assert_int_equal(check_samplers(&f, 1), 6);
    check_variations(&f, 1);
    close_fixture(&f);
}

static void second_stage_as_diffusers(void **state) {
    struct fixture f;
    dl_stage stage;
    (void)state;
    open_fixture(&f, ONE, 2); /* found beside the first */
    assert_int_equal(dl_model_stage(f.model, 1, &stage), DL_OK);
    assert_string_equal(stage.pipeline, "IFSuperResolutionPipeline");
    assert_true(stage.steps == 50 && stage.guidance == 4.0 && stage.noise_level == 250);
    assert_int_equal(dl_model_stage(f.model, 2, &stage), DL_USAGE);
    assert_int_equal(check_samplers(&f, 2), 6);
    check_variations(&f, 2);
    close_fixture(&f);
}

static void third_stage_as_diffusers(void **state) {
    struct fixture f;
    dl_model_info info;
    (void)state;
    open_fixture(&f, ONE, 0);
    dl_model_describe(f.model, &info);
    assert_true(info.stages == 3 && info.width == 128 && info.height == 128);
    assert_int_equal(check_samplers(&f, 3), 2);
    close_fixture(&f);
}

static void encodings_as_transformers(void **state) {
    struct fixture f;
    dl_encoding e;
    dl_options o;
    char name[32];
    (void)state;
    open_fixture(&f, ONE, 1);
    dl_options_init(&o);
    assert_int_equal(dl_encode(f.cx, f.model, &o, f.prompt, &e), DL_OK);
    const int64_t *ids = store_find(f.expected, "ids")->data;
    for (size_t i = 0; i < e.tokens; i++)
        assert_int_equal(e.ids[i], ids[i]);
    assert_int_equal(e.layers, 4);
    for (size_t k = 0; k <= e.layers; k++) {
        snprintf(name, sizeof name, "cond.%zu", k);
        const struct tensor *want = store_find(f.expected, name);
        assert_true(relative_error(e.conditioning + k * 77 * 32, want) < 1e-4);
    }
    dl_encoding_free(&e);
    close_fixture(&f);
}

/* tiny-sd1 with T5 in CLIP's place; the mask only where the encoder's config asks for it. */
static void t5_in_stable_diffusion(void **state) {
    static const char index[] =
        "{\"_class_name\": \"StableDiffusionPipeline\", \"scheduler\": [\"diffusers\", "
        "\"PNDMScheduler\"], \"text_encoder\": [\"transformers\", \"T5EncoderModel\"], "
        "\"tokenizer\": [\"transformers\", \"T5Tokenizer\"], \"unet\": [\"diffusers\", "
        "\"UNet2DConditionModel\"], \"vae\": [\"diffusers\", \"AutoencoderKL\"]}";
    char *folder = scratch_folder(), *model = path_join(folder, "model");
    char *tokenizer = path_join(model, "tokenizer"), *encoder = path_join(model, "text_encoder");
    struct fixture f;
    dl_options o;
    (void)state;
    link_tree("tests/data/tiny-sd1", model);
    scratch_remove(tokenizer);
    scratch_remove(encoder);
    link_tree(ONE "/tokenizer", tokenizer);
    link_tree(ONE "/text_encoder", encoder);
    put_file(model, "model_index.json", index, strlen(index));
    for (int masked = 0; masked < 2; masked++) {
        if (masked) {
            char *config = NULL, changed[2048];
            size_t size;
            dl_context *cx;
            assert_int_equal(dl_context_new(&cx), DL_OK);
            assert_int_equal(
                file_read(cx, DL_MODEL, ONE "/text_encoder/config.json", 2000, &config, &size),
                DL_OK);
            const int n = snprintf(changed, sizeof changed, "{\"use_attention_mask\": true,%s",
                                   strchr(config, '{') + 1);
            put_file(encoder, "config.json", changed, (size_t)n);
            free(config);
            dl_context_free(cx);
        }
        open_fixture(&f, model, 0);
        reference_options(&f, &o);
        o.sampler = "ddim";
        o.guidance = 5;
        o.width = o.height = 64;
        free(f.prompt);
        f.prompt = strdup("a red cat");
        check(&f, &o, masked ? "sd.mask.latents" : "sd.no-mask.latents", 4);
        close_fixture(&f);
    }
    scratch_remove(folder);
    free(folder);
    free(model);
    free(tokenizer);
    free(encoder);
}

/* torch.nn.functional.interpolate(mode="bilinear", align_corners=True) by hand. */
static void enlarged_linearly(void **state) {
    const float x[4] = {0, 3, 6, 9};
    const float want[12] = {0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9};
    float y[12], one[6];
    dl_context *cx;
    (void)state;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    enlarge_bilinear(cx, y, x, 1, 2, 2, 1, 3, 4);
    for (size_t i = 0; i < 12; i++)
        assert_true(fabsf(y[i] - want[i]) < 1e-6F);
    enlarge_bilinear(cx, one, x, 2, 1, 1, 2, 1, 1); /* nothing to do */
    assert_memory_equal(one, x, sizeof x);
    enlarge_bilinear(cx, one, x, 1, 1, 1, 2, 1, 3); /* one pixel, repeated */
    assert_true(one[4] == 0 && one[5] == 3);
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_stage_as_diffusers), cmocka_unit_test(second_stage_as_diffusers),
        cmocka_unit_test(third_stage_as_diffusers), cmocka_unit_test(encodings_as_transformers),
        cmocka_unit_test(t5_in_stable_diffusion),   cmocka_unit_test(enlarged_linearly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
