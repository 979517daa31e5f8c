/* Latent consistency models (Luo et al. 2023, arXiv 2310.04378): the UNet jumps to the picture at
 * once; further steps put noise on it and jump again.
 *
 *     x0' = c_out x0 + c_skip x        c_skip = d^2 / (u^2 + d^2)   c_out = u / sqrt(u^2 + d^2)
 *     x'  = sqrt(a') x0' + sqrt(1 - a') z,   at the last step x' = x0'
 *
 * u = timestep_scaling t   d = 0.5, the data's standard deviation   a' at the next timestep
 * z noise */
#include "diffusion/sampler_parts.h"

#include <math.h>

/* Of the teacher's steps k, 2k, ... (less 1), falling, N at even distances in the list. */
static int choose_timesteps(dl_context *cx, struct sampling *s, size_t steps) {
    const struct schedule *schedule = s->schedule;
    const size_t teacher = schedule->original_inference_steps;
    if (teacher > schedule->num_train_timesteps)
        return fail(cx, DL_MODEL,
                    "%s: original_inference_steps: is %zu, must be at most "
                    "num_train_timesteps = %zu",
                    schedule->path, teacher, schedule->num_train_timesteps);
    if (steps > teacher)
        return fail(cx, DL_USAGE,
                    "--steps %zu: sampler %s takes at most the %zu steps of the model's teacher "
                    "(original_inference_steps)",
                    steps, s->sampler->name, teacher);
    const size_t k = schedule->num_train_timesteps / teacher;
    const double distance = (double)teacher / (double)steps;
    for (size_t i = 0; i < steps; i++) {
        const size_t index = (size_t)floor((double)i * distance);
        s->timesteps[i] = (float)((teacher - index) * k - 1);
    }
    return DL_OK;
}

static int init(dl_context *cx, struct sampling *s, size_t steps) {
    if (!s->given)
        DL_TRY(choose_timesteps(cx, s, steps));
    return check_timesteps(cx, s);
}

static void step(struct sampling *s, size_t i, float *x, const float *out, struct rng *rng) {
    const float a = alpha_at(s, i), d = 0.5F;
    const float u = s->timesteps[i] * (float)s->schedule->timestep_scaling;
    const float c_skip = d * d / (u * u + d * d), c_out = u / sqrtf(u * u + d * d);

    predict_x0(s, s->x0, x, out, sqrtf(a), sqrtf(1 - a));
    threshold_or_clip(s, s->x0);
    mix(x, c_out, s->x0, c_skip, x, s->n);
    if (i + 1 < s->steps) {
        const float a_next = alpha_at(s, i + 1);
        rng_normal(rng, s->scratch, s->n);
        mix(x, sqrtf(a_next), x, sqrtf(1 - a_next), s->scratch, s->n);
    }
}

void guidance_scale_embedding(float guidance_scale, size_t dim, float *out) {
    const float w = (guidance_scale - 1) * 1000;
    const size_t half = dim / 2;
    const float rate = half > 1 ? logf(10000) / (float)(half - 1) : 0;
    for (size_t k = 0; k < half; k++) {
        const float angle = w * expf((float)k * -rate);
        out[k] = sinf(angle);
        out[half + k] = cosf(angle);
    }
    if (dim % 2)
        out[dim - 1] = 0;
}

const struct sampler sampler_lcm = {
    .name = "lcm",
    .takes_timesteps = true,
    .defaults = {0.00085, 0.012, BETAS_SCALED_LINEAR, SPACING_LEADING, CLIP_NO,
                 VARIANCE_FIXED_SMALL},
    .init = init,
    .step = step,
};
