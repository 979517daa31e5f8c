/* diffusion/vae.c: both decoders against diffusers', memory, and configs that cannot be. */
#include "diffusion/vae.h"
#include "reference.h"

static const double tolerance = 2e-5;

static struct vae *open_vae(dl_context *cx, const char *dir, const char *class_name) {
    struct vae *vae;
    if (vae_open(cx, dir, class_name, &vae) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return vae;
}

/* Plans, then runs; returns fresh memory. */
static float *decode(dl_context *cx, const struct vae *vae, const float *latents, size_t H,
                     size_t W) {
    float *image = malloc(3 * H * W * vae_scale(vae) * vae_scale(vae) * sizeof *image);

    arena_plan(cx);
    vae_decode(cx, vae, NULL, NULL, H, W);
    assert_int_equal(arena_reserve(cx, "decoder"), DL_OK);
    vae_decode(cx, vae, image, latents, H, W);
    assert_int_equal(arena_mark(cx), 0);
    return image;
}

/* PREFIX.latents decode to PREFIX.image. */
static void check_image(dl_context *cx, const struct vae *vae, const struct store *expected,
                        const char *prefix) {
    const struct tensor *latents = reference_tensor(expected, prefix, "latents");
    const struct tensor *image = reference_tensor(expected, prefix, "image");
    size_t H = latents->shape[2], W = latents->shape[3];
    float *actual;

    assert_int_equal(vae_latent_channels(vae), latents->shape[1]);
    assert_int_equal(vae_scale(vae) * H, image->shape[2]);
    actual = decode(cx, vae, latents->data, H, W);
    assert_close(prefix, actual, image->data, tensor_count(image), tolerance);
    free(actual);
}

static void check_model(const char *model, const char *class_name) {
    dl_context *cx = reference_context();
    struct store *expected;
    struct vae *vae;
    char name[128];

    snprintf(name, sizeof name, "tests/data/%s/vae", model);
    vae = open_vae(cx, name, class_name);
    snprintf(name, sizeof name, "%s-vae", model);
    expected = reference_open(cx, name);
    assert_string_equal(vae_class_name(vae), class_name);
    check_image(cx, vae, expected, "8x8.");
    check_image(cx, vae, expected, "5x3.");
    store_close(expected);
    vae_close(vae);
    dl_context_free(cx);
}

/* Attention under its old names, no scaling_factor in the config. */
static void as_diffusers_sd1(void **state) {
    (void)state;
    check_model("tiny-sd1", "AutoencoderKL");
}

static void as_diffusers_sd2(void **state) {
    (void)state;
    check_model("tiny-sd2", "AutoencoderKL");
}

static void as_diffusers_tiny(void **state) {
    (void)state;
    check_model("tiny-lcm", "AutoencoderTiny");
}

/* Also without post_quant_conv or attention, and attention under old names, as 1x1 convolutions. */
static void check_variant(struct scratch *s, const char *name, const cJSON *config) {
    dl_context *cx = reference_context();
    struct store *expected = reference_open(cx, "vae-variants");
    struct vae *vae = open_vae(cx, s->dir, cJSON_GetObjectItem(config, "_class_name")->valuestring);
    char prefix[64];

    snprintf(prefix, sizeof prefix, "%s.", name);
    check_image(cx, vae, expected, prefix);
    vae_close(vae);
    store_close(expected);
    dl_context_free(cx);
}

static void as_diffusers_variants(void **state) {
    (void)state;
    assert_true(reference_variants("variants", "vae", check_variant) >= 8);
}

/* ---- configs -------------------------------------------------------------------------------- */

/* The config of a model with some keys changed in a folder of its own that has no weights. */
static int open_changed(struct scratch *s, const char *model, const char *changes) {
    char path[128];
    cJSON *config;
    struct vae *vae;
    int status;

    snprintf(path, sizeof path, "tests/data/%s/vae/config.json", model);
    config = reference_json(path);
    reference_config(s, config, changes);
    cJSON_Delete(config);
    status = vae_open(&s->cx, s->dir, NULL, &vae);
    assert_null(vae);
    return status;
}

static void unusable_configs_are_refused_by_key(void **state) {
    static const struct {
        const char *model, *key, *change;
    } cases[] = {
        {"tiny-sd1", "_class_name", "{\"_class_name\": \"VQModel\"}"},
        {"tiny-sd1", "block_out_channels", "{\"block_out_channels\": []}"},
        {"tiny-sd1", "block_out_channels", "{\"block_out_channels\": [8, 8, 8, 0]}"},
        {"tiny-sd1", "block_out_channels", "{\"block_out_channels\": [8, 8, 8, 2147483648]}"},
        {"tiny-sd1", "block_out_channels", "{\"block_out_channels\": [8, 8, 8, 9]}"},
        {"tiny-sd1", "block_out_channels", "{\"block_out_channels\": [8,8,8,8,8,8,8,8,8]}"},
        {"tiny-sd1", "up_block_types", "{\"block_out_channels\": [8, 8]}"},
        {"tiny-sd1", "up_block_types",
         "{\"up_block_types\": [\"UpDecoderBlock2D\", "
         "\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", "
         "\"AttnUpDecoderBlock2D\"]}"},
        {"tiny-sd1", "layers_per_block", "{\"layers_per_block\": 0}"},
        {"tiny-sd1", "layers_per_block", "{\"layers_per_block\": 2147483648}"},
        {"tiny-sd1", "norm_num_groups", "{\"norm_num_groups\": 0}"},
        {"tiny-sd1", "latent_channels", "{\"latent_channels\": -1}"},
        {"tiny-sd1", "out_channels", "{\"out_channels\": 4}"},
        {"tiny-sd1", "scaling_factor", "{\"scaling_factor\": 0}"},
        {"tiny-sd1", "shift_factor", "{\"shift_factor\": \"0\"}"},
        {"tiny-sd1", "latents_mean", "{\"latents_mean\": [0, 0, 0, 0]}"},
        {"tiny-sd1", "act_fn", "{\"act_fn\": \"mish\"}"},
        {"tiny-lcm", "num_decoder_blocks", "{\"num_decoder_blocks\": [1, 1]}"},
        {"tiny-lcm", "num_decoder_blocks", "{\"num_decoder_blocks\": [1, 1, 1, 1000000]}"},
        {"tiny-lcm", "num_decoder_blocks", "{\"num_decoder_blocks\": 3}"},
        {"tiny-lcm", "decoder_block_out_channels", "{\"decoder_block_out_channels\": [8,8,8,9]}"},
        {"tiny-lcm", "decoder_block_out_channels", "{\"decoder_block_out_channels\": [0,0,0,0]}"},
        {"tiny-lcm", "upsampling_scaling_factor", "{\"upsampling_scaling_factor\": 0}"},
        {"tiny-lcm", "upsample_fn", "{\"upsample_fn\": \"bilinear\"}"},
        {"tiny-lcm", "act_fn", "{\"act_fn\": 1}"},
    };
    struct scratch s;
    (void)state;

    scratch_begin(&s);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char where[64];
        if (open_changed(&s, cases[i].model, cases[i].change) != DL_MODEL)
            fail_msg("not refused: %s", cases[i].change);
        snprintf(where, sizeof where, "config.json: %s: ", cases[i].key);
        assert_contains(s.cx.message, where);
    }
    scratch_end(&s);
}

