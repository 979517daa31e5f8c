/* The Diffusion Lens (arXiv 2403.05846, section 3). */
#ifndef DLENS_LENS_LENS_H
#define DLENS_LENS_LENS_H

#include "lens/cache.h"
#include "lens/distance.h"
#include "lens/settings.h"

/* One prompt seen through the text encoder; its memory is that of struct encodings. */
struct encoding {
    size_t layers, tokens, width; /* L, T, D */
    size_t stride;                /* floats from one layer to the next, T D or more */
    const float *hidden;          /* (L+1,T,D): H[0] the embeddings, H[k] the output of block k */
    const int32_t *ids;           /* (T) with padding */
    char *cut;                    /* text that did not fit, or NULL */
    bool fresh;                   /* encoded now, not taken from the cache */
};

/* Several prompts, encoded in one pass. */
struct encodings {
    size_t count;           /* B */
    struct encoding *items; /* (B) */
    float *hidden;          /* (L+1,N,T,D) of those that were encoded now; NULL: none */
    float *kept;            /* (L+1,B-N,T,D) of those that the cache held; NULL: none */
    int32_t *ids;           /* (B,T) */
    unsigned char *mask;    /* (B,T) 0 for padding */
};

/* Tokenises and encodes what the cache does not hold, and keeps it there; with the blocks
 * left out and the tokens of the control that `ablated` says, NULL for the ordinary encoding. Freed
 * with encodings_free, also after failure. watch may be NULL. */
int encode_prompts(dl_context *cx, const dl_model *model, const char *const *prompts, size_t count,
                   const struct settings *ablated, const struct cache *cache,
                   const struct encode_watch *watch, struct encodings *out);
void encodings_free(struct encodings *encodings);

/* How many prompts are encoded in one pass, so that their states stay within a quarter of a
 * gigabyte. */
size_t encode_group(const dl_context *cx, const dl_model *model);

/* The conditioning of layer `layer`: its states after the norm; c (T,D). */
void condition(dl_context *cx, const dl_model *model, const struct encoding *encoding, int layer,
               enum dl_norm norm, float *c);

struct explainer; /* explain.h */

/* For every prompt, seed and chosen layer one picture, in this order. `skip` and `progress` may
 * be NULL. DL_CANCELLED when a callback says so. */
struct lens_callbacks {
    dl_skip_fn skip;
    /* Told, before its pictures, how far the conditionings of a prompt, distances (layers of the
     * run, native behind them), are from its ordinary one; NULL: nobody asks. */
    int (*measured)(void *user, size_t prompt, const struct distance *distances);
    dl_picture_fn emit;
    void *user;
    dl_progress_fn progress;
    void *progress_user;
    bool keep_latents;
    struct explainer *explainer; /* also looks in other ways; NULL: none */
};
int lens(dl_context *cx, const dl_model *model, const struct settings *settings,
         const char *const *prompts, size_t prompt_count, const struct lens_callbacks *callbacks);

#endif
