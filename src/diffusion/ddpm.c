/* DDPM, ancestral sampling (Ho et al. 2020, arXiv 2006.11239, equations 6 and 7), on any falling
 * subset of the timesteps:
 *
 *     x_prev = sqrt(a') b / (1 - a) x0 + sqrt(1 - b) (1 - a') / (1 - a) x + std z
 *     b      = 1 - a / a'                       the beta of a step from a' to a
 *     std^2  = (1 - a') / (1 - a) b             fixed_small, the posterior's variance
 *              b                                fixed_large
 *              exp(f log b + (1 - f) log of fixed_small), f = (v + 1) / 2     learned_range
 *                                               (Nichol and Dhariwal 2021, equation 15)
 *
 * a at this timestep   a' at the next one visited, 1 behind the last   v (n) the second half of
 * the model's output   z noise */
#include "diffusion/sampler_parts.h"

#include <math.h>

static int init(dl_context *cx, struct sampling *s, size_t steps) {
    const enum variance_type type = s->schedule->variance_type;
    if (type == VARIANCE_LEARNED || type == VARIANCE_LEARNED_RANGE)
        s->outputs = 2 * s->n;
    space_timesteps(s, steps, FRACTION_ROUNDED);
    return check_timesteps(cx, s);
}

/* std (n) from the model's v (n). */
static void learned_deviation(float *std, const float *v, enum variance_type type, float posterior,
                              float beta, size_t n) {
    const float low = logf(posterior), high = logf(beta);
    for (size_t k = 0; k < n; k++) {
        const float f = (v[k] + 1) / 2;
        std[k] = type == VARIANCE_LEARNED ? sqrtf(v[k]) : expf(0.5F * (f * high + (1 - f) * low));
    }
}

/* x (n) += std z. posterior and beta: the two fixed variances. */
static void add_step_noise(const struct sampling *s, float *x, const float *v, float posterior,
                           float beta, struct rng *rng) {
    float *z = s->scratch, *std = s->x0_previous;
    switch (s->schedule->variance_type) {
    case VARIANCE_LEARNED:
    case VARIANCE_LEARNED_RANGE:
        learned_deviation(std, v, s->schedule->variance_type, posterior, beta, s->n);
        rng_normal(rng, z, s->n);
        for (size_t k = 0; k < s->n; k++)
            x[k] += std[k] * z[k];
        break;
    case VARIANCE_FIXED_LARGE:
        add_noise(s, x, sqrtf(beta), rng);
        break;
    case VARIANCE_FIXED_SMALL_LOG:
        add_noise(s, x, expf(0.5F * logf(posterior)), rng);
        break;
    case VARIANCE_MISSING:
    case VARIANCE_FIXED_SMALL:
        add_noise(s, x, sqrtf(posterior), rng);
        break;
    }
}

static void step(struct sampling *s, size_t i, float *x, const float *out, struct rng *rng) {
    const float a = alpha_at(s, i), a_prev = i + 1 < s->steps ? alpha_at(s, i + 1) : 1;
    const float alpha = a / a_prev, beta = 1 - alpha;
    const float of_x0 = sqrtf(a_prev) * beta / (1 - a);
    const float of_x = sqrtf(alpha) * (1 - a_prev) / (1 - a);
    /* not 0, as its logarithm is taken */
    const float posterior = fmaxf((1 - a_prev) / (1 - a) * beta, 1e-20F);

    predict_x0(s, s->x0, x, out, sqrtf(a), sqrtf(1 - a));
    threshold_or_clip(s, s->x0);
    mix(x, of_x0, s->x0, of_x, x, s->n);
    if (s->timesteps[i] > 0)
        add_step_noise(s, x, out + s->n, posterior, beta, rng);
}

const struct sampler sampler_ddpm = {
    .name = "ddpm",
    .takes_timesteps = true,
    .defaults = {0.0001, 0.02, BETAS_LINEAR, SPACING_LEADING, CLIP_YES, VARIANCE_FIXED_SMALL},
    .init = init,
    .step = step,
};
