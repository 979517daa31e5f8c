/* DeepFloyd IF (github.com/deep-floyd/IF, 2023): a cascade of diffusion models on pixels, after
 * Imagen (Saharia et al. 2022, arXiv 2205.11487), the paper's second model.
 *
 *     c   = T5(prompt)                                        77 tokens, padding masked
 *     x_1 = stage I (c)                                       64 x 64, from noise
 *     x_2 = stage II (c, x_1 enlarged, with noise of t = 250) 256 x 256
 *     x_3 = stage III (prompt, x_2 with noise of t = 100)     1024 x 1024, Stable Diffusion's x4
 *                                                             upscaler, which reads the
 *                                                             prompt itself
 *
 * The folders are those of the hub: the first stage's is the model and holds the text encoder; the
 * others are named or lie beside it. Each stage is optional, the lens may stop at the first.
 *
 * T tokens   D width of the states   L side of the last stage's pictures */
#include "family/stage.h"

#include "base/file.h"
#include "diffusion/schedule.h"
#include "diffusion/timestep_lists.h"
#include "family/sibling.h"
#include "out/image.h"
#include "text/caption.h"
#include "text/clean_caption.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { RGB = 3, TOKENS = 77 }; /* the encoder could take more: IF was trained with 77 */

struct cascade {
    struct stage stages[STAGES_MAX];
    char *dirs[STAGES_MAX];
    size_t count;
};

/* What the pipelines take when nothing is said. sampler NULL: what the folder's scheduler suggests.
 */
static const struct stage_row {
    const char *name, *pipeline, *option, *other_name;
    size_t side, steps;
    double guidance;
    const char *sampler;
    /* components by the name that inspection shows */
    const char *unet, *scheduler, *low_res, *vae, *tokenizer, *encoder;
} rows[STAGES_MAX] = {
    [STAGE_TEXT] = {"stage 1", "IFPipeline", NULL, NULL, 64, 100, 7.0, "ddpm", "unet", "scheduler",
                    NULL, NULL, NULL, NULL},
    [STAGE_PIXELS] = {"stage 2", "IFSuperResolutionPipeline", "--stage2", NULL, 256, 50, 4.0,
                      "ddpm", "stage2/unet", "stage2/scheduler", "stage2/image_noising_scheduler",
                      NULL, NULL, NULL},
    [STAGE_LATENTS] = {"stage 3", "StableDiffusionUpscalePipeline", "--stage3",
                       "stable-diffusion-x4-upscaler", 0, 75, 9.0, NULL, "stage3/unet",
                       "stage3/scheduler", "stage3/low_res_scheduler", "stage3/vae",
                       "stage3/tokenizer", "stage3/text_encoder"},
};

/* ---- opening --------------------------------------------------------------------------------- */

/* The components of a stage, for inspection. */
static int add_components(dl_context *cx, dl_model *model, const struct stage *s,
                          const struct config *index) {
    const struct stage_row *row = &rows[s->kind];
    const struct {
        const char *name;
        const struct store *store;
    } all[] = {
        {row->tokenizer, NULL},
        {row->encoder, s->encoder ? text_encoder_store(s->encoder) : NULL},
        {row->unet, unet_store(s->unet)},
        {row->vae, s->vae ? vae_store(s->vae) : NULL},
        {row->scheduler, NULL},
        {row->low_res, NULL},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *part = all[i].name ? strrchr(all[i].name, '/') : NULL;
        if (all[i].name)
            DL_TRY(model_add_component(cx, model, all[i].name,
                                       index_class(index, part ? part + 1 : all[i].name),
                                       all[i].store));
    }
    return DL_OK;
}

static const char *own_sampler(const struct stage_row *row, const struct stage *s) {
    static const char multistep[] = "DPMSolverMultistepScheduler";
    if (row->sampler && strcmp(s->schedule->class_name, multistep) == 0)
        return "dpm++2m";
    if (row->sampler && strncmp(s->schedule->class_name, "DDPM", 4) == 0)
        return row->sampler;
    return schedule_default_sampler(s->schedule);
}

