/* A lens into a folder: pictures, manifest, contact sheets, report; resumed where it stopped. */
#ifndef DLENS_LENS_RUN_H
#define DLENS_LENS_RUN_H

#include "lens/lens.h"
#include "lens/manifest.h"

/* See dl_lens_run. */
int lens_run(dl_context *cx, const dl_model *model, const dl_options *options,
             const char *const *prompts, size_t prompt_count, const dl_run *run,
             dl_run_result *result);

/* Writes one picture with the text chunks that say how it was made. */
int picture_write(dl_context *cx, const dl_model *model, const struct settings *settings,
                  const char *prompt, const dl_picture *picture, const char *path);

/* Name of a picture's final latents in their file: "layer.4.seed.0", with several prompts
 * "prompt.1.layer.4.seed.0"; the family's own conditioning is "native" in place of the layer. */
void latents_name(char out[96], size_t prompts, size_t prompt, int layer, uint64_t seed);

/* Contact sheets and index.html from the pictures in the folder. */
int present(dl_context *cx, const dl_model *model, const struct grid *grid, const char *folder,
            const dl_run *run);

#endif
