/* Families: from model_index.json to encoder + conditioning + denoiser + decoder.
 *
 * A family is a row of functions. The lens (lens/lens.c) knows only this header: it encodes,
 * norms, and hands one layer's states to family->sample. A new family is one new file here and a
 * line in the table of model.c.
 *
 * T tokens   D hidden size   C latent channels   h, w latent sides */
#ifndef DLENS_FAMILY_FAMILY_H
#define DLENS_FAMILY_FAMILY_H

#include "base/context.h"
#include "base/json.h"
#include "diffusion/attention_map.h"
#include "diffusion/denoise.h"
#include "out/buffer.h"
#include "text/encoder.h"
#include "text/tokenizer.h"

enum { STAGES_MAX = DL_STAGES_MAX, BATCH_MAX = 4 };

/* One layer's conditioning. Pointers are the caller's. */
struct conditioning {
    const float *states; /* (T,D) */
    size_t tokens;       /* T */
};

/* What one picture is made from. */
struct sample_request {
    const char *prompt, *negative_prompt; /* for families with further text encoders; may be NULL */
    struct conditioning positive;
    struct conditioning negative; /* states NULL: no guidance */
    uint64_t seed;
    const float *noise;   /* (C,h,w) start noise, NULL: drawn from the seed */
    size_t width, height; /* in pixels, checked with family->check_size */
    size_t steps;
    const char *sampler;
    double guidance, eta;
    /* The user left these to the model: stages of a cascade behind the first take their own. */
    bool own_steps, own_sampler, own_guidance;
    const char *timesteps[STAGES_MAX]; /* names of lists of timesteps (timestep_lists.h); NULL: the
                                          sampler's own choice of `steps` */
    size_t reuse; /* the deep part of the UNet is computed every so many steps; 0 or 1: in each */
    struct first_prediction *shared; /* of a run's pictures that differ in prompt, positive states
                                        and seed alone (denoise.h); may be NULL */
    int (*progress)(void *user, const char *stage, size_t step, size_t steps); /* may be NULL */
    void *progress_user;
    /* Looks at the attentions to the positive prompt, of a cascade in its first stage; may be
     * NULL. See attention_map.h; `first` is the family's. */
    const struct attention_tap *attention;
};

/* What comes out; freed with sample_free. */
struct sample {
    float *latents; /* (C,h,w) */
    size_t channels, h, w;
    uint8_t *rgb; /* (height,width,3) */
};
void sample_free(struct sample *sample);

struct component {
    const char *name;          /* folder in the model's directory */
    char *class_name;          /* from model_index.json */
    const struct store *store; /* its weights, NULL where it has none */
};

enum { COMPONENTS_MAX = 20 };

/* One stage of a pixel cascade, its own settings. */
struct stage_info {
    const char *name;     /* "stage 2" */
    const char *pipeline; /* "IFSuperResolutionPipeline" */
    const char *path;     /* its folder */
    size_t width, height; /* of its pictures at the model's own size */
    size_t steps;
    double guidance;
    const char *sampler;
    int noise_level; /* put on the picture that it is given, in timesteps; -1 for the first */
    bool own_lists;  /* the published lists of timesteps were made for it */
};

struct family {
    const char *name;
    const char *const *pipelines; /* values of _class_name that it takes, NULL-terminated */
    /* Opens the denoiser and decoder into model->parts and fills in the model's own settings;
     * tokenizer and encoder are open. On failure close is called. */
    int (*open)(dl_context *cx, dl_model *model, struct config *index, const dl_open_options *how);
    void (*close)(dl_model *model);
    /* DL_USAGE if the model cannot make pictures of this size. */
    int (*check_size)(dl_context *cx, const dl_model *model, size_t width, size_t height);
    /* Appends the prompt (valid UTF-8) as the tokenizer is given it; NULL: as it is. */
    int (*prepare_prompt)(dl_context *cx, const dl_model *model, const char *text, size_t length,
                          struct buffer *out);
    /* How many pictures of such a request are best made side by side, at most BATCH_MAX; NULL: one.
     * It depends on sizes and settings alone. */
    int (*batch)(dl_context *cx, const dl_model *model, const struct sample_request *request,
                 size_t *count);
    /* Conditioning in, picture out, for `count` requests that differ in prompt, positive states,
     * seed and progress_user alone. A picture does not depend on the others, to the bit. */
    int (*sample)(dl_context *cx, const dl_model *model, const struct sample_request *requests,
                  size_t count, struct sample *out);
    /* One call of the denoiser and of the decoder (see dl_denoise, dl_decode). */
    int (*denoise)(dl_context *cx, const dl_model *model, float *out, const float *latents,
                   size_t batch, size_t h, size_t w, float timestep, const float *states,
                   size_t tokens);
    int (*decode)(dl_context *cx, const dl_model *model, float *image, const float *latents,
                  size_t h, size_t w);
    /* Adds the memory of `sample` (see memory_note) and the work of its parts. */
    int (*plan)(dl_context *cx, const dl_model *model, const struct sample_request *request,
                dl_plan *plan);
};

struct dl_model {
    const struct family *family;
    char *path;
    struct tokenizer *tokenizer;
    struct text_encoder *encoder;
    size_t tokens;      /* T: prompts are padded to this length */
    bool reads_prompt;  /* a part beside the encoder reads the prompt itself */
    bool mask_padding;  /* the encoder is told which tokens are padding */
    bool clean_caption; /* prompts go through DeepFloyd's caption cleaning */
    struct component components[COMPONENTS_MAX];
    size_t component_count;
    void *parts; /* the family's; NULL: the text alone is open, and settings are defaults */
    /* the model's own settings */
    size_t width, height, latent_channels, latent_scale;
    size_t noise_channels,
        noise_scale; /* of the start noise: those of the latents, but in cascades */
    size_t steps;
    double guidance;
    const char *sampler; /* a name from sampler_names() */
    struct stage_info stages[STAGES_MAX];
    size_t stage_count; /* 0: no cascade */
};

extern const struct family family_stable_diffusion, family_deepfloyd_if;

/* Class of component `name` in an open model_index.json, e.g. "CLIPTextModel"; NULL where the
 * pipeline has none ([null, null] or no entry). */
const char *index_class(const struct config *index, const char *name);

/* The folder of a bundled model, to be freed by the caller; NULL if there is none of this name. */
char *bundled_model(const char *name);

/* The folder of the judge (judge/judge.h) that `path` means: itself, or that of the bundled model
 * of this name; NULL: of the default one. *out is freed by the caller. DL_MODEL if there is none.
 */
int judge_locate(dl_context *cx, const char *path, char **out);

/* Notes a component for inspection. */
int model_add_component(dl_context *cx, dl_model *model, const char *name, const char *class_name,
                        const struct store *store);

/* The folder that `path` means: itself, or the bundled model of this name; freed by the caller.
 * DL_MODEL if there is none. */
int model_locate(dl_context *cx, const char *path, char **out);

/* how may be NULL: all defaults. */
int model_open(dl_context *cx, const char *path, const dl_open_options *how, dl_model **out);
void model_close(dl_model *model);

/* DL_USAGE for a model of which only the text is open. */
int model_draws(dl_context *cx, const dl_model *model);

/* Tokenizes a prompt as the family takes it, at most model->tokens ids. See tokenize. */
int model_tokenize(dl_context *cx, const dl_model *model, const char *text, size_t length,
                   struct tokens *out);

#endif