/* The stage's entry in the model, from its config and its pipeline's defaults. */
static int describe(dl_context *cx, dl_model *model, const struct stage *s, const char *dir) {
    const struct stage_row *row = &rows[s->kind];
    const struct unet_config *u = unet_config(s->unet);
    struct stage_info *info = &model->stages[s->kind];
    *info = (struct stage_info){
        .name = row->name,
        .pipeline = row->pipeline,
        .path = dir,
        .width = u->sample_width ? u->sample_width : row->side,
        .height = u->sample_height ? u->sample_height : row->side,
        .steps = row->steps,
        .guidance = row->guidance,
        .sampler = own_sampler(row, s),
        .noise_level = s->noise_level,
        .own_lists = s->kind != STAGE_LATENTS,
    };
    if (s->kind == STAGE_LATENTS) { /* its sample_size counts latents of any picture: it enlarges */
        info->width = model->stages[STAGE_PIXELS].width * vae_scale(s->vae);
        info->height = model->stages[STAGE_PIXELS].height * vae_scale(s->vae);
    } else if (u->states_dim != model->encoder->hidden_size) {
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: encoder_hid_dim is %zu, the text encoder's d_model %zu",
                    dir, u->states_dim, model->encoder->hidden_size);
    }
    return DL_OK;
}

/* Opens stage `kind` in `dir` (owned by the cascade) as the next; `index` is its open
 * model_index.json. */
static int add_stage(dl_context *cx, dl_model *model, enum stage_kind kind, const char *dir,
                     struct config *index) {
    struct cascade *cascade = model->parts;
    struct stage *stage = &cascade->stages[kind];
    cascade->count = (size_t)kind + 1;
    DL_TRY(stage_open(cx, kind, dir, index, stage));
    DL_TRY(describe(cx, model, stage, dir));
    model->stage_count = cascade->count;
    return add_components(cx, model, stage, index);
}

/* The folder of a later stage: as given, or found beside the first; NULL where there is none. */
static int locate(dl_context *cx, const dl_model *model, enum stage_kind kind, const char *given,
                  char **out) {
    if (!given)
        return sibling_find(cx, model->path, (int)kind + 1, rows[kind].pipeline,
                            rows[kind].other_name, out);
    *out = strdup(given);
    return *out ? DL_OK : fail_memory(cx, given, strlen(given) + 1);
}

static int add_later_stage(dl_context *cx, dl_model *model, enum stage_kind kind) {
    const char *dir = ((struct cascade *)model->parts)->dirs[kind];
    struct config index;
    DL_TRY(config_open(cx, dir, "model_index.json", &index));
    const char *pipeline = config_string(&index, "_class_name", "");
    int status = index.status;
    if (status == DL_OK && strcmp(pipeline, rows[kind].pipeline) != 0)
        status = fail(cx, DL_MODEL, "%s: _class_name is %.100s; %s of the cascade must be a %s",
                      index.path, pipeline, rows[kind].name, rows[kind].pipeline);
    if (status == DL_OK)
        status = add_stage(cx, model, kind, dir, &index);
    const int ended = config_end(&index);
    return status != DL_OK ? status : ended;
}

/* Stages II and III, as many as are asked for and there. */
static int add_later_stages(dl_context *cx, dl_model *model, const dl_open_options *how) {
    struct cascade *cascade = model->parts;
    const char *const given[STAGES_MAX] = {NULL, how->stage2, how->stage3};
    const size_t wanted = how->stages ? (size_t)how->stages : STAGES_MAX;
    for (size_t k = 1; k < wanted; k++) {
        const enum stage_kind kind = (enum stage_kind)k;
        DL_TRY(locate(cx, model, kind, given[k], &cascade->dirs[k]));
        const bool needed = how->stages || (k + 1 < STAGES_MAX && given[k + 1]);
        if (!cascade->dirs[k] && needed)
            return fail(cx, DL_MODEL,
                        "%s: %s is missing: no folder beside it has such a name and is a %s; give "
                        "%s PATH",
                        model->path, rows[k].name, rows[k].pipeline, rows[k].option);
        if (!cascade->dirs[k])
            return DL_OK;
        if (!given[k])
            tell(cx, DL_LOG_NOTE, "%s: %s found beside the model", rows[k].name, cascade->dirs[k]);
        DL_TRY(add_later_stage(cx, model, kind));
    }
    return DL_OK;
}

