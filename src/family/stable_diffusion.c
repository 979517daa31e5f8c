/* Stable Diffusion (Rombach et al. 2022, arXiv 2112.10752) and what shares its pipeline: SD 1.x,
 * 2.x, SD-Turbo, Latent Consistency Models, the bundled models.
 *
 *     x_T = noise(seed);  x_{t-1} = step(x_t, UNet(x_t, t, c));  picture = decode(x_0)
 *
 * B batch (2 with guidance, the negative half first)   C latent channels   h, w latent sides
 * T tokens   D width of the states */
#include "family/denoiser.h"
#include "family/memory.h"

#include "base/file.h"
#include "base/rng.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "diffusion/vae.h"
#include "out/image.h"

#include <stdlib.h>
#include <string.h>

struct parts {
    struct unet *unet;
    struct vae *vae;
    struct schedule *schedule;
};

/* ---- opening --------------------------------------------------------------------------------- */

/* Settings of the families' own makers where the folder has no dlens.json: the pipelines' defaults
 * (50 steps, 7.5), those of LCM (arXiv 2310.04378: 4 steps, guidance 8.5 as its pipeline has it),
 * and of turbo models (one step without guidance), known by their schedulers. */
static void default_settings(dl_model *model, const struct schedule *schedule) {
    model->sampler = schedule_default_sampler(schedule);
    model->steps = 50;
    model->guidance = 7.5;
    if (strcmp(model->sampler, "lcm") == 0) {
        model->steps = 4;
        model->guidance = 8.5;
    } else if (strncmp(model->sampler, "euler", 5) == 0) {
        model->steps = 1;
        model->guidance = 0;
    }
}

/* DIR/dlens.json, if it is there: {"sampler": ..., "steps": ..., "guidance": ...}, the settings
 * with which the model's makers got its best pictures. */
static int stored_settings(dl_context *cx, dl_model *model) {
    struct config config;
    char *path = path_join(model->path, "dlens.json");
    const bool there = path && file_exists(path);
    free(path);
    if (!there)
        return DL_OK;
    DL_TRY(config_open(cx, model->path, "dlens.json", &config));
    const size_t name = config_choice(&config, "sampler", sampler_names(), SIZE_MAX);
    if (name != SIZE_MAX)
        model->sampler = sampler_names()[name];
    model->steps = (size_t)config_int(&config, "steps", (long)model->steps, 1, 1000);
    model->guidance = config_number(&config, "guidance", model->guidance, 0, 1000);
    return config_end(&config);
}

static int open_unet(dl_context *cx, dl_model *model, const struct config *index,
                     struct parts *parts) {
    const char *class_name = index_class(index, "unet");
    if (!class_name)
        return fail(cx, DL_MODEL, "%s: names no unet", index->path);
    char *dir = path_join(model->path, "unet");
    int status = dir ? unet_open(cx, dir, &parts->unet) : fail_memory(cx, "unet", 0);
    free(dir);
    DL_TRY(status);
    const struct unet_config *u = unet_config(parts->unet);
    if (u->class_embedding != CLASS_NONE || u->text_embedding || u->project_states)
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: class_embed_type, num_class_embeds, addition_embed_type "
                    "and encoder_hid_dim must be null in a Stable Diffusion pipeline",
                    model->path);
    if (u->cross_attention_dim != model->encoder->hidden_size)
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: cross_attention_dim is %zu, the text encoder's "
                    "hidden_size %zu",
                    model->path, u->cross_attention_dim, model->encoder->hidden_size);
    return model_add_component(cx, model, "unet", class_name, unet_store(parts->unet));
}

static int open_vae(dl_context *cx, dl_model *model, const struct config *index,
                    struct parts *parts) {
    const char *class_name = index_class(index, "vae");
    if (!class_name)
        return fail(cx, DL_MODEL, "%s: names no vae", index->path);
    char *dir = path_join(model->path, "vae");
    int status = dir ? vae_open(cx, dir, class_name, &parts->vae) : fail_memory(cx, "vae", 0);
    free(dir);
    DL_TRY(status);
    const struct unet_config *u = unet_config(parts->unet);
    const size_t channels = vae_latent_channels(parts->vae);
    if (u->in_channels != channels || u->out_channels != channels)
        return fail(cx, DL_MODEL,
                    "%s/unet/config.json: %zu channels in and %zu out, but the vae's latents have "
                    "%zu; inpainting and image-to-image models have no lens",
                    model->path, u->in_channels, u->out_channels, channels);
    return model_add_component(cx, model, "vae", vae_class_name(parts->vae), vae_store(parts->vae));
}

