/* The denoising loop, the same for every family and sampler.
 *
 *     x = init_noise_sigma * noise
 *     for each timestep t:
 *         out = UNet(x, t, negative) + g (UNet(x, t, positive) - UNet(x, t, negative))
 *         x   = step(x, out)
 *
 * The second line is classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, equation 6);
 * with a guidance scale g of at most 1 the UNet is asked about the positive half alone.
 *
 * Several pictures that differ in noise and prompt go through the UNet together: each comes out as
 * alone, to the bit.
 *
 * K pictures   n values of a picture's latents (C,h,w)
 * m values of the UNet's output, n or more: behind the prediction may be a variance, which is not
 * guided but taken from the positive half */
#ifndef DLENS_DIFFUSION_DENOISE_H
#define DLENS_DIFFUSION_DENOISE_H

#include "diffusion/sampler.h"

/* What the denoiser is asked: items [first, first + count) of the negative ones of all pictures
 * and, behind them, the positive ones; a job without guidance has the positive ones alone. Item b
 * of the call is of sample b mod samples. */
struct denoise_call {
    size_t first, count, samples;
    size_t step; /* from 0 */
    float timestep;
};

/* The denoiser: out (count,m) from input (samples,n), PyTorch's order (C,h,w) in each. Scratch
 * comes from the arena; it is also run in plan mode, where it must allocate at least as much and
 * read no input. */
typedef void (*predict_fn)(dl_context *cx, void *user, float *out, const float *input,
                           const struct denoise_call *call);

/* The first negative prediction, which all pictures of one start noise, one negative prompt and
 * one timestep have in common, whatever their positive prompts: it is kept with its input and used
 * again where the input is equal to the bit. Zero it before its first job. It serves jobs that
 * differ in latents, rng and positive prompt alone. */
struct first_prediction {
    float *input; /* (n) */
    float *out;   /* (m) */
    bool there;
};
void first_prediction_free(struct first_prediction *first);

struct denoise_job {
    predict_fn predict;
    void *predict_user;
    /* Called once before the first step, in plan mode too: what it takes from the arena lives as
     * long as the job. May be NULL. */
    void (*prepare)(dl_context *cx, void *user);
    struct first_prediction *shared; /* may be NULL */
    bool stateful; /* predict keeps something of each item for later steps: all are always asked */
    bool halves_equal;         /* of one picture: both conditionings are the same bits */
    size_t pictures;           /* K, made side by side; 0: 1 */
    struct sampling *sampling; /* (K) begun alike; no other use of them meanwhile */
    size_t outputs;            /* m; 0: n */
    double guidance_scale;
    bool guidance_embedded; /* the UNet is told the scale itself (LCM): never a negative half */
    float *latents;         /* (K,n) in: start noise of variance 1; out: the result */
    struct rng *rng;        /* (K) each picture's own, as the start noise left it */
    /* Called after each step, from 1; not 0: stop. May be NULL. */
    int (*progress)(void *user, size_t step, size_t steps);
    void *progress_user;
};

/* True if the job asks about the negative half too. */
bool denoise_guided(const struct denoise_job *job);

/* What the job costs: peak of the arena in bytes, with what is shared; multiply-adds of the first
 * step and of all that the job does. Nothing may be live in the arena. */
struct denoise_cost {
    size_t bytes;
    double step, work;
};
struct denoise_cost denoise_plan(dl_context *cx, const struct denoise_job *job);

/* Runs the job: plans and reserves the arena (nothing may be live in it), then all steps.
 * DL_CANCELLED when progress says so, DL_FAILED without memory, DL_MODEL where the sampler needs a
 * variance that the UNet does not predict; latents are then unfinished. */
int denoise(dl_context *cx, const struct denoise_job *job);

#endif