/* Each stage's picture must be a multiple of the one before. */
static int check_growth(dl_context *cx, const dl_model *model) {
    for (size_t i = 1; i < model->stage_count; i++) {
        const struct stage_info *s = &model->stages[i], *small = s - 1;
        const size_t scale = s->width / small->width;
        if (!scale || s->width != scale * small->width || s->height != scale * small->height)
            return fail(
                cx, DL_MODEL,
                "%s/unet/config.json: sample_size: %zux%zu pixels are no multiple of %zux%zu "
                "of the stage before",
                s->path, s->width, s->height, small->width, small->height);
    }
    return DL_OK;
}

static int if_open(dl_context *cx, dl_model *model, struct config *index,
                   const dl_open_options *how) {
    struct cascade *cascade;
    if (how->stages < 0 || how->stages > STAGES_MAX)
        return fail(cx, DL_USAGE, "--stages %d: must be 1 to %d", how->stages, STAGES_MAX);
    model->tokens = TOKENS;
    model->mask_padding = true;
    model->clean_caption = how->clean_caption != 0;
    if (how->text_only)
        return DL_OK;
    DL_TRY(allocate(cx, "model", 1, sizeof *cascade, &model->parts));
    cascade = model->parts;
    DL_TRY(add_stage(cx, model, STAGE_TEXT, model->path, index));
    DL_TRY(add_later_stages(cx, model, how));
    DL_TRY(check_growth(cx, model));
    const struct stage_info *first = &model->stages[0], *last = &model->stages[cascade->count - 1];
    model->width = last->width;
    model->height = last->height;
    model->latent_channels = model->noise_channels = RGB;
    model->latent_scale = 1;
    model->noise_scale = last->width / first->width;
    model->steps = first->steps;
    model->guidance = first->guidance;
    model->sampler = first->sampler;
    for (size_t i = 0; i < cascade->count; i++)
        model->reads_prompt |= cascade->stages[i].encoder != NULL;
    return DL_OK;
}

