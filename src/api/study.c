/* Public functions about experiments. */
#include "study/experiment.h"
#include "study/prompts.h"

int dl_experiment_run(dl_context *cx, dl_model *model, const dl_options *options,
                      const dl_experiment *experiment, dl_run_result *result) {
    return experiment_run(cx, model, options, experiment, result);
}

int dl_experiment_set(size_t index, dl_prompt_set *set) {
    if (!builtin_set_name(index))
        return DL_USAGE;
    *set = (dl_prompt_set){builtin_set_name(index), builtin_set_summary(index),
                           builtin_set_layers(index)};
    return DL_OK;
}

int dl_merge(dl_context *cx, const char *const *parts, size_t count, const dl_run *run,
             dl_run_result *result) {
    return experiment_merge(cx, parts, count, run, result);
}
