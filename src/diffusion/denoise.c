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

/* out (m) = classifier-free guidance of the two halves in out (2,m): the first n values are guided,
 * what comes behind (a learned variance) is the positive half's. */
static void guide(float *out, size_t n, size_t m, float scale) {
    const float *negative = out, *positive = out + m;
    for (size_t k = 0; k < n; k++)
        out[k] = negative[k] + scale * (positive[k] - negative[k]);
    memcpy(out + n, positive + n, (m - n) * sizeof *out);
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

/* out (2,m) of both halves at step i, each asked about once at most, together or, to need less
 * memory, one after another. */
static void predict_both(dl_context *cx, const struct denoise_job *job, size_t i, float *out,
                         const float *input) {
    const size_t n = job->sampling->n, m = outputs_of(job);
    struct first_prediction *first = i == 0 ? job->shared : NULL;
    struct denoise_call call = {0, 2, i, job->sampling->timesteps[i]};

    if (!planning(cx) && (job->halves_equal || known(first, input, n))) {
        call.first = call.count = 1;
        job->predict(cx, job->predict_user, out + m, input, &call);
        memcpy(out, job->halves_equal ? out + m : first->out, m * sizeof *out);
        return;
    }
    call.count = cx->thrift.halves ? 1 : 2;
    for (; call.first < 2; call.first += call.count)
        job->predict(cx, job->predict_user, out + call.first * m, input, &call);
    if (!planning(cx))
        keep(first, input, n, out, m);
}

/* One step of one picture; in plan mode its allocations alone. */
static void run_step(dl_context *cx, const struct denoise_job *job, size_t i) {
    struct sampling *s = job->sampling;
    const size_t mark = arena_mark(cx), n = s->n, m = outputs_of(job);
    const bool guided = denoise_guided(job);
    float *input = floats(cx, n), *out = floats(cx, (guided ? 2 : 1) * m);
    if (!planning(cx))
        sampling_scale_input(s, i, input, job->latents);
    if (guided)
        predict_both(cx, job, i, out, input);
    else
        job->predict(cx, job->predict_user, out, input,
                     &(struct denoise_call){0, 1, i, s->timesteps[i]});
    if (!planning(cx)) {
        if (guided)
            guide(out, n, m, (float)job->guidance_scale);
        sampling_step(s, i, job->latents, out, job->rng);
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
    for (size_t k = 0; k < s->n; k++)
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
