/* dlens merge. */
#include "app/commands.h"

int command_merge(const struct invocation *call) {
    const struct options *o = call->options;
    const dl_run run = {.folder = o->output, .overwrite = o->overwrite};
    dl_run_result result = {0};
    int status = dl_merge(call->cx, o->arguments, o->argument_count, &run, &result);
    return report_run(call, status, &result);
}