/* Opens, decodes where that works, and closes. */
static int open_and_run(dl_context *cx, const char *dir) {
    struct vae *vae;
    int status = vae_open(cx, dir, NULL, &vae);
    if (status == DL_OK) {
        float *latents = calloc(vae_latent_channels(vae) * 2, sizeof *latents);
        free(decode(cx, vae, latents, 1, 2));
        free(latents);
    }
    vae_close(vae);
    return status;
}

static void damaged_configs_do_no_harm(void **state) {
    (void)state;
    reference_damage_config("tests/data/tiny-sd1/vae", open_and_run, 200);
    reference_damage_config("tests/data/tiny-lcm/vae", open_and_run, 200);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* The peak is the last level's input, output and inner activation; convolutions need little more.
 */
static void peak_memory_is_three_activations(void **state) {
    (void)state;
    dl_context *cx = reference_context();
    struct vae *vae = open_vae(cx, "tests/data/tiny-sd1/vae", NULL);
    size_t pixels = 512 * 512, channels;

    channels = store_find(vae_store(vae), "decoder.conv_out.weight")->shape[1];
    arena_plan(cx);
    vae_decode(cx, vae, NULL, NULL, 64, 64);
    assert_true((double)arena_plan_end(cx) < 3.5 * (double)(pixels * channels * sizeof(float)));
    vae_close(vae);
    dl_context_free(cx);
}

/* A decoder in strips makes the same bits, whichever of its levels are in strips. */
static void check_strips(const char *dir, size_t H, size_t W) {
    dl_context *cx = reference_context();
    struct vae *vae = open_vae(cx, dir, NULL);
    const size_t values = 3 * H * W * vae_scale(vae) * vae_scale(vae);
    float *latents = malloc(vae_latent_channels(vae) * H * W * sizeof *latents);
    dl_noise(7, latents, vae_latent_channels(vae) * H * W);
    float *whole = decode(cx, vae, latents, H, W);
    for (cx->thrift.strips = 1; cx->thrift.strips <= 5; cx->thrift.strips++) {
        cx->threads = (int)(cx->thrift.strips % 3 + 1);
        float *strips = decode(cx, vae, latents, H, W);
        assert_memory_equal(strips, whole, values * sizeof *whole);
        free(strips);
    }
    free(whole);
    free(latents);
    vae_close(vae);
    dl_context_free(cx);
}

static void strips_are_exact(void **state) {
    (void)state;
    check_strips("tests/data/tiny-sd1/vae", 24, 12); /* the finest level in 4 strips */
    check_strips("tests/data/tiny-sd1/vae", 5, 3);   /* all levels in one */
    check_strips("tests/data/tiny-sd2/vae", 20, 9);
}

/* In strips the peak is little more than the result of the finest level. */
static void strips_need_one_activation(void **state) {
    (void)state;
    dl_context *cx = reference_context();
    struct vae *vae = open_vae(cx, "tests/data/tiny-sd1/vae", NULL);
    const size_t channels = store_find(vae_store(vae), "decoder.conv_out.weight")->shape[1];
    cx->threads = 1;
    cx->thrift.strips = 4;
    arena_plan(cx);
    vae_decode(cx, vae, NULL, NULL, 192, 192);
    const double result = 1536.0 * 1536.0 * (double)channels * sizeof(float);
    assert_true((double)arena_plan_end(cx) < 1.3 * result + 3 * 1536.0 * 1536.0 * sizeof(float));
    vae_close(vae);
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_diffusers_sd1),
        cmocka_unit_test(strips_are_exact),
        cmocka_unit_test(strips_need_one_activation),
        cmocka_unit_test(as_diffusers_sd2),
        cmocka_unit_test(as_diffusers_tiny),
        cmocka_unit_test(as_diffusers_variants),
        cmocka_unit_test(unusable_configs_are_refused_by_key),
        cmocka_unit_test(damaged_configs_do_no_harm),
        cmocka_unit_test(peak_memory_is_three_activations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
