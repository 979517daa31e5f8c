/* diffusion/denoise: guidance, order and number of calls, memory, cancelling; with a denoiser that
 * is a formula, so that every value can be told. */
#include "diffusion/denoise.h"

#include "reference.h"

enum { N = 24, STEPS = 5, SCRATCH = 1000 };

/* predicts  0.1 x + shift_b  where shift is -1 for the negative and 2 for the positive prompt */
struct model {
    bool guided;
    size_t calls, planned, batch, outputs;
    size_t halves[STEPS]; /* how many were asked about */
    float timesteps[STEPS];
};

static void predict(dl_context *cx, void *user, float *out, const float *input,
                    const struct denoise_call *call) {
    struct model *m = user;
    const size_t mark = arena_mark(cx);
    float *scratch = floats(cx, SCRATCH);
    if (planning(cx)) {
        m->planned++;
    } else {
        assert_in_range(m->calls, 0, STEPS - 1);
        assert_int_equal(call->step, m->calls);
        m->halves[m->calls] = call->count;
        m->timesteps[m->calls++] = call->timestep;
        m->batch = call->first + call->count;
        memset(scratch, 0x7f, SCRATCH * sizeof *scratch);
        for (size_t b = 0; b < call->count; b++) {
            const bool negative = m->guided && call->first + b == 0;
            for (size_t k = 0; k < m->outputs; k++)
                out[b * m->outputs + k] = k < N ? 0.1f * input[k] + (negative ? -1.0f : 2.0f)
                                                : (negative ? 100.0f : 0.5f);
        }
    }
    arena_release(cx, mark);
}

struct fixture {
    struct scratch s;
    struct schedule *schedule;
    struct model model;
    struct sampling sampling;
    struct rng rng;
    float latents[N];
    struct denoise_job job;
};

static void begin_with(struct fixture *f, const char *sampler, const char *config) {
    scratch_begin(&f->s);
    scratch_text(&f->s, "scheduler_config.json", config);
    if (schedule_open(&f->s.cx, f->s.dir, &f->schedule) != DL_OK)
        fail_msg("%s", f->s.cx.message);
    f->model = (struct model){.guided = true, .outputs = N};
    if (sampling_begin(&f->s.cx, &f->sampling, sampler_find(sampler), f->schedule, STEPS, 0, N) !=
        DL_OK)
        fail_msg("%s", f->s.cx.message);
    rng_seed(&f->rng, 1);
    rng_normal(&f->rng, f->latents, N);
    f->job = (struct denoise_job){.predict = predict,
                                  .predict_user = &f->model,
                                  .sampling = &f->sampling,
                                  .guidance_scale = 7.5,
                                  .latents = f->latents,
                                  .rng = &f->rng};
}

static void begin(struct fixture *f, const char *sampler) {
    begin_with(f, sampler, "{\"clip_sample\":false,\"beta_end\":0.015}");
}

static void end(struct fixture *f) {
    sampling_end(&f->sampling);
    schedule_close(f->schedule);
    arena_free(&f->s.cx);
    scratch_end(&f->s);
}

/* The loop written out, with this shift where guidance has been worked out. */
static void expect(struct fixture *f, float shift, float *x) {
    float input[N], out[N];
    struct rng rng;
    rng_seed(&rng, 1);
    rng_normal(&rng, x, N);
    for (size_t k = 0; k < N; k++)
        x[k] *= f->sampling.init_noise_sigma;
    for (size_t i = 0; i < STEPS; i++) {
        sampling_scale_input(&f->sampling, i, input, x);
        for (size_t k = 0; k < N; k++)
            out[k] = 0.1f * input[k] + shift;
        sampling_step(&f->sampling, i, x, out, &rng);
    }
}

static void check(const char *sampler, double scale, bool embedded, size_t batch, float shift) {
    static struct fixture f;
    float expected[N];
    begin(&f, sampler);
    f.job.guidance_scale = scale;
    f.job.guidance_embedded = embedded;
    f.model.guided = denoise_guided(&f.job);
    assert_int_equal(denoise_guided(&f.job), batch == 2);
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
    assert_int_equal(f.model.calls, STEPS);
    assert_int_equal(f.model.batch, batch);
    assert_int_equal(f.s.cx.arena.used, 0);
    assert_memory_equal(f.model.timesteps, f.sampling.timesteps, sizeof f.model.timesteps);
    expect(&f, shift, expected);
    assert_close(sampler, f.latents, expected, N, 1e-6);
    end(&f);
}

/* pred = negative + g (positive - negative) = -1 + 3 g; without guidance 2. */
static void guidance(void **state) {
    (void)state;
    for (const char *const *name = sampler_names(); *name; name++) {
        check(*name, 7.5, false, 2, -1 + 3 * 7.5f);
        check(*name, 1.5, false, 2, -1 + 3 * 1.5f);
        check(*name, 1, false, 1, 2);
        check(*name, 0, false, 1, 2);
        check(*name, 7.5, true, 1, 2);
    }
}

/* Planned before, and no more than planned. */
static void memory(void **state) {
    static struct fixture f;
    (void)state;
    begin(&f, "ddim");
    const size_t bytes = denoise_plan(&f.s.cx, &f.job).bytes;
    assert_int_equal(f.model.calls, 0);
    assert_true(bytes >= (3 * N + SCRATCH) * sizeof(float) && bytes < 2 * SCRATCH * sizeof(float));
    f.job.guidance_scale = 1;
    assert_true(denoise_plan(&f.s.cx, &f.job).bytes < bytes);
    f.job.guidance_scale = 7.5;
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
    assert_true(f.s.cx.arena.peak <= bytes);
    end(&f);
}

/* ---- progress -------------------------------------------------------------------------------- */

struct watch {
    size_t calls, last;
};

