/* DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2): a multistep solver of second
 * order for the diffusion ODE, in the predicted picture x0.
 *
 *     x' = (s'/s) x - al' (exp(-h) - 1) D        h = l' - l
 *     D  = x0                                                     first order
 *          x0 + (x0 - x0_before) / (2 r),  r = h_before / h       second order, midpoint
 *
 * al = 1/sqrt(sigma^2 + 1)   s = sigma al   l = log(al / s), half the log signal-to-noise ratio;
 * a prime marks the next step. The first step is of first order, and so is the last where sigma
 * ends at 0 (l' is infinite). */
#include "diffusion/sampler_parts.h"

#include <math.h>

struct level {
    float alpha, sigma, lambda;
};

static struct level level_of(float sigma) {
    struct level l;
    l.alpha = 1 / sqrtf(sigma * sigma + 1);
    l.sigma = sigma * l.alpha;
    l.lambda = logf(l.alpha) - logf(l.sigma);
    return l;
}

/* ---- timesteps ------------------------------------------------------------------------------- */

/* Training steps left when those with less signal than lambda_min_clipped are given up. */
static size_t usable_timesteps(const struct sampling *s) {
    const float *a = s->schedule->alphas_cumprod;
    size_t T = s->schedule->num_train_timesteps;
    while (T && logf(sqrtf(a[T - 1])) - logf(sqrtf(1 - a[T - 1])) <
                    (float)s->schedule->lambda_min_clipped)
        T--;
    return T;
}

/* As space_timesteps, but linspace and leading leave out the lowest of N+1 points. */
static void set_timesteps(struct sampling *s, size_t T, size_t steps) {
    const struct schedule *schedule = s->schedule;
    const double full = (double)schedule->num_train_timesteps;
    s->steps = 0;
    for (size_t i = 0; i < steps; i++) {
        const size_t rising = steps - i;
        double t;
        if (schedule->timestep_spacing == SPACING_LEADING) {
            t = (double)(rising * (T / (steps + 1)) + schedule->steps_offset);
        } else if (schedule->timestep_spacing == SPACING_TRAILING) {
            const double step = ((double)T - full / (double)steps) - (double)T;
            if ((double)i >= (double)T / (full / (double)steps))
                break; /* below 0: a clipped schedule has fewer */
            t = rint((double)T + (double)i * step) - 1;
        } else {
            t = i ? rint((double)rising * ((double)(T - 1) / (double)steps)) : (double)(T - 1);
        }
        s->timesteps[s->steps++] = (float)t;
    }
}

static int check_sigmas(dl_context *cx, const struct sampling *s) {
    for (size_t i = 0; i < s->steps; i++) {
        if (!(s->sigmas[i + 1] < s->sigmas[i]))
            return fail(cx, DL_USAGE,
                        "--steps %zu: too many for sampler %s, whose steps %zu and %zu would not "
                        "differ; choose fewer",
                        s->steps_asked, s->sampler->name, i, i + 1);
    }
    return DL_OK;
}

static int init(dl_context *cx, struct sampling *s, size_t steps) {
    const struct schedule *schedule = s->schedule;
    if (schedule->dpm_unsupported)
        return fail(cx, DL_MODEL, "%s: %s: not supported by sampler %s; choose another sampler",
                    schedule->path, schedule->dpm_unsupported, s->sampler->name);
    keep_signal(s);
    const size_t T = usable_timesteps(s);
    if (T == 0)
        return fail(cx, DL_MODEL, "%s: lambda_min_clipped: is %g, leaves no timestep",
                    schedule->path, schedule->lambda_min_clipped);
    if (!s->given)
        set_timesteps(s, T, steps);
    for (size_t i = 0; i < s->steps; i++)
        s->sigmas[i] = (float)sigma_at(s, (double)s->timesteps[i]);
    if (schedule->use_karras_sigmas) {
        s->steps = steps;
        karras_sigmas(s, (double)train_sigma(s, schedule->num_train_timesteps - 1),
                      (double)train_sigma(s, 0));
        for (size_t i = 0; i < s->steps; i++) /* to integers, one way or the other */
            s->timesteps[i] = schedule->beta_schedule == BETAS_SQUAREDCOS_CAP_V2
                                  ? floorf(s->timesteps[i])
                                  : rintf(s->timesteps[i]);
    }
    set_final_sigma(s);
    return check_sigmas(cx, s);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool first_order(const struct sampling *s, size_t i) {
    const struct schedule *schedule = s->schedule;
    const bool last = i == s->steps - 1;
    return schedule->solver_order == 1 || i == 0 ||
           (last && (schedule->euler_at_final || !schedule->final_sigma_min ||
                     (schedule->lower_order_final && s->steps < 15)));
}

static void step(struct sampling *s, size_t i, float *x, const float *out, struct rng *rng) {
    const struct level here = level_of(s->sigmas[i]), next = level_of(s->sigmas[i + 1]);
    const float h = next.lambda - here.lambda;
    const float decay = next.alpha * (expf(-h) - 1);
    (void)rng;

    predict_x0(s, s->x0, x, out, here.alpha, here.sigma);
    if (s->schedule->thresholding)
        threshold(s, s->x0);
    mix(x, next.sigma / here.sigma, x, -decay, s->x0, s->n);
    if (!first_order(s, i)) {
        const float r = (here.lambda - level_of(s->sigmas[i - 1]).lambda) / h;
        const float slope = s->schedule->solver_type == SOLVER_HEUN
                                ? next.alpha * ((expf(-h) - 1) / h + 1)
                                : -0.5F * decay;
        mix(s->scratch, 1, s->x0, -1, s->x0_previous, s->n);
        mix(x, 1, x, slope / r, s->scratch, s->n);
    }
    float *previous = s->x0_previous;
    s->x0_previous = s->x0;
    s->x0 = previous;
}

const struct sampler sampler_dpm_2m = {
    .name = "dpm++2m",
    .takes_timesteps = true,
    .defaults = {0.0001, 0.02, BETAS_LINEAR, SPACING_LINSPACE, CLIP_NO, VARIANCE_FIXED_SMALL},
    .init = init,
    .step = step,
};
