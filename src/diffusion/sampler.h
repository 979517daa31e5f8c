/* Samplers: from noise to latents in a few steps, each a pure function of its inputs.
 *
 *     sampling_begin:  timesteps t_0 > t_1 > ... and noise levels from the schedule
 *     for each step i:  input = scale_input(x)   out = UNet(input, t_i)   x = step(i, x, out)
 *
 * A sampler is a row of functions. All compute as diffusers 0.42.1 does, in f32 where it does.
 * Random draws come from the picture's own generator, n at a time, in diffusers' order: ddim one a
 * step if eta > 0; euler-a one a step, also at the last; lcm one a step but the last; ddpm one a
 * step but at timestep 0.
 *
 * n values of one picture's latents   t timestep   a alphas_cumprod   sigma sqrt((1-a)/a) */
#ifndef DLENS_DIFFUSION_SAMPLER_H
#define DLENS_DIFFUSION_SAMPLER_H

#include "base/rng.h"
#include "diffusion/schedule.h"

struct sampling;

struct sampler {
    const char *name;     /* "ddim" */
    bool takes_timesteps; /* can run on a list of timesteps that it has not chosen itself */
    struct schedule_defaults defaults;
    /* Sets s->steps, timesteps and sigmas for a run of `steps`. */
    int (*init)(dl_context *cx, struct sampling *s, size_t steps);
    void (*step)(struct sampling *s, size_t i, float *latents, const float *model_output,
                 struct rng *rng);
    /* What the UNet is given; NULL: the latents as they are. */
    void (*scale_input)(const struct sampling *s, size_t i, float *out, const float *latents);
};

/* NULL if there is none of this name. */
const struct sampler *sampler_find(const char *name);

/* All names, NULL-terminated. */
const char *const *sampler_names(void);

/* One run of a sampler. It may be run for picture after picture, each from step 0 on. */
struct sampling {
    const struct sampler *sampler;
    struct schedule *schedule; /* nothing missing; the sampling's own */
    size_t steps;              /* may be fewer than asked for, where the reference drops some */
    size_t steps_asked;
    bool given;             /* timesteps were given, not chosen from the schedule */
    float *timesteps;       /* (steps) what the UNet is told; fractional for Euler */
    float *sigmas;          /* (steps+1) for dpm++2m, euler, euler-a; else zeros */
    float init_noise_sigma; /* the start is unit noise times this */
    double eta;             /* ddim: 0 deterministic, 1 as ddpm */
    size_t n;
    size_t outputs;          /* values of a model output that a step reads: n, or 2n with a
                                learned variance behind the prediction (ddpm) */
    float *x0, *x0_previous; /* (n) predicted picture of this and of the last step */
    float *scratch;          /* (n) */
};

/* Prepares a run of `steps` for latents of n values. Freed with sampling_end, also after failure.
 * DL_USAGE if the schedule has no such number of steps or the sampler cannot do what the model
 * predicts; DL_MODEL if the schedule asks for something the sampler does not support. */
int sampling_begin(dl_context *cx, struct sampling *s, const struct sampler *sampler,
                   const struct schedule *schedule, size_t steps, double eta, size_t n);

/* The same at `count` timesteps of the caller's own, falling. DL_USAGE if they are not, or if the
 * sampler chooses its own (ddim, euler-a). */
int sampling_begin_at(dl_context *cx, struct sampling *s, const struct sampler *sampler,
                      const struct schedule *schedule, const int *timesteps, size_t count,
                      double eta, size_t n);

void sampling_end(struct sampling *s);

/* out (n): what the UNet is given at step i. out may be latents. */
void sampling_scale_input(const struct sampling *s, size_t i, float *out, const float *latents);

/* Step i: latents (n) move from timestep i to the next, given the model's output (s->outputs)
 * there. */
void sampling_step(struct sampling *s, size_t i, float *latents, const float *model_output,
                   struct rng *rng);

/* out (dim): the sinusoids by which an LCM is told its guidance scale (Luo et al. 2023, arXiv
 * 2310.04378, section 4.2), [sin(1000 (w-1) f) | cos(...)]; w is the scale itself. */
void guidance_scale_embedding(float guidance_scale, size_t dim, float *out);

#endif
