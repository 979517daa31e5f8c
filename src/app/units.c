/* dlens encode --units: the prompts of a set that drive units of the text encoder most. */
#include "lens/units.h"

#include "app/commands.h"
#include "app/inputs.h"

#include "base/file.h"
#include "lens/manifest.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
    const struct invocation *call;
    dl_model *model;
    struct prompt_list prompts;
    struct unit *units;
    size_t count, top;
    struct answer *answers; /* (count,prompts) */
};

/* The next best prompt of a unit, taken out of the running; SIZE_MAX where none is left. */
static size_t take_best(struct answer *answers, size_t prompts) {
    size_t best = SIZE_MAX;
    for (size_t p = 0; p < prompts; p++)
        if (isfinite(answers[p].value) &&
            (best == SIZE_MAX || answers[p].value > answers[best].value))
            best = p;
    return best;
}

/* {"prompt", "text", "value", "token", "piece"} */
static int answer_json(const struct table *t, size_t prompt, const struct answer *answer,
                       cJSON *list) {
    const char *text = t->prompts.texts[prompt];
    struct tokens tokens = {0};
    DL_TRY(model_tokenize(t->call->cx, t->model, text, strlen(text), &tokens));
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "prompt", (double)prompt);
    cJSON_AddItemToObject(o, "text", json_text(text));
    cJSON_AddNumberToObject(o, "value", (double)answer->value);
    cJSON_AddNumberToObject(o, "token", (double)answer->token);
    cJSON_AddItemToObject(o, "piece", json_text(tokens.pieces[answer->token]));
    cJSON_AddItemToArray(list, o);
    tokens_free(&tokens);
    return DL_OK;
}

/* {"unit", "mean", "top": [...]}: the mean over all prompts, and the best of them. */
static int unit_json(const struct table *t, size_t unit, cJSON *units) {
    const size_t prompts = t->prompts.count;
    struct answer *answers = t->answers + unit * prompts;
    cJSON *o = cJSON_CreateObject(), *top;
    double sum = 0, n = 0;
    char name[64];
    unit_name(name, &t->units[unit]);
    for (size_t p = 0; p < prompts; p++)
        if (isfinite(answers[p].value)) {
            sum += (double)answers[p].value;
            n++;
        }
    cJSON_AddItemToArray(units, o);
    cJSON_AddStringToObject(o, "unit", name);
    cJSON_AddItemToObject(o, "mean", n > 0 ? cJSON_CreateNumber(sum / n) : cJSON_CreateNull());
    top = cJSON_AddArrayToObject(o, "top");
    for (size_t i = 0; i < t->top; i++) {
        const size_t best = take_best(answers, prompts);
        if (best == SIZE_MAX)
            return DL_OK;
        DL_TRY(answer_json(t, best, &answers[best], top));
        answers[best].value = -INFINITY;
    }
    return DL_OK;
}

static void print_table(const cJSON *json) {
    const cJSON *unit, *answer;
    cJSON_ArrayForEach(unit, cJSON_GetObjectItem(json, "units")) {
        const cJSON *mean = cJSON_GetObjectItem(unit, "mean");
        printf("%s", cJSON_GetObjectItem(unit, "unit")->valuestring);
        if (cJSON_IsNumber(mean))
            printf("  mean %.4g", mean->valuedouble);
        printf("\n");
        cJSON_ArrayForEach(answer, cJSON_GetObjectItem(unit, "top"))
            printf("%12.5g  %-14s %s\n", cJSON_GetObjectItem(answer, "value")->valuedouble,
                   cJSON_GetObjectItem(answer, "piece")->valuestring,
                   cJSON_GetObjectItem(answer, "text")->valuestring);
    }
}

/* To the file of -o, and to standard output: as JSON or as a table. */
static int give(const struct table *t, cJSON *json) {
    const struct options *o = t->call->options;
    int status = DL_OK;
    if (o->output) {
        char *text = cJSON_Print(json);
        status = text ? file_write(t->call->cx, o->output, text, strlen(text))
                      : fail_memory(t->call->cx, "JSON", 0);
        cJSON_free(text);
    }
    if (status == DL_OK && o->json)
        return print_json(t->call, json);
    if (status == DL_OK)
        print_table(json);
    cJSON_Delete(json);
    return status == DL_OK ? flush_output(t->call->cx) : status;
}

static int search(struct table *t, const dl_options *options) {
    dl_context *cx = t->call->cx;
    struct settings settings;
    int status = settings_resolve(cx, t->model, options, &settings);
    if (status == DL_OK)
        status = units_parse(cx, t->call->options->units, t->model->encoder, &t->units, &t->count);
    if (status == DL_OK && t->call->options->output)
        status = prepare_output(cx, t->call->options->output);
    if (status == DL_OK && t->prompts.count > SIZE_MAX / sizeof *t->answers / t->count)
        status = fail_memory(cx, "answers", SIZE_MAX);
    if (status == DL_OK)
        status = allocate(cx, "answers", t->count * t->prompts.count, sizeof *t->answers,
                          (void **)&t->answers);
    if (status == DL_OK)
        status = units_answer(cx, t->model, &settings, (const char *const *)t->prompts.texts,
                              t->prompts.count, t->units, t->count, t->answers);
    settings_free(&settings);
    return status;
}

int encode_units(const struct invocation *call) {
    enum { TOP = 10 };
    struct table t = {.call = call, .top = call->options->top ? (size_t)call->options->top : TOP};
    struct inputs inputs = {0};
    cJSON *json = NULL;
    int status = prompts_read(call->cx, call->options, &t.prompts);
    if (status == DL_OK)
        status = open_text(call, &t.model);
    if (status == DL_OK)
        status = inputs_read(call->cx, t.model, call->options, &inputs);
    if (status == DL_OK)
        status = search(&t, &inputs.options);
    if (status == DL_OK) {
        json = cJSON_CreateObject();
        cJSON_AddNumberToObject(json, "prompts", (double)t.prompts.count);
        cJSON *units = cJSON_AddArrayToObject(json, "units");
        for (size_t i = 0; i < t.count && status == DL_OK; i++)
            status = unit_json(&t, i, units);
    }
    if (status == DL_OK)
        status = give(&t, json);
    else
        cJSON_Delete(json);
    free(t.units);
    free(t.answers);
    inputs_free(&inputs);
    prompts_free(&t.prompts);
    dl_model_close(t.model);
    return status;
}
