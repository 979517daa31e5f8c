/* What a class of autoencoder provides behind vae.h. */
#ifndef DLENS_DIFFUSION_VAE_CLASS_H
#define DLENS_DIFFUSION_VAE_CLASS_H

#include "base/json.h"
#include "diffusion/vae.h"
#include "nn/layers.h"

enum {
    VAE_LEVELS_MAX = 8,  /* entries of block_out_channels */
    VAE_LAYERS_MAX = 64, /* residual blocks of a level */
    VAE_CHANNELS_MAX = 1 << 16
};

struct vae {
    const struct vae_class *class;
    struct store *store;
    size_t scale, latent_channels;
    float scaling_factor, shift_factor;
    void *decoder; /* the class's own, freed with its `free` */
};

struct vae_class {
    const char *name;
    /* Reads the config (sticky, see json.h): sets scale, latent_channels and decoder. */
    int (*configure)(dl_context *cx, struct config *file, struct vae *vae);
    /* Binds what decoding needs. Fails only when memory is short. */
    int (*bind)(struct binder *b, struct vae *vae);
    /* image (3,sH,sW) from z (H,W,C), channels last, as the decoder expects it. */
    void (*decode)(dl_context *cx, const struct vae *vae, float *image, const float *z, size_t H,
                   size_t W);
    void (*free)(void *decoder);
    double scaling_factor; /* where the config has none */
};

extern const struct vae_class autoencoder_kl, autoencoder_tiny;

#endif
