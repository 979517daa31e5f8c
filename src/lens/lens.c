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

#include "base/clock.h"
#include "family/memory.h"
#include "lens/controls.h"
#include "lens/explain.h"
#include "lens/twins.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one run --------------------------------------------------------------------------------- */

enum { LAYER_NATIVE = -1 };

struct run {
    dl_context *cx;
    const dl_model *model;
    const struct settings *settings;
    const struct lens_callbacks *callbacks;
    float *negative; /* (T,D) */
    float *positive; /* (batch,T,D) */
    size_t batch;    /* pictures made side by side */
    struct cache cache;
    struct cache none;              /* nothing is kept of what drawn weights encode */
    struct control_model control;   /* what ablated prompts are encoded with */
    struct first_prediction shared; /* of all pictures */
    const struct group *group;      /* the running one */
    struct twins twins;             /* kept of it */
    dl_progress progress;           /* of the running picture */
};

/* What is encoded in one pass: the prompts of a group and, behind the first group's, the negative
 * prompt, which keeps its full encoding: last layer, final norm, no block left out. */
struct group {
    const char **prompts; /* (count, and one more) */
    size_t *indices;      /* (count) of the prompts in the run */
    size_t count;
    bool negative;                      /* the negative prompt stands behind them */
    struct encodings ordinary, ablated; /* of the prompts: without and with blocks left out */
};

/* One picture to make: prompt p of the group, seed i and layer l of those chosen. */
struct place {
    size_t p, i, l;
};

