/* dlens lens, dlens generate. */
#include "app/commands.h"
#include "app/console.h"
#include "app/inputs.h"

#include "base/file.h"
#include "lens/run.h"
#include "out/png.h"
#include "store/store.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What both commands read first. */
struct session {
    const struct invocation *call;
    dl_model *model;
    struct prompt_list prompts;
    struct inputs inputs;
    struct console_progress progress;
};

static int session_begin(const struct invocation *call, struct session *s) {
    memset(s, 0, sizeof *s);
    s->call = call;
    DL_TRY(prompts_read(call->cx, call->options, &s->prompts));
    DL_TRY(open_model(call, &s->model));
    DL_TRY(inputs_read(call->cx, s->model, call->options, &s->inputs));
    DL_TRY(limit_memory(call->cx, s->model, call->options, &s->inputs.options, s->prompts.count,
                        NULL));
    console_progress_begin(&s->progress, call->options);
    s->inputs.options.progress = console_progress;
    s->inputs.options.progress_user = &s->progress;
    console_on_interrupt(INTERRUPT_ASKS);
    return DL_OK;
}

static void session_end(struct session *s) {
    inputs_free(&s->inputs);
    prompts_free(&s->prompts);
    dl_model_close(s->model);
}

/* ---- lens ------------------------------------------------------------------------------------ */

static int show(void *user, const dl_picture *picture) {
    struct session *s = user;
    if (s->call->options->show && !s->call->options->json)
        console_show(s->call->cx,
                     picture); /* a picture that cannot be shown is made all the same */
    return console_interrupted();
}

/* The manifest on one line, with the paths of it and the report. Its text is kept: seeds would not
 * survive as doubles. */
static int print_result(const struct invocation *call, const dl_run_result *result) {
    char *text = NULL;
    DL_TRY(file_read(call->cx, DL_FAILED, result->manifest, SIZE_MAX - 1, &text, NULL));
    cJSON_Minify(text);
    cJSON *more = cJSON_CreateObject();
    if (result->report)
        cJSON_AddItemToObject(more, "report", json_text(result->report));
    cJSON_AddItemToObject(more, "manifest", json_text(result->manifest));
    cJSON_AddNumberToObject(more, "made", (double)result->made);
    cJSON_AddNumberToObject(more, "found", (double)result->found);
    char *rest = cJSON_PrintUnformatted(more);
    int status = DL_OK;
    if (rest) /* "{...}" and "{...}" become one object */
        printf("%.*s,%s\n", (int)strlen(text) - 1, text, rest + 1);
    else
        status = fail_memory(call->cx, "JSON", 0);
    cJSON_free(rest);
    cJSON_Delete(more);
    free(text);
    return status;
}

int report_run(const struct invocation *call, int status, dl_run_result *result) {
    int printed = DL_OK;
    if (!result->manifest)
        return status;
    if (result->found && !call->options->json && !call->options->quiet)
        fprintf(stderr, "dlens: %zu of the pictures were there, %zu made now\n", result->found,
                result->made);
    if (call->options->json)
        printed = print_result(call, result);
    else
        printed = print_path(call->cx, result->report ? result->report : result->manifest);
    if (status == DL_CANCELLED)
        status = fail(call->cx, DL_CANCELLED,
                      "interrupted; pictures finished: %zu; the same command makes the rest",
                      result->made + result->found);
    dl_free(result->report);
    dl_free(result->manifest);
    return status ? status : printed;
}

static int run_once(const struct invocation *call, struct session *s, const dl_run *run) {
    dl_run_result result = {0};
    int status = dl_lens_run(call->cx, s->model, &s->inputs.options,
                             (const char *const *)s->prompts.texts, s->prompts.count, run, &result);
    console_progress_end(&s->progress);
    return report_run(call, status, &result);
}

int command_lens(const struct invocation *call) {
    struct session s;
    int status = session_begin(call, &s);
    if (status == DL_OK && call->options->latents)
        status = prepare_output(call->cx, call->options->latents);
    if (status == DL_OK) {
        const dl_run run = {
            .folder = call->options->output,
            .overwrite = call->options->overwrite,
            .command = (const char *const *)call->argv,
            .command_count = (size_t)call->argc,
            .latents_file = call->options->latents,
            .explain = call->options->explain,
            .controls = call->options->controls,
            .skip_each = call->options->skip_each,
            .on_picture = show,
            .on_picture_user = &s,
        };
        status = run_once(call, &s, &run);
    }
    session_end(&s);
    return status;
}

