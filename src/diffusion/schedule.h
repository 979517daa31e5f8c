/* The noise schedule: how much of the picture is left at each training timestep.
 *
 *     x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps        eps ~ N(0, 1)
 *     a_t = product over s <= t of (1 - beta_s)      "alphas_cumprod"
 *
 * (Ho et al. 2020, arXiv 2006.11239, section 2.) The betas come from scheduler_config.json, which
 * names the scheduler class a model was published with. As in diffusers any sampler may run on any
 * such file (`Sampler.from_config(other.config)`): what the file says is kept, and what it leaves
 * out takes the default of the sampler's class, not of the class that the file names.
 *
 * t timestep, 0 clean .. T-1 noise   T num_train_timesteps */
#ifndef DLENS_DIFFUSION_SCHEDULE_H
#define DLENS_DIFFUSION_SCHEDULE_H

#include "base/context.h"

enum { TRAIN_TIMESTEPS_MAX = 1 << 16, ORDER_MAX = 2 };

/* *_MISSING: the file does not say; see struct schedule_defaults. */
enum beta_schedule { BETAS_MISSING, BETAS_LINEAR, BETAS_SCALED_LINEAR, BETAS_SQUAREDCOS_CAP_V2 };
enum timestep_spacing { SPACING_MISSING, SPACING_LEADING, SPACING_TRAILING, SPACING_LINSPACE };
enum clip_sample { CLIP_MISSING, CLIP_NO, CLIP_YES };
enum variance_type {
    VARIANCE_MISSING,
    VARIANCE_FIXED_SMALL,
    VARIANCE_FIXED_SMALL_LOG,
    VARIANCE_FIXED_LARGE,
    VARIANCE_LEARNED,
    VARIANCE_LEARNED_RANGE
};
enum prediction_type { PREDICT_EPSILON, PREDICT_SAMPLE, PREDICT_V };
enum solver_type { SOLVER_MIDPOINT, SOLVER_HEUN };

/* scheduler_config.json under its own names. */
struct schedule {
    char *path;             /* of the file, for messages */
    const char *class_name; /* `_class_name`, "DDIMScheduler" */

    /* the forward process */
    size_t num_train_timesteps;  /* T */
    double beta_start, beta_end; /* negative: missing */
    enum beta_schedule beta_schedule;
    float *trained_betas; /* (T) or NULL */
    bool rescale_betas_zero_snr;
    enum prediction_type prediction_type;

    /* which timesteps a run visits */
    enum timestep_spacing timestep_spacing;
    size_t steps_offset;
    size_t original_inference_steps; /* LCM: steps of its teacher */
    bool use_karras_sigmas;          /* DPM-Solver++, Euler */
    double sigma_min, sigma_max;     /* their ends; negative: the schedule's own */
    double lambda_min_clipped;       /* DPM-Solver++: least log signal-to-noise ratio / 2 */
    bool final_sigma_min;            /* final_sigmas_type is "sigma_min", else "zero" */

    /* the predicted picture x0 */
    enum clip_sample clip_sample;
    double clip_sample_range;
    bool thresholding;
    double dynamic_thresholding_ratio, sample_max_value;

    /* steps */
    bool set_alpha_to_one;
    enum variance_type variance_type; /* DDPM */
    size_t solver_order;              /* DPM-Solver++ */
    enum solver_type solver_type;
    bool lower_order_final, euler_at_final;
    double timestep_scaling; /* LCM */

    /* A key whose value some samplers do not support ("use_beta_sigmas"), or NULL */
    const char *dpm_unsupported, *euler_unsupported;

    float *alphas_cumprod; /* (T) a_t, in (0,1); a_{T-1} may be 0 (rescale_betas_zero_snr) */
};

/* What a scheduler class takes for keys that the file leaves out. */
struct schedule_defaults {
    double beta_start, beta_end;
    enum beta_schedule beta_schedule;
    enum timestep_spacing timestep_spacing;
    enum clip_sample clip_sample;
    enum variance_type variance_type;
};

/* Reads DIR/scheduler_config.json of any diffusers class that diffuses with betas. *out is freed
 * with schedule_close. DL_MODEL naming the file and key when something is absurd or unknown. */
int schedule_open(dl_context *cx, const char *dir, struct schedule **out);
void schedule_close(struct schedule *schedule); /* NULL is allowed */

/* *out: the same schedule with nothing missing, its alphas_cumprod made anew. *out is freed with
 * schedule_close. DL_MODEL where the betas that result leave no usable signal. */
int schedule_complete(dl_context *cx, const struct schedule *schedule,
                      const struct schedule_defaults *defaults, struct schedule **out);

/* What diffusers' Stable Diffusion pipelines do to files of old: steps_offset 1 and no clipping of
 * the latents, whatever the file says. */
void schedule_mend_outdated(struct schedule *schedule);

/* The sampler that suits the model best, by its name in sampler.h: lcm for LCMScheduler; euler or
 * euler-a where one of these goes with trailing timesteps, as turbo models have them; else ddim. */
const char *schedule_default_sampler(const struct schedule *schedule);

#endif
