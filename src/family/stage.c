/* One stage of a pixel cascade. See stage.h. */
#include "family/stage.h"

#include "base/file.h"
#include "diffusion/sampler.h"
#include "diffusion/timestep_lists.h"
#include "family/denoiser.h"
#include "family/memory.h"
#include "nn/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RGB = 3 };

/* ---- opening --------------------------------------------------------------------------------- */

typedef int (*part_opener)(dl_context *cx, const char *dir, const char *class_name, void *stage);

static int open_unet(dl_context *cx, const char *dir, const char *class_name, void *stage) {
    (void)class_name;
    return unet_open(cx, dir, &((struct stage *)stage)->unet);
}

static int open_schedule(dl_context *cx, const char *dir, const char *class_name, void *stage) {
    (void)class_name;
    return schedule_open(cx, dir, &((struct stage *)stage)->schedule);
}

static int open_low_res(dl_context *cx, const char *dir, const char *class_name, void *stage) {
    struct schedule *read;
    (void)class_name;
    DL_TRY(schedule_open(cx, dir, &read));
    int status = schedule_complete(cx, read, &sampler_find("ddpm")->defaults,
                                   &((struct stage *)stage)->low_res_schedule);
    schedule_close(read);
    return status;
}

static int open_vae(dl_context *cx, const char *dir, const char *class_name, void *stage) {
    return vae_open(cx, dir, class_name, &((struct stage *)stage)->vae);
}

static int open_tokenizer(dl_context *cx, const char *dir, const char *class_name, void *stage) {
    return tokenizer_open(cx, dir, class_name, &((struct stage *)stage)->tokenizer);
}

static int open_encoder(dl_context *cx, const char *dir, const char *class_name, void *stage) {
    return text_encoder_open(cx, dir, class_name, &((struct stage *)stage)->encoder);
}

/* Opens DIR/NAME, which the index must name a class for. */
static int open_part(dl_context *cx, const char *dir, const struct config *index, const char *name,
                     part_opener open, struct stage *stage) {
    const char *class_name = index_class(index, name);
    if (!class_name)
        return fail(cx, DL_MODEL, "%s: names no %s", index->path, name);
    char *path = path_join(dir, name);
    int status = path ? open(cx, path, class_name, stage) : fail_memory(cx, name, strlen(dir));
    free(path);
    return status;
}

/* Channels that the UNet is given and puts out, for a picture (or latents) of C channels. */
static int check_channels(dl_context *cx, const char *dir, const struct stage *s) {
    const struct unet_config *u = unet_config(s->unet);
    const size_t C = s->kind == STAGE_LATENTS ? vae_latent_channels(s->vae) : RGB;
    const size_t in = s->kind == STAGE_TEXT ? C : C + RGB;
    const bool variance = s->kind != STAGE_LATENTS && u->out_channels == 2 * C;
    if (u->in_channels != in || (u->out_channels != C && !variance))
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: %zu channels in and %zu out; expected %zu in and %zu%s "
                    "out",
                    dir, u->in_channels, u->out_channels, in, C,
                    s->kind == STAGE_LATENTS ? "" : ", with a variance twice that,");
    return DL_OK;
}

/* The noise level must be one that the schedule and the UNet's embedding have. */
static int check_noise_level(dl_context *cx, const char *dir, const struct stage *s) {
    const struct unet_config *u = unet_config(s->unet);
    if (s->kind == STAGE_TEXT && u->class_embedding != CLASS_NONE)
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: class_embed_type: must be null in a first stage", dir);
    if (s->kind == STAGE_TEXT)
        return DL_OK;
    if ((size_t)s->noise_level >= s->low_res_schedule->num_train_timesteps)
        return fail(cx, DL_MODEL, "%s: num_train_timesteps: is %zu, the noise level %d is beyond",
                    s->low_res_schedule->path, s->low_res_schedule->num_train_timesteps,
                    s->noise_level);
    if (u->class_embedding == CLASS_TABLE && (size_t)s->noise_level >= u->num_class_embeds)
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: num_class_embeds: is %zu, the noise level %d is beyond",
                    dir, u->num_class_embeds, s->noise_level);
    return DL_OK;
}

