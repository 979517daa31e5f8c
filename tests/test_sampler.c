/* diffusion/sampler: timesteps, noise levels and whole trajectories against diffusers'
 * (tests/data/schedulers, see tests/data/README.md), and what is refused. */
#include "diffusion/sampler.h"

#include "diffusion/timestep_lists.h"
#include "reference.h"

enum { N = 20 }; /* values of a picture */

/* Each value within tolerance of the largest value of its own step. */
static const double TOLERANCE = 2e-6;

static struct schedule *open_config(struct scratch *s, const cJSON *config) {
    struct schedule *schedule;
    char *text = cJSON_Print(config);
    scratch_text(s, "scheduler_config.json", text);
    cJSON_free(text);
    if (schedule_open(&s->cx, s->dir, &schedule) != DL_OK)
        fail_msg("%s", s->cx.message);
    return schedule;
}

static struct store *open_cases(struct scratch *s) {
    struct store *store;
    if (store_open_file(&s->cx, "tests/data/schedulers/cases.safetensors", &store) != DL_OK)
        fail_msg("%s", s->cx.message);
    return store;
}

static double number(const cJSON *object, const char *key, double fallback) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item ? item->valuedouble : fallback;
}

/* ---- trajectories ---------------------------------------------------------------------------- */

static void check_levels(const struct sampling *s, const struct store *store, const char *prefix) {
    char name[128];
    const struct tensor *timesteps = reference_tensor(store, prefix, ".timesteps");
    assert_int_equal(s->steps, tensor_count(timesteps));
    /* Karras' sigmas fall between timesteps: these come from logarithms, which differ in the last
     * place of f32 */
    const double slack =
        s->schedule->use_karras_sigmas && strcmp(s->sampler->name, "euler") == 0 ? 1e-5 : 0;
    for (size_t i = 0; i < s->steps; i++) {
        if (fabs((double)s->timesteps[i] - (double)((const float *)timesteps->data)[i]) > slack)
            fail_msg("%s: timestep %zu is %.9g, not %.9g", prefix, i, (double)s->timesteps[i],
                     (double)((const float *)timesteps->data)[i]);
    }
    snprintf(name, sizeof name, "%s.sigmas", prefix);
    if (store_find(store, name))
        assert_close(name, s->sigmas, store_find(store, name)->data, s->steps + 1, 3e-7);
    snprintf(name, sizeof name, "%s: init_noise_sigma", prefix);
    assert_close(name, &s->init_noise_sigma,
                 reference_tensor(store, prefix, ".init_noise_sigma")->data, 1, 3e-7);
}

static void run_case(struct scratch *scratch, const struct store *store, const cJSON *item) {
    const char *name = cJSON_GetObjectItem(item, "name")->valuestring;
    const float *output = reference_tensor(store, "", "model_output")->data;
    const float *expected = reference_tensor(store, name, ".trajectory")->data;
    struct schedule *schedule = open_config(scratch, cJSON_GetObjectItem(item, "config"));
    struct sampling s;
    static struct rng rng;
    float x[N], input[N];
    if (sampling_begin(&scratch->cx, &s,
                       sampler_find(cJSON_GetObjectItem(item, "sampler")->valuestring), schedule,
                       (size_t)number(item, "steps", 0), number(item, "eta", 0), N) != DL_OK)
        fail_msg("%s: %s", name, scratch->cx.message);
    check_levels(&s, store, name);
    rng_seed(&rng, (uint64_t)number(item, "seed", 0));
    memcpy(x, reference_tensor(store, "", "start")->data, sizeof x);
    for (size_t k = 0; k < N; k++)
        x[k] *= s.init_noise_sigma;
    sampling_scale_input(&s, 0, input, x);
    assert_close(name, input, reference_tensor(store, name, ".input.0")->data, N, TOLERANCE);
    for (size_t i = 0; i < s.steps; i++) {
        char what[128];
        sampling_step(&s, i, x, output + i % 12 * N, &rng);
        snprintf(what, sizeof what, "%s, step %zu", name, i);
        assert_close(what, x, expected + i * N, N, TOLERANCE);
    }
    sampling_end(&s);
    schedule_close(schedule);
}

