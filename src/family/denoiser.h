/* The UNet as the denoising loop asks it: both halves of guidance, or one of them, about one
 * sample. What does not change between the steps of a picture is computed before the first of them.
 *
 * K pictures   N items: the negative halves of all, then the positive ones; or these alone
 * T tokens   D width of the states */
#ifndef DLENS_FAMILY_DENOISER_H
#define DLENS_FAMILY_DENOISER_H

#include "diffusion/denoise.h"
#include "diffusion/unet.h"

struct denoiser {
    const struct unet *unet;
    size_t h, w;            /* of the sample */
    size_t pictures, items; /* K, N */
    size_t reuse; /* the deep part of the UNet is computed every so many steps; 0 or 1: in each */
    struct unet_condition condition; /* of all items, as far as the caller fills it in */
    struct unet_memory memory;       /* denoiser_prepare's */
};

/* For struct denoise_job. */
void denoiser_prepare(dl_context *cx, struct denoiser *d);

/* out (call->count,m) from input: the sample with all channels that the UNet takes. */
void denoiser_predict(dl_context *cx, const struct denoiser *d, float *out, const float *input,
                      const struct denoise_call *call);

/* states (N,T,D) of the items, of the one negative prompt and K positive ones; `values` = T D.
 * Freed by the caller. */
int denoiser_set_states(dl_context *cx, struct denoiser *d, const float *negative,
                        const float *const *positive, size_t values, float **states);

#endif
