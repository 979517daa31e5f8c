/* dlens lens, dlens generate. */
#include "app/commands.h"
#include "app/console.h"
#include "app/inputs.h"

#include "base/file.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    DL_TRY(check_memory(call->cx, s->model, call->options, &s->inputs.options));
    console_progress_begin(&s->progress, call->options);
    s->inputs.options.progress = console_progress;
    s->inputs.options.progress_user = &s->progress;
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

/* The manifest, with the paths of it and the report. */
static int print_result(const struct invocation *call, const dl_run_result *result) {
    char *text = NULL;
    DL_TRY(file_read(call->cx, DL_FAILED, result->manifest, SIZE_MAX - 1, &text, NULL));
    cJSON *json = cJSON_Parse(text);
    free(text);
    if (!json)
        return fail_memory(call->cx, "manifest.json", 0);
    cJSON_AddStringToObject(json, "report", result->report);
    cJSON_AddStringToObject(json, "manifest", result->manifest);
    cJSON_AddNumberToObject(json, "made", (double)result->made);
    cJSON_AddNumberToObject(json, "found", (double)result->found);
    return print_json(call, json);
}

int command_lens(const struct invocation *call) {
    struct session s;
    int status = session_begin(call, &s);
    if (status == DL_OK) {
        const dl_run run = {
            .folder = call->options->output,
            .overwrite = call->options->overwrite,
            .command = (const char *const *)call->argv,
            .command_count = (size_t)call->argc,
            .latents_file = call->options->latents,
            .on_picture = show,
            .on_picture_user = &s,
        };
        dl_run_result result = {0};
        status = dl_lens_run(call->cx, s.model, &s.inputs.options,
                             (const char *const *)s.prompts.texts, s.prompts.count, &run, &result);
        console_progress_end(&s.progress);
        if (result.report) {
            int printed = DL_OK;
            if (result.found && !call->options->json && !call->options->quiet)
                fprintf(stderr, "dlens: %zu pictures were there, %zu made now\n", result.found,
                        result.made);
            if (call->options->json)
                printed = print_result(call, &result);
            else
                puts(result.report);
            status = status ? status : printed;
        }
        dl_free(result.report);
        dl_free(result.manifest);
    }
    session_end(&s);
    return status;
}

/* ---- generate -------------------------------------------------------------------------------- */

struct generation {
    struct session *session;
    bool one;     /* output is a file */
    cJSON *files; /* array */
};

/* The file of one picture: the output itself, or P-slug... inside it. */
static int picture_path(const struct generation *g, const dl_picture *picture, char **path) {
    const struct options *o = g->session->call->options;
    char name[64];
    if (g->one) {
        *path = strdup(o->output ? o->output : "out.png");
    } else {
        snprintf(name, sizeof name, "%zu-seed-%" PRIu64 ".png", picture->prompt, picture->seed);
        *path = path_join(o->output ? o->output : "out", name);
    }
    return *path ? DL_OK : fail_memory(g->session->call->cx, "file name", sizeof name);
}

static int save(void *user, const dl_picture *picture) {
    struct generation *g = user;
    struct session *s = g->session;
    char *path = NULL;
    int status = picture_path(g, picture, &path);
    if (status == DL_OK)
        status = dl_picture_write(s->call->cx, s->model, &s->inputs.options,
                                     s->prompts.texts[picture->prompt], picture, path);
    if (status == DL_OK) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "prompt", (double)picture->prompt);
        cJSON_AddNumberToObject(o, "seed", (double)picture->seed);
        cJSON_AddStringToObject(o, "file", path);
        cJSON_AddNumberToObject(o, "seconds", picture->seconds);
        cJSON_AddItemToArray(g->files, o);
        console_progress_end(&s->progress);
        if (!s->call->options->json)
            puts(path);
        show(s, picture);
    }
    free(path);
    return status != DL_OK || console_interrupted();
}

int command_generate(const struct invocation *call) {
    struct session s;
    struct generation g = {.session = &s};
    int status = session_begin(call, &s);
    if (status == DL_OK) {
        const char *output = call->options->output;
        g.files = cJSON_CreateArray();
        g.one = s.prompts.count == 1 && s.inputs.options.seed_count == 1;
        if (g.one && output && dir_exists(output))
            status =
                fail(call->cx, DL_USAGE, "%s: is a folder; one picture goes to a file", output);
        if (!g.one)
            status = dir_make(call->cx, output ? output : "out");
    }
    if (status == DL_OK) {
        status = dl_generate(call->cx, s.model, &s.inputs.options,
                             (const char *const *)s.prompts.texts, s.prompts.count, save, &g);
        console_progress_end(&s.progress);
    }
    if (g.files && call->options->json && (status == DL_OK || status == DL_CANCELLED)) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToObject(json, "images", g.files);
        int printed = print_json(call, json);
        status = status ? status : printed;
    } else {
        cJSON_Delete(g.files);
    }
    session_end(&s);
    return status;
}