/* ---- generate -------------------------------------------------------------------------------- */

struct generation {
    struct session *session;
    bool one; /* output is a file */
    /* of a folder: pictures that need not be made again */
    char identity[DL_IDENTITY];
    bool *there; /* (prompts,seeds); NULL: all are made */
    size_t seeds, found;
    cJSON *files; /* array */
    /* --latents: all final latents until the end */
    struct tensor *latents; /* (latents_count) */
    char (*names)[96];
    size_t latents_count;
};

/* The file of one picture: the output itself, or P-SLUG-seed-S.png inside it. */
static int picture_path(const struct generation *g, size_t index, uint64_t of, char **path) {
    const struct options *o = g->session->call->options;
    char name[128], prompt[48];
    if (g->one) {
        *path = strdup(o->output ? o->output : "out.png");
    } else {
        slug(prompt, g->session->prompts.texts[index]);
        snprintf(name, sizeof name, "%zu-%s-seed-%" PRIu64 ".png", index, prompt, of);
        *path = path_join(o->output ? o->output : "out", name);
    }
    return *path ? DL_OK : fail_memory(g->session->call->cx, "file name", sizeof name);
}

static int keep_latents(struct generation *g, const dl_picture *picture) {
    dl_context *cx = g->session->call->cx;
    dl_model_info info;
    void *copy;
    if (!g->latents)
        return DL_OK;
    dl_model_describe(g->session->model, &info);
    struct tensor *t = &g->latents[g->latents_count];
    char *name = g->names[g->latents_count];
    *t = (struct tensor){
        .name = name,
        .dtype = DTYPE_F32,
        .ndim = 4,
        .shape = {1, (size_t)info.latent_channels, (size_t)(picture->height / info.latent_scale),
                  (size_t)(picture->width / info.latent_scale)},
    };
    latents_name(name, g->session->prompts.count, picture->prompt, picture->layer, picture->seed);
    DL_TRY(allocate(cx, "latents", tensor_count(t), sizeof(float), &copy));
    t->data = memcpy(copy, picture->latents, tensor_count(t) * sizeof(float));
    g->latents_count++;
    return DL_OK;
}

/* seconds < 0: it was there. */
static int report_file(struct generation *g, size_t prompt, uint64_t seed, double seconds,
                       const char *path) {
    struct session *s = g->session;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "prompt", (double)prompt);
    cJSON_AddItemToObject(o, "seed", json_u64(seed));
    cJSON_AddItemToObject(o, "file", json_text(path));
    cJSON_AddItemToObject(o, "seconds",
                          seconds < 0 ? cJSON_CreateNull() : cJSON_CreateNumber(seconds));
    cJSON_AddItemToArray(g->files, o);
    console_progress_end(&s->progress);
    return s->call->options->json ? DL_OK : print_path(s->call->cx, path);
}

static bool has_text(dl_context *cx, const char *path, const char *key, const char *wanted) {
    char *value = NULL;
    const bool same = png_read_text(cx, path, DL_FAILED, key, &value) == DL_OK && value &&
                      strcmp(value, wanted) == 0;
    free(value);
    return same;
}

/* Whether the folder holds the picture that this very call would make. */
static bool find_picture(struct generation *g, size_t prompt, uint64_t seed) {
    dl_context *cx = g->session->call->cx;
    struct image image = {0};
    char *path = NULL;
    const bool there = picture_path(g, prompt, seed, &path) == DL_OK && file_exists(path) &&
                       has_text(cx, path, "identity", g->identity) &&
                       has_text(cx, path, "prompt", g->session->prompts.texts[prompt]) &&
                       png_read(cx, path, DL_FAILED, &image) == DL_OK &&
                       report_file(g, prompt, seed, -1, path) == DL_OK;
    image_free(&image);
    free(path);
    return there;
}

static uint64_t seed_at(const struct generation *g, size_t index) {
    const dl_options *o = &g->session->inputs.options;
    return o->seeds ? o->seeds[index] : 0;
}

/* Looks for pictures that an interrupted call has made. */
static int find_pictures(struct generation *g) {
    struct session *s = g->session;
    const size_t count = s->prompts.count * g->seeds;
    DL_TRY(allocate(s->call->cx, "pictures", count, sizeof *g->there, (void **)&g->there));
    DL_TRY(dl_generate_identity(s->call->cx, s->model, &s->inputs.options, g->identity));
    for (size_t i = 0; i < count; i++) {
        g->there[i] = find_picture(g, i / g->seeds, seed_at(g, i % g->seeds));
        g->found += g->there[i];
    }
    return DL_OK;
}

