/* What samplers share: timesteps as numpy computes them, sigmas, and the arithmetic of a step.
 *
 *     sigma = sqrt((1 - a) / a)   noise over signal at a timestep
 *
 * n values of one picture's latents   T num_train_timesteps   N steps */
#include "diffusion/sampler_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- timesteps ------------------------------------------------------------------------------- */

/* Lin et al. 2023 (arXiv 2305.08891, table 2), falling:
 *     leading   i floor(T/N) + steps_offset
 *     trailing  T - i T/N, less 1
 *     linspace  N points from 0 to T-1 */
void space_timesteps(struct sampling *s, size_t steps, enum fraction fraction) {
    const struct schedule *schedule = s->schedule;
    const size_t T = schedule->num_train_timesteps;
    if (s->given)
        return;
    s->steps = steps;
    for (size_t i = 0; i < steps; i++) {
        const size_t rising = steps - 1 - i;
        double t;
        if (schedule->timestep_spacing == SPACING_LEADING) {
            t = (double)(rising * (T / steps) + schedule->steps_offset);
        } else if (schedule->timestep_spacing == SPACING_TRAILING) {
            /* numpy.arange takes its step from the first two values */
            const double step = ((double)T - (double)T / (double)steps) - (double)T;
            t = rint((double)T + (double)i * step) - 1;
        } else {
            const double step = (double)(T - 1) / (double)(steps > 1 ? steps - 1 : 1);
            t = rising && rising == steps - 1 ? (double)(T - 1) : (double)rising * step;
            t = fraction == FRACTION_ROUNDED ? rint(t) : t;
        }
        s->timesteps[i] = (float)t;
    }
}

int check_timesteps(dl_context *cx, const struct sampling *s) {
    const struct schedule *schedule = s->schedule;
    for (size_t i = 0; i < s->steps; i++) {
        const float t = s->timesteps[i];
        if (!(t >= 0) || t >= (float)schedule->num_train_timesteps)
            return fail(cx, DL_USAGE,
                        "--steps %zu: timestep %g of sampler %s would lie outside the model's "
                        "schedule of %zu (steps_offset %zu in %s); choose fewer steps",
                        s->steps_asked, (double)t, s->sampler->name, schedule->num_train_timesteps,
                        schedule->steps_offset, schedule->path);
        if (alpha_at(s, i) <= 0 && schedule->prediction_type == PREDICT_EPSILON)
            return fail(cx, DL_MODEL,
                        "%s: rescale_betas_zero_snr: leaves no signal at timestep %g, where "
                        "prediction_type epsilon cannot work; needs v_prediction or sample",
                        schedule->path, (double)t);
    }
    return DL_OK;
}

float alpha_at(const struct sampling *s, size_t i) {
    return s->schedule->alphas_cumprod[(size_t)s->timesteps[i]];
}

/* ---- sigmas ---------------------------------------------------------------------------------- */

void keep_signal(struct sampling *s) {
    if (s->schedule->rescale_betas_zero_snr)
        s->schedule->alphas_cumprod[s->schedule->num_train_timesteps - 1] = 0x1p-24F;
}

float train_sigma(const struct sampling *s, size_t t) {
    const float a = s->schedule->alphas_cumprod[t];
    return sqrtf((1 - a) / a);
}

double sigma_at(const struct sampling *s, double t) {
    const size_t last = s->schedule->num_train_timesteps - 1;
    if (!(t > 0))
        return (double)train_sigma(s, 0);
    if (t >= (double)last)
        return (double)train_sigma(s, last);
    const size_t below = (size_t)t;
    const double low = (double)train_sigma(s, below), high = (double)train_sigma(s, below + 1);
    return (high - low) * (t - (double)below) + low;
}

/* The fractional timestep whose sigma is nearest in the logarithm, between the first and last. */
static double timestep_of(const struct sampling *s, double sigma) {
    const size_t last = s->schedule->num_train_timesteps - 1;
    const double wanted = log(fmax(sigma, 1e-10));
    size_t below = 0;
    while (below + 1 < last && (double)logf(train_sigma(s, below + 1)) <= wanted)
        below++;
    if (last == 0)
        return 0;
    const double low = (double)logf(train_sigma(s, below));
    const double high = (double)logf(train_sigma(s, below + 1));
    const double w = fmin(fmax((low - wanted) / (low - high), 0), 1);
    return (1 - w) * (double)below + w * (double)(below + 1);
}

