/* The noise schedule from scheduler_config.json: betas, and alphas_cumprod as diffusers computes
 * them.
 *
 *     linear               beta_t = linspace(beta_start, beta_end)          (Ho et al. 2020)
 *     scaled_linear        beta_t = linspace(sqrt(start), sqrt(end))^2      (latent diffusion)
 *     squaredcos_cap_v2    beta_t = 1 - f(t+1)/f(t), at most 0.999          (Nichol and Dhariwal
 *                          f(t) = cos^2((t/T + 0.008) / 1.008 pi/2)          2021, equation 17)
 *
 * T num_train_timesteps */
#include "diffusion/schedule.h"

#include "diffusion/schedule_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- betas ----------------------------------------------------------------------------------- */

/* torch.linspace in f32: from both ends towards the middle, products fused as its builds for x86
 * with AVX2 do. */
static void linspace(float *out, float start, float end, size_t count) {
    const float step = count > 1 ? (end - start) / (float)(count - 1) : 0;
    for (size_t i = 0; i < count; i++)
        out[i] = i < count / 2 || count == 1 ? fmaf(step, (float)i, start)
                                             : fmaf(-step, (float)(count - 1 - i), end);
}

static double squared_cosine(double t) {
    const double pi = 3.14159265358979323846, c = cos((t + 0.008) / 1.008 * pi / 2);
    return c * c;
}

static void make_betas(float *betas, const struct schedule *s) {
    const size_t T = s->num_train_timesteps;
    if (s->trained_betas) {
        memcpy(betas, s->trained_betas, T * sizeof *betas);
    } else if (s->beta_schedule == BETAS_LINEAR) {
        linspace(betas, (float)s->beta_start, (float)s->beta_end, T);
    } else if (s->beta_schedule == BETAS_SCALED_LINEAR) {
        linspace(betas, (float)sqrt(s->beta_start), (float)sqrt(s->beta_end), T);
        for (size_t t = 0; t < T; t++)
            betas[t] *= betas[t];
    } else {
        for (size_t t = 0; t < T; t++) {
            const double f0 = squared_cosine((double)t / (double)T);
            const double f1 = squared_cosine((double)(t + 1) / (double)T);
            betas[t] = (float)fmin(1 - f1 / f0, 0.999);
        }
    }
}

/* ---- alphas_cumprod -------------------------------------------------------------------------- */

/* As torch.cumprod: in f64, each stored as f32. out may be alphas. */
static void cumulative_product(float *out, const float *alphas, size_t T) {
    double product = 1;
    for (size_t t = 0; t < T; t++) {
        product *= (double)alphas[t];
        out[t] = (float)product;
    }
}

/* Shifts and scales sqrt(a_t) so that the last is 0 and the first stays: no signal is left at the
 * end (Lin et al. 2023, arXiv 2305.08891, algorithm 1). alphas (T) holds 1 - beta before and after;
 * scratch (T). */
static void rescale_zero_terminal_snr(float *alphas, float *scratch, size_t T) {
    float *root = scratch;
    cumulative_product(root, alphas, T);
    for (size_t t = 0; t < T; t++)
        root[t] = sqrtf(root[t]);
    const float first = root[0], last = root[T - 1];
    for (size_t t = 0; t < T; t++) {
        root[t] = (root[t] - last) * (first / (first - last));
        root[t] *= root[t];
    }
    for (size_t t = 0; t < T; t++) {
        const float alpha = t ? root[t] / root[t - 1] : root[0];
        alphas[t] = 1 - (1 - alpha); /* by way of beta, rounding as the reference */
    }
}

static int check_alphas(dl_context *cx, const struct schedule *s) {
    const size_t T = s->num_train_timesteps;
    const char *keys = s->trained_betas ? "trained_betas" : "beta_start, beta_end, beta_schedule";
    for (size_t t = 0; t < T; t++) {
        const float a = s->alphas_cumprod[t];
        const bool may_vanish = s->rescale_betas_zero_snr && t == T - 1;
        if (!(a < 1) || !(may_vanish ? a >= 0 : a > 0))
            return fail(cx, DL_MODEL,
                        "%s: %s: leave a signal of %g at timestep %zu, must be between 0 and 1%s",
                        s->path, keys, (double)a, t,
                        s->rescale_betas_zero_snr ? " (after rescale_betas_zero_snr)" : "");
    }
    return DL_OK;
}