static void trajectories(void **state) {
    struct scratch *s = *state;
    struct store *store = open_cases(s);
    cJSON *cases = reference_json("tests/data/schedulers/cases.json");
    const cJSON *item;
    int count = 0;
    cJSON_ArrayForEach(item, cases) {
        run_case(s, store, item);
        count++;
    }
    assert_true(count >= 170);
    cJSON_Delete(cases);
    store_close(store);
}

/* ---- other numbers of steps ------------------------------------------------------------------ */

/* All timesteps of a run, of which only the first and last 10 are kept where there are more. */
static void check_grid_run(const struct sampling *s, const char *what, const float *expected) {
    for (size_t i = 0; i < s->steps; i++) {
        if (s->steps > 50 && i >= 10 && i < s->steps - 10)
            continue;
        if (s->timesteps[i] != *expected++)
            fail_msg("%s: timestep %zu is %.9g, not %.9g", what, i, (double)s->timesteps[i],
                     (double)expected[-1]);
    }
}

/* What the reference makes but cannot run, as its first timestep is outside the schedule or two
 * steps are the same, is refused. */
static bool runs(const char *sampler, const char *config, size_t steps) {
    const bool indexed = strcmp(sampler, "ddim") == 0 || strcmp(sampler, "ddpm") == 0;
    const bool offset = strcmp(config, "sd1") == 0 || strcmp(config, "lcm") == 0;
    if (steps == 1000 && offset && indexed)
        return false;
    if (strcmp(sampler, "dpm++2m") == 0)
        return steps < (strcmp(config, "lcm") == 0 ? 999 : 1000) || strcmp(config, "turbo") == 0;
    return true;
}

static void check_grid(struct scratch *scratch, const struct store *store, const char *name,
                       const struct schedule *schedule, const char *sampler) {
    char prefix[64], what[128];
    snprintf(prefix, sizeof prefix, "grid.%s.%s", name, sampler);
    const int64_t *steps = store_find(store, "grid.steps")->data;
    const size_t runs_count = tensor_count(store_find(store, "grid.steps"));
    snprintf(what, sizeof what, "%s.counts", prefix);
    const int64_t *counts = store_find(store, what)->data;
    const float *expected = reference_tensor(store, prefix, ".timesteps")->data;
    for (size_t r = 0; r < runs_count; r++) {
        struct sampling s;
        const size_t count = (size_t)counts[r];
        const int status = sampling_begin(&scratch->cx, &s, sampler_find(sampler), schedule,
                                          (size_t)steps[r], 0, N);
        snprintf(what, sizeof what, "%s, %d steps", prefix, (int)steps[r]);
        if (count == 0 || !runs(sampler, name, (size_t)steps[r])) {
            if (status != DL_USAGE)
                fail_msg("%s: accepted", what);
            assert_contains(scratch->cx.message, "--steps");
        } else {
            if (status != DL_OK)
                fail_msg("%s: %s", what, scratch->cx.message);
            assert_int_equal(s.steps, count);
            check_grid_run(&s, what, expected);
        }
        expected += count > 50 ? 20 : count;
        sampling_end(&s);
    }
}

static void grids(void **state) {
    static const struct {
        const char *name, *config; /* of the case that has the same config */
    } GRIDS[] = {{"sd1", "ddim.sd1"},
                 {"turbo", "ddim.turbo"},
                 {"lcm", "ddim.lcm"},
                 {"linspace", "ddim.linspace"}};
    struct scratch *s = *state;
    struct store *store = open_cases(s);
    cJSON *cases = reference_json("tests/data/schedulers/cases.json");
    for (size_t i = 0; i < sizeof GRIDS / sizeof GRIDS[0]; i++) {
        const cJSON *item;
        cJSON_ArrayForEach(item, cases) {
            if (strcmp(cJSON_GetObjectItem(item, "name")->valuestring, GRIDS[i].config) != 0)
                continue;
            struct schedule *schedule = open_config(s, cJSON_GetObjectItem(item, "config"));
            for (const char *const *name = sampler_names(); *name; name++)
                check_grid(s, store, GRIDS[i].name, schedule, *name);
            schedule_close(schedule);
        }
    }
    cJSON_Delete(cases);
    store_close(store);
}

