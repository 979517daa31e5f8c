/* The Diffusion Lens: what does the diffusion model see in layer l of the text encoder?
 *
 *     H   = encoder(prompt)                  every block's raw output, H_0 the embeddings
 *     c_l = final_norm(H_l)                  for each chosen layer l = 0..L
 *     x_l = decode(sample(noise(seed), c_l, c_negative))
 *
 * The negative prompt keeps its ordinary, full encoding at every layer, and every layer starts
 * from the same noise, so two pictures differ by their layer alone. Layer L's picture is the
 * ordinary picture of the prompt.
 *
 * Source: M. Toker et al., "Diffusion Lens", arXiv 2403.05846, section 3.
 *
 * L blocks of the encoder   T tokens   D width of its states */
#include "lens/lens.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- encoding -------------------------------------------------------------------------------- */

int encode_prompt(dl_context *cx, const dl_model *model, const char *prompt,
                  const unsigned char *skip, struct encoding *out) {
    struct tokens tokens = {0};
    memset(out, 0, sizeof *out);
    out->layers = model->encoder->layers;
    out->width = model->encoder->hidden_size;
    out->tokens = model->tokens;
    size_t values; /* (L+1) T D */
    if (!size_mul(out->layers + 1, out->tokens, &values) || !size_mul(values, out->width, &values))
        return fail_memory(cx, "hidden states", SIZE_MAX);
    DL_TRY(allocate(cx, "hidden states", values, sizeof *out->hidden, (void **)&out->hidden));
    DL_TRY(allocate(cx, "token ids", out->tokens, sizeof *out->ids, (void **)&out->ids));
    DL_TRY(tokenize(cx, model->tokenizer, prompt, strlen(prompt), out->tokens, &tokens));
    tokenizer_pad(model->tokenizer, &tokens, out->ids, out->tokens);
    out->cut = tokens.cut;
    tokens.cut = NULL;
    tokens_free(&tokens);
    return text_encoder_forward(cx, model->encoder, out->hidden, out->ids, NULL, 1, out->tokens,
                                skip);
}

void encoding_free(struct encoding *encoding) {
    free(encoding->hidden);
    free(encoding->ids);
    free(encoding->cut);
    memset(encoding, 0, sizeof *encoding);
}

void condition(dl_context *cx, const dl_model *model, const struct encoding *encoding, int layer,
               bool norm, float *c) {
    const size_t values = encoding->tokens * encoding->width;
    const float *hidden = encoding->hidden + (size_t)layer * values;
    if (norm)
        text_encoder_final_norm(cx, model->encoder, c, hidden, encoding->tokens);
    else
        memcpy(c, hidden, values * sizeof *c);
}

/* ---- one run --------------------------------------------------------------------------------- */

enum { LAYER_NATIVE = -1 };

