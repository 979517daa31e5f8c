/* The denoising loop. See denoise.h. */
#include "diffusion/denoise.h"

#include <stdlib.h>
#include <string.h>

bool denoise_guided(const struct denoise_job *job) {
    return job->guidance_scale > 1 && !job->guidance_embedded;
}

static size_t outputs_of(const struct denoise_job *job) {
    return job->outputs ? job->outputs : job->sampling->n;
}

static size_t pictures_of(const struct denoise_job *job) {
    return job->pictures ? job->pictures : 1;
}

/* negative (m) becomes classifier-free guidance of both: the first n values are guided, what comes
 * behind (a learned variance) is the positive half's. */
static void guide(float *negative, const float *positive, size_t n, size_t m, float scale) {
    for (size_t k = 0; k < n; k++)
        negative[k] = negative[k] + scale * (positive[k] - negative[k]);
    memcpy(negative + n, positive + n, (m - n) * sizeof *negative);
}

/* True if `first` knows what the negative half predicts for this input. */
static bool known(const struct first_prediction *first, const float *input, size_t n) {
    return first && first->there && memcmp(first->input, input, n * sizeof *input) == 0;
}

static void keep(struct first_prediction *first, const float *input, size_t n, const float *out,
                 size_t m) {
    if (!first)
        return;
    memcpy(first->input, input, n * sizeof *input);
    memcpy(first->out, out, m * sizeof *out);
    first->there = true;
}

static void ask(dl_context *cx, const struct denoise_job *job, float *out, const float *input,
                struct denoise_call call, size_t first, size_t count) {
    call.first = first;
    call.count = count;
    job->predict(cx, job->predict_user, out + first * outputs_of(job), input, &call);
}

/* out (2,K,m) of both halves, of one sample: the negative half is asked about once at most. */
static void predict_one_sample(dl_context *cx, const struct denoise_job *job, float *out,
                               const float *input, struct denoise_call call) {
    const size_t K = pictures_of(job), n = job->sampling->n, m = outputs_of(job);
    struct first_prediction *first = call.step == 0 ? job->shared : NULL;
    float *negative = out + (K - 1) * m; /* the one beside the positive ones */

    call.samples = 1;
    if (job->halves_equal || known(first, input, n)) {
        ask(cx, job, out, input, call, K, K);
        memcpy(negative, job->halves_equal ? out + K * m : first->out, m * sizeof *out);
    } else {
        ask(cx, job, out, input, call, K - 1, K + 1);
        keep(first, input, n, negative, m);
    }
    for (size_t k = 0; k + 1 < K; k++)
        memcpy(out + k * m, negative, m * sizeof *out);
}

/* True if all pictures are given the same. */
static bool alike(const float *input, size_t K, size_t n) {
    for (size_t k = 1; k < K; k++)
        if (memcmp(input, input + k * n, n * sizeof *input) != 0)
            return false;
    return true;
}

/* What predict_one_sample may ask instead, in plan mode: fewer items may need more scratch, as
 * their products are cut into other blocks. */
static void plan_one_sample(dl_context *cx, const struct denoise_job *job, float *out,
                            const float *input, struct denoise_call call) {
    const size_t K = pictures_of(job);
    const double work = cx->arena.work;
    call.samples = 1;
    if (!cx->thrift.halves && !job->stateful)
        ask(cx, job, out, input, call, K - 1, K + 1);
    ask(cx, job, out, input, call, K, K);
    cx->arena.work = work;
}

/* out (2,K,m) of both halves: together, or one after another to need less memory. */
static void predict_both(dl_context *cx, const struct denoise_job *job, float *out,
                         const float *input, struct denoise_call call) {
    const size_t K = pictures_of(job), n = job->sampling->n;
    const bool together = !cx->thrift.halves;

    if (planning(cx))
        plan_one_sample(cx, job, out, input, call);
    else if (alike(input, K, n) &&
             (job->halves_equal ||
              (!job->stateful && (together || (call.step == 0 && known(job->shared, input, n)))))) {
        predict_one_sample(cx, job, out, input, call);
        return;
    }
    ask(cx, job, out, input, call, 0, together ? 2 * K : K);
    if (!together)
        ask(cx, job, out, input, call, K, K);
}

