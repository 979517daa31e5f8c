/* Options resolved against a model: every default filled in, every range checked. */
#ifndef DLENS_LENS_SETTINGS_H
#define DLENS_LENS_SETTINGS_H

#include "family/family.h"

/* "final", "none", "block", "match"; norm_find: NORM_COUNT for no such name (or NULL). */
enum { NORM_COUNT = DL_NORM_MATCH + 1 };
const char *norm_name(enum dl_norm norm);
int norm_find(const char *name);

struct settings {
    int *layers; /* the chosen layers, rising */
    size_t layer_count;
    unsigned char *skip; /* (L) 1: block left out; NULL: none */
    uint64_t *seeds;
    size_t seed_count;
    size_t steps, width, height;
    const char *sampler;
    double guidance, eta;
    size_t reuse;                              /* every so many steps are whole; 1: all */
    bool own_steps, own_sampler, own_guidance; /* the model's own, not the user's */
    const char *timesteps[STAGES_MAX]; /* of each stage of a cascade, static names; or NULL */
    const char *negative;              /* never NULL */
    enum dl_norm norm;
    enum dl_control control;
    bool native;
    const float *noise;      /* or NULL */
    const char *cache;       /* folder of encodings, or NULL */
    const char *precision;   /* what products are made in, "bf16"; NULL: f32 */
    const char *activations; /* what is held between layers, "f16"; NULL: f32 */
};

/* DL_USAGE with the option at fault. Freed with settings_free, also after failure. Strings and
 * noise are borrowed from `options`. */
int settings_resolve(dl_context *cx, const dl_model *model, const dl_options *options,
                     struct settings *out);
void settings_free(struct settings *settings);

/* The request for a picture with these settings; states, prompt and seed are still to be put in. */
struct sample_request settings_request(const dl_model *model, const struct settings *settings);

#endif