struct run {
    dl_context *cx;
    const dl_model *model;
    const struct settings *settings;
    const struct lens_callbacks *callbacks;
    float *negative, *positive; /* (T,D) each */
    dl_progress progress;       /* of the running picture */
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int on_step(void *user, const char *stage, size_t step, size_t steps) {
    struct run *run = user;
    if (!run->callbacks->progress)
        return 0;
    run->progress.stage = stage;
    run->progress.step = step;
    run->progress.steps = steps;
    return run->callbacks->progress(run->callbacks->progress_user, &run->progress);
}

static bool wanted(const struct run *run, size_t prompt, int layer, uint64_t seed) {
    const struct lens_callbacks *cb = run->callbacks;
    return !cb->skip || !cb->skip(cb->user, prompt, layer, seed);
}

/* The layers of a run in order: the chosen ones, then the family's own conditioning. */
static size_t run_layers(const struct settings *s) {
    return s->layer_count + (s->native ? 1 : 0);
}

static int run_layer(const struct settings *s, size_t i) {
    return i < s->layer_count ? s->layers[i] : LAYER_NATIVE;
}

static size_t count_wanted(const struct run *run, size_t first, size_t prompts) {
    const struct settings *s = run->settings;
    size_t count = 0;
    for (size_t p = first; p < first + prompts; p++)
        for (size_t i = 0; i < s->seed_count; i++)
            for (size_t l = 0; l < run_layers(s); l++)
                count += wanted(run, p, run_layer(s, l), s->seeds[i]);
    return count;
}

/* One picture: conditioning c of one layer, one seed. */
static int look(struct run *run, size_t prompt, int layer, uint64_t seed) {
    const struct settings *s = run->settings;
    const size_t tokens = run->model->tokens;
    struct sample_request request = {
        .positive = {run->positive, tokens},
        .negative = {s->guidance > 1 ? run->negative : NULL, tokens},
        .seed = seed,
        .noise = s->noise,
        .width = s->width,
        .height = s->height,
        .steps = s->steps,
        .sampler = s->sampler,
        .guidance = s->guidance,
        .eta = s->eta,
        .progress = on_step,
        .progress_user = run,
    };
    struct sample sample = {0};
    const double start = now();
    run->progress.prompt = prompt;
    run->progress.layer = layer;
    run->progress.seed = seed;
    int status = run->model->family->sample(run->cx, run->model, &request, &sample);
    if (status == DL_OK) {
        const dl_picture picture = {
            .prompt = prompt,
            .layer = layer,
            .seed = seed,
            .width = (int)s->width,
            .height = (int)s->height,
            .rgb = sample.rgb,
            .latents = run->callbacks->keep_latents ? sample.latents : NULL,
            .seconds = now() - start,
        };
        run->progress.image++;
        run->cx->status = DL_OK;
        if (run->callbacks->emit(run->callbacks->user, &picture)) {
            status = run->cx->status; /* a callback that failed keeps its own message */
            if (status == DL_OK)
                status = fail(run->cx, DL_CANCELLED, "stopped after %zu of %zu pictures",
                              run->progress.image, run->progress.images);
        }
    }
    sample_free(&sample);
    return status;
}

/* All pictures of one prompt. */
static int lens_prompt(struct run *run, size_t p, const char *prompt) {
    const struct settings *s = run->settings;
    struct encoding encoding, ordinary = {0};
    if (on_step(run, "encode", 0, 0))
        return fail(run->cx, DL_CANCELLED, "stopped before prompt %zu", p);
    int status = encode_prompt(run->cx, run->model, prompt, s->skip, &encoding);
    if (status == DL_OK && encoding.cut)
        tell(run->cx, DL_LOG_WARNING, "prompt %zu: cut to %zu tokens; left out: \"%s\"", p,
             run->model->tokens, encoding.cut);
    if (status == DL_OK && s->native) /* a control: no ablation */
        status = encode_prompt(run->cx, run->model, prompt, NULL, &ordinary);
    for (size_t i = 0; i < s->seed_count && status == DL_OK; i++)
        for (size_t l = 0; l < run_layers(s) && status == DL_OK; l++) {
            const int layer = run_layer(s, l);
            if (!wanted(run, p, layer, s->seeds[i]))
                continue;
            if (layer == LAYER_NATIVE)
                condition(run->cx, run->model, &ordinary, (int)ordinary.layers, true,
                          run->positive);
            else
                condition(run->cx, run->model, &encoding, layer, s->norm, run->positive);
            status = look(run, p, layer, s->seeds[i]);
        }
    encoding_free(&encoding);
    encoding_free(&ordinary);
    return status;
}

/* The negative prompt's full encoding: last layer, final norm, no block left out. */
static int encode_negative(struct run *run) {
    struct encoding encoding;
    int status = encode_prompt(run->cx, run->model, run->settings->negative, NULL, &encoding);
    if (status == DL_OK)
        condition(run->cx, run->model, &encoding, (int)encoding.layers, true, run->negative);
    encoding_free(&encoding);
    return status;
}

int lens(dl_context *cx, const dl_model *model, const struct settings *settings,
         const char *const *prompts, size_t prompt_count, const struct lens_callbacks *callbacks) {
    struct run run = {.cx = cx, .model = model, .settings = settings, .callbacks = callbacks};
    const size_t values = model->tokens * model->encoder->hidden_size;
    run.progress.images = count_wanted(&run, 0, prompt_count);
    int status = allocate(cx, "conditioning", values, sizeof(float), (void **)&run.positive);
    if (status == DL_OK)
        status = allocate(cx, "conditioning", values, sizeof(float), (void **)&run.negative);
    if (status == DL_OK && settings->guidance > 1 && run.progress.images)
        status = encode_negative(&run);
    for (size_t p = 0; p < prompt_count && status == DL_OK; p++)
        if (count_wanted(&run, p, 1))
            status = lens_prompt(&run, p, prompts[p]);
    free(run.positive);
    free(run.negative);
    return status;
}