static void if_close(dl_model *model) {
    struct cascade *cascade = model->parts;
    if (!cascade)
        return;
    for (size_t i = 0; i < STAGES_MAX; i++) {
        stage_close(&cascade->stages[i]);
        free(cascade->dirs[i]);
    }
    free(cascade);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* A side of stage i's picture where the last stage's is `side`; 0 where it is no whole number that
 * the stage can make. */
static size_t stage_side(const dl_model *model, size_t i, size_t side) {
    const struct cascade *cascade = model->parts;
    const size_t own = model->stages[i].width, last = model->width;
    const size_t unit = stage_unit(&cascade->stages[i]);
    return side * own % last || side * own / last % unit ? 0 : side * own / last;
}

static bool side_fits(const dl_model *model, size_t side) {
    for (size_t i = 0; i < model->stage_count; i++)
        if (!stage_side(model, i, side))
            return false;
    return true;
}

static int if_check_size(dl_context *cx, const dl_model *model, size_t width, size_t height) {
    size_t unit = 1;
    if (side_fits(model, width) && side_fits(model, height))
        return DL_OK;
    while (unit < IMAGE_SIDE_MAX && !side_fits(model, unit))
        unit++;
    return fail(cx, DL_USAGE, "--size %zux%zu: sides must be multiples of %zu", width, height,
                unit);
}

/* ---- prompts --------------------------------------------------------------------------------- */

static int if_prepare_prompt(dl_context *cx, const dl_model *model, const char *text, size_t length,
                             struct buffer *out) {
    DL_TRY(utf8_check(cx, text, length));
    if (model->clean_caption)
        return clean_caption(cx, out, text, length);
    caption_lower_strip(out, text, length);
    return DL_OK;
}

/* states (T,D): a text's full encoding by a stage's own encoder. */
static int encode_own(dl_context *cx, const struct stage *stage, const char *text, float *states) {
    const struct text_encoder *encoder = stage->encoder;
    const size_t T = stage->tokens, values = T * encoder->hidden_size;
    struct tokens tokens = {0};
    float *hidden = NULL; /* (L+1,T,D) */
    int32_t *ids = NULL;
    int status = allocate(cx, "hidden states", (encoder->layers + 1) * values, sizeof *hidden,
                          (void **)&hidden);
    if (status == DL_OK)
        status = allocate(cx, "token ids", T, sizeof *ids, (void **)&ids);
    if (status == DL_OK)
        status = tokenize(cx, stage->tokenizer, text, strlen(text), T, &tokens);
    if (status == DL_OK) {
        tokenizer_pad(stage->tokenizer, &tokens, ids, T);
        tokens_free(&tokens);
        status = text_encoder_forward(cx, encoder, hidden, ids, NULL, 1, T, NULL);
    }
    if (status == DL_OK)
        text_encoder_final_norm(cx, encoder, states, hidden + encoder->layers * values, T);
    free(hidden);
    free(ids);
    return status;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* One picture on its way through the stages. */
struct run {
    const struct sample_request *request;
    size_t steps_before, steps_all; /* of the stages before; of all stages */
};

static int on_step(void *user, size_t step, size_t steps) {
    const struct run *run = user;
    const struct sample_request *r = run->request;
    (void)steps;
    return r->progress
               ? r->progress(r->progress_user, "denoise", run->steps_before + step, run->steps_all)
               : 0;
}

static size_t stage_steps(const dl_model *model, const struct sample_request *r, size_t i) {
    size_t count = r->own_steps ? model->stages[i].steps : r->steps;
    if (r->timesteps[i])
        timestep_list(r->timesteps[i], &count);
    return count;
}

/* What stage i is given; states and pictures are set by the caller. */
static void fill_input(const dl_model *model, const struct sample_request *r, size_t i,
                       struct run *run, struct stage_input *in) {
    const struct stage_info *own = &model->stages[i];
    *in = (struct stage_input){
        .positive = r->positive,
        .negative = r->negative,
        .height = stage_side(model, i, r->height),
        .width = stage_side(model, i, r->width),
        .noise = i ? NULL : r->noise,
        .steps = stage_steps(model, r, i),
        .timesteps = r->timesteps[i],
        .sampler = r->own_sampler ? own->sampler : r->sampler,
        .guidance = r->own_guidance ? own->guidance : r->guidance,
        .eta = r->eta,
        .reuse = r->reuse,
        .shared = i ? NULL : r->shared,
        .progress = on_step,
        .progress_user = run,
        .attention = i ? NULL : r->attention,
    };
}

/* Stage i with its picture in *picture (3,H,W), owned by the caller, in place of the one before. */
static int run_stage(dl_context *cx, const dl_model *model, size_t i, struct stage_input *in,
                     float **picture) {
    const struct cascade *cascade = model->parts;
    const struct stage *stage = &cascade->stages[i];
    float *states = NULL, *made;
    DL_TRY(allocate(cx, "picture", RGB * in->height * in->width, sizeof *made, (void **)&made));
    int status = DL_OK;
    if (stage->encoder) {
        const struct sample_request *r = ((const struct run *)in->progress_user)->request;
        const size_t values = stage->tokens * stage->encoder->hidden_size;
        status = allocate(cx, "conditioning", 2 * values, sizeof *states, (void **)&states);
        if (status == DL_OK)
            status = encode_own(cx, stage, r->prompt ? r->prompt : "", states);
        if (status == DL_OK && in->negative.states)
            status = encode_own(cx, stage, r->negative_prompt ? r->negative_prompt : "",
                                states + values);
        in->positive = (struct conditioning){states, stage->tokens};
        in->negative =
            (struct conditioning){in->negative.states ? states + values : NULL, stage->tokens};
    }
    in->small = *picture;
    if (status == DL_OK)
        status = stage_run(cx, stage, in, made);
    free(states);
    free(*picture);
    *picture = made;
    return status;
}

static int make_picture(dl_context *cx, const dl_model *model, const struct sample_request *r,
                        struct sample *out) {
    struct run run = {.request = r};
    struct rng rng;
    size_t height = 0, width = 0;
    rng_seed(&rng, r->seed);
    for (size_t i = 0; i < model->stage_count; i++)
        run.steps_all += stage_steps(model, r, i);
    for (size_t i = 0; i < model->stage_count; i++) {
        struct stage_input in;
        fill_input(model, r, i, &run, &in);
        in.rng = &rng;
        in.small_height = height;
        in.small_width = width;
        DL_TRY(run_stage(cx, model, i, &in, &out->latents));
        height = in.height;
        width = in.width;
        run.steps_before += in.steps;
    }
    DL_TRY(allocate(cx, "picture", RGB * r->width * r->height, 1, (void **)&out->rgb));
    image_from_float(out->rgb, out->latents, (int)r->width, (int)r->height);
    return DL_OK;
}

static int if_sample(dl_context *cx, const dl_model *model, const struct sample_request *r,
                     size_t count, struct sample *out) {
    int status = DL_OK;
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; i < count && status == DL_OK; i++) {
        out[i].channels = RGB;
        out[i].h = r[i].height;
        out[i].w = r[i].width;
        status = make_picture(cx, model, &r[i], &out[i]);
    }
    for (size_t i = 0; i < count && status != DL_OK; i++)
        sample_free(&out[i]);
    return status;
}

/* ---- parts and plans ------------------------------------------------------------------------- */

/* The first stage's prediction, without the variance behind it. */
static int if_denoise(dl_context *cx, const dl_model *model, float *out, const float *latents,
                      size_t batch, size_t h, size_t w, float timestep, const float *states,
                      size_t tokens) {
    const struct stage *stage = &((struct cascade *)model->parts)->stages[0];
    const size_t n = RGB * h * w, m = unet_config(stage->unet)->out_channels * h * w;
    float *whole;
    DL_TRY(allocate(cx, "prediction", batch * m, sizeof *whole, (void **)&whole));
    int status = stage_denoise(cx, stage, whole, latents, batch, h, w, timestep, states, tokens);
    for (size_t b = 0; b < batch && status == DL_OK; b++)
        memcpy(out + b * n, whole + b * m, n * sizeof *out);
    free(whole);
    return status;
}

/* Pixels need no decoding. */
static int if_decode(dl_context *cx, const dl_model *model, float *image, const float *latents,
                     size_t h, size_t w) {
    (void)cx;
    (void)model;
    memcpy(image, latents, RGB * h * w * sizeof *image);
    return DL_OK;
}

static int if_plan(dl_context *cx, const dl_model *model, const struct sample_request *r,
                   dl_plan *plan) {
    const struct cascade *cascade = model->parts;
    struct run run = {.request = r};
    for (size_t i = 0; i < model->stage_count; i++) {
        const struct stage *stage = &cascade->stages[i];
        struct stage_input in;
        struct stage_cost cost;
        fill_input(model, r, i, &run, &in);
        if (stage->encoder)
            in.positive.tokens = in.negative.tokens = stage->tokens;
        DL_TRY(stage_plan(cx, stage, &in, &cost, plan));
        plan->stages[i].steps = (int)in.steps;
        plan->stages[i].step = cost.step;
        plan->stages[i].decode = cost.decode;
        plan->picture += cost.steps + cost.decode;
        plan->decode += cost.decode;
    }
    plan->step = plan->stages[0].step;
    return DL_OK;
}

static const char *const pipelines[] = {"IFPipeline", NULL};

const struct family family_deepfloyd_if = {
    .name = "deepfloyd-if",
    .pipelines = pipelines,
    .open = if_open,
    .close = if_close,
    .check_size = if_check_size,
    .prepare_prompt = if_prepare_prompt,
    .sample = if_sample,
    .denoise = if_denoise,
    .decode = if_decode,
    .plan = if_plan,
};
