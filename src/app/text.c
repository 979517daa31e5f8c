/* dlens encode, dlens tokenize. */
#include "app/commands.h"
#include "app/console.h"
#include "app/inputs.h"

#include "lens/manifest.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

/* These commands take one text. */
static int one_text(const struct invocation *call, const char *name, const char **text) {
    if (call->options->argument_count != 1)
        return fail(call->cx, DL_USAGE, "%s: one is wanted, %zu are given%s", name,
                    call->options->argument_count,
                    call->options->argument_count > 1 ? "; put it in quotes" : "");
    *text = call->options->arguments[0];
    return DL_OK;
}

/* ---- encode ---------------------------------------------------------------------------------- */

static int encode_text(const struct invocation *call, dl_model *model, const dl_options *options,
                       const char *prompt) {
    const char *path = call->options->output ? call->options->output : "states.safetensors";
    dl_encoding encoding;
    DL_TRY(prepare_output(call->cx, path));
    DL_TRY(dl_encode(call->cx, model, options, prompt, &encoding));
    int status = dl_encoding_write(call->cx, model, prompt, &encoding, path);
    if (status == DL_OK && call->options->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToObject(json, "file", json_text(path));
        cJSON_AddNumberToObject(json, "layers", (double)encoding.layers);
        cJSON_AddNumberToObject(json, "tokens", (double)encoding.tokens);
        cJSON_AddNumberToObject(json, "hidden_size", (double)encoding.hidden_size);
        cJSON_AddNumberToObject(json, "pooled_size", (double)encoding.pooled_size);
        status = print_json(call, json);
    } else if (status == DL_OK) {
        status = print_path(call->cx, path);
    }
    dl_encoding_free(&encoding);
    return status;
}

int command_encode(const struct invocation *call) {
    const char *prompt = NULL;
    dl_model *model = NULL;
    struct inputs inputs = {0};
    if (call->options->units)
        return encode_units(call);
    if (call->options->prompts_file || call->options->top)
        return fail(call->cx, DL_USAGE, "--%s: goes with --units",
                    call->options->top ? "top" : "prompts");
    DL_TRY(one_text(call, "PROMPT", &prompt));
    int status = open_text(call, &model);
    if (status == DL_OK)
        status = inputs_read(call->cx, model, call->options, &inputs);
    if (status == DL_OK)
        status = limit_memory(call->cx, model, call->options, &inputs.options, 1, NULL);
    if (status == DL_OK)
        status = encode_text(call, model, &inputs.options, prompt);
    inputs_free(&inputs);
    dl_model_close(model);
    return status;
}

/* ---- tokenize -------------------------------------------------------------------------------- */

static cJSON *ids_json(const int32_t *ids, size_t count) {
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateNumber(ids[i]));
    return array;
}

static int print_tokens(const struct invocation *call, const dl_tokens *tokens) {
    if (!call->options->json) {
        for (size_t i = 0; i < tokens->count; i++) {
            printf("%8d  ", tokens->ids[i]);
            console_name(tokens->pieces[i], 0);
            printf("\n");
        }
        return DL_OK;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "ids", ids_json(tokens->ids, tokens->count));
    cJSON *pieces = cJSON_AddArrayToObject(json, "pieces");
    for (size_t i = 0; i < tokens->count; i++)
        cJSON_AddItemToArray(pieces, json_text(tokens->pieces[i]));
    cJSON_AddItemToObject(json, "padded", ids_json(tokens->padded, tokens->padded_count));
    return print_json(call, json);
}

int command_tokenize(const struct invocation *call) {
    const char *text = NULL;
    dl_model *model = NULL;
    dl_tokens tokens = {0};
    DL_TRY(one_text(call, "TEXT", &text));
    int status = open_text(call, &model);
    if (status == DL_OK)
        status = dl_tokenize(call->cx, model, text, strlen(text), &tokens);
    if (status == DL_OK && tokens.cut)
        tell(call->cx, DL_LOG_WARNING, "TEXT: cut to %zu tokens; left out: \"%s\"", tokens.count,
             tokens.cut);
    if (status == DL_OK)
        status = print_tokens(call, &tokens);
    dl_tokens_free(&tokens);
    dl_model_close(model);
    return status;
}
