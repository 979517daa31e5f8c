/* Encodings kept on the disk from run to run, so that a large encoder runs once for a prompt.
 *
 * A file DIR/KEY.safetensors for each: hidden.K [1,T,D] f32 for every layer, raw, and ids [1,T].
 * The key is made of the encoder's identity (family/identity.h), the kernels in use, the prompt's
 * ids and the blocks left out; a file is taken only if the ids in it
 * are the prompt's. A file that is damaged or another's is made anew.
 *
 * L blocks of the encoder   T tokens   D width of the states */
#ifndef DLENS_LENS_CACHE_H
#define DLENS_LENS_CACHE_H

#include "family/family.h"

struct cache {
    const char *dir;  /* borrowed; NULL: nothing is kept */
    uint64_t encoder; /* the part of the key that all prompts share */
};

/* Makes the folder. dir NULL: an empty cache, in which nothing is found and nothing kept. */
int cache_open(dl_context *cx, const dl_model *model, const char *dir, struct cache *out);

/* What is encoded: ids (T), mask (T) or NULL, skip (L) or NULL. */
struct cache_key {
    const int32_t *ids;
    const unsigned char *mask, *skip;
};

/* Whether the encoding is kept; hidden (L+1,T,D), `stride` floats from layer to layer, if so. */
bool cache_read(dl_context *cx, const struct cache *cache, const dl_model *model,
                const struct cache_key *key, float *hidden, size_t stride);

/* Keeps it. DL_FAILED if it cannot be written. */
int cache_write(dl_context *cx, const struct cache *cache, const dl_model *model,
                const struct cache_key *key, const char *prompt, const float *hidden,
                size_t stride);

#endif