static struct schedule *open_text(struct scratch *s, const char *config) {
    struct schedule *schedule;
    scratch_text(s, "scheduler_config.json", config);
    if (schedule_open(&s->cx, s->dir, &schedule) != DL_OK)
        fail_msg("%s: %s", config, s->cx.message);
    return schedule;
}

/* With trailing timesteps 1000/61 in f64 makes numpy count one step too many, at timestep -1. */
static void trailing_has_no_step_below_zero(void **state) {
    struct scratch *scratch = *state;
    struct schedule *schedule = open_text(scratch, "{\"timestep_spacing\":\"trailing\"}");
    for (const char *const *name = sampler_names(); *name; name++) {
        struct sampling s;
        if (strcmp(*name, "lcm") == 0)
            continue;
        assert_int_equal(sampling_begin(&scratch->cx, &s, sampler_find(*name), schedule, 61, 0, N),
                         DL_OK);
        assert_int_equal(s.steps, 61);
        assert_true(s.timesteps[0] == 999 && s.timesteps[60] >= 0);
        sampling_end(&s);
    }
    schedule_close(schedule);
}

/* ---- noise and repetition -------------------------------------------------------------------- */

/* How many values a run of 3 steps draws. */
static size_t draws(struct scratch *scratch, const struct schedule *schedule, const char *name,
                    double eta) {
    static struct rng rng, other;
    const float out[2 * N] = {0};
    float x[N], wanted, drawn[4 * N], next;
    struct sampling s;
    if (sampling_begin(&scratch->cx, &s, sampler_find(name), schedule, 3, eta, N) != DL_OK)
        fail_msg("%s", scratch->cx.message);
    rng_seed(&rng, 5);
    rng_normal(&rng, x, N);
    for (size_t i = 0; i < s.steps; i++)
        sampling_step(&s, i, x, out, &rng);
    rng_normal(&rng, &next, 1);
    sampling_end(&s);
    for (size_t k = 0; k < 5; k++) {
        rng_seed(&other, 5);
        for (size_t j = 0; j <= k; j++)
            rng_normal(&other, drawn, N);
        rng_normal(&other, &wanted, 1);
        if (wanted == next)
            return k;
    }
    return SIZE_MAX;
}

static void noise(void **state) {
    struct schedule *zero = open_text(*state, "{\"timestep_spacing\":\"leading\"}");
    struct schedule *one =
        open_text(*state, "{\"timestep_spacing\":\"leading\",\"steps_offset\":1}");
    assert_int_equal(draws(*state, zero, "ddim", 0), 0);
    assert_int_equal(draws(*state, zero, "ddim", 0.5), 3);
    assert_int_equal(draws(*state, zero, "dpm++2m", 0), 0);
    assert_int_equal(draws(*state, zero, "euler", 0), 0);
    assert_int_equal(draws(*state, zero, "euler-a", 0), 3);
    assert_int_equal(draws(*state, zero, "lcm", 0), 2);
    assert_int_equal(draws(*state, zero, "ddpm", 0), 2);
    assert_int_equal(draws(*state, one, "ddpm", 0), 3); /* its last timestep is 1 */
    schedule_close(zero);
    schedule_close(one);
}

