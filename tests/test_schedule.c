/* diffusion/schedule: alphas_cumprod against diffusers', defaults by class, absurd configs. */
#include "diffusion/schedule.h"

#include "diffusion/sampler.h"
#include "reference.h"

static int open_text(struct scratch *s, const char *config, struct schedule **out) {
    scratch_text(s, "scheduler_config.json", config);
    return schedule_open(&s->cx, s->dir, out);
}

static struct schedule *open_right(struct scratch *s, const char *config) {
    struct schedule *schedule;
    if (open_text(s, config, &schedule) != DL_OK)
        fail_msg("%s: %s", config, s->cx.message);
    return schedule;
}

/* |a - b| in units of the last place of f32, both positive or 0. */
static uint32_t ulps(float a, float b) {
    uint32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x > y ? x - y : y - x;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* zero_snr subtracts the last square root from the others, and torch's vectorised square root is
 * off by up to one place itself: near the end that is some dozen places of what is left. */
static void alphas_cumprod(void **state) {
    static const struct {
        const char *name, *keys;
    } SCHEDULES[] = {
        {"linear", "\"beta_schedule\":\"linear\""},
        {"scaled_linear", "\"beta_schedule\":\"scaled_linear\""},
        {"squaredcos_cap_v2", "\"beta_schedule\":\"squaredcos_cap_v2\""},
        {"zero_snr", "\"beta_schedule\":\"scaled_linear\",\"rescale_betas_zero_snr\":true"}};
    struct scratch *s = *state;
    struct store *store;
    assert_int_equal(store_open_file(&s->cx, "tests/data/schedulers/cases.safetensors", &store),
                     DL_OK);
    for (size_t i = 0; i < sizeof SCHEDULES / sizeof SCHEDULES[0]; i++) {
        char config[256];
        uint32_t worst = 0;
        const struct tensor *t = reference_tensor(store, "alphas_cumprod.", SCHEDULES[i].name);
        const float *expected = t->data;
        snprintf(config, sizeof config, "{\"beta_start\":0.00085,\"beta_end\":0.012,%s}",
                 SCHEDULES[i].keys);
        struct schedule *schedule = open_right(s, config);
        assert_int_equal(schedule->num_train_timesteps, tensor_count(t));
        for (size_t k = 0; k < schedule->num_train_timesteps; k++) {
            const uint32_t d = ulps(schedule->alphas_cumprod[k], expected[k]);
            worst = d > worst ? d : worst;
        }
        if (getenv("DLENS_TEST_VERBOSE"))
            printf("alphas_cumprod.%s: %u ulp\n", SCHEDULES[i].name, worst);
        if (worst > (strcmp(SCHEDULES[i].name, "zero_snr") == 0 ? 64 : 2))
            fail_msg("alphas_cumprod.%s: %u ulp off", SCHEDULES[i].name, worst);
        schedule_close(schedule);
    }
    store_close(store);
}

/* Betas as the file lists them, in all of the schedule's arithmetic. */
static void trained_betas(void **state) {
    struct schedule *schedule =
        open_right(*state, "{\"num_train_timesteps\":3,\"trained_betas\":[0.5,0.25,0.125]}");
    const float expected[] = {0.5f, 0.375f, 0.328125f};
    assert_memory_equal(schedule->alphas_cumprod, expected, sizeof expected);
    schedule_close(schedule);
}

/* ---- defaults -------------------------------------------------------------------------------- */

/* What a file leaves out takes the default of the sampler's class, not of the file's. */
static void missing_keys(void **state) {
    static const struct schedule_defaults OTHER = {
        0.01, 0.02, BETAS_SCALED_LINEAR, SPACING_LINSPACE, CLIP_NO, VARIANCE_FIXED_LARGE};
    dl_context *cx = &((struct scratch *)*state)->cx;
    struct schedule *bare = open_right(*state, "{\"_class_name\":\"DDIMScheduler\"}"), *s;
    assert_int_equal(bare->timestep_spacing, SPACING_MISSING);
    assert_int_equal(bare->clip_sample, CLIP_MISSING);
    assert_true(bare->beta_start < 0);
    assert_int_equal(bare->num_train_timesteps, 1000);
    assert_int_equal(bare->steps_offset, 0);
    assert_true(bare->set_alpha_to_one);
    assert_true(isinf(bare->lambda_min_clipped) && bare->lambda_min_clipped < 0);
    assert_int_equal(schedule_complete(cx, bare, &OTHER, &s), DL_OK);
    assert_true(s->beta_start == 0.01 && s->beta_end == 0.02);
    assert_int_equal(s->beta_schedule, BETAS_SCALED_LINEAR);
    assert_int_equal(s->timestep_spacing, SPACING_LINSPACE);
    assert_int_equal(s->clip_sample, CLIP_NO);
    assert_int_equal(s->variance_type, VARIANCE_FIXED_LARGE);
    assert_true(fabsf(s->alphas_cumprod[0] - 0.99f) < 1e-6f);
    schedule_close(s);
    schedule_close(bare);
}

static void given_keys(void **state) {
    static const struct schedule_defaults OTHER = {
        0.01, 0.02, BETAS_SCALED_LINEAR, SPACING_LINSPACE, CLIP_NO, VARIANCE_FIXED_LARGE};
    dl_context *cx = &((struct scratch *)*state)->cx;
    struct schedule *file = open_right(
        *state, "{\"_class_name\":\"PNDMScheduler\",\"beta_start\":0.001,\"beta_end\":0.01,"
                "\"beta_schedule\":\"linear\",\"timestep_spacing\":\"trailing\","
                "\"clip_sample\":true,\"variance_type\":\"learned_range\",\"trained_betas\":null,"
                "\"skip_prk_steps\":true,\"an_unknown_key\":[1,2]}");
    struct schedule *s;
    assert_int_equal(schedule_complete(cx, file, &OTHER, &s), DL_OK);
    assert_true(s->beta_start == 0.001 && s->beta_end == 0.01);
    assert_int_equal(s->beta_schedule, BETAS_LINEAR);
    assert_int_equal(s->timestep_spacing, SPACING_TRAILING);
    assert_int_equal(s->clip_sample, CLIP_YES);
    assert_int_equal(s->variance_type, VARIANCE_LEARNED_RANGE);
    assert_string_equal(s->class_name, "PNDMScheduler");
    schedule_close(s);
    schedule_mend_outdated(file);
    assert_int_equal(file->steps_offset, 1);
    assert_int_equal(file->clip_sample, CLIP_NO);
    schedule_close(file);
}

/* Python writes infinities as words. */
static void infinity(void **state) {
    struct schedule *s = open_right(
        *state,
        "{\"lambda_min_clipped\": -Infinity,\"note\":\"\\\"-Infinity\",\"solver_order\":2}");
    assert_true(isinf(s->lambda_min_clipped) && s->lambda_min_clipped < 0);
    schedule_close(s);
}

static void default_samplers(void **state) {
    static const struct {
        const char *config, *sampler;
    } CASES[] = {
        {"{}", "ddim"},
        {"{\"_class_name\":\"PNDMScheduler\"}", "ddim"},
        {"{\"_class_name\":\"DPMSolverMultistepScheduler\"}", "ddim"},
        {"{\"_class_name\":\"LCMScheduler\"}", "lcm"},
        {"{\"_class_name\":\"EulerDiscreteScheduler\"}", "ddim"},
        {"{\"_class_name\":\"EulerDiscreteScheduler\",\"timestep_spacing\":\"leading\"}", "ddim"},
        {"{\"_class_name\":\"EulerDiscreteScheduler\",\"timestep_spacing\":\"trailing\"}", "euler"},
        {"{\"_class_name\":\"EulerAncestralDiscreteScheduler\","
         "\"timestep_spacing\":\"trailing\"}",
         "euler-a"},
        {"{\"_class_name\":\"DDIMScheduler\",\"timestep_spacing\":\"trailing\"}", "ddim"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct schedule *s = open_right(*state, CASES[i].config);
        assert_string_equal(schedule_default_sampler(s), CASES[i].sampler);
        assert_non_null(sampler_find(schedule_default_sampler(s)));
        schedule_close(s);
    }
}

/* ---- absurd configs -------------------------------------------------------------------------- */

static void absurd_values(void **state) {
    /* the key to be named, its value and what goes with it */
    static const struct {
        const char *key, *value, *more;
    } CASES[] = {
        {"num_train_timesteps", "0", ""},
        {"num_train_timesteps", "-1", ""},
        {"num_train_timesteps", "2147483648", ""},
        {"num_train_timesteps", "1e300", ""},
        {"num_train_timesteps", "10.5", ""},
        {"num_train_timesteps", "\"1000\"", ""},
        {"num_train_timesteps", "[1000]", ""},
        {"beta_start", "-0.1", ""},
        {"beta_start", "1.5", ""},
        {"beta_start", "Infinity", ""},
        {"beta_start", "\"x\"", ""},
        {"beta_end", "-Infinity", ""},
        {"beta_end", "2147483648", ""},
        {"beta_end", "1", ""},
        {"beta_start", "0", ",\"beta_end\":0"},
        {"beta_start", "0.9", ",\"beta_end\":0.99"}, /* nothing left long before the end */
        {"beta_schedule", "\"sigmoid\"", ""},
        {"beta_schedule", "1", ""},
        {"trained_betas", "[]", ""},
        {"trained_betas", "[0.1,0.2]", ""},
        {"trained_betas", "0.1", ""},
        {"trained_betas", "{}", ""},
        {"trained_betas", "[0.1,0.2,2]", ",\"num_train_timesteps\":3"},
        {"trained_betas", "[0.1,\"x\",0.2]", ",\"num_train_timesteps\":3"},
        {"trained_betas", "[0.1,null,0.2]", ",\"num_train_timesteps\":3"},
        {"trained_betas", "[0.1,-0.1,0.2]", ",\"num_train_timesteps\":3"},
        {"trained_betas", "[0,0.1,0.2]", ",\"num_train_timesteps\":3"},
        {"trained_betas", "[0.1,0.1,1]", ",\"num_train_timesteps\":3"},
        {"rescale_betas_zero_snr", "true", ",\"num_train_timesteps\":1"},
        {"rescale_betas_zero_snr", "1", ""},
        {"prediction_type", "\"flow_prediction\"", ""},
        {"prediction_type", "7", ""},
        {"timestep_spacing", "\"sideways\"", ""},
        {"steps_offset", "-1", ""},
        {"steps_offset", "1000", ""},
        {"steps_offset", "2147483648", ""},
        {"original_inference_steps", "0", ""},
        {"original_inference_steps", "4294967296", ""},
        {"sigma_min", "0", ""},
        {"sigma_max", "1e300", ""},
        {"lambda_min_clipped", "\"-inf\"", ""},
        {"final_sigmas_type", "\"none\"", ""},
        {"clip_sample", "0", ""},
        {"clip_sample_range", "0", ""},
        {"clip_sample_range", "-1", ""},
        {"thresholding", "\"yes\"", ""},
        {"dynamic_thresholding_ratio", "1.01", ""},
        {"dynamic_thresholding_ratio", "-0.5", ""},
        {"sample_max_value", "0", ""},
        {"sample_max_value", "-1", ""},
        {"set_alpha_to_one", "2", ""},
        {"variance_type", "\"huge\"", ""},
        {"timestep_scaling", "0", ""},
        {"solver_type", "\"magic\"", ""},
        {"solver_order", "0", ""},
        {"solver_order", "2147483648", ""},
        {"lower_order_final", "\"no\"", ""},
        {"use_karras_sigmas", "\"no\"", ""},
        {"_class_name", "\"FlowMatchEulerDiscreteScheduler\"", ""},
        {"_class_name", "[\"DDIMScheduler\"]", ""},
        {"algorithm_type", "1", ""},
    };
    struct scratch *s = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char config[256];
        struct schedule *schedule;
        snprintf(config, sizeof config, "{\"%s\":%s%s}", CASES[i].key, CASES[i].value,
                 CASES[i].more);
        s->cx.message[0] = '\0';
        if (open_text(s, config, &schedule) != DL_MODEL)
            fail_msg("%s: accepted", config);
        assert_null(schedule);
        assert_contains(s->cx.message, "scheduler_config.json");
        if (!strstr(s->cx.message, CASES[i].key))
            fail_msg("%s: the message does not name the key: %s", config, s->cx.message);
    }
}

static void broken_files(void **state) {
    static const char *const TEXTS[] = {
        "", "{", "[]", "null", "{\"beta_start\":NaN}", "{\"beta_start\":nan}", "{\"beta_start\":}"};
    struct scratch *s = *state;
    struct schedule *schedule;
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        assert_int_equal(open_text(s, TEXTS[i], &schedule), DL_MODEL);
        assert_contains(s->cx.message, "scheduler_config.json");
    }
    unlink(scratch_path(s, "scheduler_config.json"));
    assert_int_equal(schedule_open(&s->cx, s->dir, &schedule), DL_MODEL);
    assert_null(schedule);
    assert_contains(s->cx.message, "scheduler_config.json");
}

/* The longest schedule allowed opens at once; one more timestep does not. */
static void longest(void **state) {
    struct scratch *s = *state;
    struct schedule *schedule;
    char config[128];
    snprintf(config, sizeof config,
             "{\"num_train_timesteps\":%d,\"beta_start\":1e-6,\"beta_end\":1e-4}",
             TRAIN_TIMESTEPS_MAX);
    schedule_close(open_right(s, config));
    snprintf(config, sizeof config, "{\"num_train_timesteps\":%d}", TRAIN_TIMESTEPS_MAX + 1);
    assert_int_equal(open_text(s, config, &schedule), DL_MODEL);
}

int main(void) {
    static struct scratch s;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(alphas_cumprod, &s),
        cmocka_unit_test_prestate(trained_betas, &s),
        cmocka_unit_test_prestate(missing_keys, &s),
        cmocka_unit_test_prestate(given_keys, &s),
        cmocka_unit_test_prestate(infinity, &s),
        cmocka_unit_test_prestate(default_samplers, &s),
        cmocka_unit_test_prestate(absurd_values, &s),
        cmocka_unit_test_prestate(broken_files, &s),
        cmocka_unit_test_prestate(longest, &s),
    };
    scratch_begin(&s);
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_end(&s);
    return result;
}