static int make_alphas_cumprod(dl_context *cx, struct schedule *s) {
    const size_t T = s->num_train_timesteps;
    float *alphas = NULL, *scratch = NULL;
    int status = allocate(cx, "noise schedule", T, sizeof(float), (void **)&s->alphas_cumprod);
    if (status == DL_OK)
        status = allocate(cx, "noise schedule", T, sizeof(float), (void **)&alphas);
    if (status == DL_OK)
        status = allocate(cx, "noise schedule", T, sizeof(float), (void **)&scratch);
    if (status == DL_OK) {
        make_betas(alphas, s);
        for (size_t t = 0; t < T; t++)
            alphas[t] = 1 - alphas[t];
        if (s->rescale_betas_zero_snr)
            rescale_zero_terminal_snr(alphas, scratch, T);
        cumulative_product(s->alphas_cumprod, alphas, T);
        status = check_alphas(cx, s);
    }
    free(alphas);
    free(scratch);
    return status;
}

/* ---- public ---------------------------------------------------------------------------------- */

/* Sets what is missing, owned memory aside. */
static void fill_in(struct schedule *s, const struct schedule_defaults *defaults) {
    if (s->beta_start < 0)
        s->beta_start = defaults->beta_start;
    if (s->beta_end < 0)
        s->beta_end = defaults->beta_end;
    if (s->beta_schedule == BETAS_MISSING)
        s->beta_schedule = defaults->beta_schedule;
    if (s->timestep_spacing == SPACING_MISSING)
        s->timestep_spacing = defaults->timestep_spacing;
    if (s->clip_sample == CLIP_MISSING)
        s->clip_sample = defaults->clip_sample;
    if (s->variance_type == VARIANCE_MISSING)
        s->variance_type = defaults->variance_type;
}

static int copy(dl_context *cx, struct schedule *s, const struct schedule *from) {
    DL_TRY(copy_text(cx, from->path, &s->path));
    if (from->trained_betas) {
        const size_t T = from->num_train_timesteps;
        DL_TRY(allocate(cx, "noise schedule", T, sizeof(float), (void **)&s->trained_betas));
        memcpy(s->trained_betas, from->trained_betas, T * sizeof(float));
    }
    return DL_OK;
}

int schedule_complete(dl_context *cx, const struct schedule *schedule,
                      const struct schedule_defaults *defaults, struct schedule **out) {
    *out = NULL;
    struct schedule *s;
    DL_TRY(allocate(cx, "noise schedule", 1, sizeof *s, (void **)&s));
    *s = *schedule;
    s->path = NULL;
    s->trained_betas = s->alphas_cumprod = NULL;
    fill_in(s, defaults);
    int status = copy(cx, s, schedule);
    if (status == DL_OK)
        status = make_alphas_cumprod(cx, s);
    if (status != DL_OK) {
        schedule_close(s);
        return status;
    }
    *out = s;
    return DL_OK;
}

/* Most classes' defaults: they serve to check a file when it is opened. */
static const struct schedule_defaults COMMON_DEFAULTS = {
    .beta_start = 0.0001,
    .beta_end = 0.02,
    .beta_schedule = BETAS_LINEAR,
    .timestep_spacing = SPACING_LEADING,
    .clip_sample = CLIP_YES,
    .variance_type = VARIANCE_FIXED_SMALL,
};

int schedule_open(dl_context *cx, const char *dir, struct schedule **out) {
    struct schedule *s, *complete;
    *out = NULL;
    DL_TRY(allocate(cx, "noise schedule", 1, sizeof *s, (void **)&s));
    int status = schedule_read(cx, dir, s);
    if (status == DL_OK)
        status = schedule_complete(cx, s, &COMMON_DEFAULTS, &complete);
    if (status != DL_OK) {
        schedule_close(s);
        return status;
    }
    s->alphas_cumprod = complete->alphas_cumprod;
    complete->alphas_cumprod = NULL;
    schedule_close(complete);
    *out = s;
    return DL_OK;
}

void schedule_close(struct schedule *schedule) {
    if (!schedule)
        return;
    free(schedule->path);
    free(schedule->trained_betas);
    free(schedule->alphas_cumprod);
    free(schedule);
}

void schedule_mend_outdated(struct schedule *schedule) {
    schedule->steps_offset = schedule->num_train_timesteps > 1 ? 1 : 0;
    schedule->clip_sample = CLIP_NO;
}

const char *schedule_default_sampler(const struct schedule *schedule) {
    const bool trailing = schedule->timestep_spacing == SPACING_TRAILING;
    if (strcmp(schedule->class_name, "LCMScheduler") == 0)
        return "lcm";
    if (trailing && strcmp(schedule->class_name, "EulerDiscreteScheduler") == 0)
        return "euler";
    if (trailing && strcmp(schedule->class_name, "EulerAncestralDiscreteScheduler") == 0)
        return "euler-a";
    return "ddim";
}
