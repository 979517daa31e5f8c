/* dlens inspect: what a model is, and what a lens on it costs here. */
#include "app/commands.h"
#include "app/console.h"
#include "app/inputs.h"

#include "kernels/kernels.h"
#include "lens/manifest.h"
#include "lens/settings.h"
#include "out/progress.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

/* The cost of a run on this machine. */
struct estimate {
    dl_plan plan;
    int width, height; /* of its pictures */
    int steps, layers;
    double guidance;
    const char *sampler;
    double picture_seconds, lens_seconds; /* at the speed of the machine's matrix product */
    double stage_seconds[DL_STAGES_MAX];  /* of a cascade: its part of a picture */
};

/* Networks reach about this share of the matrix product's speed; less where products are so fast
 * that other work counts, as with AMX (bench/README.md). */
static double efficiency(const dl_context *cx) {
    return products_of(cx)->speed > 4.0 ? 0.45 : matrix_products_of(cx)->speed > 1.0 ? 0.6 : 0.8;
}

/* The settings of the run. */
static int take_settings(dl_context *cx, const dl_model *model, const dl_options *options,
                         struct estimate *out) {
    struct settings s = {0};
    int status = settings_resolve(cx, model, options, &s);
    out->width = (int)s.width;
    out->height = (int)s.height;
    out->steps = (int)s.steps;
    out->guidance = s.guidance;
    out->sampler = s.sampler;
    out->layers = (int)s.layer_count;
    settings_free(&s);
    return status;
}

