/* Public functions about pictures and encodings: options, dl_lens, dl_generate, dl_encode, parts.
 */
#include "lens/lens.h"
#include "family/memory.h"
#include "lens/controls.h"
#include "lens/run.h"
#include "lens/select.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dl_options_init(dl_options *options) {
    *options = (dl_options){.layers = "all", .guidance = -1};
}

int dl_layers_parse(dl_context *cx, const char *spec, int layers, int **out, size_t *count) {
    return parse_layers(cx, "--layers", spec, layers, out, count);
}

/* ---- pictures -------------------------------------------------------------------------------- */

int dl_lens_resumed(dl_context *cx, dl_model *model, const dl_options *options,
                    const char *const *prompts, size_t prompt_count, dl_skip_fn skip,
                    dl_picture_fn emit, void *user) {
    struct settings settings;
    if (!emit)
        return fail(cx, DL_USAGE, "dl_lens: emit is NULL; pictures live only while it is called");
    DL_TRY(model_draws(cx, model));
    int status = settings_resolve(cx, model, options, &settings);
    if (status == DL_OK) {
        const struct lens_callbacks callbacks = {
            .skip = skip,
            .emit = emit,
            .user = user,
            .progress = options->progress,
            .progress_user = options->progress_user,
            .keep_latents = options->keep_latents != 0,
        };
        status = lens(cx, model, &settings, prompts, prompt_count, &callbacks);
    }
    settings_free(&settings);
    return status;
}

int dl_lens(dl_context *cx, dl_model *model, const dl_options *options, const char *const *prompts,
            size_t prompt_count, dl_picture_fn emit, void *user) {
    return dl_lens_resumed(cx, model, options, prompts, prompt_count, NULL, emit, user);
}

/* Ordinary text-to-image is the lens at the last layer, without ablations. */
static dl_options ordinary(const dl_options *options) {
    dl_options o = *options;
    o.layers = "last";
    o.skip_layers = NULL;
    o.norm = DL_NORM_FINAL;
    o.control = DL_CONTROL_NONE;
    o.native = 0;
    return o;
}

int dl_generate(dl_context *cx, dl_model *model, const dl_options *options,
                const char *const *prompts, size_t prompt_count, dl_picture_fn emit, void *user) {
    return dl_generate_resumed(cx, model, options, prompts, prompt_count, NULL, emit, user);
}

int dl_generate_resumed(dl_context *cx, dl_model *model, const dl_options *options,
                        const char *const *prompts, size_t prompt_count, dl_skip_fn skip,
                        dl_picture_fn emit, void *user) {
    const dl_options o = ordinary(options);
    return dl_lens_resumed(cx, model, &o, prompts, prompt_count, skip, emit, user);
}

int dl_generate_identity(dl_context *cx, dl_model *model, const dl_options *options,
                         char out[DL_IDENTITY]) {
    const dl_options o = ordinary(options);
    struct settings settings;
    DL_TRY(model_draws(cx, model));
    int status = settings_resolve(cx, model, &o, &settings);
    if (status == DL_OK)
        status = settings_identity(cx, model, &settings, out);
    settings_free(&settings);
    return status;
}

int dl_lens_run(dl_context *cx, dl_model *model, const dl_options *options,
                const char *const *prompts, size_t prompt_count, const dl_run *run,
                dl_run_result *result) {
    return lens_run(cx, model, options, prompts, prompt_count, run, NULL, result);
}

int dl_picture_write(dl_context *cx, const dl_model *model, const dl_options *options,
                     const char *prompt, const dl_picture *picture, const char *path) {
    return dl_picture_write_as(cx, model, options, NULL, prompt, picture, path);
}

int dl_picture_write_as(dl_context *cx, const dl_model *model, const dl_options *options,
                        const char *identity, const char *prompt, const dl_picture *picture,
                        const char *path) {
    struct settings settings;
    int status = settings_resolve(cx, model, options, &settings);
    if (status == DL_OK)
        status = picture_write(cx, model, &settings, identity, prompt, picture, path);
    settings_free(&settings);
    return status;
}

/* What plans are made of: a picture without its states. */
static struct sample_request planned_request(const dl_model *model, const struct settings *s) {
    static const float nothing; /* a plan reads no states */
    struct sample_request request = settings_request(model, s);
    request.positive.states = &nothing;
    request.negative.states = s->guidance > 1 ? &nothing : NULL;
    return request;
}

int dl_plan_picture(dl_context *cx, dl_model *model, const dl_options *options, dl_plan *plan) {
    struct settings s;
    memset(plan, 0, sizeof *plan);
    int status = settings_resolve(cx, model, options, &s);
    if (status == DL_OK) {
        const struct sample_request request = planned_request(model, &s);
        status = memory_plan(cx, model, &request, 1, plan);
    }
    settings_free(&s);
    return status;
}

int dl_limit_memory(dl_context *cx, dl_model *model, const dl_options *options, size_t prompts,
                    size_t limit, dl_plan *plan) {
    struct settings s;
    dl_plan own;
    int status = settings_resolve(cx, model, options, &s);
    if (status == DL_OK) {
        const struct sample_request request = planned_request(model, &s);
        status = memory_choose(cx, model, &request, prompts, limit, plan ? plan : &own);
    }
    settings_free(&s);
    return status;
}

/* ---- encodings ------------------------------------------------------------------------------- */

