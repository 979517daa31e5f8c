/* dlens convert: a model's weights in another dtype. */
#include "app/commands.h"
#include "app/console.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the result ------------------------------------------------------------------------------ */

static cJSON *to_json(const dl_converted *r, const char *output, const char *to) {
    cJSON *root = cJSON_CreateObject(), *parts = cJSON_AddArrayToObject(root, "parts");
    cJSON_AddStringToObject(root, "output", output);
    cJSON_AddStringToObject(root, "to", to);
    cJSON_AddNumberToObject(root, "bytes_before", (double)r->before);
    cJSON_AddNumberToObject(root, "bytes_after", (double)r->after);
    for (size_t i = 0; i < r->count; i++) {
        const dl_converted_part *p = &r->parts[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", p->name);
        cJSON_AddStringToObject(o, "from", p->from);
        cJSON_AddStringToObject(o, "to", p->to);
        cJSON_AddNumberToObject(o, "tensors", (double)p->tensors);
        cJSON_AddNumberToObject(o, "changed", (double)p->changed);
        cJSON_AddNumberToObject(o, "bytes_before", (double)p->before);
        cJSON_AddNumberToObject(o, "bytes_after", (double)p->after);
        cJSON_AddNumberToObject(o, "largest_error", p->largest_error);
        cJSON_AddItemToArray(parts, o);
    }
    return root;
}

static void print_table(const dl_converted *r) {
    printf("%-20s %-5s %-5s %12s %12s  %s\n", "part", "from", "to", "before", "after",
           "largest error");
    for (size_t i = 0; i < r->count; i++) {
        const dl_converted_part *p = &r->parts[i];
        printf("%-20s %-5s %-5s %9.1f MB %9.1f MB  %.1e\n", p->name, p->from, p->to,
               (double)p->before / 1e6, (double)p->after / 1e6, p->largest_error);
    }
    printf("%-20s %-5s %-5s %9.1f MB %9.1f MB\n", "all", "", "", (double)r->before / 1e6,
           (double)r->after / 1e6);
}

/* ---- the command ----------------------------------------------------------------------------- */

int command_convert(const struct invocation *call) {
    const struct options *o = call->options;
    struct console_progress progress;
    dl_converted result = {0};
    const dl_convert_options how = {
        .to = o->to,
        .parts = o->part_names,
        .output = o->output,
        .overwrite = o->overwrite,
        .progress = console_progress,
        .user = &progress,
    };
    if (o->argument_count)
        return fail(call->cx, DL_USAGE, "%s: convert takes no argument; the model is -m %s",
                    o->arguments[0], o->arguments[0]);
    console_progress_begin(&progress, o);
    console_on_interrupt(INTERRUPT_ASKS);
    int status = dl_convert(call->cx, model_path(o), &how, &result);
    console_on_interrupt(INTERRUPT_ENDS);
    console_progress_end(&progress);
    if (status == DL_OK && o->json)
        status = print_json(call, to_json(&result, o->output, o->to));
    else if (status == DL_OK) {
        print_table(&result);
        status = print_path(call->cx, o->output);
    }
    dl_converted_free(&result);
    return status;
}