static int open_schedule(dl_context *cx, dl_model *model, struct config *index,
                         struct parts *parts) {
    const char *class_name = index_class(index, "scheduler");
    if (!class_name)
        return fail(cx, DL_MODEL, "%s: names no scheduler", index->path);
    char *dir = path_join(model->path, "scheduler");
    int status = dir ? schedule_open(cx, dir, &parts->schedule) : fail_memory(cx, "scheduler", 0);
    free(dir);
    DL_TRY(status);
    if (strcmp(config_string(index, "_class_name", ""), "StableDiffusionPipeline") == 0)
        schedule_mend_outdated(parts->schedule);
    return model_add_component(cx, model, "scheduler", class_name, NULL);
}

/* Whether the encoder is told which tokens are padding: as a rule not, and CLIP never. */
static int open_mask(dl_context *cx, dl_model *model) {
    struct config config;
    char *dir = path_join(model->path, "text_encoder");
    int status =
        dir ? config_open(cx, dir, "config.json", &config) : fail_memory(cx, "text_encoder", 0);
    free(dir);
    DL_TRY(status);
    model->mask_padding = config_bool(&config, "use_attention_mask", false);
    if (model->mask_padding && strncmp(model->encoder->class_name, "CLIP", 4) == 0)
        config_fail(&config, "use_attention_mask", "true is not supported for CLIP");
    return config_end(&config);
}

static int sd_open(dl_context *cx, dl_model *model, struct config *index,
                   const dl_open_options *how) {
    struct parts *parts;
    if (how->stages > 1 || how->stage2 || how->stage3 || how->clean_caption)
        return fail(cx, DL_USAGE, "%s: %s is for DeepFloyd's cascades; this is a %s", model->path,
                    how->clean_caption ? "--clean-caption" : "--stages (--stage2, --stage3)",
                    config_string(index, "_class_name", "pipeline"));
    DL_TRY(open_mask(cx, model));
    if (how->text_only)
        return DL_OK;
    DL_TRY(allocate(cx, "model", 1, sizeof *parts, &model->parts));
    parts = model->parts;
    DL_TRY(open_unet(cx, model, index, parts));
    DL_TRY(open_vae(cx, model, index, parts));
    DL_TRY(open_schedule(cx, model, index, parts));
    const struct unet_config *u = unet_config(parts->unet);
    model->latent_channels = vae_latent_channels(parts->vae);
    model->latent_scale = vae_scale(parts->vae);
    model->width = (u->sample_width ? u->sample_width : 64) * model->latent_scale;
    model->height = (u->sample_height ? u->sample_height : 64) * model->latent_scale;
    default_settings(model, parts->schedule);
    return stored_settings(cx, model);
}

static void sd_close(dl_model *model) {
    struct parts *parts = model->parts;
    if (!parts)
        return;
    unet_close(parts->unet);
    vae_close(parts->vae);
    schedule_close(parts->schedule);
    free(parts);
}

static int sd_check_size(dl_context *cx, const dl_model *model, size_t width, size_t height) {
    /* diffusers asks for multiples of 8 whatever the autoencoder (pitfall: pictures of f = 4
     * models); latents need multiples of the scale */
    const size_t unit = model->latent_scale > 8 ? model->latent_scale : 8;
    if (!width || !height || width % unit || height % unit)
        return fail(cx, DL_USAGE, "--size %zux%zu: sides must be multiples of %zu", width, height,
                    unit);
    return DL_OK;
}

/* ---- denoising ------------------------------------------------------------------------------- */

static void prepare(dl_context *cx, void *user) {
    denoiser_prepare(cx, user);
}

static void predict(dl_context *cx, void *user, float *out, const float *input,
                    const struct denoise_call *call) {
    denoiser_predict(cx, user, out, input, call);
}

/* The denoising of K pictures side by side, ready for denoise() or denoise_plan(). */
struct job {
    const struct sample_request *requests; /* (K) */
    struct sampling sampling[BATCH_MAX];
    struct denoiser denoiser;
    struct denoise_job denoise;
    struct rng rngs[BATCH_MAX];
    float *latents;       /* (K,n) */
    float *states;        /* (N,T,D) */
    float *timestep_cond; /* (K,time_cond_proj_dim), NULL for most models */
};

/* Pictures made side by side are told of as if they were made one after another. */
static int on_step(void *user, size_t step, size_t steps) {
    const struct job *job = user;
    const size_t K = job->denoise.pictures, done = step * K, k = (done - 1) / steps;
    const struct sample_request *r = &job->requests[k];
    return r->progress ? r->progress(r->progress_user, "denoise", done - k * steps, steps) : 0;
}

static void job_free(struct job *job) {
    for (size_t k = 0; k < BATCH_MAX; k++)
        sampling_end(&job->sampling[k]);
    free(job->latents);
    free(job->states);
    free(job->timestep_cond);
}

/* The states; and, for models that are told the guidance scale instead of being guided (LCM), its
 * embedding. */
