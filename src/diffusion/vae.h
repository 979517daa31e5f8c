/* The decoder of an autoencoder: from latents to a picture. Two classes behind one interface:
 * AutoencoderKL (Rombach et al. 2022, arXiv 2112.10752, section 3.1; weights vae_kl.c) and
 * AutoencoderTiny (TAESD, a small distilled one; taesd.c). Encoders are not needed and not read.
 *
 * C latent channels   H, W sides of the latents   s = 2^(levels-1) pixels per latent */
#ifndef DLENS_DIFFUSION_VAE_H
#define DLENS_DIFFUSION_VAE_H

#include "base/context.h"
#include "store/store.h"

struct vae;

/* Opens DIR/config.json and DIR/diffusion_pytorch_model.*; class_name as in model_index.json, NULL
 * to take the config's own `_class_name`. *out is freed with vae_close. DL_MODEL naming the file
 * and key or tensor when something is missing, wrong or not supported. */
int vae_open(dl_context *cx, const char *dir, const char *class_name, struct vae **out);
void vae_close(struct vae *vae); /* NULL is allowed */

size_t vae_scale(const struct vae *vae);           /* s */
size_t vae_latent_channels(const struct vae *vae); /* C */
const char *vae_class_name(const struct vae *vae); /* "AutoencoderKL" */
const struct store *vae_store(const struct vae *vae);

/* image (3,sH,sW) in about [-1,1], not clamped, from latents (C,H,W) as the sampler leaves them
 * (the model's scaling_factor and shift_factor are undone here); PyTorch's order. Scratch comes
 * from the arena; runs in plan mode, where no input is read. */
void vae_decode(dl_context *cx, const struct vae *vae, float *image, const float *latents, size_t H,
                size_t W);

#endif
