/* What samplers share: the rows of the table, timesteps, and the arithmetic of a step.
 * n values of one picture's latents   T num_train_timesteps */
#ifndef DLENS_DIFFUSION_SAMPLER_PARTS_H
#define DLENS_DIFFUSION_SAMPLER_PARTS_H

#include "diffusion/sampler.h"

extern const struct sampler sampler_ddim, sampler_ddpm, sampler_lcm; /* on timesteps */
extern const struct sampler sampler_dpm_2m, sampler_euler, sampler_euler_ancestral; /* on sigmas */

/* Whether timesteps that fall between two training steps are rounded. */
enum fraction { FRACTION_ROUNDED, FRACTION_KEPT };

/* Sets s->steps and s->timesteps by the schedule's timestep_spacing, unless they were given. */
void space_timesteps(struct sampling *s, size_t steps, enum fraction fraction);

/* For samplers that look alphas_cumprod up: DL_USAGE if a timestep is outside the schedule,
 * DL_MODEL if at one of them nothing is left of the picture while the model predicts the noise. */
int check_timesteps(dl_context *cx, const struct sampling *s);

/* alphas_cumprod at step i's timestep. */
float alpha_at(const struct sampling *s, size_t i);

/* For samplers on sigmas: with rescale_betas_zero_snr the last sigma is kept finite. */
void keep_signal(struct sampling *s);

/* sigma (f32) at training timestep t, 0..T-1; at fractional t, interpolated and clamped. */
float train_sigma(const struct sampling *s, size_t t);
double sigma_at(const struct sampling *s, double t);

/* The steps' sigmas and timesteps by Karras et al. 2022 (arXiv 2206.00364, equation 5), from
 * sigma_max down to sigma_min, where the schedule does not name its own. */
void karras_sigmas(struct sampling *s, double sigma_max, double sigma_min);

/* s->sigmas[steps] by final_sigmas_type. */
void set_final_sigma(struct sampling *s);

/* The picture x0 (n) that x and the model's output make, where x = alpha x0 + sigma eps:
 *     epsilon: (x - sigma out) / alpha     v_prediction: alpha x - sigma out     sample: out
 * (Salimans and Ho 2022, arXiv 2202.00512, appendix D.) */
void predict_x0(const struct sampling *s, float *x0, const float *x, const float *out, float alpha,
                float sigma);

/* The noise eps (n) of the same:
 *     epsilon: out     v_prediction: alpha out + sigma x     sample: (x - alpha out) / sigma */
void predict_epsilon(const struct sampling *s, float *eps, const float *x, const float *out,
                     float alpha, float sigma);

/* Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, section 2.3): clips |x0| at its
 * dynamic_thresholding_ratio quantile, held to [1, sample_max_value], and divides by it. Uses
 * s->scratch. */
void threshold(const struct sampling *s, float *x0);

/* threshold if the schedule says so, else clip_sample if it says so. */
void threshold_or_clip(const struct sampling *s, float *x0);

/* out (n) = a x + b y; out may be x or y. */
void mix(float *out, float a, const float *x, float b, const float *y, size_t n);

/* x (n) += scale * noise drawn from rng. Uses s->scratch. */
void add_noise(const struct sampling *s, float *x, float scale, struct rng *rng);

#endif