static int set_condition(dl_context *cx, const dl_model *model, struct job *job) {
    const struct sample_request *r = job->requests;
    const size_t K = job->denoise.pictures,
                 values = r->positive.tokens * model->encoder->hidden_size;
    const size_t dim = unet_config(job->denoiser.unet)->time_cond_proj_dim;
    const float *positive[BATCH_MAX], *negative = r->negative.states;
    for (size_t k = 0; k < K; k++)
        positive[k] = r[k].positive.states;
    DL_TRY(denoiser_set_states(cx, &job->denoiser, negative, positive, values, &job->states));
    job->denoise.halves_equal =
        K == 1 && negative && memcmp(negative, positive[0], values * sizeof(float)) == 0;
    if (!dim)
        return DL_OK;
    DL_TRY(
        allocate(cx, "guidance embedding", K * dim, sizeof(float), (void **)&job->timestep_cond));
    for (size_t k = 0; k < K; k++)
        guidance_scale_embedding((float)r->guidance, dim, job->timestep_cond + k * dim);
    job->denoiser.condition.timestep_cond = job->timestep_cond;
    return DL_OK;
}

/* What planning needs. */
static int job_begin(dl_context *cx, const dl_model *model, const struct sample_request *r,
                     size_t K, struct job *job) {
    const struct parts *parts = model->parts;
    const size_t h = r->height / model->latent_scale, w = r->width / model->latent_scale;
    const size_t n = model->latent_channels * h * w;
    memset(job, 0, sizeof *job);
    job->requests = r;
    for (size_t k = 0; k < K; k++)
        DL_TRY(sampling_begin(cx, &job->sampling[k], sampler_find(r->sampler), parts->schedule,
                              r->steps, r->eta, n));
    job->denoise = (struct denoise_job){
        .predict = predict,
        .predict_user = &job->denoiser,
        .prepare = prepare,
        .stateful = r->reuse > 1,
        .shared = r->reuse > 1 ? NULL : r->shared,
        .pictures = K,
        .sampling = job->sampling,
        .guidance_scale = r->negative.states ? r->guidance : 1,
        .guidance_embedded = unet_config(parts->unet)->time_cond_proj_dim != 0,
        .rng = job->rngs,
        .progress = on_step,
        .progress_user = job,
    };
    job->denoiser = (struct denoiser){.unet = parts->unet,
                                      .h = h,
                                      .w = w,
                                      .pictures = K,
                                      .items = denoise_guided(&job->denoise) ? 2 * K : K,
                                      .reuse = r->reuse};
    job->denoiser.condition.tokens = r->positive.tokens;
    job->denoiser.condition.attention = r->attention;
    return DL_OK;
}

/* The start: the noise given, or each seed's. */
static int start_latents(dl_context *cx, struct job *job) {
    const size_t K = job->denoise.pictures, n = job->sampling->n;
    DL_TRY(allocate(cx, "latents", K * n, sizeof(float), (void **)&job->latents));
    job->denoise.latents = job->latents;
    for (size_t k = 0; k < K; k++) {
        const struct sample_request *r = &job->requests[k];
        rng_seed(&job->rngs[k], r->seed);
        if (r->noise)
            memcpy(job->latents + k * n, r->noise, n * sizeof *r->noise);
        else
            rng_normal(&job->rngs[k], job->latents + k * n, n);
    }
    return DL_OK;
}

static int sd_decode(dl_context *cx, const dl_model *model, float *image, const float *latents,
                     size_t h, size_t w) {
    const struct parts *parts = model->parts;
    arena_plan(cx);
    vae_decode(cx, parts->vae, image, latents, h, w);
    DL_TRY(arena_reserve(cx, "decoder"));
    vae_decode(cx, parts->vae, image, latents, h, w);
    return DL_OK;
}

/* latents (C,h,w) to out->rgb (height,width,3). */
static int make_picture(dl_context *cx, const dl_model *model, const struct sample_request *r,
                        struct sample *out) {
    float *image;
    DL_TRY(allocate(cx, "picture", 3 * r->width * r->height, 1, (void **)&out->rgb));
    DL_TRY(allocate(cx, "picture", 3 * r->width * r->height, sizeof *image, (void **)&image));
    if (r->progress && r->progress(r->progress_user, "decode", r->steps, r->steps)) {
        free(image);
        return fail(cx, DL_CANCELLED, "stopped before decoding");
    }
    int status = sd_decode(cx, model, image, out->latents, out->h, out->w);
    if (status == DL_OK)
        image_from_float(out->rgb, image, (int)r->width, (int)r->height);
    free(image);
    return status;
}

