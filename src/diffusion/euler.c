/* Euler's method for the diffusion ODE, and its ancestral variant (Karras et al. 2022, arXiv
 * 2206.00364, algorithm 1; k-diffusion). Latents are x = x0 + sigma eps, not shrunk as in the
 * schedule, so the UNet is given x / sqrt(sigma^2 + 1).
 *
 *     euler     x' = x + (sigma' - sigma) d          d = (x - x0) / sigma
 *     euler-a   x' = x + (down - sigma) d + up z     up^2 = s'^2 (s^2 - s'^2) / s^2
 *                                                    down^2 = s'^2 - up^2
 *
 * s sigma of this step, s' of the next, 0 behind the last   z noise */
#include "diffusion/sampler_parts.h"

#include <math.h>

/* ---- timesteps and sigmas -------------------------------------------------------------------- */

static void set_sigmas(struct sampling *s, size_t steps) {
    keep_signal(s);
    space_timesteps(s, steps, FRACTION_KEPT);
    for (size_t i = 0; i < s->steps; i++)
        s->sigmas[i] = (float)sigma_at(s, (double)s->timesteps[i]);
}

/* The start is pure noise where the first timestep is the last of the schedule; leading timesteps
 * begin earlier and are given some more. */
static void set_init_noise(struct sampling *s) {
    float most = 0;
    for (size_t i = 0; i <= s->steps; i++)
        most = fmaxf(most, s->sigmas[i]);
    s->init_noise_sigma =
        s->schedule->timestep_spacing == SPACING_LEADING ? sqrtf(most * most + 1) : most;
}

static int init_euler(dl_context *cx, struct sampling *s, size_t steps) {
    const struct schedule *schedule = s->schedule;
    if (schedule->euler_unsupported)
        return fail(cx, DL_MODEL, "%s: %s: not supported by sampler %s; choose another sampler",
                    schedule->path, schedule->euler_unsupported, s->sampler->name);
    set_sigmas(s, steps);
    if (schedule->use_karras_sigmas)
        karras_sigmas(s, sigma_at(s, (double)s->timesteps[0]),
                      sigma_at(s, (double)s->timesteps[s->steps - 1]));
    set_final_sigma(s);
    set_init_noise(s);
    return DL_OK;
}

static int init_ancestral(dl_context *cx, struct sampling *s, size_t steps) {
    if (s->schedule->prediction_type == PREDICT_SAMPLE)
        return fail(cx, DL_USAGE, "--sampler %s: not defined for a model of prediction_type sample",
                    s->sampler->name);
    set_sigmas(s, steps);
    s->sigmas[s->steps] = 0;
    set_init_noise(s);
    return DL_OK;
}

static void scale_input(const struct sampling *s, size_t i, float *out, const float *latents) {
    const float sigma = s->sigmas[i], scale = sqrtf(sigma * sigma + 1);
    for (size_t k = 0; k < s->n; k++)
        out[k] = latents[k] / scale;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* s->scratch (n) = sigma d = x - x0. For epsilon x0 = x - sigma out; for v_prediction the model
 * speaks of x / sqrt(sigma^2 + 1). */
static void difference(struct sampling *s, const float *x, const float *out, float sigma) {
    const float square = sigma * sigma + 1;
    if (s->schedule->prediction_type == PREDICT_V)
        mix(s->x0, -sigma / sqrtf(square), out, 1 / square, x, s->n);
    else
        predict_x0(s, s->x0, x, out, 1, sigma);
    mix(s->scratch, 1, x, -1, s->x0, s->n);
}

static void step_euler(struct sampling *s, size_t i, float *x, const float *out, struct rng *rng) {
    const float sigma = s->sigmas[i], next = s->sigmas[i + 1];
    (void)rng;
    difference(s, x, out, sigma);
    mix(x, 1, x, (next - sigma) / sigma, s->scratch, s->n);
}

static void step_ancestral(struct sampling *s, size_t i, float *x, const float *out,
                           struct rng *rng) {
    const float sigma = s->sigmas[i], next = s->sigmas[i + 1];
    const float up = sqrtf(next * next * (sigma * sigma - next * next) / (sigma * sigma));
    const float down = sqrtf(next * next - up * up);
    difference(s, x, out, sigma);
    mix(x, 1, x, (down - sigma) / sigma, s->scratch, s->n);
    add_noise(s, x, up, rng); /* at the last step 0, but drawn */
}

const struct sampler sampler_euler = {
    .name = "euler",
    .takes_timesteps = true,
    .defaults = {0.0001, 0.02, BETAS_LINEAR, SPACING_LINSPACE, CLIP_NO, VARIANCE_FIXED_SMALL},
    .init = init_euler,
    .step = step_euler,
    .scale_input = scale_input,
};

const struct sampler sampler_euler_ancestral = {
    .name = "euler-a",
    .defaults = {0.0001, 0.02, BETAS_LINEAR, SPACING_LINSPACE, CLIP_NO, VARIANCE_FIXED_SMALL},
    .init = init_ancestral,
    .step = step_ancestral,
    .scale_input = scale_input,
};
