/* Reading a UNet's config.json. */
#ifndef DLENS_DIFFUSION_UNET_CONFIG_H
#define DLENS_DIFFUSION_UNET_CONFIG_H

#include "diffusion/unet.h"

/* Fills *out from DIR/config.json, missing keys with diffusers' defaults. Every value is checked:
 * afterwards counts are within unet.h's bounds, and widths divide by their groups and heads.
 * DL_MODEL with the file and the key. */
int unet_config_read(dl_context *cx, const char *dir, struct unet_config *out);

#endif
