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
 * B batch: 2 with guidance (negative first), else 1   n values of a picture's latents (C,h,w)
 * m values of the UNet's output, n or more: behind the prediction may be a variance, which is not
 * guided but taken from the positive half */
#ifndef DLENS_DIFFUSION_DENOISE_H
#define DLENS_DIFFUSION_DENOISE_H

#include "diffusion/sampler.h"

/* The denoiser: out (B,m) from input (B,n), PyTorch's order (C,h,w) in each. With
 * B = 2 item 0 is conditioned on the negative, item 1 on the positive prompt; with B = 1 the item
 * is on the positive one. Scratch comes from the arena; it is also run in plan mode, where it must
 * make the same allocations and read no input. */
typedef void (*predict_fn)(dl_context *cx, void *user, float *out, const float *input, size_t B,
                           float timestep);

struct denoise_job {
    predict_fn predict;
    void *predict_user;
    struct sampling *sampling; /* begun; no other use of it meanwhile */
    size_t outputs;            /* m; 0: n */
    double guidance_scale;
    bool guidance_embedded; /* the UNet is told the scale itself (LCM): never a negative half */
    float *latents;         /* (n) in: start noise of variance 1; out: the result */
    struct rng *rng;        /* the picture's own, as the start noise left it */
    /* Called after each step, from 1; not 0: stop. May be NULL. */
    int (*progress)(void *user, size_t step, size_t steps);
    void *progress_user;
};

/* True if the job asks about the negative half too. */
bool denoise_guided(const struct denoise_job *job);

/* Peak of the arena in bytes during the job. Nothing may be live in the arena. */
size_t denoise_memory(dl_context *cx, const struct denoise_job *job);

/* Runs the job: plans and reserves the arena (nothing may be live in it), then all steps.
 * DL_CANCELLED when progress says so, DL_FAILED without memory, DL_MODEL where the sampler needs a
 * variance that the UNet does not predict; latents are then unfinished. */
int denoise(dl_context *cx, const struct denoise_job *job);

#endif