/* A second run of the same sampling equals the first to the last bit. */
static void again(void **state) {
    struct scratch *scratch = *state;
    struct store *store = open_cases(scratch);
    const float *output = reference_tensor(store, "", "model_output")->data;
    struct schedule *schedule = open_text(scratch, "{\"clip_sample\":false}");
    for (const char *const *name = sampler_names(); *name; name++) {
        static struct rng rng;
        float x[2][N];
        struct sampling s;
        assert_int_equal(sampling_begin(&scratch->cx, &s, sampler_find(*name), schedule, 4, 0.5, N),
                         DL_OK);
        for (size_t run = 0; run < 2; run++) {
            memcpy(x[run], reference_tensor(store, "", "start")->data, sizeof x[run]);
            rng_seed(&rng, 3);
            for (size_t i = 0; i < s.steps; i++)
                sampling_step(&s, i, x[run], output + i * N, &rng);
        }
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        sampling_end(&s);
    }
    schedule_close(schedule);
    store_close(store);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void check_refused(struct scratch *scratch, const char *config, const char *sampler,
                          size_t steps, double eta, int status, const char *part) {
    struct schedule *schedule = open_text(scratch, config);
    struct sampling s;
    const int actual =
        sampling_begin(&scratch->cx, &s, sampler_find(sampler), schedule, steps, eta, N);
    if (actual != status)
        fail_msg("%s with %s: status %d", sampler, config, actual);
    assert_contains(scratch->cx.message, part);
    sampling_end(&s);
    schedule_close(schedule);
}

static void refusals(void **state) {
    struct scratch *s = *state;
    for (const char *const *name = sampler_names(); *name; name++) {
        check_refused(s, "{}", *name, 0, 0, DL_USAGE, "--steps 0");
        check_refused(s, "{}", *name, 1001, 0, DL_USAGE, "--steps 1001");
        check_refused(s, "{}", *name, SIZE_MAX, 0, DL_USAGE, "--steps");
        check_refused(s, "{}", *name, 5, -0.1, DL_USAGE, "eta");
        check_refused(s, "{}", *name, 5, NAN, DL_USAGE, "eta");
        assert_string_equal(sampler_find(*name)->name, *name);
    }
    assert_null(sampler_find("plms"));
    assert_null(sampler_find(""));
    check_refused(s, "{}", "lcm", 51, 0, DL_USAGE, "original_inference_steps");
    check_refused(s, "{\"num_train_timesteps\":20,\"beta_end\":0.1}", "lcm", 4, 0, DL_MODEL,
                  "original_inference_steps");
    check_refused(s, "{\"steps_offset\":999}", "ddim", 2, 0, DL_USAGE, "steps_offset");
    check_refused(s, "{\"prediction_type\":\"sample\"}", "euler-a", 2, 0, DL_USAGE, "sample");
    check_refused(s, "{\"rescale_betas_zero_snr\":true,\"timestep_spacing\":\"trailing\"}", "ddim",
                  2, 0, DL_MODEL, "rescale_betas_zero_snr");
    check_refused(s, "{\"lambda_min_clipped\":99}", "dpm++2m", 2, 0, DL_MODEL,
                  "lambda_min_clipped");
    check_refused(s, "{\"algorithm_type\":\"sde-dpmsolver++\"}", "dpm++2m", 2, 0, DL_MODEL,
                  "algorithm_type");
    check_refused(s, "{\"solver_order\":3}", "dpm++2m", 2, 0, DL_MODEL, "solver_order");
    check_refused(s, "{\"use_beta_sigmas\":true}", "dpm++2m", 2, 0, DL_MODEL, "use_beta_sigmas");
    check_refused(s, "{\"use_beta_sigmas\":true}", "euler", 2, 0, DL_MODEL, "use_beta_sigmas");
    check_refused(s, "{\"use_lu_lambdas\":true}", "dpm++2m", 2, 0, DL_MODEL, "use_lu_lambdas");
    check_refused(s, "{\"interpolation_type\":\"log_linear\"}", "euler", 2, 0, DL_MODEL,
                  "interpolation_type");
}

/* Any config that opens either runs or is refused, whatever the numbers in it. */
static void mutated_configs(void **state) {
    static const char VALID[] =
        "{\"_class_name\":\"DDIMScheduler\",\"num_train_timesteps\":100,\"beta_start\":0.001,"
        "\"beta_end\":0.03,\"beta_schedule\":\"scaled_linear\",\"steps_offset\":1,"
        "\"timestep_spacing\":\"leading\",\"thresholding\":true,\"sample_max_value\":1.5,"
        "\"dynamic_thresholding_ratio\":0.9,\"use_karras_sigmas\":true,\"sigma_min\":0.1,"
        "\"sigma_max\":9.5,\"lambda_min_clipped\":-5.5,\"variance_type\":\"learned_range\","
        "\"original_inference_steps\":10,\"rescale_betas_zero_snr\":false}";
    struct scratch *scratch = *state;
    uint64_t random = 77;
    int opened = 0;
    for (int round = 0; round < 3000; round++) {
        static struct rng rng;
        unsigned char text[sizeof VALID];
        struct schedule *schedule;
        memcpy(text, VALID, sizeof text);
        const size_t size = scratch_mutate(&random, text, sizeof VALID - 1);
        scratch_file(scratch, "scheduler_config.json", text, size);
        if (schedule_open(&scratch->cx, scratch->dir, &schedule) != DL_OK)
            continue;
        opened++;
        for (const char *const *name = sampler_names(); *name; name++) {
            struct sampling s;
            float x[N] = {1, -2, 3}, out[2 * N] = {0.5f, 9, -1e30f};
            rng_seed(&rng, 1);
            if (sampling_begin(&scratch->cx, &s, sampler_find(*name), schedule, 6, 1, N) == DL_OK) {
                for (size_t i = 0; i < s.steps; i++) {
                    sampling_scale_input(&s, i, x, x);
                    sampling_step(&s, i, x, out, &rng);
                }
            }
            sampling_end(&s);
        }
        schedule_close(schedule);
    }
    assert_true(opened > 100);
}

/* ---- pixel cascades: learned variance, thresholding, lists of timesteps ---------------------- */

enum { IF_N = 30 };

static int begin_if(struct scratch *scratch, struct sampling *s, const struct schedule *schedule,
                    const cJSON *item) {
    const struct sampler *sampler = sampler_find(cJSON_GetObjectItem(item, "sampler")->valuestring);
    const cJSON *list = cJSON_GetObjectItem(item, "list"), *value;
    int timesteps[16];
    size_t count = 0;
    if (list) {
        const int *named = timestep_list(list->valuestring, &count);
        return sampling_begin_at(&scratch->cx, s, sampler, schedule, named, count, 0, IF_N);
    }
    cJSON_ArrayForEach(value, cJSON_GetObjectItem(item, "timesteps")) {
        timesteps[count++] = value->valueint;
    }
    if (count)
        return sampling_begin_at(&scratch->cx, s, sampler, schedule, timesteps, count, 0, IF_N);
    return sampling_begin(&scratch->cx, s, sampler, schedule, (size_t)number(item, "steps", 0), 0,
                          IF_N);
}

static void run_if_case(struct scratch *scratch, const struct store *store, const cJSON *item) {
    const char *name = cJSON_GetObjectItem(item, "name")->valuestring;
    const float *output = reference_tensor(store, "", "model_output")->data;
    const struct tensor *expected = reference_tensor(store, name, ".trajectory");
    const float *timesteps = reference_tensor(store, name, ".timesteps")->data;
    struct schedule *schedule = open_config(scratch, cJSON_GetObjectItem(item, "config"));
    struct sampling s;
    static struct rng rng;
    float x[IF_N];
    if (begin_if(scratch, &s, schedule, item) != DL_OK)
        fail_msg("%s: %s", name, scratch->cx.message);
    assert_int_equal(s.steps, expected->shape[0]);
    assert_true(s.outputs <= 2 * IF_N);
    rng_seed(&rng, (uint64_t)number(item, "seed", 0));
    memcpy(x, reference_tensor(store, "", "start")->data, sizeof x);
    for (size_t k = 0; k < IF_N; k++)
        x[k] *= s.init_noise_sigma;
    for (size_t i = 0; i < s.steps; i++) {
        char what[128];
        assert_true(s.timesteps[i] == timesteps[i]);
        sampling_step(&s, i, x, output + i % 12 * 2 * IF_N, &rng);
        snprintf(what, sizeof what, "if.%s, step %zu", name, i);
        assert_close(what, x, (const float *)expected->data + i * IF_N, IF_N, TOLERANCE);
    }
    sampling_end(&s);
    schedule_close(schedule);
}

static struct store *open_if(struct scratch *s) {
    struct store *store;
    if (store_open_file(&s->cx, "tests/data/schedulers/if.safetensors", &store) != DL_OK)
        fail_msg("%s", s->cx.message);
    return store;
}

static void cascades(void **state) {
    struct store *store = open_if(*state);
    cJSON *cases = reference_json("tests/data/schedulers/if.json");
    const cJSON *item;
    int count = 0;
    cJSON_ArrayForEach(item, cases) {
        run_if_case(*state, store, item);
        count++;
    }
    assert_true(count >= 20);
    cJSON_Delete(cases);
    store_close(store);
}

static void lists(void **state) {
    struct store *store = open_if(*state);
    size_t count;
    int names = 0;
    for (const char *const *name = timestep_list_names(); *name; name++, names++) {
        char tensor[64];
        snprintf(tensor, sizeof tensor, "list.%s", *name);
        const struct tensor *expected = store_find(store, tensor);
        const int *list = timestep_list(*name, &count);
        assert_non_null(expected);
        assert_non_null(list);
        assert_int_equal(count, tensor_count(expected));
        for (size_t i = 0; i < count; i++)
            assert_int_equal(list[i], ((const int64_t *)expected->data)[i]);
    }
    assert_int_equal(names, 8);
    assert_null(timestep_list("fast28", &count));
    assert_int_equal(count, 0);
    store_close(store);
}

static void wrong_lists(void **state) {
    static const int RISING[] = {10, 20}, TWICE[] = {20, 20}, HIGH[] = {1000, 5}, LOW[] = {5, -1},
                     RIGHT[] = {20, 10};
    static const struct {
        const char *sampler;
        const int *list;
        const char *part;
    } CASES[] = {
        {"ddpm", RISING, "timestep 20, number 1"}, {"ddpm", TWICE, "timestep 20, number 1"},
        {"ddpm", HIGH, "timestep 1000, number 0"}, {"euler", LOW, "timestep -1, number 1"},
        {"ddim", RIGHT, "--sampler ddim"},         {"euler-a", RIGHT, "--sampler euler-a"}};
    struct scratch *scratch = *state;
    struct schedule *schedule = open_text(scratch, "{}");
    struct sampling s;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        assert_int_equal(sampling_begin_at(&scratch->cx, &s, sampler_find(CASES[i].sampler),
                                           schedule, CASES[i].list, 2, 0, N),
                         DL_USAGE);
        assert_contains(scratch->cx.message, CASES[i].part);
        sampling_end(&s);
    }
    assert_int_equal(
        sampling_begin_at(&scratch->cx, &s, sampler_find("ddpm"), schedule, RIGHT, 0, 0, N),
        DL_USAGE);
    sampling_end(&s);
    schedule_close(schedule);
}

int main(void) {
    static struct scratch s;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(trajectories, &s),
        cmocka_unit_test_prestate(grids, &s),
        cmocka_unit_test_prestate(trailing_has_no_step_below_zero, &s),
        cmocka_unit_test_prestate(noise, &s),
        cmocka_unit_test_prestate(again, &s),
        cmocka_unit_test_prestate(refusals, &s),
        cmocka_unit_test_prestate(mutated_configs, &s),
        cmocka_unit_test_prestate(cascades, &s),
        cmocka_unit_test_prestate(lists, &s),
        cmocka_unit_test_prestate(wrong_lists, &s),
    };
    scratch_begin(&s);
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_end(&s);
    return result;
}
