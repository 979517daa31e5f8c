/* One stage of a pixel cascade: a diffusion model that makes a picture from a text, or a larger
 * picture from a text and a smaller one (Saharia et al. 2022, arXiv 2205.11487, section 2.4; Ho et
 * al. 2021, arXiv 2106.15282: noise on the small picture, and the model is told how much).
 *
 *     STAGE_TEXT      x = noise;  x = denoise(x | text)                       diffusers' IFPipeline
 *     STAGE_PIXELS    low = noised(enlarged(small), s);
 *                     x = noise;  x = denoise([x, low] | text, s)     IFSuperResolutionPipeline
 *     STAGE_LATENTS   low = noised(small, s);                    StableDiffusionUpscalePipeline
 *                     z = noise;  x = decode(denoise([z, low] | text, s))
 *
 * Every draw comes from one generator, in the order of those pipelines.
 *
 * H, W sides of the stage's picture   h, w sides of what its UNet works on (the same for pixels)
 * n values of that   T tokens   D width of the states */
#ifndef DLENS_FAMILY_STAGE_H
#define DLENS_FAMILY_STAGE_H

#include "base/rng.h"
#include "diffusion/unet.h"
#include "diffusion/vae.h"
#include "family/family.h"

struct schedule;

enum stage_kind { STAGE_TEXT, STAGE_PIXELS, STAGE_LATENTS };

struct stage {
    enum stage_kind kind;
    struct unet *unet;
    struct schedule *schedule;
    /* behind the first stage */
    struct schedule *low_res_schedule;
    int noise_level; /* s, a timestep of it; -1 for STAGE_TEXT */
    /* STAGE_LATENTS alone */
    struct vae *vae;
    struct tokenizer *tokenizer;
    struct text_encoder *encoder;
    size_t tokens;
};

/* Opens the parts in `dir` as its open model_index.json names them and checks that they fit each
 * other. *out is freed with stage_close, also after failure. */
int stage_open(dl_context *cx, enum stage_kind kind, const char *dir, struct config *index,
               struct stage *out);
void stage_close(struct stage *stage);

/* Values of h or w for a picture's side, and the unit that a picture's sides must be multiples of.
 */
size_t stage_inner(const struct stage *stage, size_t side);
size_t stage_unit(const struct stage *stage);

/* What one picture of a stage is made from. */
struct stage_input {
    struct conditioning positive, negative; /* states (T,D); negative NULL: no guidance */
    size_t height, width;                   /* H, W */
    const float *small;                     /* (3,small_height,small_width), behind the first */
    size_t small_height, small_width;
    const float *noise; /* (n) the start; NULL: drawn */
    size_t steps;
    const char *timesteps; /* name of a list of timesteps, in place of steps; or NULL */
    const char *sampler;
    double guidance, eta;
    struct rng *rng;
    size_t reuse;                    /* as in struct sample_request, */
    struct first_prediction *shared; /* and so is this; for STAGE_TEXT alone */
    int (*progress)(void *user, size_t step, size_t steps); /* may be NULL */
    void *progress_user;
    const struct attention_tap *attention; /* as in struct sample_request */
};

/* picture (3,H,W) in about [-1,1], not quantised. */
int stage_run(dl_context *cx, const struct stage *stage, const struct stage_input *in,
              float *picture);

/* What stage_run costs in multiply-adds; its memory is noted in the plan (memory_note). Of the
 * input only sizes, steps, sampler, guidance and whether states are there are looked at. */
struct stage_cost {
    double step, steps, decode; /* of the first step, of all of them */
};
int stage_plan(dl_context *cx, const struct stage *stage, const struct stage_input *in,
               struct stage_cost *cost, dl_plan *plan);

/* One call of the UNet on plain input of its own channels. See family->denoise; out (B,C',h,w). */
int stage_denoise(dl_context *cx, const struct stage *stage, float *out, const float *input,
                  size_t batch, size_t h, size_t w, float timestep, const float *states,
                  size_t tokens);

#endif
