/* diffusion/unet.c and what it is made of: against diffusers' UNet2DConditionModel as a whole and
 * block by block, and configs that cannot be. */
#include "diffusion/unet.h"
#include "diffusion/unet_config.h"
#include "reference.h"

/* The variants' coarse random weights amplify rounding: torch's own f32 is up to 7e-6 off f64. */
static const double tolerance = 2e-5, variant_tolerance = 1e-4;

/* ---- against diffusers ---------------------------------------------------------------------- */

static struct unet *open_unet(dl_context *cx, const char *model) {
    char dir[128];
    struct unet *u;
    snprintf(dir, sizeof dir, "tests/data/%s/unet", model);
    if (unet_open(cx, dir, &u) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return u;
}

/* Compares what a tap is shown with CALL.block.NAME. */
struct blocks {
    const struct store *expected;
    const char *prefix;
    size_t seen;
};

static void compare_block(void *user, const char *name, const float *data, size_t B, size_t H,
                          size_t W, size_t C) {
    struct blocks *blocks = user;
    const struct tensor *t = reference_tensor(blocks->expected, blocks->prefix, name);
    size_t P = H * W, count = B * P * C;
    float *first = malloc(count * sizeof *first); /* channels first */

    assert_int_equal(tensor_count(t), count);
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++)
                first[(b * C + c) * P + p] = data[(b * P + p) * C + c];
    assert_close(name, first, t->data, count, tolerance);
    free(first);
    blocks->seen++;
}

/* Plans, then runs; returns fresh memory. */
static float *run(dl_context *cx, const struct unet *u, const float *sample, size_t B, size_t H,
                  size_t W, float timestep, const struct unet_condition *condition) {
    size_t count = B * unet_config(u)->out_channels * H * W;
    float *out = malloc(count * sizeof *out);

    arena_plan(cx);
    unet_forward(cx, u, NULL, NULL, B, H, W, 0, condition);
    assert_int_equal(arena_reserve(cx, "UNet"), DL_OK);
    unet_forward(cx, u, out, sample, B, H, W, timestep, condition);
    assert_int_equal(arena_mark(cx), 0);
    return out;
}

static void check_call(dl_context *cx, const struct unet *u, const struct store *expected,
                       const char *call, const struct unet_condition *condition, double within) {
    const struct tensor *sample, *output, *timestep;
    char prefix[64], blocks_prefix[64];
    struct blocks blocks = {.expected = expected, .prefix = blocks_prefix};
    struct unet_tap tap = {compare_block, &blocks};
    struct unet_condition tapped = *condition;
    float *out;

    snprintf(prefix, sizeof prefix, "%s.", call);
    snprintf(blocks_prefix, sizeof blocks_prefix, "%s.block.", call);
    sample = reference_tensor(expected, prefix, "sample");
    output = reference_tensor(expected, prefix, "output");
    timestep = reference_tensor(expected, prefix, "timestep");
    tapped.tap = strcmp(call, "odd") == 0 ? &tap : NULL;

    out = run(cx, u, sample->data, sample->shape[0], sample->shape[2], sample->shape[3],
              *(const float *)timestep->data, &tapped);
    assert_close(call, out, output->data, tensor_count(output), within);
    if (tapped.tap)
        assert_int_equal(blocks.seen, 4 + 2 * unet_config(u)->levels);
    free(out);
}

static void check_model(const char *model) {
    static const char *const calls[] = {"square", "odd", "fraction", "tiny"};
    dl_context *cx = reference_context();
    struct unet *u = open_unet(cx, model);
    char name[64];
    struct store *expected;
    const struct tensor *states;
    struct unet_condition condition = {0};

    snprintf(name, sizeof name, "%s-unet", model);
    expected = reference_open(cx, name);
    states = reference_tensor(expected, "", "states");
    condition.states = states->data;
    condition.tokens = states->shape[1];
    assert_int_equal(unet_config(u)->cross_attention_dim, states->shape[2]);
    if (unet_config(u)->time_cond_proj_dim > 0)
        condition.timestep_cond = reference_tensor(expected, "", "timestep_cond")->data;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        check_call(cx, u, expected, calls[i], &condition, tolerance);
    store_close(expected);
    unet_close(u);
    dl_context_free(cx);
}

static void as_diffusers_sd1(void **state) {
    (void)state;
    check_model("tiny-sd1");
}

static void as_diffusers_sd2(void **state) {
    (void)state;
    check_model("tiny-sd2");
}

static void as_diffusers_lcm(void **state) {
    (void)state;
    check_model("tiny-lcm");
}

/* What no checkpoint is known to need is refused, by the key. */
static const char *unsupported_key(const char *variant) {
    return strcmp(variant, "mish") == 0      ? "act_fn"
           : strcmp(variant, "kernels") == 0 ? "conv_out_kernel"
                                             : NULL;
}