void karras_sigmas(struct sampling *s, double sigma_max, double sigma_min) {
    const double rho = 7;
    const double first =
        pow(s->schedule->sigma_max < 0 ? sigma_max : s->schedule->sigma_max, 1 / rho);
    const double last =
        pow(s->schedule->sigma_min < 0 ? sigma_min : s->schedule->sigma_min, 1 / rho);
    for (size_t i = 0; i < s->steps; i++) {
        const double ramp = s->steps > 1 ? (double)i / (double)(s->steps - 1) : 0;
        const double sigma = pow(first + ramp * (last - first), rho);
        s->sigmas[i] = (float)sigma;
        s->timesteps[i] = (float)timestep_of(s, sigma);
    }
}

void set_final_sigma(struct sampling *s) {
    s->sigmas[s->steps] = s->schedule->final_sigma_min ? train_sigma(s, 0) : 0;
}

/* ---- the predicted picture ------------------------------------------------------------------- */

void predict_x0(const struct sampling *s, float *x0, const float *x, const float *out, float alpha,
                float sigma) {
    switch (s->schedule->prediction_type) {
    case PREDICT_EPSILON:
        for (size_t k = 0; k < s->n; k++)
            x0[k] = (x[k] - sigma * out[k]) / alpha;
        break;
    case PREDICT_V:
        mix(x0, alpha, x, -sigma, out, s->n);
        break;
    case PREDICT_SAMPLE:
        memcpy(x0, out, s->n * sizeof *x0);
        break;
    }
}

void predict_epsilon(const struct sampling *s, float *eps, const float *x, const float *out,
                     float alpha, float sigma) {
    switch (s->schedule->prediction_type) {
    case PREDICT_EPSILON:
        memcpy(eps, out, s->n * sizeof *eps);
        break;
    case PREDICT_V:
        mix(eps, alpha, out, sigma, x, s->n);
        break;
    case PREDICT_SAMPLE:
        for (size_t k = 0; k < s->n; k++)
            eps[k] = (x[k] - alpha * out[k]) / sigma;
        break;
    }
}

static void clip(float *x, float limit, size_t n) {
    for (size_t k = 0; k < n; k++)
        x[k] = fminf(fmaxf(x[k], -limit), limit);
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* torch.quantile of n sorted values: linear between the two nearest, in f32. */
static float quantile(const float *sorted, size_t n, float q) {
    const float rank = q * (float)(n - 1);
    const size_t below = (size_t)rank, above = (size_t)ceilf(rank);
    const float low = sorted[below], high = sorted[above < n ? above : n - 1];
    const float w = rank - (float)below;
    return w < 0.5F ? low + w * (high - low) : high - (high - low) * (1 - w);
}

void threshold(const struct sampling *s, float *x0) {
    const struct schedule *schedule = s->schedule;
    float *magnitude = s->scratch;
    for (size_t k = 0; k < s->n; k++)
        magnitude[k] = fabsf(x0[k]);
    qsort(magnitude, s->n, sizeof *magnitude, by_value);
    const float bound = quantile(magnitude, s->n, (float)schedule->dynamic_thresholding_ratio);
    const float limit = fminf(fmaxf(bound, 1), (float)schedule->sample_max_value);
    clip(x0, limit, s->n);
    for (size_t k = 0; k < s->n; k++)
        x0[k] /= limit;
}

void threshold_or_clip(const struct sampling *s, float *x0) {
    if (s->schedule->thresholding)
        threshold(s, x0);
    else if (s->schedule->clip_sample == CLIP_YES)
        clip(x0, (float)s->schedule->clip_sample_range, s->n);
}

/* ---- sums ------------------------------------------------------------------------------------ */

void mix(float *out, float a, const float *x, float b, const float *y, size_t n) {
    for (size_t k = 0; k < n; k++)
        out[k] = a * x[k] + b * y[k];
}

void add_noise(const struct sampling *s, float *x, float scale, struct rng *rng) {
    rng_normal(rng, s->scratch, s->n);
    mix(x, 1, x, scale, s->scratch, s->n);
}