/* The parts of STAGE_LATENTS beside the UNet: it reads the prompt itself. */
static int open_latent_parts(dl_context *cx, const char *dir, const struct config *index,
                             struct stage *s) {
    DL_TRY(open_part(cx, dir, index, "vae", open_vae, s));
    DL_TRY(open_part(cx, dir, index, "tokenizer", open_tokenizer, s));
    DL_TRY(open_part(cx, dir, index, "text_encoder", open_encoder, s));
    const size_t length = tokenizer_max_length(s->tokenizer), limit = s->encoder->max_tokens;
    s->tokens = length && (!limit || length < limit) ? length : limit;
    if (!s->tokens)
        return fail(cx, DL_MODEL, "%s/tokenizer: model_max_length is missing", dir);
    if (unet_config(s->unet)->states_dim != s->encoder->hidden_size)
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: cross_attention_dim is %zu, the text encoder's "
                    "hidden_size %zu",
                    dir, unet_config(s->unet)->states_dim, s->encoder->hidden_size);
    return DL_OK;
}

int stage_open(dl_context *cx, enum stage_kind kind, const char *dir, struct config *index,
               struct stage *out) {
    enum { PIXELS_LEVEL = 250, LATENTS_LEVEL = 100 };
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->noise_level = -1;
    DL_TRY(open_part(cx, dir, index, "unet", open_unet, out));
    DL_TRY(open_part(cx, dir, index, "scheduler", open_schedule, out));
    if (kind != STAGE_TEXT)
        DL_TRY(open_part(cx, dir, index,
                         kind == STAGE_PIXELS ? "image_noising_scheduler" : "low_res_scheduler",
                         open_low_res, out));
    if (kind == STAGE_PIXELS)
        out->noise_level = PIXELS_LEVEL;
    if (kind == STAGE_LATENTS) {
        const int most = (int)config_int(index, "max_noise_level", 350, 0, 1 << 16);
        out->noise_level = most < LATENTS_LEVEL ? most : LATENTS_LEVEL;
        DL_TRY(open_latent_parts(cx, dir, index, out));
    }
    DL_TRY(check_channels(cx, dir, out));
    return check_noise_level(cx, dir, out);
}