/* One step of all pictures; in plan mode its allocations alone. */
static void run_step(dl_context *cx, const struct denoise_job *job, size_t i) {
    const size_t K = pictures_of(job), n = job->sampling->n, m = outputs_of(job);
    const struct denoise_call call = {
        .samples = K, .step = i, .timestep = job->sampling->timesteps[i]};
    const size_t mark = arena_mark(cx);
    const bool guided = denoise_guided(job);
    float *input = floats(cx, K * n), *out = floats(cx, (guided ? 2 : 1) * K * m);
    for (size_t k = 0; k < K && !planning(cx); k++)
        sampling_scale_input(&job->sampling[k], i, input + k * n, job->latents + k * n);
    if (guided)
        predict_both(cx, job, out, input, call);
    else
        ask(cx, job, out, input, call, 0, K);
    for (size_t k = 0; k < K && !planning(cx); k++) {
        if (guided)
            guide(out + k * m, out + (K + k) * m, n, m, (float)job->guidance_scale);
        sampling_step(&job->sampling[k], i, job->latents + k * n, out + k * m, &job->rng[k]);
    }
    arena_release(cx, mark);
}

static void prepare(dl_context *cx, const struct denoise_job *job) {
    if (job->prepare)
        job->prepare(cx, job->predict_user);
}

static int reserve_shared(dl_context *cx, const struct denoise_job *job) {
    struct first_prediction *first = denoise_guided(job) ? job->shared : NULL;
    if (first && !first->input)
        DL_TRY(allocate(cx, "first prediction", job->sampling->n, sizeof(float),
                        (void **)&first->input));
    if (first && !first->out)
        DL_TRY(
            allocate(cx, "first prediction", outputs_of(job), sizeof(float), (void **)&first->out));
    return DL_OK;
}

void first_prediction_free(struct first_prediction *first) {
    free(first->input);
    free(first->out);
    *first = (struct first_prediction){0};
}

struct denoise_cost denoise_plan(dl_context *cx, const struct denoise_job *job) {
    struct denoise_cost cost = {0};
    double before;
    arena_plan(cx);
    prepare(cx, job);
    for (size_t i = 0; i < job->sampling->steps; i++) {
        before = cx->arena.work;
        run_step(cx, job, i);
        cost.step = i == 0 ? cx->arena.work - before : cost.step;
    }
    cost.work = cx->arena.work;
    cost.bytes = arena_plan_end(cx);
    if (denoise_guided(job) && job->shared)
        cost.bytes += (job->sampling->n + outputs_of(job)) * sizeof(float);
    return cost;
}

int denoise(dl_context *cx, const struct denoise_job *job) {
    struct sampling *s = job->sampling;
    if (outputs_of(job) < s->outputs)
        return fail(cx, DL_MODEL,
                    "%s: variance_type: asks for a learned variance, which the UNet does not "
                    "predict: it has %zu outputs per picture, %zu are needed",
                    s->schedule->path, outputs_of(job), s->outputs);
    DL_TRY(reserve_shared(cx, job));
    arena_plan(cx);
    prepare(cx, job);
    run_step(cx, job, 0);
    DL_TRY(arena_reserve(cx, "denoising"));
    for (size_t k = 0; k < pictures_of(job) * s->n; k++)
        job->latents[k] *= s->init_noise_sigma;
    prepare(cx, job);
    int status = DL_OK;
    for (size_t i = 0; i < s->steps && status == DL_OK; i++) {
        run_step(cx, job, i);
        if (job->progress && job->progress(job->progress_user, i + 1, s->steps))
            status = fail(cx, DL_CANCELLED, "stopped after %zu of %zu steps", i + 1, s->steps);
    }
    arena_release(cx, 0);
    return status;
}