static void check_against(struct scratch *s, const char *name, const char *folder,
                          const char *file) {
    dl_context *cx = reference_context();
    struct store *expected = reference_open_in(cx, folder, file);
    const char *refused = unsupported_key(name);
    char prefix[64];
    struct unet *u;

    snprintf(prefix, sizeof prefix, "%s.", name);
    if (refused) {
        assert_int_equal(unet_open(cx, s->dir, &u), DL_MODEL);
        assert_contains(dl_message(cx), refused);
    } else if (unet_open(cx, s->dir, &u) != DL_OK) {
        fail_msg("%s: %s", name, dl_message(cx));
    } else {
        const struct tensor *states = reference_tensor(expected, prefix, "states");
        struct unet_condition condition = {.states = states->data, .tokens = states->shape[1]};
        assert_int_equal(unet_config(u)->states_dim, states->shape[2]);
        if (unet_config(u)->class_embedding != CLASS_NONE)
            condition.class_labels = reference_tensor(expected, prefix, "class_labels")->data;
        check_call(cx, u, expected, name, &condition, variant_tolerance);
        unet_close(u);
    }
    store_close(expected);
    dl_context_free(cx);
}

static void check_variant(struct scratch *s, const char *name, const cJSON *config) {
    (void)config;
    check_against(s, name, "expected", "unet-variants");
}

static void check_if(struct scratch *s, const char *name, const cJSON *config) {
    (void)config;
    check_against(s, name, "if", "expected");
}

/* DeepFloyd IF's blocks and embeddings, and the x4 upscaler's noise levels. */
static void as_diffusers_if(void **state) {
    (void)state;
    assert_true(reference_variants("if", "unet", check_if) >= 7);
}

static void as_diffusers_variants(void **state) {
    (void)state;
    assert_true(reference_variants("variants", "unet", check_variant) >= 19);
}

/* An item of a batch gives the same bits as alone. */
static void batch_items_are_independent(void **state) {
    (void)state;
    dl_context *cx = reference_context();
    struct unet *u = open_unet(cx, "tiny-sd1");
    struct store *expected = reference_open(cx, "tiny-sd1-unet");
    const struct tensor *sample = reference_tensor(expected, "square.", "sample");
    const struct tensor *states = reference_tensor(expected, "", "states");
    size_t one = tensor_count(sample) / 2, text = tensor_count(states) / 2;
    size_t H = sample->shape[2], W = sample->shape[3];
    struct unet_condition condition = {.states = states->data, .tokens = states->shape[1]};
    float *both = run(cx, u, sample->data, 2, H, W, 500, &condition);

    for (size_t i = 0; i < 2; i++) {
        float *alone;
        condition.states = (const float *)states->data + i * text;
        alone = run(cx, u, (const float *)sample->data + i * one, 1, H, W, 500, &condition);
        assert_memory_equal(alone, both + i * one, one * sizeof *alone);
        free(alone);
    }
    free(both);
    store_close(expected);
    unet_close(u);
    dl_context_free(cx);
}

/* ---- configs -------------------------------------------------------------------------------- */

/* tiny-sd1's config with some keys changed ({"key": value, ...}) in a folder of its own. */
static int read_changed(struct scratch *s, const char *changes, struct unet_config *out) {
    cJSON *config = reference_json("tests/data/tiny-sd1/unet/config.json");
    reference_config(s, config, changes);
    cJSON_Delete(config);
    return unet_config_read(&s->cx, s->dir, out);
}