void stage_close(struct stage *stage) {
    unet_close(stage->unet);
    schedule_close(stage->schedule);
    schedule_close(stage->low_res_schedule);
    vae_close(stage->vae);
    tokenizer_close(stage->tokenizer);
    text_encoder_close(stage->encoder);
    memset(stage, 0, sizeof *stage);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

size_t stage_inner(const struct stage *stage, size_t side) {
    return stage->vae ? side / vae_scale(stage->vae) : side;
}

size_t stage_unit(const struct stage *stage) {
    /* IF's UNet must be able to halve its picture at every level but the last; the upscaler's
     * pipeline asks for small pictures in multiples of the decoder's scale */
    const size_t unit = (size_t)1 << (unet_config(stage->unet)->levels - 1);
    return stage->vae ? vae_scale(stage->vae) * vae_scale(stage->vae) : unit;
}

/* ---- denoising ------------------------------------------------------------------------------- */

/* One picture's denoising. */
struct job {
    const struct stage *stage;
    const struct stage_input *in;
    size_t h, w, n;
    struct sampling sampling;
    struct denoise_job denoise;
    struct denoiser denoiser;
    float labels[2]; /* noise levels of both halves */
    float *states;   /* (N,T,D) */
    float *low;      /* (3,h,w) the noised small picture */
};

/* joined (n+3hw) = [input, low]. As the pipelines have it, what a sampler does to its input (Euler
 * divides it) is done to `low` as well in pixels, but not beside latents. */
static void join(const struct job *job, float *joined, const float *input, size_t step) {
    const size_t n = job->n, m = RGB * job->h * job->w;
    memcpy(joined, input, n * sizeof *joined);
    if (job->stage->kind == STAGE_PIXELS)
        sampling_scale_input(&job->sampling, step, joined + n, job->low);
    else
        memcpy(joined + n, job->low, m * sizeof *joined);
}

static void prepare(dl_context *cx, void *user) {
    denoiser_prepare(cx, &((struct job *)user)->denoiser);
}

static void predict(dl_context *cx, void *user, float *out, const float *input,
                    const struct denoise_call *call) {
    const struct job *job = user;
    const size_t mark = arena_mark(cx);
    if (job->stage->kind != STAGE_TEXT) {
        float *joined = floats(cx, job->n + RGB * job->h * job->w);
        if (!planning(cx))
            join(job, joined, input, call->step);
        input = joined;
    }
    denoiser_predict(cx, &job->denoiser, out, input, call);
    arena_release(cx, mark);
}

static void job_free(struct job *job) {
    sampling_end(&job->sampling);
    free(job->states);
    free(job->low);
}

/* Everything that planning needs; latents NULL for a plan. */
static int job_begin(dl_context *cx, const struct stage *stage, const struct stage_input *in,
                     float *latents, struct job *job) {
    const struct unet_config *u = unet_config(stage->unet);
    memset(job, 0, sizeof *job);
    job->stage = stage;
    job->in = in;
    job->h = stage_inner(stage, in->height);
    job->w = stage_inner(stage, in->width);
    job->n = (stage->vae ? vae_latent_channels(stage->vae) : RGB) * job->h * job->w;
    job->labels[0] = job->labels[1] = (float)stage->noise_level;
    job->denoiser = (struct denoiser){
        .unet = stage->unet, .h = job->h, .w = job->w, .pictures = 1, .reuse = in->reuse};
    job->denoiser.condition.tokens = in->positive.tokens;
    job->denoiser.condition.class_labels = stage->kind == STAGE_TEXT ? NULL : job->labels;
    job->denoiser.condition.attention = in->attention;
    const struct sampler *sampler = sampler_find(in->sampler);
    size_t count = 0;
    const int *list = in->timesteps ? timestep_list(in->timesteps, &count) : NULL;
    if (list)
        DL_TRY(sampling_begin_at(cx, &job->sampling, sampler, stage->schedule, list, count, in->eta,
                                 job->n));
    else
        DL_TRY(sampling_begin(cx, &job->sampling, sampler, stage->schedule, in->steps, in->eta,
                              job->n));
    job->denoise = (struct denoise_job){
        .predict = predict,
        .predict_user = job,
        .prepare = prepare,
        .stateful = in->reuse > 1,
        .shared = in->reuse > 1 ? NULL : in->shared,
        .sampling = &job->sampling,
        .outputs = u->out_channels * job->h * job->w,
        .guidance_scale = in->negative.states ? in->guidance : 1,
        .latents = latents,
        .rng = in->rng,
        .progress = in->progress,
        .progress_user = in->progress_user,
    };
    job->denoiser.items = denoise_guided(&job->denoise) ? 2 : 1;
    return DL_OK;
}

static int set_states(dl_context *cx, struct job *job) {
    const struct stage_input *in = job->in;
    const size_t values = in->positive.tokens * unet_config(job->stage->unet)->states_dim;
    if (in->negative.states)
        job->denoise.halves_equal =
            memcmp(in->negative.states, in->positive.states, values * sizeof(float)) == 0;
    return denoiser_set_states(cx, &job->denoiser, in->negative.states, &in->positive.states,
                               values, &job->states);
}

/* low = sqrt(a) picture + sqrt(1 - a) noise, the picture enlarged for STAGE_PIXELS; draws. */
static int set_low(dl_context *cx, struct job *job) {
    const struct stage_input *in = job->in;
    const size_t m = RGB * job->h * job->w;
    const float a = job->stage->low_res_schedule->alphas_cumprod[job->stage->noise_level];
    float *noise;
    DL_TRY(allocate(cx, "noised picture", m, sizeof(float), (void **)&job->low));
    DL_TRY(allocate(cx, "noise", m, sizeof *noise, (void **)&noise));
    enlarge_bilinear(cx, job->low, in->small, RGB, in->small_height, in->small_width, 1, job->h,
                     job->w);
    rng_normal(in->rng, noise, m);
    for (size_t i = 0; i < m; i++)
        job->low[i] = sqrtf(a) * job->low[i] + sqrtf(1 - a) * noise[i];
    free(noise);
    return DL_OK;
}

static void draw_start(const struct job *job, float *latents) {
    if (job->in->noise)
        memcpy(latents, job->in->noise, job->n * sizeof *latents);
    else
        rng_normal(job->in->rng, latents, job->n);
}

/* latents (n) from noise. The pixel pipeline draws its start before the noise on the small
 * picture, the latent one behind it. */
static int make_latents(dl_context *cx, const struct stage *stage, const struct stage_input *in,
                        float *latents) {
    struct job job;
    int status = job_begin(cx, stage, in, latents, &job);
    if (status == DL_OK)
        status = set_states(cx, &job);
    if (status == DL_OK && stage->kind != STAGE_LATENTS)
        draw_start(&job, latents);
    if (status == DL_OK && stage->kind != STAGE_TEXT)
        status = set_low(cx, &job);
    if (status == DL_OK && stage->kind == STAGE_LATENTS)
        draw_start(&job, latents);
    if (status == DL_OK)
        status = denoise(cx, &job.denoise);
    job_free(&job);
    return status;
}

/* picture (3,H,W) from latents (C,h,w), clamped as its pipeline does. */
static int decode(dl_context *cx, const struct stage *stage, const struct stage_input *in,
                  const float *latents, float *picture) {
    const size_t h = stage_inner(stage, in->height), w = stage_inner(stage, in->width);
    arena_plan(cx);
    vae_decode(cx, stage->vae, picture, latents, h, w);
    DL_TRY(arena_reserve(cx, "decoder"));
    vae_decode(cx, stage->vae, picture, latents, h, w);
    for (size_t i = 0; i < RGB * in->height * in->width; i++)
        picture[i] = fminf(fmaxf(picture[i], -1), 1);
    return DL_OK;
}

int stage_run(dl_context *cx, const struct stage *stage, const struct stage_input *in,
              float *picture) {
    if (stage->kind != STAGE_LATENTS)
        return make_latents(cx, stage, in, picture);
    const size_t n = vae_latent_channels(stage->vae) * stage_inner(stage, in->height) *
                     stage_inner(stage, in->width);
    float *latents;
    DL_TRY(allocate(cx, "latents", n, sizeof *latents, (void **)&latents));
    int status = make_latents(cx, stage, in, latents);
    if (status == DL_OK)
        status = decode(cx, stage, in, latents, picture);
    free(latents);
    return status;
}

/* ---- parts and plans ------------------------------------------------------------------------- */

int stage_plan(dl_context *cx, const struct stage *stage, const struct stage_input *in,
               struct stage_cost *cost, dl_plan *plan) {
    /* beside the arena: this picture, the one before, what the sampler and the noise take */
    const size_t held = 8 * RGB * in->height * in->width * sizeof(float);
    float nothing = 0; /* a plan reads and writes no numbers */
    struct job job;
    memset(cost, 0, sizeof *cost);
    int status = job_begin(cx, stage, in, &nothing, &job);
    if (status == DL_OK) {
        const struct denoise_cost steps = denoise_plan(cx, &job.denoise);
        memory_note(cx, plan, steps.bytes + held);
        cost->step = steps.step;
        cost->steps = steps.work;
    }
    if (status == DL_OK && stage->vae) {
        arena_plan(cx);
        vae_decode(cx, stage->vae, &nothing, &nothing, job.h, job.w);
        memory_note(cx, plan, arena_plan_end(cx) + held);
        cost->decode = cx->arena.work;
    }
    job_free(&job);
    return status;
}

int stage_denoise(dl_context *cx, const struct stage *stage, float *out, const float *input,
                  size_t batch, size_t h, size_t w, float timestep, const float *states,
                  size_t tokens) {
    const struct unet_condition condition = {.states = states, .tokens = tokens};
    arena_plan(cx);
    unet_forward(cx, stage->unet, out, input, batch, h, w, timestep, &condition);
    DL_TRY(arena_reserve(cx, "UNet"));
    unet_forward(cx, stage->unet, out, input, batch, h, w, timestep, &condition);
    return DL_OK;
}
