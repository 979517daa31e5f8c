/* scheduler_config.json into struct schedule: every key checked for type and range. Keys of other
 * classes than the file's own are read too, as diffusers keeps them when a scheduler is turned
 * into another. */
#include "diffusion/schedule_config.h"

#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Classes that diffuse as schedule.h says. Others (flow matching, EDM, ...) are another process. */
static const char *const CLASSES[] = {
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
    NULL,
};

/* 1 + the index of the value among names, 0 where the key is missing: an enum whose first value
 * says so. */
static size_t choice(struct config *c, const char *key, const char *const *names) {
    return config_has(c, key) ? 1 + config_choice(c, key, names, 0) : 0;
}

int copy_text(dl_context *cx, const char *text, char **out) {
    const size_t size = strlen(text) + 1;
    DL_TRY(allocate(cx, "text", size, 1, (void **)out));
    memcpy(*out, text, size);
    return DL_OK;
}

static int read_trained_betas(struct config *c, struct schedule *s) {
    const size_t T = s->num_train_timesteps;
    double *values;
    if (c->status != DL_OK || !config_has(c, "trained_betas"))
        return DL_OK;
    DL_TRY(allocate(c->cx, "trained_betas", T, sizeof *values, (void **)&values));
    const size_t count = config_number_list(c, "trained_betas", values, T, 0, 1);
    int status = DL_OK;
    if (count && count != T)
        config_fail(c, "trained_betas", "has %zu values, must have num_train_timesteps = %zu",
                    count, T);
    else if (count)
        status = allocate(c->cx, "trained_betas", T, sizeof(float), (void **)&s->trained_betas);
    for (size_t t = 0; s->trained_betas && t < T; t++)
        s->trained_betas[t] = (float)values[t];
    free(values);
    return status;
}

static int read_forward_process(struct config *c, struct schedule *s) {
    static const char *const SCHEDULES[] = {"linear", "scaled_linear", "squaredcos_cap_v2", NULL};
    static const char *const PREDICTIONS[] = {"epsilon", "sample", "v_prediction", NULL};
    s->num_train_timesteps =
        (size_t)config_int(c, "num_train_timesteps", 1000, 1, TRAIN_TIMESTEPS_MAX);
    s->beta_start = config_number(c, "beta_start", -1, 0, 1);
    s->beta_end = config_number(c, "beta_end", -1, 0, 1);
    s->beta_schedule = (enum beta_schedule)choice(c, "beta_schedule", SCHEDULES);
    s->rescale_betas_zero_snr = config_bool(c, "rescale_betas_zero_snr", false);
    s->prediction_type =
        (enum prediction_type)config_choice(c, "prediction_type", PREDICTIONS, PREDICT_EPSILON);
    return read_trained_betas(c, s);
}

static void read_timesteps(struct config *c, struct schedule *s) {
    static const char *const SPACINGS[] = {"leading", "trailing", "linspace", NULL};
    static const char *const FINAL_SIGMAS[] = {"zero", "sigma_min", NULL};
    const long T = (long)s->num_train_timesteps;
    s->timestep_spacing = (enum timestep_spacing)choice(c, "timestep_spacing", SPACINGS);
    s->steps_offset = (size_t)config_int(c, "steps_offset", 0, 0, T - 1);
    s->original_inference_steps =
        (size_t)config_int(c, "original_inference_steps", 50, 1, TRAIN_TIMESTEPS_MAX);
    s->use_karras_sigmas = config_bool(c, "use_karras_sigmas", false);
    s->sigma_min = config_number(c, "sigma_min", -1, 1e-6, 1e6);
    s->sigma_max = config_number(c, "sigma_max", -1, 1e-6, 1e6);
    s->lambda_min_clipped = config_number(c, "lambda_min_clipped", -INFINITY, -INFINITY, 100);
    s->final_sigma_min = config_choice(c, "final_sigmas_type", FINAL_SIGMAS, 0) == 1;
}

static void read_steps(struct config *c, struct schedule *s) {
    static const char *const VARIANCES[] = {"fixed_small", "fixed_small_log", "fixed_large",
                                            "learned",     "learned_range",   NULL};
    s->clip_sample = !config_has(c, "clip_sample")          ? CLIP_MISSING
                     : config_bool(c, "clip_sample", false) ? CLIP_YES
                                                            : CLIP_NO;
    s->clip_sample_range = config_number(c, "clip_sample_range", 1, 1e-6, 1e6);
    s->thresholding = config_bool(c, "thresholding", false);
    s->dynamic_thresholding_ratio = config_number(c, "dynamic_thresholding_ratio", 0.995, 0, 1);
    s->sample_max_value = config_number(c, "sample_max_value", 1, 1e-6, 1e6);
    s->set_alpha_to_one = config_bool(c, "set_alpha_to_one", true);
    s->variance_type = (enum variance_type)choice(c, "variance_type", VARIANCES);
    s->timestep_scaling = config_number(c, "timestep_scaling", 10, 1e-6, 1e6);
}

/* The keys of DPM-Solver++ and Euler, and which of their values are not supported. */
static void read_solvers(struct config *c, struct schedule *s) {
    /* Those behind heun belong to other classes; DPM-Solver takes them for midpoint. */
    static const char *const SOLVERS[] = {"midpoint", "heun", "logrho", "bh1", "bh2", NULL};
    static const char *const EITHER[] = {"use_exponential_sigmas", "use_beta_sigmas"};
    static const char *const DPM[] = {"use_lu_lambdas", "use_flow_sigmas"};
    s->solver_type =
        config_choice(c, "solver_type", SOLVERS, 0) == 1 ? SOLVER_HEUN : SOLVER_MIDPOINT;
    s->solver_order = (size_t)config_int(c, "solver_order", 2, 1, 3);
    s->lower_order_final = config_bool(c, "lower_order_final", true);
    s->euler_at_final = config_bool(c, "euler_at_final", false);
    for (size_t i = 0; i < 2; i++) {
        if (config_bool(c, EITHER[i], false))
            s->dpm_unsupported = s->euler_unsupported = EITHER[i];
        if (config_bool(c, DPM[i], false))
            s->dpm_unsupported = DPM[i];
    }
    const char *algorithm = config_string(c, "algorithm_type", "dpmsolver++");
    if (strcmp(algorithm, "dpmsolver++") != 0 && strcmp(algorithm, "deis") != 0)
        s->dpm_unsupported = "algorithm_type";
    if (s->solver_order > ORDER_MAX)
        s->dpm_unsupported = "solver_order";
    if (strcmp(config_string(c, "interpolation_type", "linear"), "linear") != 0)
        s->euler_unsupported = "interpolation_type";
    if (s->prediction_type == PREDICT_V &&
        strcmp(config_string(c, "timestep_type", "discrete"), "discrete") != 0)
        s->euler_unsupported = "timestep_type";
}

int schedule_read(dl_context *cx, const char *dir, struct schedule *s) {
    struct config c;
    DL_TRY(config_open(cx, dir, "scheduler_config.json", &c));
    s->class_name = CLASSES[config_choice(&c, "_class_name", CLASSES, 0)];
    int status = copy_text(cx, c.path, &s->path);
    if (status == DL_OK)
        status = read_forward_process(&c, s);
    if (status == DL_OK) {
        read_timesteps(&c, s);
        read_steps(&c, s);
        read_solvers(&c, s);
    }
    const int read = config_end(&c);
    return status == DL_OK ? read : status;
}
