/* The denoising loop. See denoise.h. */
#include "diffusion/denoise.h"

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

/* One step of one picture; in plan mode its allocations alone. */
static void run_step(dl_context *cx, const struct denoise_job *job, size_t i) {
    struct sampling *s = job->sampling;
    const size_t mark = arena_mark(cx), n = s->n, m = outputs_of(job);
    const size_t B = denoise_guided(job) ? 2 : 1;
    float *input = floats(cx, B * n), *out = floats(cx, B * m);
    if (!planning(cx)) {
        sampling_scale_input(s, i, input, job->latents);
        if (B == 2)
            memcpy(input + n, input, n * sizeof *input);
    }
    job->predict(cx, job->predict_user, out, input, B, s->timesteps[i]);
    if (!planning(cx)) {
        if (B == 2)
            guide(out, n, m, (float)job->guidance_scale);
        sampling_step(s, i, job->latents, out, job->rng);
    }
    arena_release(cx, mark);
}

size_t denoise_memory(dl_context *cx, const struct denoise_job *job) {
    arena_plan(cx);
    run_step(cx, job, 0);
    return arena_plan_end(cx);
}

int denoise(dl_context *cx, const struct denoise_job *job) {
    struct sampling *s = job->sampling;
    if (outputs_of(job) < s->outputs)
        return fail(cx, DL_MODEL,
                    "%s: variance_type: asks for a learned variance, which the UNet does not "
                    "predict: it has %zu outputs per picture, %zu are needed",
                    s->schedule->path, outputs_of(job), s->outputs);
    arena_plan(cx);
    run_step(cx, job, 0);
    DL_TRY(arena_reserve(cx, "denoising"));
    for (size_t k = 0; k < s->n; k++)
        job->latents[k] *= s->init_noise_sigma;
    for (size_t i = 0; i < s->steps; i++) {
        run_step(cx, job, i);
        if (job->progress && job->progress(job->progress_user, i + 1, s->steps))
            return fail(cx, DL_CANCELLED, "stopped after %zu of %zu steps", i + 1, s->steps);
    }
    return DL_OK;
}