static void unusable_configs_are_refused_by_key(void **state) {
    static const struct {
        const char *key, *change;
    } cases[] = {
        {"in_channels", "{\"in_channels\": 0}"},
        {"in_channels", "{\"in_channels\": 2147483648}"},
        {"out_channels", "{\"out_channels\": -4}"},
        {"sample_size", "{\"sample_size\": 0}"},
        {"sample_size", "{\"sample_size\": [8]}"},
        {"sample_size", "{\"sample_size\": [8, 8, 8]}"},
        {"block_out_channels", "{\"block_out_channels\": []}"},
        {"block_out_channels", "{\"block_out_channels\": [8, 8, 8, 0]}"},
        {"block_out_channels", "{\"block_out_channels\": [8, 8, 8, -8]}"},
        {"block_out_channels", "{\"block_out_channels\": [8, 8, 8, 2147483648]}"},
        {"block_out_channels", "{\"block_out_channels\": [8, 8, 8, 1e300]}"},
        {"block_out_channels", "{\"block_out_channels\": [8, 8, 8, 8.5]}"},
        {"block_out_channels", "{\"block_out_channels\": [8, 8, 8, \"8\"]}"},
        {"block_out_channels", "{\"block_out_channels\": [8,8,8,8,8,8,8,8,8]}"},
        {"block_out_channels", "{\"block_out_channels\": [13, 13, 13, 13]}"},
        {"down_block_types", "{\"block_out_channels\": [12, 12]}"},
        {"down_block_types", "{\"down_block_types\": [\"DownBlock2D\"]}"},
        {"down_block_types", "{\"down_block_types\": [\"DownBlock2D\", \"DownBlock2D\", "
                             "\"DownBlock2D\", \"KDownBlock2D\"]}"},
        {"up_block_types", "{\"up_block_types\": [\"UpBlock2D\", \"UpBlock2D\", "
                           "\"UpBlock2D\", \"DownBlock2D\"]}"},
        {"up_block_types", "{\"up_block_types\": [1, 2, 3, 4]}"},
        {"mid_block_type", "{\"mid_block_type\": \"Middle\"}"},
        {"layers_per_block", "{\"layers_per_block\": 0}"},
        {"layers_per_block", "{\"layers_per_block\": 2147483648}"},
        {"layers_per_block", "{\"layers_per_block\": [1, 1]}"},
        {"attention_head_dim", "{\"attention_head_dim\": 0}"},
        {"attention_head_dim", "{\"attention_head_dim\": 5}"},
        {"attention_head_dim", "{\"attention_head_dim\": [1, 1, 1]}"},
        {"cross_attention_dim", "{\"cross_attention_dim\": 0}"},
        {"transformer_layers_per_block", "{\"transformer_layers_per_block\": 1000000}"},
        {"transformer_layers_per_block", "{\"transformer_layers_per_block\": [1, [1, 2], 1, 1]}"},
        {"only_cross_attention", "{\"only_cross_attention\": [true]}"},
        {"only_cross_attention", "{\"only_cross_attention\": 1}"},
        {"norm_num_groups", "{\"norm_num_groups\": 0}"},
        {"block_out_channels", "{\"norm_num_groups\": 7}"},
        {"norm_eps", "{\"norm_eps\": -1}"},
        {"freq_shift", "{\"freq_shift\": 6}"},
        {"act_fn", "{\"act_fn\": \"mish\"}"},
        {"resnet_time_scale_shift", "{\"resnet_time_scale_shift\": \"ada_group\"}"},
        {"conv_in_kernel", "{\"conv_in_kernel\": 2}"},
        {"conv_out_kernel", "{\"conv_out_kernel\": 5}"},
        {"downsample_padding", "{\"downsample_padding\": 2}"},
        {"mid_block_scale_factor", "{\"mid_block_scale_factor\": 0}"},
        {"time_embedding_type", "{\"time_embedding_type\": \"fourier\"}"},
        {"attention_type", "{\"attention_type\": \"gated\"}"},
        {"dual_cross_attention", "{\"dual_cross_attention\": true}"},
        {"class_embed_type", "{\"class_embed_type\": \"projection\"}"},
        {"num_class_embeds", "{\"num_class_embeds\": -1}"},
        {"class_embeddings_concat", "{\"class_embeddings_concat\": true}"},
        {"addition_embed_type", "{\"addition_embed_type\": \"text_time\"}"},
        {"addition_embed_type_num_heads",
         "{\"addition_embed_type\": \"text\", \"addition_embed_type_num_heads\": 5}"},
        {"encoder_hid_dim_type", "{\"encoder_hid_dim_type\": \"image_proj\"}"},
        {"encoder_hid_dim", "{\"encoder_hid_dim_type\": \"text_proj\"}"},
        {"cross_attention_norm", "{\"cross_attention_norm\": \"layer_norm\"}"},
        {"cross_attention_dim",
         "{\"cross_attention_norm\": \"group_norm\", \"cross_attention_dim\": 33}"},
        {"cross_attention_dim", "{\"encoder_hid_dim\": 8, \"cross_attention_dim\": [8, 8, 8, 9]}"},
        {"resnet_out_scale_factor", "{\"resnet_out_scale_factor\": 0}"},
        {"attention_head_dim", "{\"mid_block_type\": \"UNetMidBlock2DSimpleCrossAttn\", "
                               "\"attention_head_dim\": [2, 2, 2, 5]}"},
        {"_class_name", "{\"_class_name\": \"UNet2DModel\"}"},
    };
    struct scratch s;
    struct unet_config config;
    (void)state;

    scratch_begin(&s);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char where[64];
        if (read_changed(&s, cases[i].change, &config) != DL_MODEL)
            fail_msg("not refused: %s", cases[i].change);
        snprintf(where, sizeof where, "config.json: %s: ", cases[i].key);
        assert_contains(s.cx.message, where);
    }
    scratch_end(&s);
}