static int on_stage(struct run *run, const char *stage, size_t step, size_t steps) {
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

/* True if the prompts are encoded in another than the ordinary way. */
static bool is_ablated(const struct settings *s) {
    return s->skip || s->control != DL_CONTROL_NONE;
}

static const struct encoding *encoding_at(const struct run *run, const struct place *at) {
    const struct group *g = run->group;
    const bool ablated =
        is_ablated(run->settings) && run_layer(run->settings, at->l) != LAYER_NATIVE;
    return &(ablated ? &g->ablated : &g->ordinary)->items[at->p];
}

/* What the picture is made from; the control is the ordinary encoding, whatever the ablation. */
static struct view view_at(const struct run *run, const struct place *at) {
    const struct settings *s = run->settings;
    const struct encoding *e = encoding_at(run, at);
    const int layer = run_layer(s, at->l);
    const size_t k = layer == LAYER_NATIVE ? e->layers : (size_t)layer;
    return (struct view){
        .states = e->hidden + k * e->stride,
        .values = e->tokens * e->width,
        .norm = layer == LAYER_NATIVE ? DL_NORM_FINAL : s->norm,
        .block = layer != LAYER_NATIVE && s->norm == DL_NORM_BLOCK ? k : 0,
        .seed = s->seeds[at->i],
        .prompt = run->model->reads_prompt ? run->group->prompts[at->p] : NULL,
    };
}

/* The conditioning of the picture at `at`; c (T,D). */
static void condition_at(const struct run *run, const struct place *at, float *c) {
    const int layer = run_layer(run->settings, at->l);
    const struct encoding *e = encoding_at(run, at);
    if (layer == LAYER_NATIVE)
        condition(run->cx, run->model, e, (int)e->layers, DL_NORM_FINAL, c);
    else
        condition(run->cx, run->control.model, e, layer, run->settings->norm, c);
}

static bool wanted_at(const struct run *run, const struct place *at) {
    const struct settings *s = run->settings;
    return wanted(run, run->group->indices[at->p], run_layer(s, at->l), s->seeds[at->i]);
}

/* True if a picture of the group behind `last` is made from the same as the one at `at`, of a seed
 * that `last` may have left behind. */
static bool twin_ahead(const struct run *run, const struct place *last, const struct place *at,
                       const struct view *view) {
    const size_t layers = run_layers(run->settings);
    struct place other = {at->p, at->i, at->i == last->i ? last->l + 1 : layers};
    for (; other.p < run->group->count; other.p++, other.l = 0)
        for (; other.l < layers; other.l++) {
            const struct view its = view_at(run, &other);
            if (view_equal(view, &its) && wanted_at(run, &other))
                return true;
        }
    return false;
}

/* A picture on its way, of several made side by side. */
struct making {
    struct run *run;
    struct place at;
    struct view view;
    size_t image;              /* of dl_progress */
    const struct sample *from; /* what is shown: its own sample, or a twin's */
    bool own;
};

/* Says which picture is worked on. */
static void tell_of(const struct making *m) {
    dl_progress *progress = &m->run->progress;
    progress->prompt = m->run->group->indices[m->at.p];
    progress->layer = run_layer(m->run->settings, m->at.l);
    progress->seed = m->view.seed;
    progress->image = m->image;
}

static int on_step(void *user, const char *stage, size_t step, size_t steps) {
    const struct making *m = user;
    tell_of(m);
    return on_stage(m->run, stage, step, steps);
}

/* What all pictures of a run are made from. */
static struct sample_request request_of(struct run *run) {
    const struct settings *s = run->settings;
    struct sample_request request = settings_request(run->model, s);
    request.negative.states = s->guidance > 1 ? run->negative : NULL;
    request.shared = &run->shared;
    request.progress = on_step;
    return request;
}

/* The pictures that are not taken from twins, into samples one after another. */
static int make(struct run *run, struct making *all, size_t count, struct sample *samples) {
    struct sample_request requests[BATCH_MAX];
    struct explainer *explainer = run->callbacks->explainer;
    size_t n = 0;
    for (struct making *m = all; m < all + count; m++) {
        float *positive = run->positive + n * m->view.values;
        if (!m->own)
            continue;
        condition_at(run, &m->at, positive);
        requests[n] = request_of(run);
        requests[n].prompt = run->group->prompts[m->at.p];
        requests[n].positive.states = positive;
        requests[n].seed = m->view.seed;
        requests[n++].progress_user = m;
    }
    if (!n)
        return DL_OK;
    requests->attention = explainer ? explain_picture_begin(explainer) : NULL;
    DL_TRY(run->model->family->sample(run->cx, run->model, requests, n, samples));
    if (!explainer)
        return DL_OK;
    return explain_picture(explainer, all->view.seed, run_layer(run->settings, all->at.l));
}

/* Numbers that are none come of damaged weights; the picture of them looks like any blank one. */
static void check_numbers(const struct run *run, const struct sample *sample) {
    const size_t count = sample->channels * sample->h * sample->w;
    size_t i = 0;
    while (i < count && isfinite(sample->latents[i]))
        i++;
    if (i < count)
        tell(run->cx, DL_LOG_WARNING,
             "layer %d, seed %" PRIu64 ": the denoiser's result holds NaN or infinity; are the "
             "weights damaged?",
             run->progress.layer, run->progress.seed);
}

static int emit(struct run *run, const struct sample *sample, double seconds) {
    const struct settings *s = run->settings;
    check_numbers(run, sample);
    const dl_picture picture = {
        .prompt = run->progress.prompt,
        .layer = run->progress.layer,
        .seed = run->progress.seed,
        .width = (int)s->width,
        .height = (int)s->height,
        .rgb = sample->rgb,
        .latents = run->callbacks->keep_latents ? sample->latents : NULL,
        .seconds = seconds,
    };
    run->progress.image++;
    run->cx->status = DL_OK;
    if (!run->callbacks->emit(run->callbacks->user, &picture))
        return DL_OK;
    if (run->cx->status != DL_OK)
        return run->cx->status; /* a callback that failed keeps its own message */
    return fail(run->cx, DL_CANCELLED, "stopped after %zu of %zu pictures", run->progress.image,
                run->progress.images);
}

/* Each picture's source: a kept twin, one among those before it, or its own of `samples`. Returns
 * how many are to be made. */
static size_t find_twins(struct run *run, struct making *all, size_t count,
                         const struct sample *samples) {
    const bool sharing = !run->callbacks->explainer; /* who looks, looks while they are made */
    size_t own = 0;
    for (size_t i = 0; i < count; i++) {
        all[i].from = sharing ? twins_find(&run->twins, &all[i].view) : NULL;
        for (size_t k = 0; k < i && sharing && !all[i].from; k++)
            all[i].from = view_equal(&all[k].view, &all[i].view) ? all[k].from : NULL;
        all[i].own = !all[i].from;
        if (all[i].own)
            all[i].from = &samples[own++];
    }
    return own;
}

/* Keeps those that have a twin behind the last of these pictures, and drops the others. */
static void keep_twins(struct run *run, const struct making *all, size_t count,
                       struct sample *samples) {
    const size_t pixel_bytes = 3 * run->settings->width * run->settings->height;
    for (size_t i = 0; i < count && !run->callbacks->explainer; i++) {
        if (!twin_ahead(run, &all[count - 1].at, &all[i].at, &all[i].view))
            twins_drop(&run->twins, &all[i].view);
        else if (all[i].own)
            twins_keep(run->cx, &run->twins, &all[i].view, &samples[all[i].from - samples],
                       pixel_bytes);
    }
}

/* Pictures next to each other: made side by side, or taken from their twins, and shown in order. */
static int look(struct run *run, const struct place *at, size_t count) {
    struct making all[BATCH_MAX];
    struct sample samples[BATCH_MAX] = {{0}};
    const double start = clock_seconds();
    for (size_t i = 0; i < count; i++)
        all[i] = (struct making){.run = run,
                                 .at = at[i],
                                 .view = view_at(run, &at[i]),
                                 .image = run->progress.image + i};
    const size_t own = find_twins(run, all, count, samples);
    int status = make(run, all, count, samples);
    const double seconds = (clock_seconds() - start) / (double)(own ? own : 1);
    for (size_t i = 0; i < count && status == DL_OK; i++) {
        tell_of(&all[i]);
        status = emit(run, all[i].from, all[i].own ? seconds : 0);
    }
    if (status == DL_OK)
        keep_twins(run, all, count, samples);
    for (size_t k = 0; k < own; k++)
        sample_free(&samples[k]);
    return status;
}

/* The next pictures that are wanted from *at on, at most a batch; *at moves behind them. */
static size_t next_places(const struct run *run, struct place *at, struct place *places) {
    size_t count = 0;
    while (at->i < run->settings->seed_count && count < run->batch) {
        if (wanted_at(run, at))
            places[count++] = *at;
        if (++at->l == run_layers(run->settings)) {
            at->l = 0;
            at->i++;
        }
    }
    return count;
}

/* Of a prompt that is too long: what the tokenizer cut off. */
static void tell_cut(const struct run *run, const char *name, const struct encoding *encoding) {
    if (encoding->cut)
        tell(run->cx, DL_LOG_WARNING, "%s: cut to %zu tokens; left out: \"%s\"", name,
             run->model->tokens, encoding->cut);
}

/* All pictures of prompt p of the group. */
static int lens_prompt(struct run *run, size_t p) {
    const struct settings *s = run->settings;
    const struct encodings *encodings =
        is_ablated(s) ? &run->group->ablated : &run->group->ordinary;
    char name[32];
    int status = DL_OK;
    snprintf(name, sizeof name, "prompt %zu", run->group->indices[p]);
    tell_cut(run, name, &encodings->items[p]);
    if (run->callbacks->explainer)
        status =
            explain_prompt(run->callbacks->explainer, run->group->indices[p], &encodings->items[p]);
    struct place at = {p, 0, 0}, places[BATCH_MAX];
    for (size_t count; status == DL_OK && (count = next_places(run, &at, places)) > 0;)
        status = look(run, places, count);
    return status;
}

static void keep_negative(struct run *run, const struct encoding *encoding) {
    tell_cut(run, "--negative", encoding);
    condition(run->cx, run->model, encoding, (int)encoding->layers, DL_NORM_FINAL, run->negative);
}

static int on_block(void *user, size_t block, size_t blocks) {
    return on_stage(user, "encode", block, blocks);
}

/* Encodes a group without and, where blocks are to be left out, with the ablation. */
static int encode_both(struct run *run, struct group *g) {
    const struct settings *s = run->settings;
    const bool ordinary = !is_ablated(s) || s->native || run->callbacks->measured;
    const size_t control = ordinary ? g->count : 0; /* prompts encoded ordinarily */
    const char *const *first = g->prompts + g->count - control;
    const struct encode_watch watch = {on_block, run};
    int status = DL_OK;
    if (control + g->negative)
        status = encode_prompts(run->cx, run->model, first, control + g->negative, NULL,
                                &run->cache, &watch, &g->ordinary);
    if (status == DL_OK && g->negative)
        keep_negative(run, &g->ordinary.items[control]);
    if (status == DL_OK && is_ablated(s))
        status = encode_prompts(run->cx, run->control.model, g->prompts, g->count, s,
                                s->control == DL_CONTROL_RANDOM ? &run->none : &run->cache, &watch,
                                &g->ablated);
    return status;
}

/* How far the conditionings of prompt p of the group are from its ordinary one. */
static int measure_prompt(struct run *run, size_t p, float *ordinary, struct distance *distances) {
    const struct encoding *whole = &run->group->ordinary.items[p];
    condition(run->cx, run->model, whole, (int)whole->layers, DL_NORM_FINAL, ordinary);
    for (size_t l = 0; l < run_layers(run->settings); l++) {
        const struct place at = {p, 0, l};
        condition_at(run, &at, run->positive);
        distances[l] = conditioning_distance(run->positive, ordinary, whole->tokens, whole->width);
    }
    return run->callbacks->measured(run->callbacks->user, run->group->indices[p], distances);
}

static int measure(struct run *run) {
    const size_t values = run->model->tokens * run->model->encoder->hidden_size;
    float *ordinary = NULL;
    struct distance *distances = NULL;
    if (!run->callbacks->measured)
        return DL_OK;
    int status = allocate(run->cx, "distances", values, sizeof *ordinary, (void **)&ordinary);
    if (status == DL_OK)
        status = allocate(run->cx, "distances", run_layers(run->settings), sizeof *distances,
                          (void **)&distances);
    for (size_t p = 0; p < run->group->count && status == DL_OK; p++)
        status = measure_prompt(run, p, ordinary, distances);
    free(ordinary);
    free(distances);
    return status;
}

static int lens_group(struct run *run, struct group *g) {
    run->group = g;
    int status = encode_both(run, g);
    if (status == DL_OK)
        status = measure(run);
    for (size_t p = 0; p < g->count && status == DL_OK; p++)
        status = lens_prompt(run, p);
    twins_free(&run->twins);
    encodings_free(&g->ordinary);
    encodings_free(&g->ablated);
    return status;
}

/* All prompts with pictures to make, group by group. */
static int lens_groups(struct run *run, const char *const *prompts, size_t prompt_count,
                       struct group *g) {
    const size_t most = encode_group(run->cx, run->model);
    int status = DL_OK;
    g->negative = run->settings->guidance > 1;
    for (size_t p = 0; p < prompt_count && status == DL_OK; p++) {
        if (count_wanted(run, p, 1)) {
            g->indices[g->count] = p;
            g->prompts[g->count++] = prompts[p];
        }
        if (!g->count || (g->count < most && p + 1 < prompt_count))
            continue;
        g->prompts[g->count] = run->settings->negative;
        status = lens_group(run, g);
        g->negative = false;
        g->count = 0;
    }
    return status;
}

static int choose_batch(struct run *run) {
    const struct sample_request request = request_of(run);
    run->batch = 1;
    if (!run->model->family->batch || run->progress.images < 2 || run->callbacks->explainer)
        return DL_OK;
    return run->model->family->batch(run->cx, run->model, &request, &run->batch);
}

int lens(dl_context *cx, const dl_model *model, const struct settings *settings,
         const char *const *prompts, size_t prompt_count, const struct lens_callbacks *callbacks) {
    struct run run = {.cx = cx, .model = model, .settings = settings, .callbacks = callbacks};
    struct group g = {0};
    const size_t values = model->tokens * model->encoder->hidden_size;
    const size_t most = encode_group(cx, model);
    run.progress.images = count_wanted(&run, 0, prompt_count);
    int status = allocate(cx, "conditioning", values, sizeof(float), (void **)&run.negative);
    if (status == DL_OK)
        status = choose_batch(&run);
    if (status == DL_OK)
        status =
            allocate(cx, "conditioning", run.batch * values, sizeof(float), (void **)&run.positive);
    if (status == DL_OK)
        status = allocate(cx, "prompts", most + 1, sizeof *g.prompts, (void **)&g.prompts);
    if (status == DL_OK)
        status = allocate(cx, "prompts", most, sizeof *g.indices, (void **)&g.indices);
    if (status == DL_OK && run.progress.images)
        status = cache_open(cx, model, settings->cache, &run.cache);
    if (status == DL_OK && run.progress.images)
        status = control_open(cx, model, settings->control, &run.control);
    if (status == DL_OK)
        status = memory_begin(cx, model);
    if (status == DL_OK)
        status = lens_groups(&run, prompts, prompt_count, &g);
    memory_end(cx);
    memory_leave(cx, model); /* what comes now, such as reports, has other needs */
    control_close(&run.control);
    first_prediction_free(&run.shared);
    free(run.positive);
    free(run.negative);
    free(g.prompts);
    free(g.indices);
    return status;
}
