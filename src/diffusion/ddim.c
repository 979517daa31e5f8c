/* DDIM (Song et al. 2021, arXiv 2010.02502, equations 12 and 16): a deterministic walk, or with
 * eta = 1 the same noise as DDPM.
 *
 *     x_prev = sqrt(a') x0 + sqrt(1 - a' - std^2) eps + std z
 *     std    = eta sqrt((1 - a') / (1 - a)) sqrt(1 - a / a')
 *
 * a at this timestep t   a' at t - T/N, which is not always the next one visited   z noise */
#include "diffusion/sampler_parts.h"

#include <math.h>

static int init(dl_context *cx, struct sampling *s, size_t steps) {
    space_timesteps(s, steps, FRACTION_ROUNDED);
    return check_timesteps(cx, s);
}

static float alpha_before(const struct sampling *s, size_t i) {
    const struct schedule *schedule = s->schedule;
    const size_t t = (size_t)s->timesteps[i];
    const size_t stride = schedule->num_train_timesteps / s->steps_asked;
    if (t >= stride)
        return schedule->alphas_cumprod[t - stride];
    return schedule->set_alpha_to_one ? 1 : schedule->alphas_cumprod[0];
}

static void step(struct sampling *s, size_t i, float *x, const float *out, struct rng *rng) {
    const float a = alpha_at(s, i), a_prev = alpha_before(s, i);
    const float variance = (1 - a_prev) / (1 - a) * (1 - a / a_prev);
    const float std = (float)s->eta * sqrtf(variance);
    /* at eta = 1 rounding may leave less than nothing */
    const float direction = sqrtf(fmaxf(1 - a_prev - std * std, 0));
    float *eps = s->scratch;

    predict_x0(s, s->x0, x, out, sqrtf(a), sqrtf(1 - a));
    threshold_or_clip(s, s->x0);
    predict_epsilon(s, eps, x, out, sqrtf(a), sqrtf(1 - a));
    mix(x, sqrtf(a_prev), s->x0, direction, eps, s->n);
    if (s->eta > 0)
        add_noise(s, x, std, rng);
}

const struct sampler sampler_ddim = {
    .name = "ddim",
    .defaults = {0.0001, 0.02, BETAS_LINEAR, SPACING_LEADING, CLIP_YES, VARIANCE_FIXED_SMALL},
    .init = init,
    .step = step,
};