static int finish_sample(dl_context *cx, const dl_model *model, const struct sample_request *r,
                         const float *latents, size_t n, struct sample *out) {
    *out = (struct sample){.channels = model->latent_channels,
                           .h = r->height / model->latent_scale,
                           .w = r->width / model->latent_scale};
    DL_TRY(allocate(cx, "latents", n, sizeof *latents, (void **)&out->latents));
    memcpy(out->latents, latents, n * sizeof *latents);
    return make_picture(cx, model, r, out);
}

static int sd_sample(dl_context *cx, const dl_model *model, const struct sample_request *r,
                     size_t count, struct sample *out) {
    struct job job;
    memset(out, 0, count * sizeof *out);
    int status = job_begin(cx, model, r, count, &job);
    if (status == DL_OK)
        status = start_latents(cx, &job);
    if (status == DL_OK)
        status = set_condition(cx, model, &job);
    if (status == DL_OK)
        status = denoise(cx, &job.denoise);
    const size_t n = job.sampling->n;
    for (size_t k = 0; k < count && status == DL_OK; k++)
        status = finish_sample(cx, model, &r[k], job.latents + k * n, n, &out[k]);
    job_free(&job);
    for (size_t k = 0; k < count && status != DL_OK; k++)
        sample_free(&out[k]);
    return status;
}

/* ---- parts and plans ------------------------------------------------------------------------- */

static int sd_denoise(dl_context *cx, const dl_model *model, float *out, const float *latents,
                      size_t batch, size_t h, size_t w, float timestep, const float *states,
                      size_t tokens) {
    const struct parts *parts = model->parts;
    const size_t dim = unet_config(parts->unet)->time_cond_proj_dim;
    struct unet_condition condition = {.states = states, .tokens = tokens};
    float *embedding = NULL;
    if (dim) { /* as if guided by the model's own scale */
        DL_TRY(allocate(cx, "guidance embedding", batch * dim, sizeof *embedding,
                        (void **)&embedding));
        for (size_t b = 0; b < batch; b++)
            guidance_scale_embedding((float)model->guidance, dim, embedding + b * dim);
        condition.timestep_cond = embedding;
    }
    arena_plan(cx);
    unet_forward(cx, parts->unet, out, latents, batch, h, w, timestep, &condition);
    int status = arena_reserve(cx, "UNet");
    if (status == DL_OK)
        unet_forward(cx, parts->unet, out, latents, batch, h, w, timestep, &condition);
    free(embedding);
    return status;
}

/* The largest batch, by halves, whose arena stays below BYTES: a large UNet gains nothing by it
 * (bench/README.md), and memory does not grow with the pictures. */
static int plan_batch(dl_context *cx, const dl_model *model, const struct sample_request *r,
                      size_t *count, struct denoise_cost *cost) {
    enum { BYTES = 16 << 20 };
    const size_t most = cx->thrift.limit || cx->thrift.halves || r->attention ? 1 : BATCH_MAX;
    int status = DL_OK;
    for (*count = most; status == DL_OK; *count /= 2) {
        struct job job;
        status = job_begin(cx, model, r, *count, &job);
        if (status == DL_OK)
            *cost = denoise_plan(cx, &job.denoise);
        job_free(&job);
        if (*count == 1 || cost->bytes <= BYTES)
            break;
    }
    return status;
}

static int sd_batch(dl_context *cx, const dl_model *model, const struct sample_request *r,
                    size_t *count) {
    struct denoise_cost cost;
    return plan_batch(cx, model, r, count, &cost);
}

static int sd_plan(dl_context *cx, const dl_model *model, const struct sample_request *r,
                   dl_plan *plan) {
    const struct parts *parts = model->parts;
    const size_t h = r->height / model->latent_scale, w = r->width / model->latent_scale;
    const float nothing = 0; /* a plan reads no numbers */
    float picture;           /* nor does it write any */
    struct denoise_cost cost;
    size_t count;
    DL_TRY(plan_batch(cx, model, r, &count, &cost));
    memory_note(cx, plan, cost.bytes);
    plan->step = cost.step / (double)count;
    plan->picture = cost.work / (double)count;
    arena_plan(cx);
    vae_decode(cx, parts->vae, &picture, &nothing, h, w);
    memory_note(cx, plan, arena_plan_end(cx));
    plan->decode = cx->arena.work;
    plan->picture += plan->decode;
    return DL_OK;
}

static const char *const pipelines[] = {
    "StableDiffusionPipeline",
    "LatentConsistencyModelPipeline",
    NULL,
};

const struct family family_stable_diffusion = {
    .name = "stable-diffusion",
    .pipelines = pipelines,
    .open = sd_open,
    .close = sd_close,
    .check_size = sd_check_size,
    .batch = sd_batch,
    .sample = sd_sample,
    .denoise = sd_denoise,
    .decode = sd_decode,
    .plan = sd_plan,
};
