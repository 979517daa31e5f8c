/* The decoder of an autoencoder, of whatever class: opening, and undoing the scaling of latents.
 *
 *     image = Decoder(latents / scaling_factor + shift_factor)
 *
 * Latent diffusion works on latents of about unit variance; scaling_factor is what its training
 * multiplied them by (Rombach et al. 2022, appendix G). */
#include "diffusion/vae_class.h"

#include <stdlib.h>
#include <string.h>

static const struct vae_class *const classes[] = {&autoencoder_kl, &autoencoder_tiny};

static int find_class(struct config *file, const char *name, const struct vae_class **out) {
    if (!name)
        name = config_string(file, "_class_name", "AutoencoderKL");
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strcmp(classes[i]->name, name) == 0) {
            *out = classes[i];
            return DL_OK;
        }
    config_fail(file, "_class_name",
                "%.100s is not supported; known are AutoencoderKL, AutoencoderTiny", name);
    return file->status;
}

static int read_config(dl_context *cx, struct config *file, const char *class_name,
                       struct vae *vae) {
    const struct vae_class *class = NULL;

    DL_TRY(find_class(file, class_name, &class));
    vae->class = class;
    vae->scaling_factor =
        (float)config_number(file, "scaling_factor", class->scaling_factor, 1e-6, 1e6);
    vae->shift_factor = (float)config_number(file, "shift_factor", 0, -1e6, 1e6);
    return class->configure(cx, file, vae);
}

/* The encoder's half of the file is not needed and no reason for a warning. */
static void ignore_encoder(struct binder *b, const struct store *store) {
    for (size_t i = 0; i < store_count(store); i++) {
        const char *name = store_at(store, i)->name;
        if (strncmp(name, "encoder.", 8) == 0 || strncmp(name, "quant_conv.", 11) == 0)
            bind_ignore(b, name);
    }
}

static int open_weights(dl_context *cx, const char *dir, struct vae *vae) {
    struct binder b;
    int status, end;

    DL_TRY(store_open(cx, dir, "diffusion_pytorch_model", &vae->store));
    DL_TRY(bind_begin(&b, cx, vae->store));
    status = vae->class->bind(&b, vae);
    ignore_encoder(&b, vae->store);
    end = bind_end(&b);
    return status != DL_OK ? status : end;
}

int vae_open(dl_context *cx, const char *dir, const char *class_name, struct vae **out) {
    struct config file;
    void *memory;
    struct vae *vae;
    int status, end;

    *out = NULL;
    DL_TRY(allocate(cx, "autoencoder", 1, sizeof *vae, &memory));
    vae = memory;
    status = config_open(cx, dir, "config.json", &file);
    if (status == DL_OK) {
        status = read_config(cx, &file, class_name, vae);
        end = config_end(&file);
        status = status != DL_OK ? status : end;
    }
    if (status == DL_OK)
        status = open_weights(cx, dir, vae);
    if (status != DL_OK) {
        vae_close(vae);
        return status;
    }
    *out = vae;
    return DL_OK;
}

void vae_close(struct vae *vae) {
    if (!vae)
        return;
    if (vae->decoder)
        vae->class->free(vae->decoder);
    store_close(vae->store);
    free(vae);
}

size_t vae_scale(const struct vae *vae) {
    return vae->scale;
}

size_t vae_latent_channels(const struct vae *vae) {
    return vae->latent_channels;
}

const char *vae_class_name(const struct vae *vae) {
    return vae->class->name;
}

const struct store *vae_store(const struct vae *vae) {
    return vae->store;
}

void vae_decode(dl_context *cx, const struct vae *vae, float *image, const float *latents, size_t H,
                size_t W) {
    size_t count = vae->latent_channels * H * W, mark = arena_mark(cx);
    float *z = floats(cx, count); /* (H,W,C) */

    op_to_channels_last(cx, z, latents, 1, vae->latent_channels, H * W);
    if (!planning(cx))
        for (size_t i = 0; i < count; i++)
            z[i] = z[i] / vae->scaling_factor + vae->shift_factor;
    vae->class->decode(cx, vae, image, z, H, W);
    arena_release(cx, mark);
}