static void config_lists_are_expanded(void **state) {
    struct scratch s;
    struct unet_config c;
    (void)state;

    scratch_begin(&s);
    assert_int_equal(
        read_changed(&s,
                     "{\"block_out_channels\": [16, 32, 64, 128], \"layers_per_block\": [1,2,3,4],"
                     "\"attention_head_dim\": [1, 2, 4, 8], \"only_cross_attention\": "
                     "[true, true, false, false], \"transformer_layers_per_block\": [1, 2, 10, 3],"
                     "\"cross_attention_dim\": [9, 9, 9, 9], \"sample_size\": [6, 9]}",
                     &c),
        DL_OK);
    assert_int_equal(c.levels, 4);
    assert_int_equal(c.sample_height, 6);
    assert_int_equal(c.sample_width, 9);
    assert_int_equal(c.cross_attention_dim, 9);
    assert_int_equal(c.time_embed_dim, 64);
    for (size_t i = 0; i < 4; i++) {
        const struct unet_level *down = &c.down[i], *up = &c.up[3 - i];
        assert_int_equal(down->channels, 16 << i);
        assert_int_equal(up->channels, 16 << i);
        assert_int_equal(down->layers, i + 1);
        assert_int_equal(up->layers, i + 2);
        assert_int_equal(down->heads, 1 << i);
        assert_int_equal(up->heads, 1 << i);
        assert_int_equal(up->head_dim, 1 << (3 - i)); /* sic, see unet_config.c */
        assert_int_equal(up->transformer_layers, down->transformer_layers);
        assert_int_equal(up->cross_attention_dim, down->cross_attention_dim);
        assert_int_equal(up->only_cross_attention, i < 2);
        assert_int_equal(down->resample, i < 3);
        assert_int_equal(up->resample, i > 0);
    }
    assert_int_equal(c.mid.transformer_layers, 3);
    assert_false(c.mid.only_cross_attention);
    scratch_end(&s);
}

static void config_without_middle(void **state) {
    struct scratch s;
    struct unet_config c;
    (void)state;

    scratch_begin(&s);
    assert_int_equal(read_changed(&s, "{\"mid_block_type\": null}", &c), DL_OK);
    assert_false(c.has_mid);
    assert_int_equal(read_changed(&s, "{}", &c), DL_OK);
    assert_true(c.has_mid);
    scratch_end(&s);
}

/* A config that does not belong to the weights: the message names the tensor. */
static void wrong_weights_are_refused_by_tensor(void **state) {
    struct scratch s;
    struct unet_config c;
    struct unet *u;
    dl_context *cx = reference_context();
    (void)state;

    scratch_begin(&s);
    reference_link(&s, "tests/data/tiny-sd1/unet/diffusion_pytorch_model.safetensors",
                   "diffusion_pytorch_model.safetensors");
    assert_int_equal(read_changed(&s, "{\"in_channels\": 5}", &c), DL_OK);
    assert_int_equal(unet_open(cx, s.dir, &u), DL_MODEL);
    assert_contains(dl_message(cx), "conv_in.weight");
    assert_int_equal(read_changed(&s, "{\"layers_per_block\": 16}", &c), DL_OK);
    assert_int_equal(unet_open(cx, s.dir, &u), DL_MODEL);
    assert_contains(dl_message(cx), "down_blocks.0.resnets.1.norm1.weight");
    assert_null(u);
    scratch_end(&s);
    dl_context_free(cx);
}

/* Opens, runs where that works, and closes. */
static int open_and_run(dl_context *cx, const char *dir) {
    struct unet *u;
    int status = unet_open(cx, dir, &u);
    if (status == DL_OK) {
        const struct unet_config *c = unet_config(u);
        float *sample = calloc(c->in_channels * 6, sizeof *sample);
        float *states = calloc(c->states_dim * 2, sizeof *states), label = 3;
        struct unet_condition condition = {.states = states, .tokens = 2, .class_labels = &label};
        free(run(cx, u, sample, 1, 2, 3, 10, &condition));
        free(sample);
        free(states);
    }
    unet_close(u);
    return status;
}

enum { ROUNDS = 200 };

static void damaged_configs_do_no_harm(void **state) {
    (void)state;
    reference_damage_config("tests/data/tiny-sd1/unet", open_and_run, ROUNDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_diffusers_sd1),
        cmocka_unit_test(as_diffusers_sd2),
        cmocka_unit_test(as_diffusers_lcm),
        cmocka_unit_test(as_diffusers_variants),
        cmocka_unit_test(as_diffusers_if),
        cmocka_unit_test(batch_items_are_independent),
        cmocka_unit_test(unusable_configs_are_refused_by_key),
        cmocka_unit_test(config_lists_are_expanded),
        cmocka_unit_test(config_without_middle),
        cmocka_unit_test(damaged_configs_do_no_harm),
        cmocka_unit_test(wrong_weights_are_refused_by_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
