/* diffusion/sampler: timesteps, noise levels and whole trajectories against diffusers'
 * (tests/data/schedulers, see tests/data/README.md), and what is refused. */
#include "diffusion/sampler.h"

#include "reference.h"

enum { STEPS_MAX = 64, N = 20 };

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

int main(void) {
    static struct scratch s;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(trajectories, &s),
    };
    scratch_begin(&s);
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_end(&s);
    return result;
}
