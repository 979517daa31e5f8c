/* dlens experiment. */
#include "app/commands.h"
#include "app/console.h"
#include "app/inputs.h"

#include "lens/manifest.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int list_sets_json(const struct invocation *call) {
    cJSON *list = cJSON_CreateArray();
    dl_prompt_set set;
    for (size_t i = 0; dl_experiment_set(i, &set) == DL_OK; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToObject(o, "name", json_text(set.name));
        cJSON_AddItemToObject(o, "summary", json_text(set.summary));
        cJSON_AddItemToObject(o, "layers", set.layers ? json_text(set.layers) : cJSON_CreateNull());
        cJSON_AddItemToArray(list, o);
    }
    return print_json(call, list);
}

static int list_sets(const struct invocation *call) {
    dl_prompt_set set;
    if (call->options->json)
        return list_sets_json(call);
    for (size_t i = 0; dl_experiment_set(i, &set) == DL_OK; i++)
        printf("%-12s %s\n", set.name, set.summary);
    return flush_output(call->cx);
}

/* "2/4". */
static int read_shard(const struct invocation *call, dl_experiment *out) {
    const char *text = call->options->shard;
    int end = 0;
    if (!text)
        return DL_OK;
    if (strspn(text, "0123456789/") == strlen(text) && strlen(text) < 16 &&
        sscanf(text, "%d/%d%n", &out->shard, &out->shards, &end) == 2 && !text[end] &&
        out->shard >= 1 && out->shard <= out->shards)
        return DL_OK;
    return fail(call->cx, DL_USAGE, "--shard %s: must be I/N, I from 1 to N; example: 2/4", text);
}

/* Runs it with the model open. */
static int run_experiment(const struct invocation *call, dl_model *model, dl_experiment *experiment,
                          struct inputs *inputs) {
    const struct options *o = call->options;
    struct console_progress progress;
    dl_run_result result = {0};
    if (!o->layers)
        inputs->options.layers = NULL;     /* the set's own */
    if (!o->seed_list && !o->seed_count) { /* the paper's */
        inputs->options.seeds = NULL;
        inputs->options.seed_count = 0;
    }
    DL_TRY(check_memory(call->cx, model, o, &inputs->options));
    console_progress_begin(&progress, o);
    inputs->options.progress = console_progress;
    inputs->options.progress_user = &progress;
    console_on_interrupt(INTERRUPT_ASKS);
    int status = dl_experiment_run(call->cx, model, &inputs->options, experiment, &result);
    console_progress_end(&progress);
    return report_run(call, status, &result);
}

int command_experiment(const struct invocation *call) {
    const struct options *o = call->options;
    dl_experiment experiment = {
        .judge = o->judge,
        .questions = o->questions,
        .run = {.folder = o->output, .overwrite = o->overwrite, .controls = o->controls},
    };
    struct inputs inputs = {.seeds = NULL};
    dl_model *model = NULL;
    char **words = NULL;
    if (o->list)
        return list_sets(call);
    if (o->argument_count != 1)
        return fail(call->cx, DL_USAGE,
                    "FILE.csv: give one prompt set, a file or a name; --list shows the names");
    experiment.prompts = o->arguments[0];
    DL_TRY(read_shard(call, &experiment));
    int status = options_words(call->cx, o, "experiment", CMD_EXPERIMENT, &words,
                               &experiment.run.command_count);
    experiment.run.command = (const char *const *)words;
    if (status == DL_OK)
        status = open_model(call, &model);
    if (status == DL_OK)
        status = inputs_read(call->cx, model, o, &inputs);
    if (status == DL_OK)
        status = run_experiment(call, model, &experiment, &inputs);
    inputs_free(&inputs);
    dl_model_close(model);
    options_words_free(words, experiment.run.command_count);
    return status;
}