static int watch(void *user, size_t step, size_t steps) {
    struct watch *w = user;
    assert_int_equal(step, ++w->calls);
    assert_int_equal(steps, STEPS);
    return step == w->last;
}

static void progress(void **state) {
    static struct fixture f;
    struct watch w = {0, 0};
    (void)state;
    begin(&f, "euler");
    f.job.progress = watch;
    f.job.progress_user = &w;
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
    assert_int_equal(w.calls, STEPS);
    end(&f);
    begin(&f, "euler");
    w = (struct watch){0, 2};
    f.job.progress = watch;
    f.job.progress_user = &w;
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_CANCELLED);
    assert_contains(f.s.cx.message, "stopped after 2 of 5 steps");
    assert_int_equal(f.model.calls, 2);
    assert_int_equal(f.s.cx.arena.used, 0);
    end(&f);
}

/* ---- sharing --------------------------------------------------------------------------------- */

/* The first negative prediction is asked for once for all pictures of one start. */
static void first_prediction_is_shared(void **state) {
    static struct fixture f;
    struct first_prediction shared = {0};
    float expected[N];
    (void)state;
    for (size_t picture = 0; picture < 4; picture++) {
        begin(&f, "euler");
        f.job.shared = &shared;
        f.latents[0] += picture == 2 ? 1e-6f : 0; /* another start */
        memcpy(expected, f.latents, sizeof expected);
        assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
        assert_int_equal(f.model.halves[0], picture == 1 ? 1 : 2);
        for (size_t i = 1; i < STEPS; i++)
            assert_int_equal(f.model.halves[i], 2);
        float got[N];
        memcpy(got, f.latents, sizeof got);
        memcpy(f.latents, expected, sizeof expected);
        f.job.shared = NULL;
        f.model.calls = 0;
        assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
        assert_memory_equal(got, f.latents, sizeof got);
        end(&f);
    }
    first_prediction_free(&shared);
    assert_null(shared.input);
}

/* Where both prompts are the same, one half stands for both. */
static void equal_halves_are_asked_once(void **state) {
    static struct fixture f;
    float expected[N];
    (void)state;
    begin(&f, "ddim");
    f.job.halves_equal = true;
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
    for (size_t i = 0; i < STEPS; i++)
        assert_int_equal(f.model.halves[i], 1);
    expect(&f, 2, expected);
    assert_memory_equal(f.latents, expected, sizeof expected);
    end(&f);
}

/* ---- learned variance ------------------------------------------------------------------------ */

static const char LEARNED[] = "{\"variance_type\":\"learned_range\",\"clip_sample\":false}";

/* The variance is the positive half's, whatever the scale: guidance of 7.5 gives what a denoiser
 * that is guided already gives alone. */
static void learned_variance(void **state) {
    static struct fixture f;
    float expected[N];
    (void)state;
    begin_with(&f, "ddpm", LEARNED);
    assert_int_equal(f.sampling.outputs, 2 * N);
    f.model.outputs = f.job.outputs = 2 * N;
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
    float out[2 * N], input[N];
    struct rng rng;
    rng_seed(&rng, 1);
    rng_normal(&rng, expected, N);
    for (size_t i = 0; i < STEPS; i++) {
        memcpy(input, expected, sizeof input);
        for (size_t k = 0; k < N; k++) {
            out[k] = 0.1f * input[k] - 1 + 3 * 7.5f;
            out[N + k] = 0.5f;
        }
        sampling_step(&f.sampling, i, expected, out, &rng);
    }
    assert_close("learned_range", f.latents, expected, N, 1e-6);
    end(&f);
}

/* A sampler that has no use for the variance leaves it alone; one that needs it asks for it. */
static void variance_mismatch(void **state) {
    static struct fixture f;
    float expected[N];
    (void)state;
    begin_with(&f, "ddim", LEARNED);
    f.model.outputs = f.job.outputs = 2 * N;
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_OK);
    expect(&f, -1 + 3 * 7.5f, expected);
    assert_close("ddim", f.latents, expected, N, 1e-6);
    end(&f);
    begin_with(&f, "ddpm", LEARNED);
    assert_int_equal(denoise(&f.s.cx, &f.job), DL_MODEL);
    assert_contains(f.s.cx.message, "variance_type");
    assert_int_equal(f.model.calls, 0);
    end(&f);
}

/* ---- LCM's guidance embedding ---------------------------------------------------------------- */

static void embedding(void **state) {
    static struct scratch s;
    scratch_begin(&s);
    struct store *store = reference_open(&s.cx, "tiny-lcm-unet");
    const struct tensor *scale = reference_tensor(store, "", "guidance_scale");
    const struct tensor *expected = reference_tensor(store, "", "timestep_cond");
    const size_t dim = expected->shape[1];
    float out[64], odd[5], smallest[2];
    (void)state;
    for (size_t b = 0; b < tensor_count(scale); b++) {
        assert_in_range(dim, 1, 64);
        guidance_scale_embedding(((const float *)scale->data)[b], dim, out);
        assert_close("guidance_scale_embedding", out, (const float *)expected->data + b * dim, dim,
                     1e-6);
    }
    guidance_scale_embedding(3, 5, odd);
    assert_true(odd[4] == 0 && isfinite(odd[0]) && isfinite(odd[3]));
    guidance_scale_embedding(3, 2, smallest);
    assert_true(isfinite(smallest[0]) && isfinite(smallest[1]));
    store_close(store);
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guidance),
        cmocka_unit_test(memory),
        cmocka_unit_test(progress),
        cmocka_unit_test(learned_variance),
        cmocka_unit_test(first_prediction_is_shared),
        cmocka_unit_test(equal_halves_are_asked_once),
        cmocka_unit_test(variance_mismatch),
        cmocka_unit_test(embedding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