static int fill_encoding(dl_context *cx, const dl_model *model, const struct settings *settings,
                         struct encodings *encodings, dl_encoding *out) {
    const struct encoding *e = encodings->items;
    const size_t values = e->tokens * e->width;
    out->layers = e->layers;
    out->tokens = e->tokens;
    out->hidden_size = e->width;
    out->pooled_size = model->encoder->pooled_size;
    /* the states of the one prompt change their owner */
    out->hidden = encodings->hidden ? encodings->hidden : encodings->kept;
    encodings->hidden = encodings->kept = NULL;
    DL_TRY(allocate(cx, "conditionings", (e->layers + 1) * values, sizeof(float),
                    (void **)&out->conditioning));
    DL_TRY(allocate(cx, "token ids", e->tokens, sizeof *out->ids, (void **)&out->ids));
    for (size_t i = 0; i < e->tokens; i++)
        out->ids[i] = e->ids[i];
    for (size_t k = 0; k <= e->layers; k++)
        condition(cx, model, e, (int)k, settings->norm, out->conditioning + k * values);
    if (!out->pooled_size)
        return DL_OK;
    /* pooled from the normed last layer, whatever the ablation */
    float *last;
    DL_TRY(allocate(cx, "pooled state", out->pooled_size, sizeof(float), (void **)&out->pooled));
    DL_TRY(allocate(cx, "pooled state", values, sizeof(float), (void **)&last));
    condition(cx, model, e, (int)e->layers, DL_NORM_FINAL, last);
    int status = text_encoder_pooled(cx, model->encoder, out->pooled, last, e->ids, 1, e->tokens);
    free(last);
    return status;
}

int dl_encode(dl_context *cx, dl_model *model, const dl_options *options, const char *prompt,
              dl_encoding *out) {
    struct settings settings;
    struct encodings encodings = {0};
    struct cache cache = {0};
    struct control_model control = {0};
    memset(out, 0, sizeof *out);
    int status = settings_resolve(cx, model, options, &settings);
    if (status == DL_OK)
        status = control_open(cx, model, settings.control, &control);
    if (status == DL_OK && settings.control != DL_CONTROL_RANDOM)
        status = cache_open(cx, model, settings.cache, &cache);
    if (status == DL_OK)
        status = memory_begin(cx, model);
    if (status == DL_OK)
        status = encode_prompts(cx, control.model, &prompt, 1, &settings, &cache, NULL, &encodings);
    if (status == DL_OK && encodings.items->cut)
        tell(cx, DL_LOG_WARNING, "prompt: cut to %zu tokens; left out: \"%s\"", model->tokens,
             encodings.items->cut);
    if (status == DL_OK)
        status = fill_encoding(cx, control.model, &settings, &encodings, out);
    memory_end(cx);
    if (status != DL_OK)
        dl_encoding_free(out);
    encodings_free(&encodings);
    control_close(&control);
    settings_free(&settings);
    return status;
}

void dl_encoding_free(dl_encoding *encoding) {
    free(encoding->hidden);
    free(encoding->conditioning);
    free(encoding->pooled);
    free(encoding->ids);
    memset(encoding, 0, sizeof *encoding);
}

int dl_encoding_write(dl_context *cx, const dl_model *model, const char *prompt,
                      const dl_encoding *e, const char *path) {
    const size_t values = e->tokens * e->hidden_size, states = e->layers + 1;
    struct tensor *tensors = NULL;
    char(*names)[32] = NULL;
    char length[24];
    size_t n = 0;
    DL_TRY(allocate(cx, "tensors", 2 * states + 2, sizeof *tensors, (void **)&tensors));
    int status = allocate(cx, "tensors", 2 * states, sizeof *names, (void **)&names);
    for (size_t i = 0; status == DL_OK && i < 2 * states; i++) {
        const size_t k = i / 2;
        snprintf(names[i], sizeof names[i], i % 2 ? "cond.%zu" : "hidden.%zu", k);
        tensors[n++] = (struct tensor){names[i],
                                       DTYPE_F32,
                                       3,
                                       {1, e->tokens, e->hidden_size},
                                       (i % 2 ? e->conditioning : e->hidden) + k * values,
                                       NULL};
    }
    tensors[n++] = (struct tensor){"ids", DTYPE_I64, 2, {1, e->tokens}, e->ids, NULL};
    if (e->pooled)
        tensors[n++] =
            (struct tensor){"pooled", DTYPE_F32, 2, {1, e->pooled_size}, e->pooled, NULL};
    snprintf(length, sizeof length, "%zu", e->tokens);
    const char *const metadata[] = {"prompt",     prompt, "family", model->family->name,
                                    "max_length", length, NULL};
    if (status == DL_OK)
        status = store_write(cx, path, tensors, n, metadata);
    free(tensors);
    free(names);
    return status;
}

/* ---- parts ----------------------------------------------------------------------------------- */

int dl_denoise(dl_context *cx, dl_model *model, float *out, const float *latents, size_t batch,
               size_t h, size_t w, double timestep, const float *states, size_t tokens) {
    return model->family->denoise(cx, model, out, latents, batch, h, w, (float)timestep, states,
                                  tokens);
}

int dl_decode(dl_context *cx, dl_model *model, float *image, const float *latents, size_t h,
              size_t w) {
    return model->family->decode(cx, model, image, latents, h, w);
}