static int make_estimate(const struct invocation *call, dl_model *model, struct estimate *out) {
    struct inputs inputs = {0};
    dl_model_info info;
    double speed;
    dl_model_describe(model, &info);
    int status = inputs_read(call->cx, model, call->options, &inputs);
    if (status == DL_OK)
        status = take_settings(call->cx, model, &inputs.options, out);
    if (status == DL_OK)
        status = limit_memory(call->cx, model, call->options, &inputs.options, 1, &out->plan);
    if (status == DL_OK)
        status = dl_measure_speed(call->cx, &speed);
    if (status == DL_OK) {
        const double picture = out->plan.picture;
        speed *= efficiency(call->cx);
        out->picture_seconds = picture / speed;
        for (int i = 0; i < info.stages; i++)
            out->stage_seconds[i] = (out->plan.stages[i].step * out->plan.stages[i].steps +
                                     out->plan.stages[i].decode) /
                                    speed;
        out->lens_seconds = (picture * out->layers + 2 * out->plan.encode) / speed;
    }
    inputs_free(&inputs);
    return status;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_tensors(const dl_model *model, size_t component) {
    dl_tensor_info t;
    for (size_t i = 0; dl_model_tensor(model, component, i, &t) == DL_OK; i++) {
        printf("    %-5s [", t.dtype);
        for (size_t d = 0; d < t.ndim; d++)
            printf("%s%zu", d ? "," : "", t.shape[d]);
        printf("] ");
        console_name(t.name, 0);
        printf("\n");
    }
}

static void print_components(const dl_model *model, int tensors) {
    dl_component c;
    for (size_t i = 0; dl_model_component(model, i, &c) == DL_OK; i++) {
        if (!c.file) {
            printf("  %-22s ", c.name);
            console_name(c.class_name, 0);
            printf("\n");
            continue;
        }
        printf("  %-22s ", c.name);
        console_name(c.class_name, 22);
        printf(" %9.2f M parameters, %s, %.1f MB\n", (double)c.parameters / 1e6,
               c.dtype ? c.dtype : "-", (double)c.bytes / 1e6);
        if (tensors)
            print_tensors(model, i);
    }
}

/* What each stage of a cascade is, and its share of the time. */
static void print_stages(const dl_model *model, const struct estimate *e) {
    dl_stage s;
    for (size_t i = 0; dl_model_stage(model, i, &s) == DL_OK; i++) {
        char seconds[48];
        duration_text(seconds, sizeof seconds, e->stage_seconds[i]);
        printf("  %-13s %s, %d x %d pixels: %s, %d steps, guidance %g", s.name, s.pipeline, s.width,
               s.height, s.sampler, s.steps, s.guidance);
        if (s.noise_level >= 0)
            printf(", noise level %d", s.noise_level);
        printf("\n%16s%.2f GFLOP a step, about %s a picture; %s\n", "",
               2e-9 * e->plan.stages[i].step, seconds, s.path);
    }
}

static void print_text(const struct invocation *call, const dl_model *model,
                       const struct estimate *e) {
    dl_model_info m;
    char picture[48], whole[48];
    dl_model_describe(model, &m);
    duration_text(picture, sizeof picture, e->picture_seconds);
    duration_text(whole, sizeof whole, e->lens_seconds);
    printf("%s\n", m.path);
    printf("  family        %s\n", m.family);
    printf("  encoder       %s: %d layers (hidden states 0 to %d), %d tokens x %d\n", m.encoder,
           m.layers, m.layers, m.tokens, m.hidden_size);
    if (m.stages)
        print_stages(model, e);
    else
        printf("  pictures      %d x %d pixels, latents %d x %d x %d\n", e->width, e->height,
               m.latent_channels, e->height / m.latent_scale, e->width / m.latent_scale);
    if (!m.stages)
        printf("  settings      %s, %d steps, guidance %g\n", e->sampler, e->steps, e->guidance);
    print_components(model, call->options->tensors);
    printf("  memory        %.0f MB resident, %.0f MB of it weights%s%s\n",
           (double)e->plan.resident / 1e6 + 1, (double)e->plan.weights / 1e6,
           e->plan.measures[0] ? "; " : "", e->plan.measures);
    printf("  work          encoder %.2f, step %.2f, decoder %.2f GFLOP\n", 2e-9 * e->plan.encode,
           2e-9 * e->plan.step, 2e-9 * e->plan.decode);
    printf("  time here     about %s a picture, %s a lens over %d layer%s\n", picture, whole, e->layers,
           e->layers == 1 ? "" : "s");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static cJSON *tensors_json(const dl_model *model, size_t component) {
    cJSON *list = cJSON_CreateArray();
    dl_tensor_info t;
    for (size_t i = 0; dl_model_tensor(model, component, i, &t) == DL_OK; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToObject(o, "name", json_text(t.name));
        cJSON_AddStringToObject(o, "dtype", t.dtype);
        cJSON *shape = cJSON_AddArrayToObject(o, "shape");
        for (size_t d = 0; d < t.ndim; d++)
            cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t.shape[d]));
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static cJSON *components_json(const dl_model *model, int tensors) {
    cJSON *list = cJSON_CreateArray();
    dl_component c;
    for (size_t i = 0; dl_model_component(model, i, &c) == DL_OK; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", c.name);
        cJSON_AddItemToObject(o, "class", json_text(c.class_name));
        if (c.file) {
            cJSON_AddItemToObject(o, "file", json_text(c.file));
            cJSON_AddNumberToObject(o, "parameters", (double)c.parameters);
            cJSON_AddNumberToObject(o, "bytes", (double)c.bytes);
            cJSON_AddStringToObject(o, "dtype", c.dtype ? c.dtype : "");
        }
        if (tensors)
            cJSON_AddItemToObject(o, "tensors", tensors_json(model, i));
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static cJSON *stages_json(const dl_model *model, const struct estimate *e) {
    cJSON *list = cJSON_CreateArray();
    dl_stage s;
    for (size_t i = 0; dl_model_stage(model, i, &s) == DL_OK; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", s.name);
        cJSON_AddStringToObject(o, "pipeline", s.pipeline);
        cJSON_AddStringToObject(o, "path", s.path);
        cJSON_AddNumberToObject(o, "width", s.width);
        cJSON_AddNumberToObject(o, "height", s.height);
        cJSON_AddStringToObject(o, "sampler", s.sampler);
        cJSON_AddNumberToObject(o, "steps", s.steps);
        cJSON_AddNumberToObject(o, "guidance", s.guidance);
        cJSON_AddNumberToObject(o, "noise_level", s.noise_level);
        cJSON_AddNumberToObject(o, "step_flop", 2 * e->plan.stages[i].step);
        cJSON_AddNumberToObject(o, "decode_flop", 2 * e->plan.stages[i].decode);
        cJSON_AddNumberToObject(o, "picture_seconds", e->stage_seconds[i]);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static int print_object(const struct invocation *call, const dl_model *model,
                        const struct estimate *e) {
    dl_model_info m;
    cJSON *o = cJSON_CreateObject();
    dl_model_describe(model, &m);
    cJSON_AddItemToObject(o, "path", json_text(m.path));
    cJSON_AddStringToObject(o, "family", m.family);
    cJSON_AddStringToObject(o, "encoder", m.encoder);
    cJSON_AddNumberToObject(o, "layers", m.layers);
    cJSON_AddNumberToObject(o, "tokens", m.tokens);
    cJSON_AddNumberToObject(o, "hidden_size", m.hidden_size);
    cJSON_AddNumberToObject(o, "width", e->width);
    cJSON_AddNumberToObject(o, "height", e->height);
    cJSON_AddNumberToObject(o, "latent_channels", m.latent_channels);
    cJSON_AddNumberToObject(o, "latent_scale", m.latent_scale);
    cJSON_AddStringToObject(o, "sampler", e->sampler);
    cJSON_AddNumberToObject(o, "steps", e->steps);
    cJSON_AddNumberToObject(o, "guidance", e->guidance);
    if (m.stages)
        cJSON_AddItemToObject(o, "stages", stages_json(model, e));
    cJSON_AddItemToObject(o, "components", components_json(model, call->options->tensors));
    cJSON_AddNumberToObject(o, "memory_bytes", (double)e->plan.bytes);
    cJSON_AddNumberToObject(o, "resident_bytes", (double)e->plan.resident);
    cJSON_AddNumberToObject(o, "weight_bytes", (double)e->plan.weights);
    cJSON_AddStringToObject(o, "memory_measures", e->plan.measures);
    cJSON_AddNumberToObject(o, "encode_flop", 2 * e->plan.encode);
    cJSON_AddNumberToObject(o, "step_flop", 2 * e->plan.step);
    cJSON_AddNumberToObject(o, "decode_flop", 2 * e->plan.decode);
    cJSON_AddNumberToObject(o, "picture_seconds", e->picture_seconds);
    cJSON_AddNumberToObject(o, "lens_seconds", e->lens_seconds);
    return print_json(call, o);
}

int command_inspect(const struct invocation *call) {
    dl_model *model = NULL;
    struct estimate estimate = {0};
    struct options options = *call->options;
    if (options.argument_count > 1)
        return fail(call->cx, DL_USAGE, "MODEL: one is wanted, %zu are given",
                    options.argument_count);
    if (options.argument_count && options.model)
        return fail(call->cx, DL_USAGE, "--model %s: the model is given already: %s", options.model,
                    options.arguments[0]);
    if (options.argument_count)
        options.model = options.arguments[0];
    const struct invocation inner = {call->cx, &options, call->argc, call->argv};
    int status = open_model(&inner, &model);
    if (status == DL_OK)
        status = make_estimate(&inner, model, &estimate);
    if (status == DL_OK && options.json)
        status = print_object(&inner, model, &estimate);
    else if (status == DL_OK)
        print_text(&inner, model, &estimate);
    dl_model_close(model);
    return status;
}