static int is_there(void *user, size_t prompt, int layer, uint64_t seed) {
    const struct generation *g = user;
    size_t i = 0;
    (void)layer;
    while (g->there && seed_at(g, i) != seed)
        i++;
    return g->there && g->there[prompt * g->seeds + i];
}

static int save(void *user, const dl_picture *picture) {
    struct generation *g = user;
    struct session *s = g->session;
    char *path = NULL;
    int status = picture_path(g, picture->prompt, picture->seed, &path);
    if (status == DL_OK)
        status = dl_picture_write_as(s->call->cx, s->model, &s->inputs.options,
                                     g->there ? g->identity : NULL,
                                     s->prompts.texts[picture->prompt], picture, path);
    if (status == DL_OK)
        status = keep_latents(g, picture);
    if (status == DL_OK)
        status = report_file(g, picture->prompt, picture->seed, picture->seconds, path);
    if (status == DL_OK)
        show(s, picture);
    free(path);
    return status != DL_OK || console_interrupted();
}

static int generation_begin(struct generation *g) {
    struct session *s = g->session;
    dl_context *cx = s->call->cx;
    const struct options *o = s->call->options;
    g->seeds = s->inputs.options.seed_count;
    const size_t count = s->prompts.count * g->seeds;
    g->files = cJSON_CreateArray();
    g->one = count == 1;
    if (g->one) {
        const char *ending = strrchr(path_name(o->output ? o->output : "out.png"), '.');
        if (ending && (strcasecmp(ending, ".jpg") == 0 || strcasecmp(ending, ".jpeg") == 0 ||
                       strcasecmp(ending, ".webp") == 0))
            tell(cx, DL_LOG_WARNING, "--output %s: a PNG is written, whatever the name", o->output);
        DL_TRY(prepare_output(cx, o->output ? o->output : "out.png"));
    } else
        DL_TRY(dir_make(cx, o->output ? o->output : "out"));
    if (!o->latents)
        return g->one ? DL_OK : find_pictures(g);
    s->inputs.options.keep_latents = 1;
    if (g->one && strcmp(o->latents, o->output ? o->output : "out.png") == 0)
        return fail(cx, DL_USAGE, "--latents %s: is the picture's file", o->latents);
    DL_TRY(prepare_output(cx, o->latents));
    DL_TRY(allocate(cx, "latents", count, sizeof *g->latents, (void **)&g->latents));
    return allocate(cx, "latents", count, sizeof *g->names, (void **)&g->names);
}

/* What is finished is told also after an interruption. */
static int generation_finish(struct generation *g, int status) {
    const struct invocation *call = g->session->call;
    int finished = DL_OK;
    if (status != DL_OK && status != DL_CANCELLED)
        return status;
    if (g->latents)
        finished =
            store_write(call->cx, call->options->latents, g->latents, g->latents_count, NULL);
    if (finished == DL_OK && call->options->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToObject(json, "images", g->files);
        g->files = NULL;
        finished = print_json(call, json);
    }
    return status == DL_CANCELLED ? fail(call->cx, status, "interrupted%s",
                                         g->there ? "; the same command makes the rest" : "")
                                  : finished;
}

static void generation_free(struct generation *g) {
    for (size_t i = 0; i < g->latents_count; i++)
        free((void *)(uintptr_t)g->latents[i].data);
    free(g->latents);
    free(g->names);
    free(g->there);
    cJSON_Delete(g->files);
}

int command_generate(const struct invocation *call) {
    struct session s;
    struct generation g = {.session = &s};
    int status = session_begin(call, &s);
    if (status == DL_OK)
        status = generation_begin(&g);
    if (status == DL_OK) {
        status = dl_generate_resumed(call->cx, s.model, &s.inputs.options,
                                     (const char *const *)s.prompts.texts, s.prompts.count,
                                     is_there, save, &g);
        console_progress_end(&s.progress);
        if (g.found && !call->options->json && !call->options->quiet)
            fprintf(stderr, "dlens: %zu of the pictures were there\n", g.found);
        status = generation_finish(&g, status);
    }
    generation_free(&g);
    session_end(&s);
    return status;
}
