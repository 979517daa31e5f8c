/* The Diffusion Lens (arXiv 2403.05846, section 3). */
#ifndef DLENS_LENS_LENS_H
#define DLENS_LENS_LENS_H

#include "lens/settings.h"

/* One prompt seen through the text encoder. */
struct encoding {
    size_t layers, tokens, width; /* L, T, D */
    float *hidden;                /* (L+1,T,D): H[0] the embeddings, H[k] the output of block k */
    int32_t *ids;                 /* (T) with padding */
    char *cut;                    /* text that did not fit, or NULL */
};

/* Tokenises and encodes; `skip` as in struct settings, NULL for the ordinary encoding. Freed with
 * encoding_free, also after failure. */
int encode_prompt(dl_context *cx, const dl_model *model, const char *prompt,
                  const unsigned char *skip, struct encoding *out);
void encoding_free(struct encoding *encoding);

/* The conditioning of layer `layer`: its states after the final norm (or as they are, norm false);
 * c (T,D). */
void condition(dl_context *cx, const dl_model *model, const struct encoding *encoding, int layer,
               bool norm, float *c);

/* For every prompt, seed and chosen layer one picture, in this order. `skip` and `progress` may
 * be NULL. DL_CANCELLED when a callback says so. */
struct lens_callbacks {
    dl_skip_fn skip;
    dl_picture_fn emit;
    void *user;
    dl_progress_fn progress;
    void *progress_user;
    bool keep_latents;
};
int lens(dl_context *cx, const dl_model *model, const struct settings *settings,
         const char *const *prompts, size_t prompt_count, const struct lens_callbacks *callbacks);

#endif
