/* Resolving options against a model. */
#include "lens/settings.h"

#include "diffusion/sampler.h"
#include "diffusion/timestep_lists.h"
#include "kernels/kernels.h"
#include "lens/controls.h"
#include "lens/select.h"
#include "text/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 1000, SIDE_MAX = 16384, SEEDS_MAX = 1000000 };

/* --skip-layer names blocks by the layer they make: 1 to L. */
static int resolve_skip(dl_context *cx, const char *spec, int layers, unsigned char **out) {
    int *chosen = NULL;
    size_t count = 0;
    if (!spec || !spec[0])
        return DL_OK;
    DL_TRY(parse_layers(cx, "--skip-layer", spec, layers, &chosen, &count));
    int status = allocate(cx, "skipped blocks", (size_t)layers, 1, (void **)out);
    for (size_t i = 0; status == DL_OK && i < count; i++) {
        if (chosen[i] == 0)
            status = fail(cx, DL_USAGE,
                          "--skip-layer %s: layer 0 is the embedding, not a block; "
                          "blocks are numbered 1 to %d",
                          spec, layers);
        else
            (*out)[chosen[i] - 1] = 1;
    }
    free(chosen);
    return status;
}

static int compare_seeds(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* DL_USAGE for a seed that is there twice. */
static int check_twice(dl_context *cx, const uint64_t *seeds, size_t count) {
    uint64_t *sorted;
    int status = DL_OK;
    DL_TRY(allocate(cx, "seeds", count, sizeof *sorted, (void **)&sorted));
    memcpy(sorted, seeds, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_seeds);
    for (size_t i = 1; i < count && status == DL_OK; i++)
        if (sorted[i] == sorted[i - 1])
            status = fail(cx, DL_USAGE, "--seed: %" PRIu64 " is given twice", sorted[i]);
    free(sorted);
    return status;
}

static int resolve_seeds(dl_context *cx, const dl_options *options, struct settings *out) {
    out->seed_count = options->seed_count ? options->seed_count : 1;
    if (out->seed_count > SEEDS_MAX)
        return fail(cx, DL_USAGE, "--seeds: %zu is more than %d", out->seed_count, SEEDS_MAX);
    DL_TRY(allocate(cx, "seeds", out->seed_count, sizeof *out->seeds, (void **)&out->seeds));
    if (options->seed_count)
        memcpy(out->seeds, options->seeds, options->seed_count * sizeof *out->seeds);
    return check_twice(cx, out->seeds, out->seed_count);
}

/* "fast27" for all of DeepFloyd's stages, or "fast27,super40": the upscaler, whose sampler may take
 * no list, keeps its own steps where it is given none by name. */
static int resolve_timesteps(dl_context *cx, const dl_model *model, const dl_options *options,
                             struct settings *out) {
    const char *spec = options->timesteps;
    size_t count = 0;
    if (!spec)
        return DL_OK;
    if (!model->stage_count)
        return fail(cx, DL_USAGE, "--timesteps %s: is for pixel cascades", spec);
    if (options->steps)
        return fail(cx, DL_USAGE, "--timesteps %s: says the steps; --steps does too", spec);
    for (const char *end; count < model->stage_count; spec = end + 1) {
        const char *const *name = timestep_list_names();
        end = spec + strcspn(spec, ",");
        while (*name &&
               (strlen(*name) != (size_t)(end - spec) || strncmp(*name, spec, strlen(*name)) != 0))
            name++;
        if (!*name)
            break;
        out->timesteps[count++] = *name;
        if (!*end) { /* the last holds for the stages that are left */
            for (; count < model->stage_count && model->stages[count].own_lists; count++)
                out->timesteps[count] = out->timesteps[count - 1];
            timestep_list(out->timesteps[0], &out->steps);
            return DL_OK;
        }
    }
    return fail(
        cx, DL_USAGE,
        "--timesteps %s: must be one list, or one for each of %zu stages; lists are fast27, "
        "smart27, smart50, smart100, smart185, super27, super40, super100",
        options->timesteps, model->stage_count);
}

static int resolve_numbers(dl_context *cx, const dl_model *model, const dl_options *options,
                           struct settings *out) {
    if (options->steps < 0 || options->steps > STEPS_MAX)
        return fail(cx, DL_USAGE, "--steps %d: must be 1 to %d", options->steps, STEPS_MAX);
    out->own_steps = !options->steps;
    out->own_sampler = !options->sampler;
    out->own_guidance = options->guidance < 0;
    out->sampler = options->sampler ? options->sampler : model->sampler;
    if (!sampler_find(out->sampler)) {
        char names[256] = "";
        for (const char *const *n = sampler_names(); *n; n++) {
            strncat(names, names[0] ? ", " : "", sizeof names - strlen(names) - 1);
            strncat(names, *n, sizeof names - strlen(names) - 1);
        }
        return fail(cx, DL_USAGE, "--sampler %s: unknown; samplers are %s", out->sampler, names);
    }
    /* the model's own number of steps belongs to its own sampler */
    out->steps = options->steps ? (size_t)options->steps : model->steps;
    if (isnan(options->guidance) || options->guidance > 1000)
        return fail(cx, DL_USAGE, "--guidance %g: must be 0 to 1000", options->guidance);
    out->guidance = options->guidance < 0 ? model->guidance : options->guidance;
    if (!(options->eta >= 0 && options->eta <= 1))
        return fail(cx, DL_USAGE, "--eta %g: must be 0 to 1", options->eta);
    out->eta = options->eta;
    if (options->reuse < 0 || options->reuse > STEPS_MAX)
        return fail(cx, DL_USAGE, "--reuse %d: must be 1 to %d", options->reuse, STEPS_MAX);
    out->reuse = options->reuse ? (size_t)options->reuse : 1;
    if (options->width < 0 || options->width > SIDE_MAX || options->height < 0 ||
        options->height > SIDE_MAX)
        return fail(cx, DL_USAGE, "--size %dx%d: sides must be at most %d", options->width,
                    options->height, SIDE_MAX);
    out->width = options->width ? (size_t)options->width : model->width;
    out->height = options->height ? (size_t)options->height : model->height;
    return model->parts ? model->family->check_size(cx, model, out->width, out->height) : DL_OK;
}

static const char *const norm_names[NORM_COUNT] = {[DL_NORM_FINAL] = "final",
                                                   [DL_NORM_NONE] = "none",
                                                   [DL_NORM_BLOCK] = "block",
                                                   [DL_NORM_MATCH] = "match"};

const char *norm_name(enum dl_norm norm) {
    return norm_names[norm];
}

int norm_find(const char *name) {
    int i = 0;
    while (i < NORM_COUNT && !(name && strcmp(norm_names[i], name) == 0))
        i++;
    return i;
}

static int resolve_norm(dl_context *cx, int norm, enum dl_norm *out) {
    if (norm < 0 || norm >= NORM_COUNT)
        return fail(cx, DL_USAGE, "--norm: must be final, none, block or match");
    *out = (enum dl_norm)norm;
    return DL_OK;
}

int settings_resolve(dl_context *cx, const dl_model *model, const dl_options *options,
                     struct settings *out) {
    const int layers = (int)model->encoder->layers;
    memset(out, 0, sizeof *out);
    DL_TRY(parse_layers(cx, "--layers", options->layers ? options->layers : "all", layers,
                        &out->layers, &out->layer_count));
    DL_TRY(resolve_skip(cx, options->skip_layers, layers, &out->skip));
    DL_TRY(resolve_seeds(cx, options, out));
    DL_TRY(resolve_numbers(cx, model, options, out));
    DL_TRY(resolve_timesteps(cx, model, options, out));
    DL_TRY(resolve_norm(cx, options->norm, &out->norm));
    if (options->control < 0 || options->control >= CONTROL_COUNT)
        return fail(cx, DL_USAGE, "--control: must be shuffled, padding, random or none");
    out->control = (enum dl_control)options->control;
    out->native = options->native != 0;
    out->negative = options->negative ? options->negative : "";
    const size_t length = strlen(out->negative), valid = utf8_valid(out->negative, length);
    if (valid < length)
        return fail(cx, DL_USAGE, "--negative: not UTF-8 at byte %zu of %zu", valid, length);
    out->noise = options->noise;
    out->cache = options->cache;
    out->precision = cx->fast ? cx->fast->name : NULL;
    out->activations = cx->hold_f16 ? "f16" : NULL;
    return DL_OK;
}

void settings_free(struct settings *settings) {
    free(settings->layers);
    free(settings->skip);
    free(settings->seeds);
    memset(settings, 0, sizeof *settings);
}

struct sample_request settings_request(const dl_model *model, const struct settings *s) {
    struct sample_request request = {
        .negative_prompt = s->negative,
        .positive = {NULL, model->tokens},
        .negative = {NULL, model->tokens},
        .noise = s->noise,
        .width = s->width,
        .height = s->height,
        .steps = s->steps,
        .sampler = s->sampler,
        .guidance = s->guidance,
        .eta = s->eta,
        .reuse = s->reuse,
        .own_steps = s->own_steps,
        .own_sampler = s->own_sampler,
        .own_guidance = s->own_guidance,
    };
    memcpy(request.timesteps, s->timesteps, sizeof request.timesteps);
    return request;
}
